"""Where `FusedAdam` was; gone once nothing imports it from here."""

from isoloss.training.optimizers.adam import FusedAdam

__all__ = ["FusedAdam"]

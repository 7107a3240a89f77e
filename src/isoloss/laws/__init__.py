"""Scaling laws and their fitting with uncertainty: arrays in, frozen values out."""

from isoloss.laws.fitted import FittedLaw
from isoloss.laws.power import PowerFits, fit_power_laws

__all__ = ["FittedLaw", "PowerFits", "fit_power_laws"]

"""Norms: what keeps the residual stream at one scale."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from isoloss.algorithms.cost import Cost
from isoloss.algorithms.language.parts import norm
from isoloss.training.formulas import NORMALISE_FLOPS_PER_ELEMENT


class Norm(nn.Module):
    """Normalises the last axis. `vectors`: learned vectors of its width; `biased`: whether the layers of a model that
    uses it have biases too, as those of its time did."""

    vectors: ClassVar[int] = 1
    biased: ClassVar[bool] = False

    @classmethod
    def cost(cls, width: int) -> Cost:
        """Five FLOPs an element either way, and the learned vectors."""
        flops = NORMALISE_FLOPS_PER_ELEMENT * width
        return Cost(cls.vectors * width, cls.vectors * width, 0.0, flops, 2 * flops)


@norm("layer", version=1, summary="(x - mean) / sd", year=2016, source="Ba et al. 2016 (arXiv 1607.06450)")
class LayerNorm(nn.LayerNorm, Norm):
    """Gain and bias."""

    vectors = 2
    biased = True


@norm("rms", version=1, summary="x / root mean square", year=2019, source="Zhang & Sennrich 2019 (arXiv 1910.07467)")
class RMSNorm(nn.RMSNorm, Norm):
    """Gain alone."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

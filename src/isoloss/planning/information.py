"""What a run that has not been made would teach: linear-Gaussian beliefs and the chance that a verdict settles.

A belief is a normal distribution over a few latent numbers (the true rung means, or the parameters of the laws) and
one quantity ``g`` that is linear in them near where they are. A run observes ``h . theta + noise`` and so

``Var(g | run) = Var(g) - Cov(g, h.theta)^2 / (Var(h.theta) + s^2)``,

whatever the run will show: which runs are worth their price can be told before they are made (Lindley 1956; the
one-step rule for normal beliefs is the knowledge gradient of Frazier, Powell & Dayanik 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Belief:
    """Covariance (P, P) of the latent numbers, and the gradient (P,) of the quantity that is asked for."""

    covariance: Array
    gradient: Array

    @property
    def variance(self) -> float:
        """Variance of the quantity."""
        return max(float(self.gradient @ self.covariance @ self.gradient), 0.0)

    def reduction(self, rows: Array, noise: Array) -> Array:
        """By how much one observation of each of `rows` (M, P), of variance `noise` (M,), lowers the variance (M,)."""
        spread = rows @ self.covariance
        return (spread @ self.gradient) ** 2 / (np.einsum("mp,mp->m", spread, rows) + noise)

    def after(self, row: Array, noise: float) -> Belief:
        """The belief once ``row . theta`` has been observed with variance `noise`."""
        spread = self.covariance @ row
        return Belief(self.covariance - np.outer(spread, spread) / (float(row @ spread) + noise), self.gradient)


def settle_probability(
    value: float, edges: tuple[float, float], half_width: float, moved_by: float | Array
) -> float | Array:
    """The chance that an interval clears the edges: wholly above, wholly below, or wholly between them.

    The estimate will be ``value + moved_by * N(0, 1)`` (with new data worth a variance of ``v0 - v1`` it moves by
    ``sqrt(v0 - v1)``) and its interval will reach `half_width` to either side.

    >>> round(float(settle_probability(0.3, (-0.05, 0.05), 0.1, 0.0)), 3)
    1.0
    >>> round(float(settle_probability(0.15, (-0.05, 0.05), 0.1, 0.2)), 3)
    0.549
    """
    low, high = edges
    scale = np.maximum(moved_by, 1e-12)
    above = ndtr((value - half_width - high) / scale)
    below = ndtr((low - value - half_width) / scale)
    inside = np.maximum(ndtr((high - half_width - value) / scale) - ndtr((low + half_width - value) / scale), 0.0)
    return above + below + inside

"""Noise of runs about a law: its size at a loss, and the distribution that an objective stands for.

``p(r) = exp(-w rho(r) / tau) / Z(tau / w)`` with ``Z(t) = sqrt(2 pi t)`` for squared residuals, and
``Z(t) = sqrt(2 pi t) erf(delta / sqrt(2 t)) + 2 t / delta exp(-delta^2 / (2 t))`` for Huber's loss with threshold
delta: a normal middle with Laplacian tails (Huber 1964).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Residual noise of one run, in scaled units of the loss (or of its logarithm where `log`).

    ``variance = s^2 level^(2 gamma)`` with the level ``L``, or ``L - floor`` where `above_floor`; with gamma None it is
    `s`^2 in units of the fit's target. `dof` are the degrees of freedom behind `s`.
    """

    s: float
    dof: float
    log: bool
    gamma: float | None = None
    above_floor: bool = False

    def sd(self, loss: Array, floor: Array | float, eval_sd: Array | float = 0.0) -> Array:
        """Standard deviation of the target at predicted `loss` (..., R), all in scaled units."""
        evaluation = eval_sd / loss if self.log else eval_sd
        if self.gamma is None:
            return np.sqrt(np.full_like(loss, self.s) ** 2 + evaluation**2)
        level = np.maximum(loss - floor, 1e-3 * loss) if self.above_floor else loss
        seed = self.s * level**self.gamma
        return np.sqrt((seed / loss if self.log else seed) ** 2 + evaluation**2)


def log_partition(tau: Array, delta: float) -> Array:
    """``ln Z(tau)``; `delta` infinite for squared residuals."""
    middle = 0.5 * np.log(2 * np.pi * tau)
    if np.isinf(delta):
        return middle
    cut = delta / np.sqrt(2 * tau)
    return np.log(np.exp(middle) * erf(cut) + 2 * tau / delta * np.exp(-(cut**2)))


def log_likelihood(misfit: Array, log_tau: Array, weight: Array, delta: float) -> Array:
    """Log likelihood (B,) of rows with half-square `misfit` (B,), noise scale `log_tau` (B,) and `weight` (R,)."""
    tau, w = np.exp(log_tau), weight[weight > 0]
    if np.ptp(w) == 0:
        return -misfit / tau - w.size * log_partition(tau / w[0], delta)
    return -misfit / tau - np.sum(log_partition(tau[:, None] / w, delta), axis=1)


def deviance(misfit: Array, weight: Array, delta: float) -> Array:
    """Minus twice the log likelihood (B,) at the likeliest scale: a golden-section search, all B at once."""
    rows = int(np.sum(weight > 0))
    safe = np.maximum(misfit, 1e-300)
    low, high = np.log(safe / rows) - 3.0, np.log(safe / rows) + 3.0
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        left = log_likelihood(safe, a, weight, delta) > log_likelihood(safe, b, weight, delta)
        low, high = np.where(left, low, a), np.where(left, b, high)
    return -2 * log_likelihood(safe, 0.5 * (low + high), weight, delta)

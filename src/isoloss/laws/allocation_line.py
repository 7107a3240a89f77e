"""The straight line ``ln N* = ln G + a ln C`` through estimated optima, with draws that carry all their error.

Budgets are set by the experimenter, so the error lies in the optima. It has two parts: what the noise of the runs does
to each budget's minimum (known through `deviations`, small where the profile is sharp), and a scatter ``tau`` between
budgets that no noise explains (tuning, batch sizes, the wrong curve). Each draw takes its ``tau`` from the confidence
distribution of the scatter (the Q-profile of Viechtbauer 2007: ``Q(tau^2) = sum (z - line)^2 / (v + tau^2)`` set equal
to a chi-square of K - 2 degrees of freedom), weighs the budgets by ``1 / (v + tau^2)``, and moves every optimum by both
parts. With no known noise this is the classical t interval of a regression on K points; with much, a weighted one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FEWEST_BUDGETS = 3
_BISECTIONS = 60


@dataclass(frozen=True)
class Caution:
    """Something that should make one doubt a result: a stable `code` and one plain sentence."""

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class AllocationLine:
    """``X = G C^a``: exponent ``a`` and the value at the centre of the budgets, with draws (B,) of both.

    `centre` is the weighted mean of ``ln C``, where the two are nearly independent; `scatter` is the estimate of
    ``tau`` in ``ln X`` (0: the noise of the runs explains how far the optima lie off the line).
    """

    exponent: float
    log_value: float
    centre: float
    scatter: float
    exponent_draws: Array
    log_value_draws: Array

    @property
    def coefficient(self) -> float:
        """``G``, in units of X over those of C to the power ``a``."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.log_value - self.exponent * self.centre))

    @property
    def coefficient_draws(self) -> Array:
        """Draws of ``G``, (B,)."""
        with np.errstate(over="ignore"):  # a slope that three budgets hardly know, carried down to one FLOP
            return np.exp(self.log_value_draws - self.exponent_draws * self.centre)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of the exponent; NaN ends without draws."""
        return interval(self.exponent_draws, level)

    def at(self, c: Any) -> Array:
        """``X`` at budgets `c`."""
        return np.exp(self.log_value + self.exponent * (np.log(np.asarray(c, float)) - self.centre))

    def draws_at(self, c: Any) -> Array:
        """Draws of ``X`` at budgets `c` (P,), (B, P)."""
        steps = np.log(np.atleast_1d(np.asarray(c, float))) - self.centre
        with np.errstate(over="ignore"):
            return np.exp(self.log_value_draws[:, None] + self.exponent_draws[:, None] * steps)


def interval(draws: Array, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of draws; NaN ends without any."""
    if draws.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def fit_allocation_line(
    log_c: Array, log_x: Array, deviations: Array, rng: np.random.Generator, inflation: Array | None = None
) -> AllocationLine:
    """The line through optima `log_x` (K,) at `log_c` (K,), K >= 3; `deviations` (B, K) are draws of their error.

    `inflation` (B, K) is each draw's noise SD over its estimate, already part of `deviations`.
    Source of the interval: Viechtbauer 2007 (Statistics in Medicine 26), Raudenbush 2009 for the regression form.
    """
    draws, budgets = deviations.shape
    variance = deviations.var(axis=0) if draws > 1 else np.zeros(budgets)
    within = np.broadcast_to(variance, deviations.shape)
    if inflation is not None:
        within = variance * inflation**2 / np.mean(inflation**2, axis=0)
    scatter2 = _scatter(log_c, log_x, variance[None], np.array([budgets - 2.0]))
    point, centre = _weighted_line(log_c, log_x[None], variance[None] + scatter2[:, None])
    tau2 = _scatter(log_c, log_x, within, rng.chisquare(budgets - 2, draws))
    moved = log_x + deviations + np.sqrt(tau2)[:, None] * rng.standard_normal((draws, budgets))
    lines, _ = _weighted_line(log_c, moved, within + tau2[:, None], centre)
    return AllocationLine(
        exponent=float(point[0, 1]),
        log_value=float(point[0, 0]),
        centre=centre,
        scatter=float(np.sqrt(scatter2[0])),
        exponent_draws=lines[:, 1],
        log_value_draws=lines[:, 0],
    )


def _weighted_line(x: Array, z: Array, variance: Array, centre: float | None = None) -> tuple[Array, float]:
    """Weighted least squares per row: values at `centre` and slopes (B, 2), and the centre (default: weighted mean)."""
    w = 1 / np.maximum(variance, 1e-300)
    w = w / w.sum(axis=1, keepdims=True)
    mean_x, mean_z = w @ x, np.sum(w * z, axis=1)
    dx = x - mean_x[:, None]
    slope = np.sum(w * dx * z, axis=1) / np.sum(w * dx**2, axis=1)
    if centre is None:
        centre = float(mean_x[0])
    return np.stack([mean_z + slope * (centre - mean_x), slope], axis=1), centre


def _scatter(x: Array, z: Array, variance: Array, target: Array) -> Array:
    """``tau^2 >= 0`` at which the weighted squares about the line sum to `target` (B,); 0 where they fall short."""
    scale = float(np.sum((z - z.mean()) ** 2)) + float(variance.max(initial=0.0)) + 1e-300

    def squares(tau2: Array) -> Array:
        total = np.maximum(variance + tau2[:, None], 1e-14 * scale)
        line, centre = _weighted_line(x, np.broadcast_to(z, total.shape), total)
        return np.sum((z - line[:, :1] - line[:, 1:] * (x - centre)) ** 2 / total, axis=1)

    low, high = np.full(target.shape, -40.0), np.full(target.shape, 40.0)  # of ln (tau^2 / scale)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = squares(scale * np.exp(middle)) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(squares(np.zeros(target.shape)) <= target, 0.0, scale * np.exp(high))

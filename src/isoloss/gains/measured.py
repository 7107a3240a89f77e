"""Gains measured inside the overlap of two ladders, from interpolation alone, and intervals that keep censoring.

``G_old(C) = C / C_new(q_old(C))`` and ``G_new(C) = C_old(q_new(C)) / C``, with ``C_arm(q)`` the least budget at which
an arm reaches quality q. Every draw yields a pair of bounds on ``ln G``: equal where both arms reached q, one of them
infinite where one did not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.gains.monotone import MonotoneCurve, monotone_curve
from isoloss.gains.result import Interval

Array = NDArray[np.float64]


def quantile_interval(low: Array, high: Array, level: float) -> Interval:
    """Interval that contains `level` of the draws, each known only to lie in ``[low, high]`` (infinite ends allowed).

    The lower end is a quantile of the lower bounds, the upper end of the upper bounds, so a censored draw widens the
    interval on its own side and none is dropped. A NaN counts as knowing nothing.
    """
    ends = quantile_intervals(low[:, None], high[:, None], level)[0]
    return float(ends[0]), float(ends[1])


def quantile_intervals(low: Array, high: Array, level: float) -> Array:
    """`quantile_interval` of each column of ``low`` and ``high`` (draws, P): ends (P, 2)."""
    last = low.shape[0] - 1
    tail = (1 - level) / 2
    # rounded first: 0.025 * 1000 must not become 25.000000000000004
    first, final = math.floor(round(tail * last, 9)), math.ceil(round((1 - tail) * last, 9))
    low = np.partition(np.where(np.isnan(low), -np.inf, low).T, first, axis=1)[:, first]
    high = np.partition(np.where(np.isnan(high), np.inf, high).T, final, axis=1)[:, final]
    return np.stack([low, high], axis=1)


@dataclass(frozen=True, eq=False)
class Measured:
    """Monotone curves of both arms; row 0 holds the observed rung means and the other rows the draws.

    `window` is the stretch of ``ln`` baseline budget over which nearly every draw finds both arms measured, and
    `overlap` the same for the observed means; None where there is no such stretch.
    """

    old: MonotoneCurve
    new: MonotoneCurve
    overlap: Interval | None
    window: Interval | None

    def log_gain(self, index: Literal["old", "new"], log_c: Array) -> tuple[Array, Array]:
        """Bounds ``(low, high)`` on ``ln G`` (1 + draws, P) at budgets `log_c` (P,) within the indexing ladder."""
        if index == "old":
            low, high = self.new.inverse(self.old.at(log_c))
            return log_c - high, log_c - low
        low, high = self.old.inverse(self.new.at(log_c))
        return low - log_c, high - log_c

    def inside(self, index: Literal["old", "new"], log_c: float) -> bool:
        """Whether a budget lies within the indexing arm's own ladder."""
        x = self.old.x if index == "old" else self.new.x
        return bool(x[0] - 1e-9 <= log_c <= x[-1] + 1e-9)


def measure(
    log_c: tuple[Array, Array],
    log_q: tuple[Array, Array],
    weight: tuple[Array, Array],
    level: float,
) -> Measured:
    """Join both arms' rung values (1 + draws, R) and find where their ladders overlap in quality."""
    old, new = (monotone_curve(x, y, w) for x, y, w in zip(log_c, log_q, weight, strict=True))
    worst = np.minimum(old.y[:, 0], new.y[:, 0])
    best = np.maximum(old.y[:, -1], new.y[:, -1])
    low = old.inverse(worst[:, None])[1][:, 0]
    high = old.inverse(best[:, None])[0][:, 0]
    meets = worst > best
    overlap = (float(low[0]), float(high[0])) if meets[0] and high[0] > low[0] else None
    window = None
    if overlap is not None and len(low) > 1:
        tail = (1 - level) / 10
        start = np.where(meets, low, np.inf)
        stop = np.where(meets, high, -np.inf)
        window = (
            float(np.quantile(start, 1 - tail, method="higher")),
            float(np.quantile(stop, tail, method="lower")),
        )
        if not window[1] - window[0] > 1e-6:
            window = None
    return Measured(old, new, overlap, window)


def measured_slope(curves: Measured, span: Interval) -> Array:
    """Least-squares slope (1 + draws,) of ``ln G_old`` on ``ln C`` over an even grid of `span`, per draw."""
    grid = np.linspace(*span, 17)
    low, high = curves.log_gain("old", grid)
    centred = grid - grid.mean()
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (low + high)
        return np.where(np.isfinite(middle).all(axis=1), middle @ centred / (centred @ centred), np.nan)

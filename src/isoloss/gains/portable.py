"""A gain that can be read at any budget without its runs: what a card carries and the atlas moves its slider over.

The estimate is carried whole (both arms' monotone curves and laws), so that it is read as `isoloss gain --at` reads it,
to rounding. Intervals are carried at knots of ``ln C`` and joined by straight lines in ``ln G``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.gains.estimate import DECADE, FARTHEST, Estimator
from isoloss.gains.measured import Measured, quantile_intervals
from isoloss.gains.modelled import Modelled
from isoloss.gains.monotone import MonotoneCurve
from isoloss.gains.result import GainPoint, Interval
from isoloss.laws.power import PowerFits

Array = NDArray[np.float64]
ByBudget = Literal["old", "new"]

FINE = 0.1  # decades between knots where gains are measured
SMOOTH = 0.25  # along the laws, as far as estimates are given
COARSE = 1.0  # and beyond, where only the interval is
REACH = 6.0  # decades above the ladder to which the interval is carried


@dataclass(frozen=True)
class PortableArm:
    """One arm: knots ``ln C``, ``ln quality`` and derivative of its monotone curve, and its law.

    The law is ``L = floor + reducible exp(-exponent (ln C - centre))``.
    """

    log_c: tuple[float, ...]
    log_q: tuple[float, ...]
    slope: tuple[float, ...]
    floor: float
    reducible: float
    exponent: float
    centre: float

    def __post_init__(self) -> None:
        rows = np.array([self.log_c, self.log_q, self.slope]) if len(self.log_c) == len(self.log_q) else np.array([])
        law = (self.floor, self.reducible, self.exponent, self.centre)
        if rows.ndim != 2 or rows.shape[1] < 2 or not np.isfinite(rows).all() or not np.isfinite(law).all():
            raise ValueError("an arm needs two knots or more, and finite numbers")
        if np.any(np.diff(rows[0]) <= 0) or np.any(np.diff(rows[1]) > 0) or min(self.reducible, self.exponent) <= 0:
            raise ValueError("an arm's budgets must increase, its quality fall, and its law be positive")


@dataclass(frozen=True)
class Ends:
    """Ends of the interval of ``ln G`` at knots `at` of ``ln C`` (infinite where one side is not known).

    `gain` is the estimate itself where there is no curve to read it from (ratios); `fan_low` and `fan_high` enclose
    the intervals under the treatments of the floor that were not chosen.
    """

    at: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    gain: tuple[float, ...] = ()
    fan_low: tuple[float, ...] = ()
    fan_high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        rows = [v for v in (self.low, self.high, self.gain, self.fan_low, self.fan_high) if v]
        if any(len(v) != len(self.at) for v in rows) or len(self.low) != len(self.high):
            raise ValueError("the ends are not as many as the knots")
        if not np.isfinite(self.at).all() or np.any(np.diff(self.at) <= 0) or np.isnan(np.array(rows)).any():
            raise ValueError("the knots do not increase, or an end is no number")

    def read(self, log_c: float, fan: bool = False) -> Interval | None:
        """The interval of G at one ``ln C``, by linear interpolation; None outside the knots."""
        low, high = (self.fan_low, self.fan_high) if fan else (self.low, self.high)
        if not low or not self.at[0] - 1e-9 <= log_c <= self.at[-1] + 1e-9:
            return None
        with np.errstate(over="ignore"):
            return float(np.exp(_between(self.at, low, log_c))), float(np.exp(_between(self.at, high, log_c)))


@dataclass(frozen=True)
class Portable:
    """One comparison. Without `arms` (ratios of an exact comparison) there is nothing beyond the ladder.

    `measured` and `beyond` hold, under each index, the intervals by interpolation and those of the laws.
    """

    arms: tuple[PortableArm, PortableArm] | None
    measured: dict[ByBudget, Ends]
    beyond: dict[ByBudget, Ends]

    def at(self, index: ByBudget, budget: float) -> GainPoint:
        """The gain at `budget` of the arm that `index` names: measured if it can be, else from the laws.

        As `isoloss.gains.estimate.Estimator.at_budget`: beyond two decades from the data `gain` is None.
        """
        x = float(np.log(budget))
        if self.arms is None:
            return self._ratio(index, budget, x)
        point = self._measured(index, budget, x)
        return point or self._modelled(index, budget, x)

    def _ratio(self, index: ByBudget, budget: float, x: float) -> GainPoint:
        ends = self.measured[index]
        interval = ends.read(x)
        if interval is None:
            out = max(ends.at[0] - x, x - ends.at[-1]) / DECADE
            note = "an exact comparison has no law to extrapolate with"
            return GainPoint(index, budget, None, None, "undefined", decades_out=out, note=note)
        return GainPoint(index, budget, float(np.exp(_between(ends.at, ends.gain, x))), interval, "measured")

    def _measured(self, index: ByBudget, budget: float, x: float) -> GainPoint | None:
        curves = self._curves()
        if not curves.inside(index, x):
            return None
        low, high = curves.log_gain(index, np.array([x]))
        if low[0, 0] != high[0, 0]:
            return None
        own = curves.old if index == "old" else curves.new
        quality = float(np.exp(own.at(np.array([x]))[0, 0]))
        interval = self.measured[index].read(x)
        return GainPoint(index, budget, float(np.exp(low[0, 0])), interval, "measured", quality)

    def _modelled(self, index: ByBudget, budget: float, x: float) -> GainPoint:
        assert self.arms is not None
        law = self._law()
        own, other = self.arms if index == "old" else self.arms[::-1]
        elsewhere = float(law.other_budget(index, np.array([x]))[0, 0])
        if not np.isfinite(elsewhere):
            note = "the fitted law of the other arm never reaches this quality"
            return GainPoint(index, budget, None, None, "undefined", decades_out=_beyond(x, own), note=note)
        out = max(_beyond(x, own), _beyond(elsewhere, other))
        ends = self.beyond[index]
        interval, fan = ends.read(x), ends.read(x, fan=True)
        said = {} if fan is None else {"other floors": fan}
        if out > FARTHEST:
            return GainPoint(index, budget, None, interval, "withheld", decades_out=out, fan=said)
        gain = float(np.exp(law.log_gain(index, np.array([x]))[0, 0]))
        return GainPoint(index, budget, gain, interval, "extrapolated", decades_out=out, fan=said)

    def _curves(self) -> Measured:
        assert self.arms is not None
        old, new = (
            MonotoneCurve(np.array(a.log_c), np.array([a.log_q]), np.array([a.slope])) for a in self.arms
        )  # fmt: skip
        return Measured(old, new, None, None)

    def _law(self) -> Modelled:
        assert self.arms is not None

        def both(name: str) -> Array:
            return np.array([[getattr(a, name) for a in self.arms or ()]])

        no = np.zeros((1, 2), bool)
        centre = both("centre")[0]
        fits = PowerFits(centre, both("floor"), both("reducible"), both("exponent"), np.zeros(1), 0, no[:, 0], no)
        return Modelled("", fits, 0.0, 0, 0.0, None, 1.0)


def portable(estimate: Estimator) -> Portable:
    """What of `estimate` can be carried away: curves and laws of the observed means, and intervals at knots."""
    law, curves = estimate.laws[0].fits, (estimate.curves.old, estimate.curves.new)
    arms = tuple(
        PortableArm(
            _digits(curve.x, 13),
            _digits(curve.y[0], 13),
            _digits(curve.slope[0], 13),
            *_digits((law.floor[0, k], law.reducible[0, k], law.exponent[0, k], law.centre[k]), 13),
        )
        for k, curve in enumerate(curves)
    )
    indices: tuple[ByBudget, ...] = ("old", "new")
    return Portable(
        (arms[0], arms[1]),
        {i: _measured_ends(estimate, i) for i in indices},
        {i: _law_ends(estimate, i) for i in indices},
    )


def portable_ratios(log_c: Array, log_gain: Array, half: Array) -> Ends:
    """The rungs of an exact comparison as knots."""
    order = np.argsort(log_c)
    x, g, h = (v[order] for v in (log_c, log_gain, half))
    return Ends(*(_digits(v, 13) for v in (x, g - h, g + h, g)))


def _measured_ends(estimate: Estimator, index: ByBudget) -> Ends:
    """Intervals over the budgets at which the observed curves of both arms reach the same quality."""
    own, other = estimate.curves.old, estimate.curves.new
    if index == "new":
        own, other = other, own
    x = own.x
    # the budgets at which the own curve passes the ends of the other: outside them only a bound is known
    low, high = own.inverse(np.array([[other.y[0, 0], other.y[0, -1]]] * own.y.shape[0]))
    first = max(float(x[0]), float(high[0, 0]) if np.isfinite(low[0, 0]) else float(x[0]))
    last = min(float(x[-1]), float(low[0, 1]) if np.isfinite(high[0, 1]) else float(x[-1]))
    if own.y[0, 0] < other.y[0, -1] or own.y[0, -1] > other.y[0, 0] or not last > first:
        return Ends((), (), ())
    inner = [v for v in _steps(first, last, FINE) if first < v < last]
    knots = np.array(sorted({first, last, *inner, *(float(v) for v in x if first < v < last)}))
    lows, highs = estimate.curves.log_gain(index, knots)
    ends = _ends(estimate, lows[1:], highs[1:])
    return Ends(_digits(knots, 13), _digits(ends[:, 0]), _digits(ends[:, 1]))


def _law_ends(estimate: Estimator, index: ByBudget) -> Ends:
    """Intervals of the laws, from two decades below the ladder to `REACH` above it."""
    x = estimate.ladders[0 if index == "old" else 1].log_c
    first, last = float(x[0]), float(x[-1])
    near = _steps(first - FARTHEST * DECADE, last + FARTHEST * DECADE, SMOOTH)
    knots = np.unique(np.r_[near, _steps(last + FARTHEST * DECADE, last + REACH * DECADE, COARSE)])
    gains = [law.log_gain(index, knots)[1:] for law in estimate.laws]
    ends, *others = (_ends(estimate, g, g) for g in gains)
    fan: tuple[tuple[float, ...], ...] = ((), ())
    if others:
        fan = (_digits(np.min(others, axis=0)[:, 0]), _digits(np.max(others, axis=0)[:, 1]))
    return Ends(_digits(knots, 9), _digits(ends[:, 0]), _digits(ends[:, 1]), (), *fan)


def _ends(estimate: Estimator, low: Array, high: Array) -> Array:
    if not estimate.known:
        return np.tile([-np.inf, np.inf], (low.shape[1], 1))
    return quantile_intervals(low, high, estimate.level)


def _steps(first: float, last: float, decades: float) -> Array:
    return np.round(np.linspace(first, last, max(2, round((last - first) / (decades * DECADE)) + 1)), 4)


def _digits(values: Array | Sequence[float], digits: int = 5) -> tuple[float, ...]:
    return tuple(float(f"{float(v):.{digits}g}") for v in values)


def _beyond(log_c: float, arm: PortableArm) -> float:
    return max(0.0, arm.log_c[0] - log_c, log_c - arm.log_c[-1]) / DECADE


def _between(at: Sequence[float], values: Sequence[float], x: float) -> float:
    """Linear interpolation that lets an infinite neighbour make the whole piece infinite, and holds at the ends."""
    k = int(np.clip(np.searchsorted(at, x, side="right") - 1, 0, max(len(at) - 2, 0)))
    here, there = values[k], values[min(k + 1, len(at) - 1)]
    if x <= at[k]:
        return here
    if x >= at[min(k + 1, len(at) - 1)]:
        return there
    if not np.isfinite(here) or not np.isfinite(there):
        return here if not np.isfinite(here) else there
    return here + (x - at[k]) / (at[k + 1] - at[k]) * (there - here)

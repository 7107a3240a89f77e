"""Gain points and bands: measured where both arms were, from the laws elsewhere, and never one posing as the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.gains.ladder import Ladder
from isoloss.gains.measured import Measured, quantile_interval, quantile_intervals
from isoloss.gains.modelled import Modelled
from isoloss.gains.result import Band, GainPoint, Interval, Region
from isoloss.gains.wording import between

Array = NDArray[np.float64]
ByBudget = Literal["old", "new"]

DECADE = float(np.log(10.0))
FARTHEST = 2.0  # decades beyond the data after which no point estimate is given
GRID = 61


@dataclass(frozen=True, eq=False)
class Estimator:
    """Both ways of reading a gain off the same draws. `laws[0]` is the treatment of the floor that was chosen."""

    ladders: tuple[Ladder, Ladder]
    curves: Measured
    laws: list[Modelled]
    level: float
    known: bool

    def at_rungs(self, index: ByBudget) -> Iterator[GainPoint]:
        """The measured gain, or the bound on it, at every rung of the indexing arm."""
        own = self.ladders[0 if index == "old" else 1]
        low, high = self.curves.log_gain(index, own.log_c)
        quality = (self.curves.old if index == "old" else self.curves.new).y[0]
        for k, x in enumerate(own.log_c):
            yield self._point(index, float(x), low[:, k], high[:, k], float(quality[k]))

    def measured(self, index: ByBudget, log_c: float) -> GainPoint:
        """The gain by interpolation at a budget within the indexing ladder; censored where the other arm ends."""
        low, high = (v[:, 0] for v in self.curves.log_gain(index, np.array([log_c])))
        own = self.curves.old if index == "old" else self.curves.new
        return self._point(index, log_c, low, high, float(own.at(np.array([log_c]))[0, 0]))

    def _point(self, index: ByBudget, log_c: float, low: Array, high: Array, log_q: float) -> GainPoint:
        exact = low[0] == high[0]
        note = ""
        if not exact:
            other = self.ladders[1 if index == "old" else 0].name
            early = np.isinf(high[0]) == (index == "old")
            note = f"{other} was already better at its first rung" if early else f"{other} never got this good"
        return GainPoint(
            index=index,
            at=amount(log_c),
            gain=float(np.exp(low[0])) if exact else None,
            interval=self._interval(low[1:], high[1:]),
            region="measured" if exact else "censored",
            quality=float(np.exp(log_q)),
            note=note,
        )

    def at_budget(self, index: ByBudget, budget: float) -> GainPoint:
        """The gain at any budget: measured if it can be, else from the laws with its distance from the data."""
        x = float(np.log(budget))
        if self.curves.inside(index, x):
            point = self.measured(index, x)
            if point.region == "measured":
                return replace(point, at=budget)
        law = self.laws[0]
        arm, other = (0, 1) if index == "old" else (1, 0)
        gain = law.log_gain(index, np.array([x]))[:, 0]
        quality = float(np.exp(law.fits.log_loss(arm, np.array([x]))[0, 0]))
        elsewhere = float(law.other_budget(index, np.array([x]))[0, 0])
        if not np.isfinite(elsewhere):
            note = f"the fitted law of {self.ladders[other].name} never reaches this quality"
            return GainPoint(index, budget, None, None, "undefined", quality, _beyond(x, self.ladders[arm]), note)
        out = max(_beyond(x, self.ladders[arm]), _beyond(elsewhere, self.ladders[other]))
        fan = {m.kind: self._interval(*[m.log_gain(index, np.array([x]))[1:, 0]] * 2) for m in self.laws[1:]}
        note = "; ".join(f"with floor {kind}: {between(*ends)}" for kind, ends in fan.items())
        region: Region = "extrapolated" if out <= FARTHEST else "withheld"
        value = float(np.exp(gain[0])) if region == "extrapolated" else None
        return GainPoint(index, budget, value, self._interval(gain[1:], gain[1:]), region, quality, out, note, fan)

    def levels(self) -> list[GainPoint]:
        """Points to judge the level by: the largest budget where both arms are measured, else the top rungs."""
        window = self.curves.window
        if window is not None:
            return [self.measured("old", window[1])]
        tops = [self.measured("old", float(self.ladders[0].log_c[-1]))]
        return [*tops, self.measured("new", float(self.ladders[1].log_c[-1]))]

    def gain_band(self, index: ByBudget) -> Band:
        """Gain on a grid: measured inside the window, from the laws for a decade on either side."""
        own = self.ladders[0 if index == "old" else 1].log_c
        window = self._window(index)
        first, last = window or (float(own[0]), float(own[-1]))
        grid = np.unique(np.r_[np.linspace(first - DECADE, last + DECADE, GRID), first, last])
        law = self.laws[0].log_gain(index, grid)
        value = law[0].copy()
        ends = quantile_intervals(law[1:], law[1:], self.level)
        region: list[Region] = ["extrapolated"] * len(grid)
        if window is not None:
            here = np.flatnonzero((grid >= first) & (grid <= last))
            low, high = self.curves.log_gain(index, grid[here])
            value[here] = 0.5 * (low[0] + high[0])
            ends[here] = quantile_intervals(low[1:], high[1:], self.level)
            for k in here:
                region[k] = "measured"
        return _band(grid, value, ends if self.known else None, region)

    def law_band(self, arm: int) -> Band:
        """The fitted loss curve of one arm over its ladder and half a decade either side."""
        x = self.ladders[arm].log_c
        grid = np.unique(np.r_[np.linspace(x[0] - DECADE / 2, x[-1] + DECADE / 2, GRID), x[0], x[-1]])
        log_loss = self.laws[0].fits.log_loss(arm, grid)
        ends = quantile_intervals(log_loss[1:], log_loss[1:], self.level)
        region: list[Region] = ["measured" if x[0] <= g <= x[-1] else "extrapolated" for g in grid]
        return _band(grid, log_loss[0], ends if self.known else None, region)

    def _window(self, index: ByBudget) -> Interval | None:
        """The window of the measured curves in the budgets of the indexing arm."""
        window = self.curves.window
        if window is None or index == "old":
            return window
        low, high = self.curves.log_gain("old", np.array(window))
        ends = np.array(window) - 0.5 * (low[0] + high[0])
        return (float(ends[0]), float(ends[1])) if np.isfinite(ends).all() and ends[1] > ends[0] else None

    def _interval(self, low: Array, high: Array) -> Interval:
        if not self.known:
            return (0.0, float("inf"))
        ends = quantile_interval(low, high, self.level)
        with np.errstate(over="ignore"):
            return float(np.exp(ends[0])), float(np.exp(ends[1]))


def amount(log_c: float) -> float:
    """A budget from its logarithm, to 12 digits: ``exp(ln 128)`` is not quite 128."""
    return float(f"{np.exp(log_c):.12g}")


def _beyond(log_c: float, ladder: Ladder) -> float:
    """Distance of a budget from the nearest rung of a ladder that spans it or not, in decades; 0 inside."""
    return max(0.0, float(ladder.log_c[0]) - log_c, log_c - float(ladder.log_c[-1])) / DECADE


def _band(grid: Array, value: Array, ends: Array | None, region: list[Region]) -> Band:
    """Exponentiate a curve and its band; what isn't finite is None."""

    def up(v: float) -> float | None:
        return float(np.exp(v)) if np.isfinite(v) and v < 700 else None

    return Band(
        at=tuple(amount(v) for v in grid),
        value=tuple(up(v) for v in value),
        low=tuple(up(e[0]) for e in ends) if ends is not None else (None,) * len(grid),
        high=tuple(up(e[1]) for e in ends) if ends is not None else (None,) * len(grid),
        region=tuple(region),
    )

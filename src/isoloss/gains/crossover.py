"""Where the two curves cross, ``G = 1``: by interpolation inside the data, else by the laws within two decades."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoloss.gains.measured import Measured, quantile_interval
from isoloss.gains.modelled import Modelled
from isoloss.gains.result import Crossover, Region

Array = NDArray[np.float64]

DECADE = np.log(10.0)
REACH = 2 * DECADE  # how far beyond the data a crossing may be read from the laws
HORIZON = 8 * DECADE  # how far the interval of such a crossing may extend


def crossover(curves: Measured, law: Modelled, level: float, known: bool) -> Crossover:
    """The budget at which both arms reach the same quality.

    Each draw crosses inside the common budgets if its interpolated curves change order there (first to last change,
    should noise make several); otherwise where its laws change order. A crossing is reported only if the laws of the
    observed means put it within two decades of the data, and if the draws that have none fit into one tail of the
    interval, which therefore is bounded where the slope of the gain is known to differ from 0 (Fieller 1954).
    """
    if not known:
        return Crossover(None, None, "not identified", "the seed noise is unknown, because no rung was repeated")
    low, high, inside = _measured_crossings(curves)
    law_low, law_high = _law_crossings(curves, law)
    elsewhere = np.isnan(low) & ~inside
    low, high = np.where(elsewhere, law_low, low), np.where(elsewhere, law_high, high)
    first, last = min(curves.old.x[0], curves.new.x[0]), max(curves.old.x[-1], curves.new.x[-1])
    if inside[0]:
        return Crossover(None, None, "not identified", "the curves cross more than once inside the measured budgets")
    missing = float(np.mean(np.isnan(low[1:])))
    if not first - REACH <= low[0] <= last + REACH:
        return Crossover(None, None, "not identified", "the curves do not cross within two decades of the data")
    if missing > (1 - level) / 2:
        reason = f"in {missing:.0%} of bootstrap draws the curves do not cross exactly once, near the data or beyond it"
        return Crossover(None, None, "not identified", reason)
    lo, hi = quantile_interval(low[1:], high[1:], level)
    region: Region = "extrapolated" if elsewhere[0] else "measured"
    share = np.mean(~elsewhere[1:] & ~np.isnan(low[1:]))
    where = f"the curves cross inside the measured budgets in {share:.0%} of bootstrap draws"
    return Crossover(float(np.exp(0.5 * (low[0] + high[0]))), (float(np.exp(lo)), float(np.exp(hi))), region, where)


def _measured_crossings(curves: Measured) -> tuple[Array, Array, NDArray[np.bool_]]:
    """First and last change of order inside the common budgets, NaN where there is none or an even number.

    The third value marks draws that do change order, an even number of times: there the crossing is ambiguous.
    """
    old, new = curves.old, curves.new
    start, stop = max(old.x[0], new.x[0]), min(old.x[-1], new.x[-1])
    rows = old.y.shape[0]
    if not stop > start:
        return np.full(rows, np.nan), np.full(rows, np.nan), np.zeros(rows, bool)
    grid = np.unique(np.concatenate([np.linspace(start, stop, 49), old.x, new.x]))
    grid = grid[(grid >= start) & (grid <= stop)]
    low, high, count = _sign_changes(grid, old.at(grid) - new.at(grid))
    return low, high, (count > 0) & (count % 2 == 0)


def _law_crossings(curves: Measured, law: Modelled) -> tuple[Array, Array]:
    """The one change of order of the laws, NaN where there is none or more, far enough out to bound an interval."""
    old, new = curves.old, curves.new
    first, last = min(old.x[0], new.x[0]) - HORIZON, max(old.x[-1], new.x[-1]) + HORIZON
    grid = np.linspace(first, last, 161)
    low, high, count = _sign_changes(grid, law.fits.log_loss(0, grid) - law.fits.log_loss(1, grid))
    return np.where(count == 1, low, np.nan), np.where(count == 1, high, np.nan)


def _sign_changes(grid: Array, difference: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """First and last root (NaN unless an odd number) and the number of sign changes, per row."""
    change = (difference[:, :-1] > 0) != (difference[:, 1:] > 0)
    step = difference[:, 1:] - difference[:, :-1]
    share = np.where(change, -difference[:, :-1] / np.where(step == 0, 1.0, step), 0.0)
    root = grid[:-1] + share * np.diff(grid)
    count = change.sum(axis=1)
    odd = count % 2 == 1
    first = np.where(odd, np.min(np.where(change, root, np.inf), axis=1), np.nan)
    last = np.where(odd, np.max(np.where(change, root, -np.inf), axis=1), np.nan)
    return first, last, count

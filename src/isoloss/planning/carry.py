"""Swept choices carried up the ladder: a law of each across the swept rungs, and the trials that check it.

A choice h is taken to follow ``ln h = a + b ln C`` in the budget C. Picks from a grid are noisy: where the optimum is
flat, seeds move them by whole steps, and an error in b grows with the distance it is carried over. So b is the
least-squares slope shrunk towards 0 by one standard error: ``sign(b) max(|b| - se, 0)``, where
``se^2 = s^2 / sum (ln C - mean ln C)^2`` and ``s`` is the larger of the residuals' standard deviation and a grid's own,
``ln(ratio) / sqrt(12)`` (a value anywhere within its step). Two picks leave no residual that could tell a slope from
noise: b = 0, and the choice is transferred as it is, as under muP (Yang et al. 2022, arXiv 2203.03466).

However steep, the law is held within one grid step of the least and the greatest pick: trials know nothing beyond that.
`python benchmarks/carried.py` sets these rules against plain ones, on the run tables in ``results/``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from isoloss.study import Axis, Number, geometric_middle

Side = Literal["low", "high"]
#: Significant digits of a predicted value: within 5%, the same number on every machine.
DIGITS = 2


@dataclass(frozen=True)
class ChoiceLaw:
    """``ln h = middle + slope (ln C - centre)``, held between `least` and `greatest`; `raw_slope` and `slope_se` before
    shrinking, `rungs` behind it."""

    centre: float
    middle: float
    slope: float
    raw_slope: float
    slope_se: float
    rungs: int
    least: float
    greatest: float

    def at(self, budget: float) -> float:
        """The choice predicted at `budget`."""
        return min(max(self.unheld(budget), self.least), self.greatest)

    def unheld(self, budget: float) -> float:
        """Where the line leads at `budget`, bounds or not; infinite where no float holds it."""
        try:
            return math.exp(self.middle + self.slope * (math.log(budget) - self.centre))
        except OverflowError:
            return math.inf


def fit_choice(budgets: Sequence[float], values: Sequence[Number], ratio: float) -> ChoiceLaw:
    """The law of a choice whose best values at `budgets` are `values`, from a grid of ratio `ratio`.

    >>> law = fit_choice([1e9, 1e10, 1e11], [0.04, 0.02, 0.01], 2.0)
    >>> round(law.raw_slope, 3), round(law.slope, 3), round(law.at(1e12), 4)
    (-0.301, -0.24, 0.0066)
    """
    if not budgets or len(budgets) != len(values):
        raise ValueError("a law needs one value for each of at least one budget")
    x, y = [math.log(c) for c in budgets], [math.log(v) for v in values]
    n, centre, middle = len(x), sum(x) / len(x), sum(y) / len(y)
    spread = sum((u - centre) ** 2 for u in x)
    bounds = min(values) / ratio, max(values) * ratio
    if spread == 0:
        return ChoiceLaw(centre, middle, 0.0, 0.0, 0.0, n, *bounds)
    slope = sum((u - centre) * (v - middle) for u, v in zip(x, y, strict=True)) / spread
    left = sum((v - middle - slope * (u - centre)) ** 2 for u, v in zip(x, y, strict=True))
    grain = math.log(ratio) ** 2 / 12
    se = math.sqrt(max(left / (n - 2) if n > 2 else 0.0, grain) / spread)
    sure = max(abs(slope) - se, 0.0) if n > 2 else 0.0
    return ChoiceLaw(centre, middle, math.copysign(sure, slope), slope, se, n, *bounds)


def clamped(axis: Axis, value: float) -> float:
    """`value` within the axis's natural limits."""
    low, high = axis.min or 0.0, math.inf if axis.max is None else axis.max
    return min(max(value, low), high)


def nearest(axis: Axis, value: float) -> Iterator[Number]:
    """Values the axis allows, nearest to `value` in ratio first.

    A listed axis allows its values, and steps of its ratio past either end within the limits; any other axis the
    value itself, to `DIGITS` significant digits, and then whole factors away from it.
    """
    value = clamped(axis, value)
    if axis.values is None:
        yield from outward(axis, clamped(axis, float(f"{value:.{DIGITS}g}")))
        return
    allowed = list(axis.values)
    while allowed[0] > value and (step := _step(axis, allowed[0], "low")) is not None:
        allowed.insert(0, step)
    while allowed[-1] < value and (step := _step(axis, allowed[-1], "high")) is not None:
        allowed.append(step)
    yield from sorted(allowed, key=lambda v: (abs(math.log(v / value)), v))


def outward(axis: Axis, value: Number) -> Iterator[Number]:
    """`value`, then one step below and above, two steps, ...; ends at the natural limits."""
    yield value
    edge: dict[Side, Number | None] = {"low": value, "high": value}
    for _ in range(99):
        for side in edge:
            start = edge[side]
            edge[side] = None if start is None else _step(axis, start, side)
            if (step := edge[side]) is not None:
                yield step


def _step(axis: Axis, value: Number, side: Side) -> Number | None:
    """The listed value next to `value`, or a factor away from it; None at a limit."""
    if axis.values is not None:
        further = [v for v in axis.values if (v < value if side == "low" else v > value)]
        if further:
            return max(further) if side == "low" else min(further)
    step = axis.beyond(value, side)
    return None if step is None or step == value or step <= 0 else step


def between(axis: Axis, tried: Sequence[Number], around: Number) -> Iterator[Number]:
    """Refinements: from `around` halfway to its lower and upper neighbour among `tried`, then a quarter, an eighth."""
    ordered = sorted(tried)
    at = ordered.index(around)
    neighbours = ordered[max(at - 1, 0) : at] + ordered[at + 1 : at + 2]
    for depth, neighbour in itertools.product((1, 2, 3), neighbours):
        value = float(neighbour)
        for _ in range(depth):
            value = geometric_middle(around, value)
        yield axis.rounded(value)

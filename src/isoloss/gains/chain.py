"""Chains of innovations: steps composed as functions, with the budget carried over from one to the next.

Along a sequence of arms A, B, ..., Z every step is read at one quality: the budget that reaches it shrinks from
``C_A`` to ``C_B`` and on to ``C_Z``, so

``G_AC(C) = G_AB(C) G_BC(C / G_AB(C))`` (old index),  ``G_AC(C) = G_BC(C) G_AB(C G_BC(C))`` (new index),

and the gains multiply exactly. A product of step gains all read at one and the same budget is something else, which no
pair of algorithms has as its gain unless gains are constant; it is computed here only to be shown beside, "as
published". See Gundlach et al. 2025 (arXiv 2511.21622), whose stack multiplies that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.estimate import amount
from isoloss.gains.function import ByBudget, GainFunction, gain_point, read_curve
from isoloss.gains.measured import quantile_interval
from isoloss.gains.result import GainPoint, Interval

Array = NDArray[np.float64]


class EqualQuality(Protocol):
    """Anything that knows which budgets of several arms reach one quality."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arms in the order of the chain."""

    def budgets(self, arm: int, log_c: float) -> tuple[Array, Array, Array]:
        """Bounds (1 + B, K) on every arm's ``ln`` budget at the quality that `arm` reaches with `log_c`, and (K,) the
        decades by which each arm's estimate lies outside its data (NaN: not said).
        """

    def slope(self, index: ByBudget, old: int, new: int, log_c: float) -> Array:
        """``d ln G / d ln C`` (1 + B,) of one arm against another where the arm of the index spends `log_c`."""


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain at one quality.

    `at` is the budget that the step is read at: of its old arm (old index) or its new one. `share` is its part of
    ``ln`` of the whole gain. `same_budget` is its gain read at the chain's own budget instead, the factor that a
    product at the same budget would use.
    """

    old: str
    new: str
    at: float | None
    point: GainPoint
    share: float | None
    share_interval: Interval | None
    same_budget: GainPoint


@dataclass(frozen=True)
class Reference:
    """The last arm's gain over one member of the chain, and its growth.

    `growth` is ``d ln G / d ln C`` there; `per_year` the log rate ``growth ln(yearly budget growth)`` where the growth
    of budgets is given (a rate of 0.63 is 88% a year).
    """

    reference: str
    point: GainPoint
    growth: float | None
    growth_interval: Interval | None
    per_year: float | None = None
    per_year_interval: Interval | None = None


@dataclass(frozen=True)
class Chain:
    """A sequence of arms at one budget under one index: each step, the whole, and the product as published."""

    names: tuple[str, ...]
    index: ByBudget
    at: float
    steps: tuple[ChainStep, ...]
    whole: GainPoint
    product: GainPoint
    references: tuple[Reference, ...]


@dataclass(frozen=True, eq=False)
class GainChain:
    """A chain of gain functions, each step's new arm the next one's old. Raises TableError where they don't join."""

    steps: tuple[GainFunction, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise TableError("chain", "has no steps", "give one gain or more")
        for a, b in zip(self.steps, self.steps[1:], strict=False):
            if a.new != b.old:
                raise TableError("chain", f"{a.old} to {a.new} is followed by {b.old} to {b.new}", "order the steps")
        check_draws(self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arms in order."""
        return (self.steps[0].old, *(s.new for s in self.steps))

    def budgets(self, arm: int, log_c: float) -> tuple[Array, Array, Array]:
        """Follow the chain both ways from `arm`; a stretch where a step is two-valued or undefined ends it (NaN)."""
        k, rows = len(self.names), 1 + max(s.draws for s in self.steps)
        low, high, out = np.full((rows, k), np.nan), np.full((rows, k), np.nan), np.zeros(k)
        low[:, arm] = high[:, arm] = log_c
        for step in range(arm, k - 1):
            found = self.steps[step].budgets("old", _one(low, high, step))
            low[:, step + 1], high[:, step + 1] = (f[:, 0] for f in found)
            out[step + 1] = self.steps[step].out("old", float(low[0, step]))
        for step in range(arm - 1, -1, -1):
            found = self.steps[step].budgets("new", _one(low, high, step + 1))
            low[:, step], high[:, step] = (f[:, 0] for f in found)
            out[step] = self.steps[step].out("new", float(low[0, step + 1]))
        return low, high, out

    def slope(self, index: ByBudget, old: int, new: int, log_c: float) -> Array:
        """The secant over a tenth of e-fold around the budget."""
        own, half = (old if index == "old" else new), 0.05
        ends = [self.budgets(own, log_c + side)[:2] for side in (-half, half)]
        gains = [np.where(lo == hi, lo, np.nan)[:, [old, new]] @ [1.0, -1.0] for lo, hi in ends]
        return (gains[1] - gains[0]) / (2 * half)


def compose(steps: Sequence[GainFunction]) -> GainFunction:
    """The gain of a whole chain as one function; exact where the steps are, and undefined wherever one of them is.

    Its distance from data is the farthest of its steps, each at its own carried-over budget.
    """
    chain = GainChain(tuple(steps))
    whole = chain.steps[0]
    for step in chain.steps[1:]:
        low, high = read_curve(step.log_old, step.log_new, whole.log_new)
        log_new = np.where(low == high, low, np.nan)
        away = read_curve(step.log_old[:1], step.decades_out[None], whole.log_new[:1])[1][0]
        whole = GainFunction(
            whole.old,
            step.new,
            np.broadcast_to(whole.log_old, log_new.shape),
            log_new,
            np.maximum(whole.decades_out, away),  # a NaN (not said) stays one
            whole.quality,
        )
    return whole


def before(whole: GainFunction, last: GainFunction) -> GainFunction:
    """The gain that is left when the `last` step is carved out of a `whole`: from A to C without B to C, A to B."""
    if whole.new != last.new:
        raise TableError("chain", f"{whole.old} to {whole.new} does not end in {last.old} to {last.new}", "name arms")
    check_draws((whole, last))
    low, high = read_curve(last.log_new, last.log_old, whole.log_new)
    log_new = np.where(low == high, low, np.nan)
    away = read_curve(last.log_new[:1], last.decades_out[None], whole.log_new[:1])[1][0]
    here = np.broadcast_to(whole.log_old, log_new.shape)
    return GainFunction(whole.old, last.old, here, log_new, np.maximum(whole.decades_out, away), whole.quality)


def product_at_same_budget(steps: Sequence[tuple[GainFunction, ByBudget]], budget: float, level: float) -> GainPoint:
    """As published: the product of step gains all read at one `budget`, each under the index its source used.

    Not the gain of any two algorithms unless the gains are constant; `compose` gives that.
    """
    check_draws([s for s, _ in steps])
    log_c = float(np.log(budget))
    read = [s.log_gain(i, log_c) for s, i in steps]
    low, high = (sum((r[k][:, 0] for r in read), np.zeros(1)) for k in (0, 1))
    out = [s.out(i, log_c) for s, i in steps]
    return gain_point(steps[0][1], budget, low, high, float(np.max(out)), level)


def log_shares(factors: Sequence[float] | Array) -> Array:
    """Each factor's part of the logarithm of the product: ``ln g_k / sum_j ln g_j``; NaN where the product is 1.

    >>> log_shares([847.81, 9.84, 2.57]).round(3).tolist()
    [0.676, 0.229, 0.095]
    """
    logs = np.log(np.asarray(factors, float))
    total = logs.sum()
    return logs / total if total else np.full(len(logs), np.nan)


def chain_at(
    source: EqualQuality,
    index: ByBudget,
    budget: float,
    *,
    level: float = 0.95,
    budget_growth: float | None = None,
) -> Chain:
    """A chain at one budget: of the first arm under the old index, of the last under the new.

    Shares are withheld where the whole gain can't be told from 1 at `level` (a share of nothing). `references` read
    the last arm against every other, each at `budget` of its own (old index) or of the last arm's (new);
    `budget_growth` is the yearly factor by which budgets grow. Raises TableError for a budget or growth that makes no
    sense.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise TableError("at", f"{budget:g} is not a positive budget", "give a positive number")
    if budget_growth is not None and not budget_growth > 0:
        raise TableError("budget growth", f"{budget_growth:g} is not a positive factor", "4.1 means 4.1 times a year")
    names, x = source.names, float(np.log(budget))
    last = len(names) - 1
    low, high, out = source.budgets(0 if index == "old" else last, x)
    whole = (low[:, 0] - high[:, last], high[:, 0] - low[:, last])
    point = gain_point(index, budget, *whole, _farthest(out), level)
    settled = np.isfinite(whole[0][0]) and not (point.interval and point.interval[0] <= 1 <= point.interval[1])
    steps, alone = [], []
    for k in range(last):
        pair = (low[:, k] - high[:, k + 1], high[:, k] - low[:, k + 1])
        own = 0.5 * (low[0, k + (index == "new")] + high[0, k + (index == "new")])
        same = _pair(source, index, k, k + 1, x)
        alone.append(same)
        share, ends = _share(pair, whole, level) if settled else (None, None)
        at = amount(own) if np.isfinite(own) else None
        steps.append(
            ChainStep(
                names[k],
                names[k + 1],
                at,
                gain_point(index, at or budget, *pair, _farthest(out[[k, k + 1]]), level),
                share,
                ends,
                gain_point(index, budget, *same[:2], same[2], level),
            )
        )
    product = gain_point(
        index, budget, sum((a[0] for a in alone), np.zeros(1)), sum((a[1] for a in alone), np.zeros(1)),
        _farthest(np.array([a[2] for a in alone])), level,
    )  # fmt: skip
    references = tuple(_reference(source, index, k, last, x, level, budget_growth) for k in range(last))
    return Chain(names, index, budget, tuple(steps), point, product, references)


def check_draws(functions: Sequence[GainFunction]) -> None:
    """Refuse functions whose numbers of draws differ: row b of one goes with row b of the others."""
    counts = {f.draws for f in functions if f.draws}
    if len(counts) > 1:
        raise TableError("chain", f"its steps have {sorted(counts)} draws", "draw the same number for each")


def _one(low: Array, high: Array, arm: int) -> Array:
    return np.where(low[:, arm] == high[:, arm], low[:, arm], np.nan)[:, None]


def _farthest(out: Array) -> float:
    return float(np.max(out))


def _pair(source: EqualQuality, index: ByBudget, old: int, new: int, x: float) -> tuple[Array, Array, float]:
    """Bounds on ``ln G`` between two arms with `x` the budget of the one that the index names."""
    low, high, out = source.budgets(old if index == "old" else new, x)
    return low[:, old] - high[:, new], high[:, old] - low[:, new], _farthest(out[[old, new]])


def _share(part: tuple[Array, Array], whole: tuple[Array, Array], level: float) -> tuple[float | None, Interval | None]:
    """A step's share of the log gain; a censored draw counts as knowing nothing of the share."""
    exact = (part[0] == part[1]) & (whole[0] == whole[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(exact, part[0] / whole[0], np.nan)
    if not np.isfinite(shares[0]):
        return None, None
    return float(shares[0]), quantile_interval(shares[1:], shares[1:], level) if len(shares) > 1 else None


def _reference(
    source: EqualQuality,
    index: ByBudget,
    arm: int,
    last: int,
    x: float,
    level: float,
    budget_growth: float | None,
) -> Reference:
    low, high, out = _pair(source, index, arm, last, x)
    slopes = source.slope(index, arm, last, x)
    growth = float(slopes[0]) if np.isfinite(slopes[0]) else None
    interval = quantile_interval(slopes[1:], slopes[1:], level) if growth is not None and len(slopes) > 1 else None
    rate = None if budget_growth is None else float(np.log(budget_growth))
    return Reference(
        source.names[arm],
        gain_point(index, amount(x), low, high, out, level),
        growth,
        interval,
        None if rate is None or growth is None else growth * rate,
        None if rate is None or interval is None else (interval[0] * rate, interval[1] * rate),
    )

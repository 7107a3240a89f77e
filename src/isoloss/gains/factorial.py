"""Factorial, add-one-in and leave-one-out designs: which switch is worth what, together and alone, in log gain.

Arms are sets of switches. Each is converted to resource at a common quality, ``v(S) = ln C_ref(q) - ln C_S(q)``, or at
a common budget through the reference arm's own curve, ``v(S) = ln C_ref(q_S(C)) - ln C``; then
``v(S) = sum_{T in S} m_T`` up to a stated order of interaction. Everything reported (terms, first-in, last-in, Shapley,
joint) is a linear function of the terms, so a design either estimates it, ``w v(arms)`` with weights known beforehand,
or doesn't; what a design can't tell apart is refused by name, and what it folds in is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.joint import JointArms, draw_arms
from isoloss.gains.measured import quantile_interval
from isoloss.gains.result import Diagnostic, Interval
from isoloss.gains.shapley import Term, shapley_of_terms, shapley_weights, terms_up_to
from isoloss.gains.wording import times

Array = NDArray[np.float64]
Switches = NDArray[np.int64]
Basis = Literal["quality", "budget"]

MOST_FACTORS = 12
MOST_SHOWN = 64  # terms reported, lowest orders first
_TINY = 1e-9


@dataclass(frozen=True)
class Effect:
    """One linear quantity of a design as a gain (a ratio): a term, a first-in, last-in, Shapley or joint value.

    `gain` is ``exp`` of the estimate, None where it is only bounded or can't be estimated; `interval` then holds the
    bound, or None. `confounded` names the terms that this design can't tell apart from it (then it is refused) and
    `folded` the left-out interactions that it contains, should they exist.
    """

    name: str
    gain: float | None
    interval: Interval | None
    note: str = ""
    confounded: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attribution:
    """What a design says of its factors.

    `terms`: main effects (switched on alone) and interactions; above 1 an interaction helps, below 1 the parts
    overlap. `shapley`, `first_in`, `last_in`: one a factor; `shares`: each Shapley value's part of the joint log gain,
    None where that can't be told from no gain. `joint`: all factors against none; `product`: of the first-in gains,
    what multiplying singles would claim. `order`: the highest order of interaction in the model; `left_out_p` tests
    whether higher ones are missed (None: nothing left to test it with).
    """

    factors: tuple[str, ...]
    basis: Basis
    at: float
    arms: int
    order: int
    terms: tuple[Effect, ...]
    first_in: tuple[Effect, ...]
    last_in: tuple[Effect, ...]
    shapley: tuple[Effect, ...]
    shares: tuple[tuple[float, Interval] | None, ...]
    joint: Effect
    product: Effect
    product_over_joint: Effect
    left_out_p: float | None
    reached: dict[str, Interval]
    diagnostics: tuple[Diagnostic, ...]
    level: float


def attribute(
    arms: Sequence[ArmRuns],
    switches: Switches,
    factors: Sequence[str],
    *,
    at_quality: float | None = None,
    at: float | None = None,
    order: int | None = None,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Attribution:
    """Effects, interactions and attribution of K `factors` from arms with `switches` (A, K) of 0 and 1.

    `at_quality` compares at a quality (lower is better), `at` at a budget; by default at the best quality that every
    arm is measured at. At a budget only the reference (all switches off) needs a ladder. `order` is the highest order
    of interaction of the model: by default all of them from a full factorial, else 2. An arm that never reaches the
    quality, or the reference never an arm's, stays as a bound in whatever rests on it. Raises TableError for a design
    that is none (no reference arm, a switch that never moves, the same switches twice).
    """
    switches = np.asarray(switches, np.int64)
    factors = tuple(factors)
    reference = _check(switches, factors, arms)
    if at is not None and at_quality is not None:
        raise TableError("attribute", "a quality and a budget were both asked for", "give one of them")
    k, full = len(factors), len(arms) == 2 ** len(factors)
    if order is not None and not 1 <= order <= k:
        raise TableError("order", f"{order} is not between 1 and the {k} factors", "2 allows for pairs that interact")
    order = order or (k if full else min(2, k))
    joint = draw_arms(arms, draws, seed, 1 if at is not None else 2)
    basis: Basis = "budget" if at is not None else "quality"
    if at is not None:
        where, low, high = float(at), *_at_budget(joint, reference, float(np.log(at)))
    else:
        log_q = best_common_quality(joint, level) if at_quality is None else _log_quality(at_quality)
        where, low, high = float(np.exp(log_q)), *_at_quality(joint, log_q)
    model = Model.of(switches, order)
    say = _Reader(model, factors, low, high, level, joint.known)

    ends = [np.eye(k, dtype=np.int64), np.ones((k, k), np.int64) - np.eye(k, dtype=np.int64)]
    none, whole = np.zeros(k, np.int64), np.ones(k, np.int64)
    first = [say.between(f, none, ends[0][i]) for i, f in enumerate(factors)]
    last = [say.between(f, ends[1][i], whole) for i, f in enumerate(factors)]
    together = say.between("joint", none, whole)
    sums = model.contrast(none, whole)
    singles = say.sum_of("product of singles", [model.contrast(none, e) for e in ends[0]])
    excess = say.sum_of("product over joint", [model.contrast(none, e) for e in ends[0]], minus=sums)
    values = _shapley_weights(model)
    shapley = [say.effect(f, w) for f, w in zip(factors, values, strict=True)]
    shares = tuple(say.share(w, sums) for w in values)
    shown = [t for t in model.terms if model.contains(t)][:MOST_SHOWN]
    terms = tuple(say.effect(_name(t, factors), model.term(t)) for t in shown)
    p = left_out(model, low, high) if joint.known else None
    reached = {
        a.name: say.bounds(low[:, i] - high[:, reference], high[:, i] - low[:, reference])
        for i, a in enumerate(arms)
        if i != reference
    }
    found = _diagnostics(singles, together, excess, p, say, low, high, joint)
    return Attribution(
        factors, basis, where, len(arms), order, terms, tuple(first), tuple(last), tuple(shapley), shares, together,
        singles, excess, p, reached, found, level,
    )  # fmt: skip


def best_common_quality(joint: JointArms, level: float = 0.95) -> float:
    """``ln`` of the best quality that nearly every draw of every arm has measured; raises TableError where none is."""
    worst = np.min([r.max(axis=1) for r in joint.rows], axis=0)
    best = np.max([r.min(axis=1) for r in joint.rows], axis=0)
    log_q = float(np.quantile(best, 1 - (1 - level) / 10, method="higher"))
    if not log_q < float(np.quantile(worst, (1 - level) / 10, method="lower")):
        slow = joint.names[int(np.argmax([r[0].min() for r in joint.rows]))]
        quick = joint.names[int(np.argmin([r[0].max() for r in joint.rows]))]
        what = f"no quality is reached by every arm inside its ladder ({slow} never gets as good as {quick} begins)"
        raise TableError("attribute", what, "run their ladders further, or give --at-quality or --at")
    return log_q


@dataclass(frozen=True, eq=False)
class Model:
    """A design's arms against the terms of an interaction model, ``v = v_none + X m``.

    `terms` are all but the constant; `inverse` is the pseudo-inverse of ``[1, X]`` and `null` spans what the arms
    can't see (columns).
    """

    switches: Switches
    order: int
    terms: tuple[Term, ...]
    inverse: Array
    null: Array

    @classmethod
    def of(cls, switches: Switches, order: int) -> Model:
        """The model of `order` for arms with `switches` (A, K)."""
        a, k = switches.shape
        terms = tuple(terms_up_to(k, order))
        if order == k and a == 2**k:  # every contrast is read off the arms themselves
            return cls(switches, order, terms, np.empty((0, 0)), np.empty((0, 0)))
        x = _columns(switches, terms)
        u, s, vt = np.linalg.svd(x, full_matrices=True)
        rank = int(np.sum(s > _TINY * s[0]))
        inverse = vt[:rank].T @ (u[:, :rank] / s[:rank]).T
        return cls(switches, order, terms, inverse, vt[rank:].T)

    @property
    def saturated(self) -> bool:
        """Whether arms and terms are the same in number and every contrast is a difference of arms."""
        return self.inverse.size == 0

    def weights(self, functional: Array) -> Array | None:
        """Weights (A,) on the arms that estimate a `functional` (1 + T,) of the terms; None if they can't."""
        if self.null.shape[1] and np.max(np.abs(functional @ self.null)) > 1e-7 * max(1.0, np.max(np.abs(functional))):
            return None
        w = functional @ self.inverse
        return np.where(np.abs(w) < _TINY, 0.0, w)

    def contrast(self, start: Switches, stop: Switches) -> Quantity:
        """``v(stop) - v(start)`` of two sets of switches, from the arms themselves where both were run."""
        arms = [self._arm(s) for s in (start, stop)]
        f = np.empty(0) if self.saturated else (_columns(stop[None], self.terms) - _columns(start[None], self.terms))[0]
        if arms[0] is not None and arms[1] is not None:
            w = np.zeros(len(self.switches))
            w[arms[0]] -= 1
            w[arms[1]] += 1
            return Quantity(w, f, direct=True)
        return Quantity(self.weights(f), f)

    def term(self, term: Term) -> Quantity:
        """One interaction term, ``m_T = sum_{S in T} (-1)^(|T| - |S|) v(S)``."""
        if self.saturated:
            w = np.zeros(len(self.switches))
            for n in range(len(term) + 1):
                for part in combinations(term, n):
                    s = np.zeros(self.switches.shape[1], np.int64)
                    s[list(part)] = 1
                    w[self._arm(s)] += (-1) ** (len(term) - n)
            return Quantity(w, np.empty(0), direct=True)
        f = np.zeros(1 + len(self.terms))
        f[1 + self.terms.index(term)] = 1
        return Quantity(self.weights(f), f)

    def contains(self, term: Term) -> bool:
        """Whether some arm has all of a term's switches on: else nothing can be said of it, and it isn't listed."""
        return bool(self.switches[:, list(term)].all(axis=1).any())

    def confounded(self, functional: Array) -> list[Term]:
        """Terms that the arms can't tell from a `functional` that they don't estimate.

        Written in average effects (switches coded -1 and +1), where a regular fraction pairs terms off cleanly.
        """
        every: list[Term] = [(), *self.terms]
        # a product of switches is 2^-|S| times the sum of the products of signs over all parts of S
        expand = np.array([[0.5 ** len(s) * set(u).issubset(s) for s in every] for u in every])
        null = np.linalg.qr(expand @ self.null)[0]
        hidden = null @ (null.T @ np.linalg.solve(expand.T, functional))
        return [t for t, h in zip(self.terms, hidden[1:], strict=True) if abs(h) > 1e-7]

    def folded(self, quantity: Quantity) -> list[Term]:
        """Terms of the next order up, outside the model, that the weights of a quantity let in."""
        k = self.switches.shape[1]
        if quantity.weights is None or quantity.direct or self.order >= k or len(self.terms) > 500:
            return []
        extra = list(combinations(range(k), self.order + 1))
        leak = quantity.weights @ np.stack([self.switches[:, list(t)].all(axis=1) for t in extra], axis=1)
        return [t for t, v in zip(extra, leak, strict=True) if abs(v) > 1e-7]

    def _arm(self, switches: Switches) -> int | None:
        found = np.flatnonzero((self.switches == switches).all(axis=1))
        return int(found[0]) if found.size else None


@dataclass(frozen=True, eq=False)
class Quantity:
    """Weights on the arms (None: not estimable), the same on the terms, and whether the arms give it with no model."""

    weights: Array | None
    functional: Array
    direct: bool = False


def left_out(model: Model, low: Array, high: Array) -> float | None:
    """p-value that the model misses nothing: residuals of the arms against those of draws in which it holds.

    None where no arm is left over, or an arm is only bounded. Residuals are scaled by the spread of each arm's draws.
    """
    if model.saturated or not (np.isfinite(low[0]).all() and np.array_equal(low[0], high[0])):
        return None
    x = _columns(model.switches, model.terms)
    keep = np.eye(len(x)) - x @ model.inverse
    if np.linalg.matrix_rank(keep, tol=1e-7) == 0:
        return None
    moved = np.where(np.isfinite(low[1:] + high[1:]), 0.5 * (low[1:] + high[1:]), low[0]) - low[0]
    spread = keep @ np.cov(moved, rowvar=False) @ keep.T
    inverse = np.linalg.pinv(spread, rcond=1e-8, hermitian=True)
    r, r_null = keep @ low[0], moved @ keep.T
    size, sizes = r @ inverse @ r, np.einsum("bi,ij,bj->b", r_null, inverse, r_null)
    return float((1 + np.sum(sizes >= size)) / (1 + len(sizes)))


class _Reader:
    """Turns weights on the arms into effects with intervals, bounds kept as bounds."""

    def __init__(
        self, model: Model, factors: tuple[str, ...], low: Array, high: Array, level: float, known: bool
    ) -> None:
        self.model, self.factors, self.low, self.high = model, factors, low, high
        self.level, self.known = level, known

    def effect(self, name: str, quantity: Quantity) -> Effect:
        if quantity.weights is None:
            terms = tuple(_name(t, self.factors) for t in self.model.confounded(quantity.functional))
            others = tuple(t for t in terms if t != name)[:6]
            return Effect(name, None, None, "these arms don't estimate it", others)
        if not quantity.weights.any():
            return Effect(name, None, None, "the model takes it for granted")
        low, high = self.values(quantity.weights)
        folded = tuple(_name(t, self.factors) for t in self.model.folded(quantity))[:6]
        exact = low[0] == high[0] and np.isfinite(low[0])
        interval = self.bounds(low, high)
        if not exact and interval == (0.0, np.inf):
            return Effect(name, None, interval, "an arm it rests on is only bounded", folded=folded)
        note = "" if exact else "a bound: an arm never reached this quality"
        note = note or ("" if quantity.direct else "from the model")
        return Effect(name, float(np.exp(low[0])) if exact else None, interval, note, folded=folded)

    def between(self, name: str, start: Switches, stop: Switches) -> Effect:
        return self.effect(name, self.model.contrast(start, stop))

    def sum_of(self, name: str, parts: Sequence[Quantity], minus: Quantity | None = None) -> Effect:
        signs = [*(1.0 for _ in parts), -1.0]
        every = [*parts, minus] if minus is not None else list(parts)
        functional = np.sum([q.functional for q in parts], axis=0) - (minus.functional if minus is not None else 0)
        total = np.zeros(len(self.model.switches))
        for sign, q in zip(signs, every, strict=False):
            if q.weights is None:
                return self.effect(name, Quantity(None, functional))
            total = total + sign * q.weights
        total[np.abs(total) < 1e-7] = 0.0
        return self.effect(name, Quantity(total, functional, all(q.direct for q in every)))

    def share(self, part: Quantity, whole: Quantity) -> tuple[float, Interval] | None:
        """A part of the joint log gain; None unless both are estimated and the whole is told from no gain."""
        if part.weights is None or whole.weights is None or not self.known:
            return None
        (a, b), (c, d) = self.values(part.weights), self.values(whole.weights)
        ends = quantile_interval(c[1:], d[1:], self.level)
        if ends[0] <= 0 <= ends[1] or a[0] != b[0] or c[0] != d[0] or not np.isfinite([a[0], c[0]]).all():
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((a == b) & (c == d), a / c, np.nan)
        return float(ratio[0]), quantile_interval(ratio[1:], ratio[1:], self.level)

    def values(self, weights: Array) -> tuple[Array, Array]:
        """Bounds (1 + B,) on a weighted sum of log gains: each arm adds its low or high end by the weight's sign."""
        used = np.flatnonzero(weights)
        w = weights[used]
        low, high = self.low[:, used], self.high[:, used]
        up, down = np.maximum(w, 0), np.minimum(w, 0)
        if np.isfinite(low).all() and np.isfinite(high).all():
            return low @ up + high @ down, high @ up + low @ down
        return (
            np.where(w > 0, low * w, high * w).sum(axis=1),
            np.where(w > 0, high * w, low * w).sum(axis=1),
        )

    def bounds(self, low: Array, high: Array) -> Interval:
        if not self.known:
            exact = low[0] == high[0]
            ends = (-np.inf, np.inf) if exact else (float(low[0]), float(high[0]))
        else:
            ends = quantile_interval(low[1:], high[1:], self.level)
        with np.errstate(over="ignore"):
            return float(np.exp(ends[0])), float(np.exp(ends[1]))


def _shapley_weights(model: Model) -> list[Quantity]:
    k = model.switches.shape[1]
    if model.saturated:
        return [Quantity(w, np.empty(0), direct=True) for w in shapley_weights(model.switches)]
    of_terms = np.concatenate([np.zeros((k, 1)), shapley_of_terms(model.terms, k)], axis=1)
    return [Quantity(model.weights(f), f) for f in of_terms]


def _at_quality(joint: JointArms, log_q: float) -> tuple[Array, Array]:
    """Bounds (1 + B, A) on ``-ln C_S(q)``: the log gains up to the reference's own ``ln C``, which all have in common
    and which no contrast between arms holds, so that an unmeasured reference doesn't blur what rests on the others.
    """
    level = np.full(len(joint.rows[0]), log_q)
    found = [joint.budget_for(k, level) for k in range(len(joint.names))]
    low, high = (np.stack([f[i] for f in found], axis=1) for i in (0, 1))
    return -high, -low


def _at_budget(joint: JointArms, reference: int, log_c: float) -> tuple[Array, Array]:
    """Bounds (1 + B, A) on ``ln C_ref(q_S(C)) - ln C``: the budget that the reference needs for each arm's quality."""
    columns = []
    if len(joint.ladders[reference].log_c) < 2:
        what = "is the reference and has one rung only, so no quality can be turned into a budget"
        raise TableError(f"arm '{joint.names[reference]}'", what, "run the reference along a ladder of budgets")
    for k, name in enumerate(joint.names):
        log_q = joint.quality_at(k, log_c)
        if not np.isfinite(log_q[0]):
            x = joint.ladders[k].log_c
            what = f"has no runs around a budget of {np.exp(log_c):.4g} ({np.exp(x[0]):.4g} to {np.exp(x[-1]):.4g})"
            raise TableError(f"arm '{name}'", what, "ask for a budget that every arm was run at")
        columns.append(joint.budget_for(reference, log_q) if k != reference else (np.full(len(log_q), log_c),) * 2)
    return np.stack([c[0] for c in columns], axis=1) - log_c, np.stack([c[1] for c in columns], axis=1) - log_c


def _columns(switches: Switches, terms: Sequence[Term]) -> Array:
    ones = np.ones((len(switches), 1))
    return np.concatenate([ones, *(switches[:, list(t)].all(axis=1, keepdims=True) for t in terms)], axis=1)


def _check(switches: Switches, factors: tuple[str, ...], arms: Sequence[ArmRuns]) -> int:
    if not 1 <= len(factors) <= MOST_FACTORS:
        raise TableError("factors", f"there are {len(factors)}", f"name 1 to {MOST_FACTORS} switch columns")
    if len(set(factors)) < len(factors):
        raise TableError("factors", "a factor is named twice", "name each switch column once")
    if switches.shape != (len(arms), len(factors)) or not np.isin(switches, (0, 1)).all():
        raise TableError("switches", "are not one 0 or 1 for each arm and factor", "code each factor as off 0, on 1")
    if len(np.unique(switches, axis=0)) < len(switches):
        raise TableError("switches", "two arms have the same switches", "merge their runs, or name the missing factor")
    for name, column in zip(factors, switches.T, strict=True):
        if column.min() == column.max():
            said = f"is {'on' if column[0] else 'off'} in every run"
            raise TableError(f"factor '{name}'", said, "leave it out, or run arms without it")
    reference = np.flatnonzero(switches.sum(axis=1) == 0)
    if not reference.size:
        raise TableError("factors", "no arm has all of them off", "run the reference arm, or recode on as off")
    return int(reference[0])


def _log_quality(value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise TableError("at quality", f"{value:g} is not a positive number", "give a loss or an error")
    return float(np.log(value))


def _name(term: Term, factors: tuple[str, ...]) -> str:
    return "+".join(factors[i] for i in term)


def _diagnostics(
    singles: Effect, together: Effect, excess: Effect, p: float | None, say: _Reader, low: Array, high: Array,
    joint: JointArms,
) -> tuple[Diagnostic, ...]:  # fmt: skip
    found = []
    if singles.gain is not None and together.gain is not None and excess.interval is not None:
        off_one = not excess.interval[0] <= 1 <= excess.interval[1]
        if off_one and excess.gain is not None:
            verb = "overstates" if excess.gain > 1 else "understates"
            message = (
                f"The single gains multiply to {times(singles.gain)}×, but all factors together give "
                f"{times(together.gain)}×: the product {verb} it {times(max(excess.gain, 1 / excess.gain))}-fold."
            )
            details = {"product": singles.gain, "joint": together.gain, "ratio_interval": list(excess.interval)}
            found.append(Diagnostic("single-gains-multiplied", "warning", message, details))
    if p is not None and p < 0.05:
        message = (
            f"Interactions beyond order {say.model.order} are at work (p = {p:.2g}): values from the model are off by "
            "them; run more of the factorial, or raise --order."
        )
        found.append(Diagnostic("interactions-left-out", "warning", message, {"p": p, "order": say.model.order}))
    bounded = [n for i, n in enumerate(joint.names) if low[0, i] != high[0, i]]
    if bounded:
        message = (
            f"{', '.join(bounded[:4])} {'is' if len(bounded) == 1 else 'are'} outside the measured qualities: bounds."
        )
        found.append(Diagnostic("gain-outside-overlap", "warning", message, {"arms": bounded}))
    if not joint.known:
        message = "No arm was run with a second seed, so no interval can be given."
        found.append(Diagnostic("no-replicates", "warning", message, {}))
    return tuple(found)

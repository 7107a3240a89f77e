"""The stack of innovations as gain functions: LSTM, Kaplan's Transformer, Chinchilla's balance, constants, additions.

The paper measures LSTM to the 2017 Transformer at Chinchilla's balance, and carves Kaplan's Transformer out of that by
its formula for the balance; constants follow. Under the indexes ``old`` and ``new`` the steps are composed with the
budget carried over; ``as-published`` is the product of factors all read at one budget, the first under the index of the
new arm and the balance under that of the old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.evidence.claims import constants, published_law
from isoloss.gains.chain import GainChain, before, chain_at, log_shares
from isoloss.gains.function import ByBudget, GainFunction, from_constant, from_laws
from isoloss.gains.measured import quantile_interval
from isoloss.gains.result import Interval
from isoloss.origin.accounts import Account, Composition, Kind, Step
from isoloss.origin.ingredients import Factor, Law

Array = NDArray[np.float64]

ASKED: Interval = (1e8, 1e32)  # budgets that an accounting may be asked at
BUDGETS: Interval = (1.0, 1e50)  # and those that may be met on the way from one arm to the next
_BALANCE_BUDGETS: Interval = (1e4, 1e60)
_PER_DECADE = 100
FARTHEST = 2.0  # decades beyond its own data after which an added gain is not read
TRANSFORMER, BALANCE, EXPERTS = "Kaplan's Transformer", "Chinchilla's balance", "mixture of experts"


@dataclass(frozen=True, eq=False)
class Piece:
    """One step that a stack may hold: its gain as a function, and the year from which it is there."""

    name: str
    year: int
    kind: Kind
    function: GainFunction


def value(name: str) -> float:
    """A published constant by name."""
    return constants()[name].value


def year_of(name: str) -> int:
    """The year in which an algorithm enters the accounting."""
    return int(value(f"entry.{name}"))


def power_law(name: str) -> Law:
    """A published law of compute."""
    params = published_law(name, "power").params
    return Law(params["E"], params["A"], params["alpha"])


def printed_allocation_gain(c: Array | float) -> Array:
    """``M(C)``: the paper's closed form for Kaplan's balance to Chinchilla's, at Kaplan's budget (eq. 9)."""
    p = published_law("kaplan-to-chinchilla", "allocation-gain").params
    c = np.asarray(c, float)
    above = p["n_scale"] * c ** -p["n_exponent"] + p["d_scale"] * c ** -p["d_exponent"]
    gain: Array = p["scale"] * c * above ** p["power"]
    return gain


def law_gain(old: str, new: str) -> GainFunction:
    """The gain between two published laws of compute; no measured range, as it is quoted and not ours."""
    laws = [(law.E, law.A, law.alpha) for law in (power_law(old), power_law(new))]
    return from_laws(old, new, (laws[0], laws[1]), BUDGETS)


def allocation_function() -> GainFunction:
    """Kaplan's balance to Chinchilla's by the printed formula, from the arm "kaplan" to "retro"."""
    low, high = np.log(_BALANCE_BUDGETS)
    x = np.linspace(low, high, 1 + round(_PER_DECADE * np.log10(_BALANCE_BUDGETS[1] / _BALANCE_BUDGETS[0])))
    log_new = x - np.log(printed_allocation_gain(np.exp(x)))
    return GainFunction("kaplan", "retro", x[None], log_new[None], np.full(len(x), np.nan))


def factors(rounded: bool, swiglu: bool = False, moe: float | None = None) -> tuple[Factor, ...]:
    """The gains that are taken as the same at every scale, in order of year.

    The single gains of the ablations overlap: together they are worth 1.33, shared out in proportion to the logarithms
    of the singles. `rounded` takes the singles as the authors' stack does, to two decimals, which is where its totals
    come from; else they are the unrounded ones. SwiGLU's part, which the stack left out, is there but included only
    with `swiglu`. `moe`: the factor of mixture of experts, 2 as published by default.
    """
    entries = {n.partition(".")[2]: c for n, c in constants().items() if n.startswith("singles.") and c.more["stack"]}
    singles = {n: float(c.more["rounded"]) if rounded else c.value for n, c in entries.items()}
    logs = {n: float(np.log(s)) for n, s in singles.items()}
    together = float(np.log(value("stack.together")))
    if rounded:
        parts = {n: together * x / sum(logs.values()) for n, x in logs.items()}
    else:
        five = float(np.log(value("stack.together_exact")))
        rest = sum(x for n, x in logs.items() if n != "swiglu")
        parts = {n: five * x / rest for n, x in logs.items()} | {"swiglu": together - five}
    found = [
        Factor(str(entries[n].more["title"]), int(entries[n].more["introduced"]), float(np.exp(x)),
               swiglu or n != "swiglu")
        for n, x in parts.items()
    ]  # fmt: skip
    entry = constants()["moe.gain"]
    found.append(Factor(EXPERTS, int(entry.more["introduced"]), moe or entry.value, True))
    return tuple(sorted(found, key=lambda f: f.year))


def pieces(constant: Sequence[Factor], added: Sequence[Piece] = ()) -> tuple[Piece, ...]:
    """Every step in the order of composition: the Transformer, the balance, the constants, what was added."""
    whole, balance = law_gain("lstm", "retro"), allocation_function()
    found = [
        Piece(TRANSFORMER, year_of("kaplan"), "scale-dependent", before(whole, balance)),
        Piece(BALANCE, year_of("retro"), "scale-dependent", balance),
    ]
    found += [
        Piece(f.name, f.year, "scale-invariant", from_constant(f.name, f.name, f.gain, BUDGETS))
        for f in constant
        if f.included
    ]
    return (*found, *added)


#: What a gain may be seen from. After the dense Transformer come mixture of experts and whatever was added.
REFERENCES = {
    "lstm": "LSTM of 2012",
    "kaplan": "Transformer of 2017, Kaplan's balance",
    "retro": "Transformer of 2017, Chinchilla's balance",
    "dense": "modern dense Transformer",
}


def after(reference: str, whole: Sequence[Piece], last_year: int) -> tuple[Piece, ...]:
    """The steps between a reference and the newest algorithm of a year, joined by name."""
    skip = {"lstm": 0, "kaplan": 1, "retro": 2, "dense": 2}[reference]
    kept = [p for p in whole[skip:] if p.year <= last_year]
    if reference == "dense":
        kept = [p for p in kept if p.kind == "added" or p.name == EXPERTS]
    joined, old = [], reference
    for p in kept:
        f = p.function
        joined.append(
            Piece(p.name, p.year, p.kind,
                  GainFunction(old, p.name, f.log_old, f.log_new, f.decades_out, f.quality))
        )  # fmt: skip
        old = p.name
    return tuple(joined)


def account(
    label: str,
    steps: Sequence[Piece],
    index: Composition,
    reference: str,
    years: tuple[int, int],
    budget: float,
    printed: float | None = None,
    note: str = "",
) -> Account:
    """The total of some steps at one budget under one index, and what each contributes.

    Raises TableError naming a step that is asked outside its domain.
    """
    found, total, interval = (
        _as_published(steps, budget) if index == "as-published" else _composed(steps, index, budget)
    )
    kinds = [s.kind == "scale-dependent" for s in found]
    scale = float(np.prod([s.factor for s, k in zip(found, kinds, strict=True) if k]))
    share = sum(s.share for s, k in zip(found, kinds, strict=True) if k)
    return Account(
        label, index, reference, years, budget, found, total, total ** (1 / (years[1] - years[0])), scale, share,
        interval, printed, note,
    )  # fmt: skip


def _composed(
    steps: Sequence[Piece], index: ByBudget, budget: float
) -> tuple[tuple[Step, ...], float, Interval | None]:
    if not steps:
        return (), 1.0, None
    chain = GainChain(tuple(p.function for p in steps))
    _refuse_undefined(steps, chain, index, budget)
    read = chain_at(chain, index, budget)
    logs = [_known(s.point.gain, p.name) for s, p in zip(read.steps, steps, strict=True)]
    found = tuple(
        Step(p.name, p.year, p.kind, g, float(share), float(s.at or budget), index, s.point.interval)
        for p, s, g, share in zip(steps, read.steps, logs, log_shares(logs), strict=True)
    )
    return found, float(np.prod(logs)), read.whole.interval


def _as_published(steps: Sequence[Piece], budget: float) -> tuple[tuple[Step, ...], float, Interval | None]:
    gains, draws, how = [], [], []
    for p in steps:
        # the carved-out step is the whole ladder (new index) over the balance (old index), both at this budget
        if p.name == TRANSFORMER:
            own: ByBudget = "new"
            g = law_gain("lstm", "retro").log_gain("new", np.log(budget))[0] - np.log(printed_allocation_gain(budget))
        elif p.name == BALANCE:
            own = "old"
            g = np.log(np.atleast_2d(printed_allocation_gain(budget)))
        else:
            own = "old"
            low, high = p.function.log_gain("old", np.log(budget))
            g = np.where(low == high, low, np.nan)
            _refuse(p, "old", float(np.log(budget)), float(g[0, 0]))
        gains.append(float(np.exp(g[0, 0])))
        draws.append(g[:, 0])
        how.append(own)
    found = tuple(
        Step(p.name, p.year, p.kind, g, float(s), budget, i, _ends(d))
        for p, g, s, i, d in zip(steps, gains, log_shares(gains) if gains else [], how, draws, strict=True)
    )
    return found, float(np.prod(gains)), _ends(sum(draws, np.zeros(1)))


def _refuse_undefined(steps: Sequence[Piece], chain: GainChain, index: ByBudget, budget: float) -> None:
    last = len(steps)
    low, high, _ = chain.budgets(0 if index == "old" else last, float(np.log(budget)))
    x = np.where(low == high, low, np.nan)[0]
    order = range(last) if index == "old" else range(last - 1, -1, -1)
    for k in order:
        asked, answer = (x[k], x[k + 1]) if index == "old" else (x[k + 1], x[k])
        _refuse(steps[k], index, float(asked), float(answer))


def _refuse(piece: Piece, index: ByBudget, log_c: float, answer: float) -> None:
    """One line where a step has no gain at the budget that it is asked at."""
    where = f"add {piece.name}" if piece.kind == "added" else piece.name
    asked = float(np.exp(log_c))
    if not np.isfinite(answer):
        low, high = piece.function.domain(index)
        what = f"is known from {low:.3g} to {high:.3g} FLOP ({index} index) and is asked at {asked:.3g}"
        raise TableError(where, what, "choose a budget inside, or a gain that reaches there")
    out = piece.function.out(index, log_c)
    if out > FARTHEST:
        what = f"lies {out:.1f} decades beyond its runs at {asked:.3g} FLOP, where no estimate is given"
        raise TableError(where, what, f"choose a budget within {FARTHEST:g} decades of them")


def _known(gain: float | None, name: str) -> float:
    if gain is None:  # refused before: domains are checked step by step
        raise TableError(name, "has no single gain at this budget", "choose another budget")
    return gain


def _ends(draws: Array) -> Interval | None:
    if len(draws) < 2:
        return None
    low, high = quantile_interval(draws[1:], draws[1:], 0.95)
    return float(np.exp(low)), float(np.exp(high))

"""Growth seen from each reference, effective compute, and who benefits: what budgets do to one and the same history."""

from __future__ import annotations

import numpy as np

from isoloss.evidence.claims import constants
from isoloss.gains.chain import compose
from isoloss.gains.function import ByBudget, GainFunction
from isoloss.origin.consistent import direct_steps
from isoloss.origin.published import budget_of
from isoloss.origin.result import Benefit, EffectiveCompute, EffectivePart, Growth
from isoloss.origin.stack import REFERENCES, account, after, allocation_function, factors, pieces, value

DEVELOPERS = (("a student", 1e18), ("a laboratory", 1e21), ("the frontier of 2025", 2e23))


def growth(compute_growth: float | None = None, first: int = 2013) -> tuple[Growth, ...]:
    """The newest algorithm's gain over each reference while budgets grow to the last year of the paper's figure.

    As published, products at one budget: the modern law (index new) times mixture of experts over the LSTM; the
    balance's closed form (index old) times mixture of experts over Kaplan's Transformer; mixture of experts alone over
    the dense Transformer. `composed` is the first of these with the budget carried over.
    """
    pace = compute_growth or value("stack.budget_growth")
    modern, moe = (p.function for p in direct_steps())
    whole = compose([modern, moe])
    last = int(value("stack.figure_last_year"))
    years = range(first, last + 1)
    found = []
    rows: tuple[tuple[str, GainFunction, ByBudget, float], ...] = (
        ("lstm", modern, "new", value("moe.gain")),
        ("kaplan", allocation_function(), "old", value("moe.gain")),
        ("dense", moe, "new", 1.0),
    )
    for name, f, index, constant in rows:
        ends = [_rate(f, index, budget_of(y, pace), pace) for y in (first, last)]
        gains = [constant * _gain(f, index, budget_of(y, pace)) for y in years]
        found.append(
            Growth(
                name, REFERENCES[name], ends[1], float(np.expm1(ends[1])), ends[0], gains[-1],
                value(f"stack.gain_{name}"), value(f"stack.growth_{name}"), tuple(zip(years, gains, strict=True)),
                _gain(whole, "new", budget_of(last, pace)) if name == "lstm" else None,
            )
        )  # fmt: skip
    return tuple(found)


def effective(years: tuple[int, int] = (2013, 2025), compute_growth: float | None = None) -> EffectiveCompute:
    """Effective compute = algorithms x hardware x spending over `years`, algorithms as the paper's accounting has them.

    Compute = hardware (FLOP per dollar) x spending. The algorithms' part is split into what they give at the first
    year's budget and what the growth of the budget added: ``ln G(C_first) / ln G(C_last)`` of the same algorithms.
    """
    printed = value("stack.budget_growth")
    pace = compute_growth or printed
    span = years[1] - years[0]
    steps = after("lstm", pieces(factors(rounded=True)), years[1])
    first, last = (account("", steps, "as-published", "lstm", years, budget_of(y, pace)).total for y in years)
    hardware = value("stack.hardware") ** (1 / value("stack.hardware_years"))
    rows = (
        ("algorithms at the first year's budget", first ** (1 / span), "the paper's accounting at that budget"),
        ("algorithms, bought by scale", (last / first) ** (1 / span), "the same, carried to the last year's budget"),
        ("hardware", hardware, f"{constants()['stack.hardware'].where}"),
        ("spending", pace / hardware, "what is left of the growth of budgets"),
    )
    whole = sum(np.log(r) for _, r, _ in rows)
    parts = tuple(
        EffectivePart(name, float(rate), float(rate**span), float(np.log(rate) / whole), source)
        for name, rate, source in rows
    )
    also = float(constants()["stack.budget_growth"].more["also"])
    by_growth = {}
    for g in sorted({printed, also, pace}):
        total = account("", steps, "as-published", "lstm", years, budget_of(years[1], g)).total
        by_growth[f"{g:g}"] = float(g * total ** (1 / span))
    bought = float(np.log(last / first) / np.log(last))
    return EffectiveCompute(years, pace, parts, float(np.exp(span * whole)), first, bought, by_growth)


def benefits() -> tuple[Benefit, ...]:
    """What the whole stack is worth to developers with different budgets, composed under both indexes."""
    steps = after("lstm", pieces(factors(rounded=False)), 2025)
    found = []
    for who, budget in DEVELOPERS:
        new, old = (account(who, steps, i, "lstm", (2013, 2025), budget) for i in ("new", "old"))
        inside = value("stack.measured_least") <= budget <= value("stack.measured_most")
        found.append(Benefit(who, budget, new.total, old.total, new.scale_dependent_share, inside))
    return tuple(found)


def _gain(f: GainFunction, index: ByBudget, budget: float) -> float:
    return float(np.exp(f.log_gain(index, float(np.log(budget)))[0][0, 0]))


def _rate(f: GainFunction, index: ByBudget, budget: float, pace: float) -> float:
    return f.slope(index, float(np.log(budget)))[0] * float(np.log(pace))

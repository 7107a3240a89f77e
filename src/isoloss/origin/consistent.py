"""The same accounting under each index, composed as functions; single gains against joint ones; Kaplan's balance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.evidence.claims import constants, published_law, published_laws
from isoloss.gains.function import from_constant, from_formula
from isoloss.laws.frontier_law import FrontierLaw, PowerAllocation, allocation_gain, frontier_law
from isoloss.origin.accounts import (
    Account,
    Allocation,
    AllocationByLaw,
    AllocationPoint,
    Combined,
    Composition,
    Consistent,
    LadderPoint,
)
from isoloss.origin.stack import (
    ASKED,
    BUDGETS,
    EXPERTS,
    Piece,
    account,
    after,
    allocation_function,
    factors,
    law_gain,
    pieces,
    printed_allocation_gain,
    value,
)

INDEXES: tuple[Composition, ...] = ("as-published", "new", "old")
GRID = (1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1.34e22, 1e23, 2e23, 2.26e23, 1e24, 1e25)


def consistent(law: str = "hoffmann", allocation: PowerAllocation | None = None) -> Consistent:
    """The accounting at the paper's rounded budgets under every index, and what explains the differences."""
    return Consistent(
        _accounts(swiglu=False), _accounts(swiglu=True), _direct(), combined(), allocation_curve(law, allocation),
        ladder(),
    )  # fmt: skip


def _periods() -> tuple[tuple[tuple[int, int], float], ...]:
    return (
        ((2012, 2023), value("stack.budget_rounded_2023")),
        ((2013, 2025), value("stack.budget_rounded_2025")),
    )


def _accounts(swiglu: bool) -> tuple[Account, ...]:
    steps = pieces(factors(rounded=False, swiglu=swiglu))
    return tuple(
        account(f"{years[0]} to {years[1]}, {index}", after("lstm", steps, years[1]), index, "lstm", years, budget)
        for years, budget in _periods()
        for index in INDEXES
    )


def direct_steps() -> tuple[Piece, ...]:
    """The modern law against the LSTM's, then mixture of experts: two steps, no ablations and no balance."""
    moe = constants()["moe.gain"]
    year = int(moe.more["introduced"])
    return (
        Piece("modern Transformer", year, "scale-dependent", law_gain("lstm", "modern")),
        Piece(EXPERTS, year, "scale-invariant", from_constant("modern", EXPERTS, moe.value, BUDGETS)),
    )


def _direct() -> tuple[Account, ...]:
    return tuple(
        account(f"{years[0]} to {years[1]}, modern law, {index}", direct_steps(), index, "lstm", years, budget)
        for years, budget in _periods()
        for index in INDEXES[1:]
    )


def combined() -> tuple[Combined, ...]:
    """Single gains multiplied, against what all changes give together (section 3.2)."""
    singles = {c.more["title"]: c.value for n, c in constants().items() if n.startswith("singles.") and c.more["stack"]}
    product = float(np.prod(list(singles.values())))
    rows = []
    for name, more, joint, raw in (
        ("2017 to modern Transformer", {}, "together", "raw_retro_modern"),
        (
            "LSTM to modern Transformer",
            {"LSTM to Transformer of 2017": value("stack.joint_lstm_retro")},
            "joint_lstm_modern",
            "raw_lstm_modern",
        ),
    ):
        each = {**more, **singles}
        multiplied = float(np.prod(list(each.values())))
        whole = value(f"stack.{joint}")
        said = f"the text multiplies four changes, without the schedule: {value('stack.product_text'):g}"
        rows.append(
            Combined(name, each, multiplied, whole, value(f"stack.{raw}"), float(np.log(whole) / np.log(multiplied)),
                     said if not more else "")
        )  # fmt: skip
    ladder_joint = value("stack.joint_lstm_modern") / value("stack.joint_lstm_retro")
    rows.append(
        Combined(
            "2017 to modern Transformer, as LSTM to modern over LSTM to 2017", singles, product, ladder_joint, None,
            float(np.log(ladder_joint) / np.log(product)), "6.28 / 4.69",
        )
    )  # fmt: skip
    return tuple(rows)


def kaplan() -> PowerAllocation:
    """Kaplan's published balance."""
    params = published_law("kaplan", "allocation").params
    return PowerAllocation(params["coefficient"], params["exponent"])


def allocation_curve(
    law: str | Mapping[str, float] = "hoffmann", allocation: PowerAllocation | None = None
) -> Allocation:
    """The gain of the optimal balance over another, exactly and by the printed closed form, along budgets.

    `law`: a published L(N, D) by name, or its parameters ``E, A, B, alpha, beta``. `allocation`: Kaplan's by default.
    The closed form and its limit are the paper's, for the rounded Chinchilla constants and Kaplan's balance; beside any
    other law or allocation they are left out (NaN).
    """
    said = law if isinstance(law, str) else "given"
    params = published_law(law, "chinchilla").params if isinstance(law, str) else law
    frontier, other = frontier_law(params), allocation or kaplan()
    as_printed = law == "hoffmann" and other == kaplan()
    c = np.array(GRID)
    old, new = (allocation_gain(frontier, other, c, i)[0] for i in ("old", "new"))
    if as_printed:
        closed = printed_allocation_gain(c)
        limit = value("stack.asymptote_scale") * c ** value("stack.asymptote_power")
        function = allocation_function()
    else:
        closed = limit = np.full(len(c), np.nan)
        function = from_formula("other", "optimal", lambda x: allocation_gain(frontier, other, x)[0], "old", ASKED)
    points = tuple(AllocationPoint(*map(float, row)) for row in zip(c, old, new, closed, limit, strict=True))
    least_at = _crossing(frontier, other)
    least = float(allocation_gain(frontier, other, least_at)[0, 0])
    reached = value("stack.invariant")
    reached_at = function.budgets_of("old", reached)
    by_law = []
    largest = value("stack.budget_rounded_2025")
    for name, entry in published_laws().items():
        if entry.form == "chinchilla":
            f = frontier_law(entry.params)
            a, b = (float(allocation_gain(f, other, largest, i)[0, 0]) for i in ("old", "new"))
            by_law.append(AllocationByLaw(name, f"{entry.paper}, {entry.where}", largest, a, b))
    notes = [f"The gain is least, {least:.3g}, at {least_at:.2g} FLOP, where the two balances are nearest."]
    if len(reached_at) > 1:
        notes.append(
            f"Its inverse is two-valued: it is {reached:g} at {' and at '.join(f'{b:.3g}' for b in reached_at)} FLOP. "
            "Each index still has one gain at every budget, as budgets of the two balances rise together throughout."
        )
    if as_printed:
        at = int(np.argmin(np.abs(np.log(c / 1e23))))
        notes.append(
            "Below the least value the curve is what Kaplan's fit says where it was not fitted. The limit that the "
            f"paper offers at roughly 1e23 gives {limit[at]:.3g} there; the closed form gives {closed[at]:.3g}."
        )
    return Allocation(
        said, f"N = {other.coefficient:.4g} C^{other.exponent:g}", points, least, least_at, reached, reached_at,
        float(np.max(np.abs(closed / old - 1))), tuple(by_law), tuple(notes),
    )  # fmt: skip


def _crossing(frontier: FrontierLaw, other: PowerAllocation) -> float:
    """The budget at which both give one N, ``N*(C) = N(C)``; the nearest end of `ASKED` where that lies outside."""
    offset = np.log(other.coefficient) - frontier.log_balance[0] + frontier.exponent_n[0] * np.log(frontier.k)
    apart = frontier.exponent_n[0] - other.exponent
    ends = np.log(ASKED)
    if apart == 0:  # parallel: the gain is the same at every budget
        return float(ASKED[0])
    return float(np.exp(np.clip(offset / apart, *ends)))


def ladder() -> tuple[LadderPoint, ...]:
    """What the printed laws give over the LSTM at budgets from the smallest runs to beyond the largest."""
    retro, modern = law_gain("lstm", "retro"), law_gain("lstm", "modern")
    x = np.log(np.array(GRID))
    read = [np.exp(f.log_gain(i, x)[0][0]) for f in (retro, modern) for i in ("new", "old")]
    low, high = value("stack.measured_least"), value("stack.measured_most")
    rows = np.stack(read, axis=1).tolist()
    return tuple(LadderPoint(c, g[0], g[1], g[2], g[3], low <= c <= high) for c, g in zip(GRID, rows, strict=True))

"""The verb ``origin``: where algorithmic progress came from, as published, re-indexed, with intervals, and what-ifs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoloss.errors import TableError

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.gains.result import GainCurve
    from isoloss.laws.frontier_law import PowerAllocation
    from isoloss.origin.accounts import Allocation
    from isoloss.origin.result import Origin
    from isoloss.origin.stack import Piece

    Added = GainCurve | str | os.PathLike[str] | float


def origin(
    reference: str = "lstm",
    budget: float = 2.26e23,
    years: tuple[int, int] = (2013, 2025),
    compute_growth: float = 4.1,
    index: Literal["as-published", "old", "new"] = "as-published",
    *,
    add: Mapping[str, Added] | None = None,
    swiglu: bool = False,
    moe: float | None = None,
    data: str | os.PathLike[str] | None = None,
    ho: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Origin:
    """The accounting of "On the Origin of Algorithmic Progress in AI", done under every index, and your own what-if.

    `reference`: lstm, kaplan, retro or dense. `budget`: FLOP in the last of `years`, of the reference (index old) or
    of the newest algorithm (new, as-published). `add`: innovations of your own by name, each a `GainCurve`, a number,
    or a CSV of budget (of the algorithm before it), gain and, if known, low and high; they come last. `swiglu` puts
    back the factor that the published stack left out, `moe` replaces its factor 2. `data`: the folder of the authors'
    curves, for intervals; by default where `isoloss fetch gundlach` puts them. `ho`: a table of
    published perplexities to which model 7 of Ho et al. 2024 is refitted. `results`: a folder of study cards, for our
    own ladder and gains; by default the folder ``results`` here, if there is one. Only `what_if` of the answer depends
    on the arguments before `data`. Raises `IsolossError` in one line.

    Source: Gundlach et al. 2025, arXiv 2511.21622.
    """
    from isoloss.origin.consistent import consistent
    from isoloss.origin.distribution import distribution
    from isoloss.origin.growth import benefits, effective, growth
    from isoloss.origin.ho import refit
    from isoloss.origin.neighbours import neighbours
    from isoloss.origin.notes import notes
    from isoloss.origin.ours import our_ladder
    from isoloss.origin.published import published
    from isoloss.origin.result import Origin
    from isoloss.origin.uncertain import uncertain
    from isoloss.origin.what_if import what_if
    from isoloss.verbs.atlas import filed_cards

    if len(years) != 2 or any(int(y) != y for y in years):
        raise TableError("years", f"{years!r} is no span of years", "give two, such as (2013, 2025)")
    first, last = (int(y) for y in years)
    asked = what_if(
        reference, float(budget), (first, last), float(compute_growth), index, swiglu=swiglu, moe=moe,
        added=[_piece(name, gain, last) for name, gain in (add or {}).items()],
    )  # fmt: skip
    cards = filed_cards(results)
    account, indexed, seen, who = published(), consistent(), growth(), benefits()
    others = neighbours() if ho is None else (*neighbours(), refit(ho))
    spread = uncertain(None if data is None else Path(data), tick)
    return Origin(
        "On the Origin of Algorithmic Progress in AI", "Gundlach et al. 2025, arXiv 2511.21622v1", account, indexed,
        spread, seen, effective(), who, distribution(cards), others, notes(account, indexed, spread, seen, who), asked,
        our_ladder(cards),
    )  # fmt: skip


def allocation(
    law: str | Mapping[str, float] = "hoffmann", coefficient: float | None = None, exponent: float | None = None
) -> Allocation:
    """The gain of the compute-optimal balance over ``N = coefficient C^exponent`` (Kaplan's by default) under a law.

    `law`: a published L(N, D) (`isoloss list evidence`), or its ``E, A, B, alpha, beta``. Raises `IsolossError`.
    """
    from isoloss.laws.frontier_law import PowerAllocation
    from isoloss.origin.consistent import allocation_curve

    other: PowerAllocation | None = None
    if (coefficient is None) != (exponent is None):
        raise TableError("allocation", "has one of coefficient and exponent", "give both, or neither for Kaplan's")
    if coefficient is not None and exponent is not None:
        if not coefficient > 0 or not 0 <= exponent <= 1:
            what = f"{coefficient:g} C^{exponent:g} is no balance"
            raise TableError("allocation", what, "give a positive coefficient and an exponent from 0 to 1")
        other = PowerAllocation(coefficient, exponent)
    return allocation_curve(law, other)


def origin_json(result: Origin) -> dict[str, Any]:
    """The answer of ``isoloss origin --json``."""
    from isoloss.gains.result import to_json

    answer: dict[str, Any] = to_json(result)
    return answer


def origin_page(result: Origin, folder: str | os.PathLike[str] = "reports") -> Path | None:
    """Write the page of a result; its path, or None where this installation has no page of it."""
    from importlib.util import find_spec

    if find_spec("isoloss.report.origin_page") is None:
        return None
    from importlib import import_module

    page: Path = import_module("isoloss.report.origin_page").write_origin_page(result, Path(folder))
    return page


def _piece(name: str, gain: Added, year: int) -> Piece:
    """An innovation of the user's own as a step."""
    from isoloss.gains.function import from_constant, from_curve
    from isoloss.gains.result import GainCurve
    from isoloss.origin.stack import BUDGETS, Piece
    from isoloss.verbs.attribution import read_gain

    name = name.strip()
    if isinstance(gain, GainCurve):
        function = from_curve(gain, "old")
    elif isinstance(gain, int | float):
        if not 0 < gain < float("inf"):
            raise TableError(
                f"add {name}", f"{gain:g} is no gain", "give a positive number, or a CSV of budget and gain"
            )
        function = from_constant(name, name, float(gain), BUDGETS)
    else:
        function = read_gain(gain, name, name, "old")
    return Piece(name, year, "added", function)

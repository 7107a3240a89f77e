"""The accounting for a reference, budget, years and pace of compute of one's own, with innovations of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.errors import TableError, UnknownNameError
from isoloss.evidence.claims import published_law
from isoloss.origin.accounts import Composition
from isoloss.origin.consistent import INDEXES
from isoloss.origin.ingredients import AddedCurve, Ingredients, WhatIf
from isoloss.origin.stack import (
    ASKED,
    BALANCE,
    EXPERTS,
    REFERENCES,
    TRANSFORMER,
    Piece,
    account,
    after,
    factors,
    pieces,
    power_law,
    value,
    year_of,
)

_KNOTS = 200


def what_if(
    reference: str = "lstm",
    budget: float = 2.26e23,
    years: tuple[int, int] = (2013, 2025),
    compute_growth: float = 4.1,
    index: Composition = "as-published",
    *,
    swiglu: bool = False,
    moe: float | None = None,
    added: Sequence[Piece] = (),
) -> WhatIf:
    """What the newest algorithm of the last year gains over `reference`, and the path of that gain through the years.

    `budget` is that of the last year: of the reference (index old) or of the newest algorithm. Earlier years have
    ``budget compute_growth^(year - last)`` and the algorithms that were there; `added` come last, in the last year.
    Raises UnknownNameError for a reference or index, TableError for the rest.
    """
    _check(reference, budget, years, compute_growth, index, moe, added)
    constant = factors(rounded=False, swiglu=swiglu, moe=moe)
    whole = pieces(constant, added)
    steps = after(reference, whole, years[1])
    label = f"{REFERENCES[reference]}, {years[0]} to {years[1]}"
    accounts = tuple(account(label, steps, i, reference, years, budget) for i in INDEXES)
    path = []
    for year in range(max(years[0], _since(reference)), years[1] + 1):
        there, then = after(reference, whole, year), budget * compute_growth ** (year - years[1])
        path.append((year, account("", there, index, reference, years, then).total))
    return WhatIf(
        reference, budget, years, compute_growth, index, swiglu, accounts[INDEXES.index(index)], accounts, tuple(path),
        Ingredients(
            {name: power_law(name) for name in ("lstm", "retro", "modern")},
            dict(published_law("kaplan-to-chinchilla", "allocation-gain").params),
            constant,
            tuple(_curve(p) for p in added),
            REFERENCES,
            {TRANSFORMER: year_of("kaplan"), BALANCE: year_of("retro")},
            *_years(),
            (value("stack.measured_least"), value("stack.measured_most")),
        ),
    )  # fmt: skip


def _years() -> tuple[int, int]:
    """First and last year that the evidence speaks of."""
    return year_of("lstm"), int(value("stack.figure_last_year"))


def _since(reference: str) -> int:
    return year_of(reference) if reference != "dense" else max(f.year for f in factors(rounded=False))


def _check(
    reference: str,
    budget: float,
    years: tuple[int, int],
    compute_growth: float,
    index: str,
    moe: float | None,
    added: Sequence[Piece],
) -> None:
    if reference not in REFERENCES:
        raise UnknownNameError("reference", "reference", reference, REFERENCES)
    if index not in INDEXES:
        raise UnknownNameError("index", "index", index, INDEXES)
    if not ASKED[0] <= budget <= ASKED[1]:
        what = f"{budget:g} is no training budget in FLOP"
        raise TableError("budget", what, f"give one from {ASKED[0]:g} to {ASKED[1]:g}")
    first, last = _years()
    for year in years:
        if not first <= year <= last:
            raise TableError("years", f"{year} is outside the evidence", f"choose years from {first} to {last}")
    if years[0] >= years[1]:
        raise TableError("years", f"{years[0]} to {years[1]} is no span", "give an earlier and a later year")
    if years[1] < _since(reference):
        what = f"'{reference}' enters in {_since(reference)}, after {years[1]}"
        raise TableError("reference", what, "choose an older reference or a later last year")
    if not 0.01 <= compute_growth <= 100:
        what = f"{compute_growth:g} is no yearly factor from 0.01 to 100"
        raise TableError("compute growth", what, "4.1 means 4.1 times a year")
    if moe is not None and not 0 < moe < np.inf:
        raise TableError("mixture of experts", f"{moe:g} is no gain", "give a positive number, such as 2")
    taken = {TRANSFORMER, BALANCE, EXPERTS, *REFERENCES, *(f.name for f in factors(rounded=False))}
    for k, piece in enumerate(added):
        if not piece.name or piece.name in taken or piece.name in {p.name for p in added[:k]}:
            raise TableError(
                "add", f"the name '{piece.name[:40]}' is empty or taken", "give the innovation its own name"
            )


def _curve(piece: Piece) -> AddedCurve:
    """The estimate of an added gain between its knots, thinned."""
    old, new = piece.function.log_old[0], piece.function.log_new[0]
    known = np.flatnonzero(np.isfinite(old) & np.isfinite(new))
    some = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), _KNOTS)).round().astype(int))]
    if np.ptp((old - new)[some]) < 1e-12:
        some = some[[0, -1]]
    return AddedCurve(
        piece.name, piece.year, tuple(np.exp(old[some]).tolist()), tuple(np.exp((old - new)[some]).tolist())
    )

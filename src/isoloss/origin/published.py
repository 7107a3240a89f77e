"""The paper's own accounting, from its own constants: both periods, and with the factor that it left out."""

from __future__ import annotations

from isoloss.origin.accounts import Account, Published
from isoloss.origin.stack import account, after, factors, pieces, value

PERIODS = ((2012, 2023), (2013, 2025))


def budget_of(year: int, growth: float | None = None) -> float:
    """``C(year)``: the largest training budget of a year by the authors' constants, 1e16 FLOP in 2013 and on."""
    return value("stack.budget_first") * (growth or value("stack.budget_growth")) ** (year - value("stack.budget_year"))


def published() -> Published:
    """6,926 (2012 to 2023) and 21,416 (2013 to 2025) with their parts; with SwiGLU restored; the gap to Ho et al.

    Source: Gundlach et al. 2025 (arXiv 2511.21622v1) sections 5.1 and 7.1, and the authors' numbers.
    """
    accounts, restored = (tuple(_account(years, swiglu) for years in PERIODS) for swiglu in (False, True))
    total = value("ho.total")
    return Published(accounts, restored, total, tuple(total / a.total for a in accounts))


def _account(years: tuple[int, int], swiglu: bool) -> Account:
    steps = after("lstm", pieces(factors(rounded=True, swiglu=swiglu)), years[1])
    label = f"{years[0]} to {years[1]}" + (", SwiGLU restored" if swiglu else "")
    printed = None if swiglu else value(f"stack.total_{years[1]}")
    note = "SwiGLU is among the ablations but missing from the authors' stack" if swiglu else ""
    return account(label, steps, "as-published", "lstm", years, budget_of(years[1]), printed, note)

"""What a what-if is worked out from, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

from isoloss.origin.accounts import Account, Composition, Interval


@dataclass(frozen=True)
class Law:
    """``L(C) = E + A C^-alpha``."""

    E: float
    A: float
    alpha: float


@dataclass(frozen=True)
class Factor:
    """A gain that does not depend on scale; `included` in the stack unless the what-if says otherwise."""

    name: str
    year: int
    gain: float
    included: bool


@dataclass(frozen=True)
class AddedCurve:
    """An innovation that the user added: ``ln G`` is linear between these budgets of its old arm, undefined beyond."""

    name: str
    year: int
    budget: tuple[float, ...]
    gain: tuple[float, ...]


@dataclass(frozen=True)
class Ingredients:
    """All that a page needs to work every what-if out again in the browser.

    ``G_LR(C) = C_old / C`` from `laws`; Kaplan's allocation ``M(C) = m["scale"] C (m["n_scale"] C^-m["n_exponent"] +
    m["d_scale"] C^-m["d_exponent"])^m["power"]`` (old index); constants in `factors`, in order of year; the budget of
    a year is ``budget growth^(year - last year)``. Steps and the year each enters are in `steps`.
    """

    laws: dict[str, Law]
    m: dict[str, float]
    factors: tuple[Factor, ...]
    added: tuple[AddedCurve, ...]
    references: dict[str, str]
    steps: dict[str, int]
    first_year: int
    last_year: int
    measured: Interval


@dataclass(frozen=True)
class WhatIf:
    """What was asked and the answer: the accounting under the asked index, and under all of them beside it."""

    reference: str
    budget: float
    years: tuple[int, int]
    compute_growth: float
    index: Composition
    swiglu: bool
    answer: Account
    every_index: tuple[Account, ...]
    path: tuple[tuple[int, float], ...]
    ingredients: Ingredients

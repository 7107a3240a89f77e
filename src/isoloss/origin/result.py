"""What `isoloss origin` finds: frozen values that the page, the terminal and ``--json`` all print.

What its parts are made of is in `accounts`, `spread` and `ingredients`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isoloss.origin.accounts import Consistent, Interval, LadderPoint, Published
from isoloss.origin.ingredients import WhatIf
from isoloss.origin.spread import Distribution, Neighbour, Uncertain

Standing = Literal["holds", "loose", "does not hold", "open"]


@dataclass(frozen=True)
class OurGain:
    """One measured gain of our own ladder beside what the printed laws foretell at that budget under that index.

    `gain` is None where only a bound is known (`interval` has it, and `region` is ``censored``).
    """

    innovation: str
    old: str
    new: str
    study: str
    index: Literal["old", "new"]
    at: float
    gain: float | None
    interval: Interval | None
    region: str
    foretold: float


@dataclass(frozen=True)
class OurRung:
    """One arm of our own at one budget: its quality in `unit`, the mean over `runs`."""

    arm: str
    study: str
    task: str
    budget: float
    quality: float
    unit: str
    interval: Interval
    runs: int


@dataclass(frozen=True)
class OurLadder:
    """Our ladder from study cards, and the printed laws over its budgets; `note` says why where there is none."""

    gains: tuple[OurGain, ...]
    rungs: tuple[OurRung, ...]
    laws: tuple[LadderPoint, ...]
    files: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Growth:
    """The newest algorithm's gain over one reference as budgets grow, every year from first to last.

    `log_rate` = ``d ln G / d ln C ln(growth of budgets)`` at the last year, `log_rate_first` at the first;
    `simple_rate` = ``exp(log_rate) - 1``, the same as a percentage that compounds. `path` holds (year, gain), each as
    published; `composed` is the last year's with the budget carried over from step to step, where that differs.
    """

    reference: str
    title: str
    log_rate: float
    simple_rate: float
    log_rate_first: float
    gain: float
    printed: float | None
    printed_rate: float | None
    path: tuple[tuple[int, float], ...]
    composed: float | None = None


@dataclass(frozen=True)
class EffectivePart:
    """One factor of effective compute: a year's factor, the whole period's, and its share of the log."""

    name: str
    per_year: float
    total: float
    share: float
    source: str


@dataclass(frozen=True)
class EffectiveCompute:
    """Effective compute = algorithms x hardware x spending, and how much of the algorithms' part scale has bought.

    `at_start` is the gain that the same algorithms have at the first year's budget; what is left of the log of `total`
    came from carrying them to a larger budget: `bought_by_scale`.
    """

    years: tuple[int, int]
    compute_growth: float
    parts: tuple[EffectivePart, ...]
    total: float
    at_start: float
    bought_by_scale: float
    by_growth: dict[str, float]


@dataclass(frozen=True)
class Benefit:
    """What ten years of algorithms are worth to a developer with one budget, under both indexes."""

    who: str
    budget: float
    new: float
    old: float
    scale_dependent_share: float
    measured: bool


@dataclass(frozen=True)
class Note:
    """A statement of the paper and whether it follows from its own formulas, with the figures."""

    statement: str
    standing: Standing
    figures: str
    where: str


@dataclass(frozen=True)
class Origin:
    """Everything that `isoloss origin` prints, in its order."""

    title: str
    paper: str
    published: Published
    consistent: Consistent
    uncertain: Uncertain
    growth: tuple[Growth, ...]
    effective: EffectiveCompute
    benefits: tuple[Benefit, ...]
    distribution: Distribution
    neighbours: tuple[Neighbour, ...]
    notes: tuple[Note, ...]
    what_if: WhatIf
    ours: OurLadder

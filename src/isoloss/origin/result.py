"""What `isoloss origin` finds: frozen values that the page, the terminal and ``--json`` all print.

Every gain says under which index it is: ``old`` = a function of the reference's budget, ``new`` = of the newest
algorithm's, ``as-published`` = a product of step gains all read at one budget, each under the index its source used.
Shares are of the logarithm of the total. Budgets are in training FLOP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Interval = tuple[float, float]
Composition = Literal["as-published", "old", "new"]
Kind = Literal["scale-dependent", "scale-invariant", "added"]
Standing = Literal["holds", "loose", "does not hold", "open"]


@dataclass(frozen=True)
class Step:
    """One step of an accounting: its `factor`, read at budget `at` under `index`, and its `share` of the log."""

    name: str
    year: int
    kind: Kind
    factor: float
    share: float
    at: float
    index: Literal["old", "new"]
    interval: Interval | None = None


@dataclass(frozen=True)
class Account:
    """A total and the steps it is made of.

    `budget` belongs to the reference (index old) or to the newest algorithm (new, as-published). `per_year` is
    ``total^(1 / years)``, `scale_dependent` the product of the scale-dependent steps and `scale_dependent_share` their
    part of the log. `printed` is what the paper prints for this total, where it prints one.
    """

    label: str
    index: Composition
    reference: str
    years: tuple[int, int]
    budget: float
    steps: tuple[Step, ...]
    total: float
    per_year: float
    scale_dependent: float
    scale_dependent_share: float
    interval: Interval | None = None
    printed: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Published:
    """The paper's own accounting: both periods, the same with its left-out factor restored, and the gap to Ho et al."""

    accounts: tuple[Account, ...]
    restored: tuple[Account, ...]
    ho_total: float
    gaps: tuple[float, ...]


@dataclass(frozen=True)
class Combined:
    """Single gains multiplied against what they give together, at the ablations' scale.

    `product` of the `singles`; `joint` as the paper's laws give it; `raw` as its curves do; `shrink` is
    ``ln joint / ln product``.
    """

    name: str
    singles: dict[str, float]
    product: float
    joint: float
    raw: float | None
    shrink: float
    note: str = ""


@dataclass(frozen=True)
class AllocationPoint:
    """How many times less the optimal allocation needs at one budget.

    `old`: at the other allocation's budget, exactly; `new`: at the optimal one's, exactly; `closed_form`: the
    printed formula (old index); `asymptote`: its printed large-budget limit.
    """

    budget: float
    old: float
    new: float
    closed_form: float
    asymptote: float


@dataclass(frozen=True)
class AllocationByLaw:
    """The same gain at one budget under another published law."""

    law: str
    source: str
    budget: float
    old: float
    new: float


@dataclass(frozen=True)
class Allocation:
    """Kaplan's balance of parameters and data against the optimal one, along budgets, under one law.

    The gain has a least value `least` at budget `least_at`; below that a larger gain belongs to a smaller budget, so
    `reached_at` gives every budget at which the gain is `reached` (two of them). `closed_form_error` is the largest
    relative error of the printed formula against the exact one over the points.
    """

    law: str
    reference: str
    points: tuple[AllocationPoint, ...]
    least: float
    least_at: float
    reached: float
    reached_at: tuple[float, ...]
    closed_form_error: float
    by_law: tuple[AllocationByLaw, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LadderPoint:
    """Gains over the LSTM at one budget from the printed laws; `measured` where the paper trained models."""

    budget: float
    retro_new: float
    retro_old: float
    modern_new: float
    modern_old: float
    measured: bool


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
class Consistent:
    """The accounting under every index at one budget, and what goes with it.

    `accounts` at the rounded budgets that the paper speaks of; `restored` the same with the left-out factor;
    `direct` the modern law times mixture of experts, no chain.
    """

    accounts: tuple[Account, ...]
    restored: tuple[Account, ...]
    direct: tuple[Account, ...]
    combined: tuple[Combined, ...]
    allocation: Allocation
    ladder: tuple[LadderPoint, ...]


@dataclass(frozen=True)
class Specification:
    """The total under one defensible reading of the curves.

    `choices` name campaign, points, floor and LSTM compute; exponents by arm; gains of the 2017 Transformer over the
    LSTM and totals, each with its interval where runs were resampled. ``inf``: a law never gets there.
    """

    label: str
    choices: dict[str, str]
    exponents: dict[str, float]
    retro_new: float
    retro_old: float
    as_published: float
    total_new: float
    total_old: float
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Uncertain:
    """Intervals from whole runs drawn with replacement, and the total over all defensible readings.

    Without the authors' curves `rows` and `curve` are empty and `how` says how to get them. `curve` is in order of
    `total_new`; `span` its least, median and greatest per index.
    """

    rows: tuple[Specification, ...]
    curve: tuple[Specification, ...]
    span: dict[str, tuple[float, float, float]]
    budget: float
    decades_out: float
    draws: int
    how: str


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
class SingleGain:
    """One innovation's own gain and the scale at which it was measured or is quoted."""

    name: str
    year: int
    gain: float
    budget: float
    measured: bool


@dataclass(frozen=True)
class JumpTest:
    """Is the greatest step too large a share of the log for exchangeable steps?

    `null` names what is exchangeable; `p` is the chance of a greatest share of at least `largest_share` under it.
    """

    sample: str
    null: str
    steps: int
    largest: str
    largest_share: float
    p: float
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """One innovation: what its originators claimed, what later work found, what this project measured.

    Numbers are gains; None where nobody gave one. `check`: ``read`` (in the source) or ``second-hand``.
    """

    name: str
    year: int
    resource: str
    claimed: float | None
    claimed_source: str
    later: float | None
    later_source: str
    ours: float | None
    ours_interval: Interval | None
    ours_scale: str
    trend: str
    check: str


@dataclass(frozen=True)
class Distribution:
    """How single gains are spread: moments of their logs, tests for jumps, claims that shrink.

    `skew` is the sample skewness of the log gains; `median_shrink` the median of ``ln later / ln claimed`` over the
    `shrinking` claims that have both.
    """

    gains: tuple[SingleGain, ...]
    skew: float
    mean_log: float
    median_log: float
    tests: tuple[JumpTest, ...]
    claims: tuple[Claim, ...]
    shrinking: int
    median_shrink: float
    note: str


@dataclass(frozen=True)
class Neighbour:
    """Another estimate of the same thing, or a criticism as a sensitivity row.

    `per_year` is the yearly factor, `doubling_months` what it implies, `interval` that of `per_year`; `total` over
    `years` where the source gives one. `effect` says in words what it does to the numbers above.
    """

    name: str
    quantity: str
    years: str
    total: float | None
    per_year: float | None
    doubling_months: float | None
    interval: Interval | None
    source: str
    check: str
    effect: str = ""


@dataclass(frozen=True)
class Note:
    """A statement of the paper and whether it follows from its own formulas, with the figures."""

    statement: str
    standing: Standing
    figures: str
    where: str


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

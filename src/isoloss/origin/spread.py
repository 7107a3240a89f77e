"""How sure the numbers are and how they are spread: other readings, single gains, claims, others' estimates."""

from __future__ import annotations

from dataclasses import dataclass, field

from isoloss.origin.accounts import Interval


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

"""What a comparison of two arms yields: frozen values that the page, the terminal and ``--json`` all print.

Vocabulary (DESIGN): the gain ``G`` says how many times less of a resource the candidate needs. Its *index* says
what it is a function of: ``old`` = the baseline's budget ``C`` (the candidate reaches the same quality with
``C / G_old(C)``), ``new`` = the candidate's budget (the baseline needs ``C * G_new(C)``), ``quality`` = a level.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from isoloss.gains.portable import Portable

Index = Literal["old", "new", "quality"]
Region = Literal["measured", "censored", "extrapolated", "withheld", "undefined"]
Level = Literal["gain", "none", "loss", "unknown"]
Trend = Literal["grows", "constant", "shrinks", "unknown"]
Severity = Literal["info", "warning", "error"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Diagnostic:
    """A named caution about a result: `code` is stable for machines, `message` is one plain sentence."""

    code: str
    severity: Severity
    message: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GainPoint:
    """A gain at one budget (or one quality level) under one index.

    ``measured``: inside the overlap of both ladders, `gain` and `interval` from interpolation without a law.
    ``censored``: the other arm never reached this quality; `gain` is None and one end of `interval` is a bound
    (``(x, inf)``: more than x; ``(0, x)``: less than x). ``extrapolated``: from the laws, at most two decades
    beyond the data. ``withheld``: further than that, so `gain` is None and only the interval is given.
    ``undefined``: the gain does not exist there, and `note` says why. `fan` gives an extrapolated gain's interval
    under the treatments of the floor that were not chosen.
    """

    index: Index
    at: float
    gain: float | None
    interval: Interval | None
    region: Region
    quality: float | None = None
    decades_out: float = 0.0
    note: str = ""
    fan: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class LawSummary:
    """One arm's fitted law ``L(C) = E + A C^-alpha`` with 95% intervals, and how well it holds."""

    arm: str
    floor_kind: str
    floor: float
    floor_interval: Interval | None
    scale: float
    exponent: float
    exponent_interval: Interval
    at_bound: bool = False


@dataclass(frozen=True)
class FloorEvidence:
    """How one treatment of the floor (shared, free, pinned, none) does on the same data, and the slope it implies."""

    kind: str
    floors: dict[str, float]
    chi2: float
    dof: int
    aicc: float
    lack_of_fit_p: float | None
    slope: float | None
    slope_interval: Interval | None
    chosen: bool = False


@dataclass(frozen=True)
class Slope:
    """``d ln G / d ln C`` in the `old` index: > 0 the gain grows with scale. `basis` says which estimate this is."""

    value: float | None
    interval: Interval | None
    basis: str
    note: str = ""


@dataclass(frozen=True)
class Crossover:
    """The budget at which ``G = 1``; `value` is None where it is not identified and `reason` says why."""

    value: float | None
    interval: Interval | None
    region: Region | Literal["not identified"]
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Level and trend at 95% with a region of practical equivalence, and one sentence that says both.

    `at`, `gain`, `interval`, `index` and `region` are those of the point that the level was judged at.
    """

    level: Level
    trend: Trend
    sentence: str
    at: float | None
    gain: float | None
    interval: Interval | None
    index: Index = "old"
    region: Region = "measured"


@dataclass(frozen=True)
class RungSummary:
    """One arm at one rung: the runs behind a dot in the figures. `quality` is lower-is-better inside."""

    arm: str
    resource: float
    quality: float
    interval: Interval
    runs: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Band:
    """A curve with a band on a grid, for figures: arrays of equal length; `region` per point."""

    at: tuple[float, ...]
    value: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    region: tuple[Region, ...]


@dataclass(frozen=True)
class Cost:
    """What the gain costs along another resource.

    `at`: baseline's amount of `along`, the resource that the gain is in; `ratio` = baseline's amount / candidate's
    amount of `resource` at equal quality (> 1: the candidate needs less of this one too; < 1: the gain is bought here).
    """

    baseline: str
    candidate: str
    resource: str
    unit: str
    at: float
    ratio: float
    interval: Interval | None = None
    along: str = ""

    def belongs_to(self, curve: GainCurve) -> bool:
        """Whether it says what `curve`'s gain costs."""
        return (self.baseline, self.candidate, self.along) == (curve.baseline, curve.candidate, curve.resource)


@dataclass(frozen=True)
class GainCurve:
    """Everything measured about `candidate` against `baseline` along one resource.

    `innovation` names what the comparison measures, where the study says so; `twin`: the candidate is the baseline's
    own copy (A/A), so that any gain is a fault or chance; `portable` reads the gain at any budget without the runs.
    """

    baseline: str
    candidate: str
    resource: str
    quality: str
    mode: str
    overlap: Interval | None
    points: tuple[GainPoint, ...]
    asked: tuple[GainPoint, ...]
    old: Band
    new: Band
    rungs: tuple[RungSummary, ...]
    law_bands: dict[str, Band]
    laws: tuple[LawSummary, ...]
    floors: tuple[FloorEvidence, ...]
    slope: Slope
    slopes: tuple[Slope, ...]
    crossover: Crossover
    verdict: Verdict
    diagnostics: tuple[Diagnostic, ...]
    level: float = 0.95
    draws: int = 0
    seed: int = 0
    elsewhere: tuple[Cost, ...] = ()
    innovation: str | None = None
    twin: bool = False
    portable: Portable | None = None


def to_json(value: Any) -> Any:
    """Plain JSON types from any result value; infinities become the strings ``"inf"``/``"-inf"``, NaN null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value

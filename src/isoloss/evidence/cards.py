"""Study cards: what this project measured, one ``card.json`` a study, checked field by field when read.

`isoloss run` and `isoloss report` write a card beside the page (see `isoloss.report.card`); ``results/`` keeps those of
the studies that are published with the project. A card holds every gain at its budget, the verdict, and the ids of the
runs behind it, so that whoever reads one can go back to the ledger.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from isoloss.errors import TableError, and_more
from isoloss.gains.portable import Portable
from isoloss.gains.result import Index, Level, Region, Severity, Trend

FORMAT = 1
CARD = "card.json"

#: A ratio that may be 0 or infinite, as the end of an interval is where only one side is known.
Ratio = Annotated[float, Field(ge=0)]
Interval = tuple[Ratio, Ratio]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer card may say more


class Gain(_Part):
    """A gain at one budget under one index; `region` as in `GainPoint`."""

    index: Index
    at: float = Field(gt=0)
    gain: Annotated[float, Field(gt=0)] | None
    interval: Interval | None
    region: Region

    @model_validator(mode="after")
    def _upright(self) -> Gain:
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError("the interval is upside down")
        return self


class CardSlope(_Part):
    """``d ln G / d ln C``, its interval, and which estimate it is."""

    value: float | None
    interval: tuple[float, float] | None
    basis: str


class CardVerdict(_Part):
    """What was concluded."""

    level: Level
    trend: Trend
    sentence: str


class CardDiagnostic(_Part):
    """A named caution."""

    code: str
    severity: Severity


class CardCost(_Part):
    """Baseline's amount over the candidate's of another resource, at equal quality."""

    resource: str
    at: float
    ratio: Ratio | None
    interval: Interval | None


class CardComparison(_Part):
    """One comparison: its gains at the rungs and (`portable`) anywhere, headline, verdict, and the reported runs."""

    innovation: str | None
    baseline: str
    candidate: str
    twin: bool
    mode: Literal["curve", "frontier", "exact"] = "curve"
    resource: str
    gains: tuple[Gain, ...]
    headline: Gain | None
    slope: CardSlope
    verdict: CardVerdict
    diagnostics: tuple[CardDiagnostic, ...]
    costs: tuple[CardCost, ...]
    runs: dict[Literal["baseline", "candidate"], tuple[str, ...]]
    portable: Portable | None = None  # cards of before the atlas had a slider lack it

    @property
    def count(self) -> int:
        """How many reported runs it rests on."""
        return sum(len(ids) for ids in self.runs.values())


class CardInnovation(_Part):
    """What somebody's own plug-in registered of an innovation that was measured; those that ship are not repeated."""

    name: str
    field: str
    title: str
    year: int
    source: str
    claim: str = ""
    old: dict[str, Any]
    new: dict[str, Any]
    also: tuple[str, ...] = ()


class CardRung(_Part):
    """One arm's quality at one rung, as people see it, over its runs."""

    budget: float = Field(gt=0)
    quality: float
    interval: tuple[float, float]
    runs: int


class CardArm(_Part):
    """An arm: its algorithm and how good it was at each rung."""

    name: str
    algorithm: str
    version: int
    settings: dict[str, Any]
    tuning_runs: int
    rungs: tuple[CardRung, ...]


class Card(_Part):
    """The whole of a ``card.json``."""

    card: Literal[1]
    study: str
    study_id: str
    question: str
    task: str
    quality: str
    unit: str
    command: str
    measured: str
    versions: dict[str, str]
    resource: str
    ladder: tuple[float, ...]
    arms: tuple[CardArm, ...]
    comparisons: tuple[CardComparison, ...]
    diagnostics: tuple[CardDiagnostic, ...]
    missing: tuple[str, ...]
    innovations: tuple[CardInnovation, ...] = ()


@dataclass(frozen=True)
class FiledCard:
    """A card and the file it came from, named as it was found."""

    file: str
    card: Card


def read_card(path: Path) -> Card:
    """The card in `path`. Raises `TableError` in one line naming file, field and remedy."""
    try:
        return checked(json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant), path)
    except OSError as error:
        raise TableError(path, f"can't be read ({error.strerror})", "name a folder of results") from None
    except UnicodeDecodeError as error:
        raise TableError(path, f"is not UTF-8 text (byte {error.start})", _remedy(path)) from None
    except (ValueError, RecursionError) as error:
        raise TableError(path, f"is not a card: {error}", _remedy(path)) from None


def checked(data: Any, where: object) -> Card:
    """`data` as a card, or a `TableError` that names the field of `where` at fault."""
    if not isinstance(data, dict):
        raise TableError(where, f"is a JSON {type(data).__name__}, not a card", _remedy(where))
    if data.get("card") != FORMAT:
        said = str(data.get("card"))[:40]
        raise TableError(f"{where}: card", f"format {said} is not {FORMAT}, the one known here", _remedy(where))
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        fault = faults[0]
        more = and_more(len(faults))
        field = ".".join(str(part) for part in fault["loc"])
        said = fault["msg"].removeprefix("Value error, ")
        what = "is missing" if fault["type"] == "missing" else said[0].lower() + said[1:]
        raise TableError(f"{where}: {field}", what + more, _remedy(where)) from None


def read_cards(folder: Path) -> tuple[FiledCard, ...]:
    """Every card in `folder` or one level below it, by file name. Raises `TableError`; no card is no error."""
    if not folder.is_dir():
        return ()
    found = sorted({*folder.glob(CARD), *folder.glob(f"*/{CARD}")})
    return tuple(FiledCard(str(path), read_card(path)) for path in found)


def rank(card: Card, comparison: CardComparison) -> tuple[float, str]:
    """What puts one comparison of an innovation before another: the larger scale first, then the newer."""
    largest = max((g.at for g in comparison.gains if g.region == "measured"), default=0.0)
    headline = comparison.headline.at if comparison.headline is not None else 0.0
    # rungs of equal size differ in their last digits, so scale counts in tenths of a decade
    return round(math.log10(max(headline, largest, 1.0)), 1), card.measured


def of_innovation(cards: Iterable[FiledCard], name: str) -> list[tuple[FiledCard, CardComparison]]:
    """Every comparison that measured the innovation `name`, the one to quote first."""
    found = [(f, c) for f in cards for c in f.card.comparisons if c.innovation == name and not c.twin]
    return sorted(found, key=lambda pair: rank(pair[0].card, pair[1]), reverse=True)


def registered(cards: Iterable[FiledCard], name: str) -> CardInnovation | None:
    """What the newest card that registers the innovation `name` says of it."""
    found = [(f.card.measured, k, i) for k, f in enumerate(cards) for i in f.card.innovations if i.name == name]
    return max(found, key=lambda entry: entry[:2])[2] if found else None


def _remedy(where: object) -> str:
    return f"write it again with `isoloss report`, or take {Path(str(where)).name} away"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that a card may hold")

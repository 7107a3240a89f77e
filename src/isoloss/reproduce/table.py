"""What a reproduction yields: published numbers beside ours, whether they agree, and what the answer turns on.

Published numbers live in ``evidence/published.toml`` with the place they stand in their paper, never in code.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import MissingError, TableError

Array = NDArray[np.float64]
Interval = tuple[float, float]
Agreement = Literal["to the digit", "within our interval", "within theirs", "no", ""]
Cell = str | float | None


@dataclass(frozen=True)
class Published:
    """A number as a paper prints it. `half` is half a unit of its last digit; `low`, `high` its own 95% interval."""

    value: float
    half: float
    where: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One quantity: published, ours with its 95% interval, whether the two agree and, where they don't, why not.

    ``to the digit``: ours rounds to what was printed. ``within our interval``, ``within theirs``: one lies inside the
    95% interval of the other. Empty where nothing was published.
    """

    quantity: str
    published: float | None
    theirs: Interval | None
    ours: float | None
    interval: Interval | None
    agrees: Agreement
    why: str = ""
    where: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table of what an answer turns on: `columns` name the cells of every row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Reproduction:
    """A third-party table: what was published about it, what we get, and why the two differ where they do.

    `procedure` says how the numbers are made; `findings` are sentences with our figures in them; `commands` are the
    equivalent command lines on the table's files.
    """

    name: str
    title: str
    paper: str
    claim: str
    procedure: str
    rows: tuple[Row, ...]
    sheets: tuple[Sheet, ...] = ()
    findings: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@cache
def published(table: str) -> Mapping[str, Any]:
    """All that ``evidence/published.toml`` holds on one table: `title`, `paper`, `claim` and its numbers."""
    text = files("isoloss.evidence").joinpath("published.toml").read_text(encoding="utf-8")
    entry: Mapping[str, Any] = tomllib.loads(text)[table]
    return entry


def claimed(table: str, key: str) -> Published:
    """One published number, its rounding read off the digits that are printed.

    >>> claimed("besiroglu", "alpha")
    Published(value=0.3478, half=5e-05, where='Table 1', low=None, high=None)
    """
    entry = published(table)["numbers"][key]
    printed = str(entry["printed"])
    mantissa, _, power = printed.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.5 * 10.0 ** (int(power or 0) - decimals)
    low, high = entry.get("interval", (None, None))
    if "se" in entry:
        low, high = float(printed) - 1.96 * entry["se"], float(printed) + 1.96 * entry["se"]
    return Published(float(printed), half, entry.get("where", ""), low, high)


def row(
    table: str, key: str, quantity: str, ours: float | None, interval: Interval | None = None, why: str = ""
) -> Row:
    """A row against the published number `key` of `table`."""
    theirs = claimed(table, key)
    ends = _known(interval)
    bounds = None if theirs.low is None or theirs.high is None else (theirs.low, theirs.high)
    return Row(quantity, theirs.value, bounds, ours, ends, _agreement(theirs, ours, ends), why, theirs.where)


def ours_only(quantity: str, ours: float | None, interval: Interval | None = None, why: str = "") -> Row:
    """A row on which nothing was published."""
    return Row(quantity, None, None, ours, _known(interval), "", why)


def _known(interval: Interval | None) -> Interval | None:
    return None if interval is None or any(math.isnan(v) for v in interval) else interval


def _agreement(theirs: Published, ours: float | None, interval: Interval | None) -> Agreement:
    if ours is None:
        return "no"
    if abs(ours - theirs.value) <= theirs.half * (1 + 1e-9):
        return "to the digit"
    if interval is not None and interval[0] <= theirs.value <= interval[1]:
        return "within our interval"
    if theirs.low is not None and theirs.high is not None and theirs.low <= ours <= theirs.high:
        return "within theirs"
    return "no"


def quantiles(draws: Any, level: float = 0.95) -> Interval:
    """Percentile interval of draws, those that are not finite counted at their end."""
    low, high = np.quantile(np.asarray(draws, float), [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def read(folder: Path, file: str, columns: tuple[str, ...], table: str) -> pl.DataFrame:
    """A file of the table in `folder`; raises MissingError where it is absent, TableError where columns lack."""
    path = folder / file
    if not path.is_file():
        raise MissingError(path, "is not there", f"bring it with `isoloss fetch {table}`, or name its folder: --table")
    try:
        frame = pl.read_csv(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())[:120]
        raise TableError(path, f"can't be read ({said})", f"fetch it again: `isoloss fetch {table}`") from None
    lacking = [c for c in columns if c not in frame.columns]
    if lacking:
        remedy = f"is this the published file? `isoloss fetch {table}`"
        raise TableError(path, f"has no column {', '.join(lacking)}", remedy)
    return frame

"""Conditions that narrow a table of runs: ``column=value``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from isoloss.errors import TableError
from isoloss.ledger.columns import listed

#: Characters of the longest pattern; the engine of regular expressions refuses one of a million.
_LONGEST = 1000


def where(frame: pl.DataFrame, path: Path, conditions: Sequence[str]) -> pl.Series:
    """Rows that meet every ``column=value``; several values of one column are alternatives.

    In a value `*` matches any text and `?` any character: ``loss=*`` keeps the rows that have a loss.

    Raises `TableError` for a condition without ``=``, an absent column, or when nothing is left.
    """
    wanted: dict[str, list[str]] = {}
    for condition in conditions:
        # the longest column that the condition starts with, since names may hold "="
        names = [c for c in frame.columns if condition.startswith(c + "=")]
        column = max(names, key=len) if names else condition.partition("=")[0]
        if "=" not in condition:
            raise TableError("--where", f"'{condition[:40]}' is no condition", "write column=value")
        if not names:
            raise TableError("--where", f"{path} has no column '{column[:60]}'", f"columns: {listed(frame.columns)}")
        wanted.setdefault(column, []).append(condition[len(column) + 1 :])
    keep = pl.repeat(True, frame.height, eager=True)
    for column, values in wanted.items():
        keep &= _any_of(frame[column], values)
        if not keep.any():
            held = ", ".join(str(v)[:30] for v in frame[column].unique(maintain_order=True)[:6])
            raise TableError("--where", f"no row of {path} has {column}={' or '.join(values)}", f"it holds {held}, ...")
    return keep


def _any_of(series: pl.Series, values: Sequence[str]) -> pl.Series:
    text = series.cast(pl.String, strict=False).fill_null("").str.strip_chars()
    keep = pl.repeat(False, len(series), eager=True)
    numbers: pl.Series | None = None
    for value in values:
        if "*" in value or "?" in value:
            if len(value) > _LONGEST:
                raise TableError("--where", f"a pattern has {len(value):,} characters", f"keep to {_LONGEST:,}")
            pattern = re.escape(value).replace(r"\*", ".*").replace(r"\?", ".")
            keep |= (text != "") & text.str.contains(f"(?s)^{pattern}$")
            continue
        keep |= text == value.strip()
        try:
            number = float(value)
        except ValueError:
            continue
        if numbers is None:
            numbers = text.cast(pl.Float64, strict=False)
        keep |= (numbers == number).fill_null(False)
    return keep

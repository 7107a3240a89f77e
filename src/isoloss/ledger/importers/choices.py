"""The run table's own ``choices``: JSON objects in a column, spread out to a column for each choice."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

COLUMN = "choices"


def spread(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a column for every choice in place of ``choices``; unchanged where that column holds anything else.

    A name that the table has already keeps its own column. A list becomes its JSON text, so that rows can be chosen by
    it.
    """
    if COLUMN not in frame.columns or frame.schema[COLUMN] != pl.String:
        return frame
    said = [_object(text) for text in frame[COLUMN]]
    if not any(said) or any(row is None for row in said):
        return frame
    names = dict.fromkeys(name for row in said if row for name in row)
    columns = []
    for name in names:
        if name in frame.columns:
            continue
        values = [_plain((row or {}).get(name)) for row in said]
        kinds = {type(v) for v in values if v is not None}
        if not kinds:
            continue
        numbers = kinds <= {int, float}
        told = [None if v is None else v if numbers else v if isinstance(v, str) else json.dumps(v) for v in values]
        columns.append(pl.Series(name, told, dtype=pl.Float64 if float in kinds and numbers else None, strict=False))
    return frame.drop(COLUMN).with_columns(columns)


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value

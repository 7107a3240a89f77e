"""JSON lines, or one JSON array of objects: a run an object, nested objects flattened with dots (`config.lr`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from isoloss.errors import TableError


def read(path: Path) -> pl.DataFrame:
    """The objects of a .jsonl or .json file, one row each, keys flattened with dots, in order of first appearance.

    ``NaN`` and ``Infinity`` (which Python writes and JSON forbids) are read as such. Lists become their JSON text.
    An object of equally long lists or of row-indexed objects (as data-frame libraries write) is read as columns.
    Raises `TableError` naming the line that is no object.
    """
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None).pipe(unnested)
        if frame.height > 1:  # a single object may hold whole columns
            return frame
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError):
        pass  # an array, NaN, a truncated line: the reader below says which
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(path, f"can't be read as JSON: {str(error)[:200]}", "is it UTF-8 text?") from None
    try:
        return _parsed(path, text)
    except RecursionError:
        raise TableError(path, "is nested too deeply", "one object a run") from None


def _parsed(path: Path, text: str) -> pl.DataFrame:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return frame_of(_lines(path, text))
    if isinstance(whole, dict):
        whole = _rows_of(whole)
    if not all(isinstance(row, dict) for row in whole):
        at = next(k for k, row in enumerate(whole) if not isinstance(row, dict))
        raise TableError(path, f"entry {at + 1} of the array is no object", "one object a run")
    return frame_of(whole)


def frame_of(objects: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """A frame of flattened objects; a key that an object lacks is null there, mixed types become text.

    Half of a UTF-16 pair, which JSON may hold and no text can, stays as its escape.

    >>> frame_of([{"arm": chr(0xD83D)}])["arm"][0]
    '\\\\ud83d'
    """
    rows = [flatten(o) for o in objects]
    try:
        return _frame(rows)
    except UnicodeEncodeError:
        return _frame([{_text(key): _text(value) for key, value in row.items()} for row in rows])


def _text(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pl.DataFrame([_column(c, [row.get(c) for row in rows]) for c in columns])


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one level with dotted keys; lists as JSON text.

    >>> flatten({"config": {"lr": 0.1, "betas": [0.9, 0.95]}, "loss": 2.0})
    {'config.lr': 0.1, 'config.betas': '[0.9, 0.95]', 'loss': 2.0}
    """
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict):
            flat.update(flatten(inner, name + "."))
        else:
            flat[name] = json.dumps(inner) if isinstance(inner, list) else inner
    return flat


def _column(name: str, values: list[Any]) -> pl.Series:
    kinds = {type(v) for v in values if v is not None}
    # whole numbers of more than 64 bits stay as they are written: as floats two seeds could become one
    small = int not in kinds or all(abs(v) < 2**63 for v in values if type(v) is int)
    if kinds <= {int, float} and kinds and small:
        return pl.Series(name, [None if v is None else float(v) for v in values] if float in kinds else values)
    if len(kinds) <= 1 and small:
        return pl.Series(name, values, strict=False)
    return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)


def _lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TableError(
                path, f"line {number} is not JSON ({error.msg})", "one object a line, one run each"
            ) from None
        if not isinstance(row, dict):
            raise TableError(path, f"line {number} is no object", "one object a line, one run each")
        yield row


def _rows_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """One object: columns of lists, columns of row-indexed objects, or a single run."""
    inner = list(whole.values())
    if inner and all(isinstance(v, list) for v in inner) and len({len(v) for v in inner}) == 1:
        return [dict(zip(whole, row, strict=True)) for row in zip(*inner, strict=True)]
    if inner and all(isinstance(v, dict) and all(k.isdigit() for k in v) for v in inner):
        keys = list(dict.fromkeys(k for v in inner for k in v))
        return [{c: v.get(k) for c, v in whole.items()} for k in keys]
    return [whole]


def unnested(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a column for each field of a struct, named with dots, and lists as JSON text."""
    while structs := [c for c, t in frame.schema.items() if isinstance(t, pl.Struct)]:
        for name in structs:
            fields = [f.name for f in frame.schema[name].fields]  # type: ignore[attr-defined]
            renamed = frame[name].struct.rename_fields([f"{name}.{f}" for f in fields]).struct.unnest()
            frame = frame.drop(name).hstack(renamed)
    lists = [c for c, t in frame.schema.items() if isinstance(t, (pl.List, pl.Array))]
    return frame.with_columns(
        pl.Series(c, [None if v is None else json.dumps(v.to_list()) for v in frame[c]], dtype=pl.String) for c in lists
    )

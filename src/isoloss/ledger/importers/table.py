"""Plain tables: CSV, TSV (either may be gzipped), Parquet, Arrow."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl

from isoloss.errors import TableError


def read(path: Path, kind: str = "csv") -> pl.DataFrame:
    """The table in a file of that `kind` (csv, parquet, arrow). Raises `TableError` for an empty or corrupt one."""
    try:
        if kind == "parquet":
            frame = pl.read_parquet(path)
        elif kind == "arrow":
            frame = pl.read_ipc(path)
        else:
            frame = _csv(path)
    except pl.exceptions.NoDataError:
        raise TableError(path, "the table is empty", "a run table has a header and one row a run") from None
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
        remedy = {"parquet": "is it Parquet?", "arrow": "is it an Arrow file?"}.get(kind, "is it CSV?")
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise TableError(path, f"can't be read as a table: {said}", remedy) from None
    if frame.width and frame.columns[0].startswith("\ufeff"):
        frame = frame.rename({frame.columns[0]: frame.columns[0].removeprefix("\ufeff")})
    return frame


def _csv(path: Path) -> pl.DataFrame:
    separator = _separator(path)
    try:  # the kinds of columns from the first rows, six times faster; a later cell that does not fit is an error
        return pl.read_csv(path, separator=separator, infer_schema_length=10_000)
    except pl.exceptions.ComputeError:
        return pl.read_csv(path, separator=separator, infer_schema_length=None)


def _separator(path: Path) -> str:
    """Tab for .tsv, and for a header that holds tabs and no comma; else comma."""
    names = [s.lower() for s in path.suffixes]
    if ".tsv" in names:
        return "\t"
    with gzip.open(path, "rb") if names[-1:] == [".gz"] else path.open("rb") as file:
        header = file.readline(1 << 20)
    return "\t" if b"\t" in header and b"," not in header else ","

"""Plain tables: CSV, TSV (either may be gzipped), Parquet, Arrow."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from isoloss.errors import TableError
from isoloss.ledger.importers.jsonlines import unnested


def read(path: Path, kind: str = "csv") -> pl.DataFrame:
    """The table in a file of that `kind` (csv, parquet, arrow). Raises `TableError` for an empty or corrupt one."""
    try:
        frame = _csv(path) if kind == "csv" else _columnar(path, kind)
    except pl.exceptions.NoDataError:
        raise TableError(path, "the table is empty", "a run table has a header and one row a run") from None
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, EOFError, ValueError, MemoryError) as error:
        remedy = {"parquet": "is it Parquet?", "arrow": "is it an Arrow file?"}.get(kind, "is it CSV?")
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if "more fields than defined" in said:
            said, remedy = "a row has more cells than the header", "is it CSV, its header the first line?"
        elif "invalid utf-8" in said:
            remedy = "is it CSV? if so, save it as UTF-8"
        raise TableError(path, f"can't be read as a table: {said}", remedy) from None
    if frame.width and frame.columns[0].startswith("\ufeff"):
        frame = frame.rename({frame.columns[0]: frame.columns[0].removeprefix("\ufeff")})
    return frame


def _columnar(path: Path, kind: str) -> pl.DataFrame:
    """By Arrow's own readers: polars's end the process, or ask for a terabyte, where a length in the file is wrong."""
    if kind == "parquet":
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            whole = file.read()
    else:
        with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
            whole = reader.read_all()
    whole.validate(full=True)
    # a view that is null may still point anywhere, and polars follows it: copied, it points nowhere
    frame = pl.from_arrow(
        whole.cast(pa.schema([field.with_type(_without_views(field.type)) for field in whole.schema]))
    )
    assert isinstance(frame, pl.DataFrame)
    return unnested(frame).with_columns(
        pl.col(pl.Categorical, pl.Enum).cast(pl.String),
        pl.col(pl.Binary).bin.encode("hex"),
        cs.decimal().cast(pl.Float64),
        cs.duration().dt.total_seconds(fractional=True),
    )


def _without_views(kind: pa.DataType) -> pa.DataType:
    """`kind` with plain strings and bytes in place of views, at any depth."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(_without_views(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    return kind


def _csv(path: Path) -> pl.DataFrame:
    separator = _separator(path)
    try:  # the kinds of columns from the first rows, six times faster; a later cell that does not fit is an error
        frame = pl.read_csv(path, separator=separator, infer_schema_length=10_000)
    except pl.exceptions.ComputeError:
        frame = pl.read_csv(path, separator=separator, infer_schema_length=None)
    # blanks beside a separator belong to neither a name nor an arm
    names = {c: c.strip() for c in frame.columns if c != c.strip() and c.strip() not in frame.columns}
    if len(set(names.values())) == len(names):
        frame = frame.rename(names)
    return frame.with_columns(pl.col(pl.String).str.strip_chars())


def _separator(path: Path) -> str:
    """Tab for .tsv; else by the header: tabs or semicolons where it holds no comma. Refuses UTF-16, and lone CRs."""
    names = [s.lower() for s in path.suffixes]
    with gzip.open(path, "rb") if names[-1:] == [".gz"] else path.open("rb") as file:
        header = file.readline(1 << 24)
    if header.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(path, "is UTF-16 text", "save it as UTF-8")
    if b"\r" in header.rstrip(b"\r\n"):
        raise TableError(path, "ends its lines in CR alone", "save it with LF or CRLF as line ends")
    if ".tsv" in names:
        return "\t"
    return next((s for s in "\t;" if s.encode() in header and b"," not in header), ",")

"""What a bundle is: ``manifest.json`` and five Parquet files of fixed names and columns.

The same ledger gives the same bytes: rows lie in the order of their ids and nothing says when or where. Runs that wait
are in a bundle too, as queued; who worked on one, how often it was tried and where a study's file lay stay behind.
"""

from __future__ import annotations

import pyarrow as pa

MANIFEST = "manifest.json"
FORMAT = "isoloss bundle"
VERSION = 1
#: Runs in one row group: what export and import hold in memory at a time.
ROWS = 500

#: Limits of what import reads, far above what export writes. A file may unpack to `RATIO` times its bytes beyond the
#: first `FREE`; a row group has `GROUP_ROWS` rows and `GROUP_BYTES` at most.
MANIFEST_BYTES = 1 << 16
GROUP_ROWS = 10_000
GROUP_BYTES = 1 << 30
RATIO = 200
FREE = 64 << 20

_text, _number = pa.string(), pa.float64()
SCHEMAS: dict[str, pa.Schema] = {
    "studies": pa.schema([("study_id", _text), ("name", _text), ("text", _text), ("opened", _number)]),
    "environments": pa.schema([("environment_id", _text), ("data", _text)]),
    "runs": pa.schema(
        [("run_id", _text), ("spec", _text), ("status", _text), ("price", _number), ("qualities", _text),
         ("resources", _text), ("seconds", _text), ("environment_id", _text), ("error", _text), ("ended", _number),
         ("digest", _text), ("curve", pa.binary())]
    ),
    "notes": pa.schema([("run_id", _text), ("position", pa.int64()), ("text", _text)]),
    "members": pa.schema(
        [("run_id", _text), ("study_id", _text), ("arm", _text), ("position", pa.int64()), ("round", pa.int64()),
         ("rung", _number), ("purpose", _text)]
    ),
}  # fmt: skip


def file_of(table: str) -> str:
    """The file of a table."""
    return f"{table}.parquet"

"""A run's record as it is stored: JSON texts, a compressed curve, and the digest of it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from isoloss.ledger.digest import canonical_json, record_digest
from isoloss.runs import Outcome

#: Characters of the longest text that a record may hold: a spec, an error, a note.
TEXT = 1 << 20


def record_of(run_id: str, spec: str, outcome: Outcome, environment_id: str, ended: float) -> dict[str, Any]:
    """The columns of ``runs`` that the end of a run sets; `spec` is its spec as stored, `ended` seconds since 1970."""
    said: dict[str, Any] = {
        "status": str(outcome.status),
        "qualities": canonical_json(dict(outcome.qualities)),
        "resources": canonical_json({k: [a.value, a.how] for k, a in outcome.resources.items()}),
        "seconds": canonical_json(dict(outcome.seconds)),
        "environment_id": environment_id,
        "error": remark(outcome.error) or None,
        "ended": ended,
        "curve": pack_curve(outcome.curve),
    }
    notes = [remark(note) for note in outcome.notes]
    return {**said, "owner": None, "digest": record_digest(run_id=run_id, spec=spec, notes=notes, **said)}


def plain_text(text: str) -> str:
    """`text` as any database can hold it: without NUL, and without halves of characters.

    >>> plain_text("a" + chr(0xD800)), plain_text(chr(0)) == chr(0xFFFD)
    ('a?', True)
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def remark(text: str) -> str:
    """What a run says of itself, an error or a note: `plain_text`, and no longer than any bundle takes.

    >>> remark("a" * 2_000_000)[-2:], len(remark("a" * 2_000_000)) == TEXT
    ('a…', True)
    """
    text = plain_text(text)
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def pack_curve(curve: Mapping[str, list[float]]) -> bytes:
    """A curve as one Arrow IPC stream, compressed."""
    sink = pa.BufferOutputStream()
    # from buffers: given a list, pyarrow would first load pandas to ask whether it is one of its own
    buffers = {k: np.asarray(v, dtype=np.float64) for k, v in curve.items()}
    columns = {k: pa.Array.from_buffers(pa.float64(), len(v), [None, pa.py_buffer(v)]) for k, v in buffers.items()}
    table = pa.table(columns)
    with pa.ipc.new_stream(
        sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    ) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack_curve(blob: bytes) -> dict[str, list[float]]:
    """The inverse of `pack_curve`."""
    with pa.ipc.open_stream(blob) as reader:
        columns: dict[str, list[float]] = reader.read_all().to_pydict()
    return columns

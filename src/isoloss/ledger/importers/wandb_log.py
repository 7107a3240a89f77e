"""W&B's own log of a run (`run-ID.wandb`), all that its newer versions write offline; read with W&B's protocol."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isoloss.errors import MissingError, TableError

# The file is a LevelDB log behind a header of 7 bytes: blocks of 32 KiB, in each records of crc (4 bytes), length (2)
# and type (1): whole, first, middle, last.
_HEADER, _BLOCK = 7, 32768
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_log(path: Path) -> dict[str, Any]:
    """One run: run_id, run_name, state, `config` and `summary` (the last value logged of each key).

    The state is finished where the log ends with exit code 0, else failed (another code) or crashed (no exit). Raises
    `MissingError` without W&B, `TableError` for a file that is no such log.
    """
    try:
        from google.protobuf.message import DecodeError
        from wandb.proto.wandb_internal_pb2 import Record
    except ModuleNotFoundError:
        raise MissingError(path, "W&B, which reads its log, is not installed", "pip install wandb") from None
    run: dict[str, Any] = {"run_id": path.stem.removeprefix("run-"), "run_name": None, "state": "crashed"}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for data in _records(path):
        try:
            record = Record.FromString(data)
        except DecodeError:
            raise TableError(path, "is damaged", "move that run away, or let `wandb sync` read it") from None
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run["run_name"] = record.run.display_name or run["run_name"]
            _update(config, record.run.config.update)
        elif kind == "config":
            _update(config, record.config.update)
        elif kind == "history":
            _update(summary, record.history.item)
        elif kind == "summary":
            _update(summary, record.summary.update)
        elif kind == "exit":
            run["state"] = "failed" if record.exit.exit_code else "finished"
    config.pop("_wandb", None)
    summary.pop("_wandb", None)
    return run | {"config": config, "summary": summary}


def _update(into: dict[str, Any], items: Any) -> None:
    for item in items:
        *outer, last = list(item.nested_key) or [item.key]
        inner = into
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)


def _records(path: Path) -> Iterator[bytes]:
    """The records of a log, up to the first that was cut short (a run that was killed)."""
    data = path.read_bytes()
    if not data.startswith(b":W&B"):
        raise TableError(path, "is no log of W&B", "move it away")
    at, parts = _HEADER, b""
    while at + 7 <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        payload = data[at + 7 : at + 7 + length]
        if kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or len(payload) < length:
            return
        at += 7 + length
        parts = payload if kind in (_WHOLE, _FIRST) else parts + payload
        if kind in (_WHOLE, _LAST):
            yield parts

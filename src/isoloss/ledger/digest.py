"""The digest of a record: what `isoloss verify` and a bundle compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence


def record_digest(
    *,
    run_id: str,
    spec: str,
    status: str,
    qualities: str | None,
    resources: str | None,
    seconds: str | None,
    curve: bytes | None,
    environment_id: str | None,
    error: str | None,
    ended: float | None,
    notes: Sequence[str],
) -> str:
    """SHA-256 in hex over the canonical JSON of everything an ended run's record says, each part as it is stored.

    The curve enters by the SHA-256 of its bytes. Who claimed the run, how often it was tried and its price are no part
    of it: they belong to the queue.

    >>> record_digest(run_id="a", spec="{}", status="failed", qualities="{}", resources="{}", seconds="{}", curve=None,
    ...               environment_id=None, error="no luck", ended=1.0, notes=())[:8]
    'fcec6b1b'
    """
    said = {
        "run_id": run_id,
        "spec": spec,
        "status": status,
        "qualities": qualities,
        "resources": resources,
        "seconds": seconds,
        "curve": None if curve is None else hashlib.sha256(curve).hexdigest(),
        "environment_id": environment_id,
        "error": error,
        "ended": ended,
        "notes": list(notes),
    }
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()


def environment_id(data: str) -> str:
    """First 16 hex digits of SHA-256 over an environment's JSON text."""
    return hashlib.sha256(data.encode()).hexdigest()[:16]


def canonical_json(value: object) -> str:
    """JSON in ASCII with sorted keys and no blanks: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

"""Whether a stored record is what it says: its id, its digest, and values that everything else here can read.

What a stranger wrote may have right digests and still be nonsense, so a record is checked as a whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from isoloss.errors import StudyError, printable
from isoloss.ledger.curve_size import CURVE_BYTES, curve_fault
from isoloss.ledger.digest import canonical_json, environment_id, record_digest
from isoloss.ledger.records import TEXT
from isoloss.ledger.status import ENDED, NO_RECORD, OPEN
from isoloss.runs import RESOURCES, How, RunSpec

#: The columns of a run that enter its digest.
DIGESTED = (
    "run_id",
    "spec",
    "status",
    "qualities",
    "resources",
    "seconds",
    "curve",
    "environment_id",
    "error",
    "ended",
)


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    return {
        "spec": TypeAdapter(RunSpec),
        "qualities": TypeAdapter(dict[str, float]),
        "resources": TypeAdapter(dict[str, tuple[float, How]]),
        "seconds": TypeAdapter(dict[str, float]),
        "environment": TypeAdapter(dict[str, Any]),
    }


def run_faults(row: Mapping[str, Any], notes: Sequence[str]) -> list[str]:
    """What is wrong with a row of ``runs`` and its notes, a phrase each; empty where nothing is."""
    texts = [
        row[k] for k in ("run_id", "spec", "status", "qualities", "resources", "seconds", "error", "environment_id")
    ]
    if any(not isinstance(text, str | None) for text in (*texts, *notes)) or not isinstance(row["curve"], bytes | None):
        return ["holds a value of another kind than its column"]
    if row["run_id"] is None or row["spec"] is None:
        return ["lacks its spec"]
    if any(text is not None and len(text) > TEXT for text in (*texts, *notes)):
        return [f"holds a text of more than {TEXT:,} characters"]
    if any(text is not None and "\0" in text for text in (*texts, *notes)):
        return ["holds a NUL in a text"]
    found = spec_faults(row["run_id"], row["spec"])
    price = row["price"]
    if not isinstance(price, float) or not (math.isfinite(price) and price >= 0):
        found.append("its price is no number of FLOPs")
    if row["status"] in OPEN:
        held = sorted(name for name in NO_RECORD if row[name] is not None)
        return [*found, *([f"is {row['status']} and has {', '.join(held)}"] if held else [])]
    if row["status"] not in ENDED:
        return [*found, f"its status is '{printable(str(row['status']), 40)}'"]
    if not digest_holds(row, notes):
        return [*found, "its record does not match its digest"]
    return found + _value_faults(row)


def digest_holds(row: Mapping[str, Any], notes: Sequence[str]) -> bool:
    """Whether an ended run's row and notes are those whose digest was recorded."""
    return record_digest(**{k: row[k] for k in DIGESTED}, notes=notes) == row["digest"]


def spec_faults(run_id: str, spec: str) -> list[str]:
    """Whether `spec` is the spec, in canonical JSON, that `run_id` is the hash of."""
    if hashlib.sha256(spec.encode()).hexdigest()[:20] != run_id:
        return ["its spec does not match its run id"]
    try:
        read = _adapters()["spec"].validate_python(json.loads(spec))
        return [] if canonical_json(read.to_dict()) == spec and read.run_id == run_id else ["its spec is no run's"]
    except (ValueError, TypeError, RecursionError):
        return ["its spec is no run's"]


def environment_faults(of: str, data: Any) -> list[str]:
    """What is wrong with an environment named `of`."""
    if not isinstance(data, str) or len(data) > TEXT or environment_id(data) != of:
        return ["its text does not match its id"]
    try:
        _adapters()["environment"].validate_json(data)
    except ValidationError:
        return ["its text is no JSON object"]
    return []


def study_of(study_id: str, name: str, text: str) -> Any:
    """The study in `text`, where that is `study_id`; else None. Loads none of its plug-ins."""
    from isoloss.study import parse_study

    if not isinstance(text, str) or len(text) > TEXT:  # SQLite keeps whatever was put into a column
        return None
    try:
        study = parse_study(text, study_id)
    except StudyError:
        return None
    return study if study.study_id == study_id and study.name == name else None


def _value_faults(row: Mapping[str, Any]) -> list[str]:
    found, read = [], {}
    for name in ("qualities", "resources", "seconds"):
        try:
            read[name] = _adapters()[name].validate_python(json.loads(row[name] or "{}"))
        except (ValueError, TypeError, RecursionError):
            found.append(f"its {name} are none")
    unknown = sorted(set(read.get("resources", ())) - set(RESOURCES))
    if unknown:
        found.append(f"has the unknown resource '{printable(unknown[0], 40)}' (a newer isoloss?)")
    if row["status"] == "finished" and not all(map(math.isfinite, read.get("qualities", {}).values())):
        found.append("is finished with a quality that is not finite")
    if not isinstance(row["ended"], float) or not math.isfinite(row["ended"]):
        found.append("does not say when it ended")
    if row["curve"] is not None:
        said = f"is larger than {CURVE_BYTES:,} bytes" if len(row["curve"]) > CURVE_BYTES else curve_fault(row["curve"])
        found += [f"its curve {said}"] if said else []
    return found

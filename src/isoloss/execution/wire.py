"""Jobs and what comes back of them as JSON, for engines whose workers are on other machines: no pickle is loaded from
a file or a network."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import isoloss
from isoloss.errors import IsolossError
from isoloss.execution.engine import Ended, Job
from isoloss.runs import Amount, Outcome, RunSpec


def pack_job(job: Job) -> str:
    """`job` as JSON; the inverse is `unpack_job`."""
    return json.dumps({"specs": [spec.to_dict() for spec in job.specs], "references": job.references}, default=_plain)


def unpack_job(text: str) -> Job:
    """The job that `pack_job` made `text` of."""
    told = json.loads(text)
    return Job(tuple(RunSpec.from_dict(spec) for spec in told["specs"]), tuple(told["references"]))


def pack_result(job: Job, outcomes: list[Outcome], environment: dict[str, Any]) -> str:
    """What came back of `job` as JSON: floats with all their digits, so that nothing changes on the way."""
    told = {
        "run_ids": [spec.run_id for spec in job.specs],
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "environment": environment,
    }
    return json.dumps(told, default=_plain)


def unpack_result(job: Job, text: str, where: object) -> list[Ended]:
    """The inverse of `pack_result`. Raises `IsolossError` naming `where` for what is no result of this job."""
    try:
        told = json.loads(text)
        if told["run_ids"] != [spec.run_id for spec in job.specs]:
            raise ValueError("results of other runs")
        outcomes = [_outcome(one) for one in told["outcomes"]]
        environment = dict(told["environment"])
        return [Ended(s, o, environment) for s, o in zip(job.specs, outcomes, strict=True)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IsolossError(where, f"is no result of this run ({type(error).__name__}: {error})", "remove it") from error


def _outcome(told: dict[str, Any]) -> Outcome:
    if told["status"] not in ("finished", "diverged", "dropped", "failed"):
        raise ValueError(f"unknown status {str(told['status'])[:40]!r}")
    resources = {name: Amount(float(one["value"]), one["how"]) for name, one in told["resources"].items()}
    rest = {"resources": resources, "notes": tuple(str(note) for note in told["notes"])}
    return Outcome(**{**told, **rest})


def _plain(value: Any) -> Any:
    # a NumPy number
    return value.item()


@cache
def source_digest() -> str:
    """SHA-256 (its first 16 hex digits) of isoloss's own source: two machines with the same one train alike."""
    root = Path(isoloss.__file__).parent
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        whole.update(f"{path.relative_to(root).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def pack_plugins(paths: tuple[Path, ...]) -> tuple[tuple[str, bytes], ...]:
    """Name and content of each plug-in file."""
    return tuple((path.name, path.read_bytes()) for path in paths)


def load_plugins(packed: tuple[tuple[str, bytes], ...], folder: Path) -> None:
    """Load plug-ins that came by content; each is written into a folder of `folder` named by its digest."""
    from isoloss.registry import load_plugin

    for name, content in packed:
        own = folder / hashlib.sha256(content).hexdigest()[:16]
        own.mkdir(parents=True, exist_ok=True)
        path = own / Path(name).name
        if not path.exists() or path.read_bytes() != content:
            whole = own / f"{path.name}.{os.getpid()}"
            whole.write_bytes(content)
            whole.replace(path)
        load_plugin(path)

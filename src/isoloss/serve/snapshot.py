"""What viewers are shown of the queue: the ledger read now and then by one thread, and kept as ready answers.

However many look, the ledger is read once: an answer is bytes that lie in memory, and its `tag` changes with it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from isoloss.ledger.claims import Vigil
from isoloss.ledger.pace import Pace
from isoloss.ledger.progress import Progress, progress, progress_json
from isoloss.ledger.store import Ledger
from isoloss.report import words

#: Seconds after which a study is read again although no run of it changed: its drivers may have died.
STALE = 10.0


@dataclass(frozen=True)
class Answer:
    """A body as it is sent, plain and compressed, and the tag that names this version of it."""

    body: bytes
    packed: bytes
    kind: str
    tag: str


def answer(body: bytes, kind: str) -> Answer:
    """`body` with its tag; small ones are compressed fast, and none when that does not pay."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return Answer(body, gzip.compress(body, 5, mtime=0), kind, tag)


def json_answer(value: Any) -> Answer:
    """A JSON answer."""
    return answer(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), "application/json")


@dataclass(frozen=True)
class Filed:
    """A study as the ledger has it, and `version`: it changes whenever a run of it has ended or was queued again."""

    study_id: str
    name: str
    text: str
    path: str
    version: str


@dataclass(frozen=True)
class Snapshot:
    """The ledger at one moment: its studies, the queue's answer, and one answer a study."""

    studies: Mapping[str, Filed]
    queue: Answer
    study: Mapping[str, Answer]


class Watcher:
    """Reads one ledger again and again; `look` is called from one thread only."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._vigil = Vigil()
        self._paces: dict[str, Pace] = {}
        self._seen: dict[str, tuple[Any, float, dict[str, Any], Progress]] = {}

    def look(self) -> Snapshot:
        """The ledger now. A study whose counts have not changed is not read again for `STALE` seconds."""
        filed, counts, now = self._ledger.studies(), self._ledger.progress(), time.monotonic()
        studies, lines, answers = {}, [], {}
        for f in filed:
            study_id = str(f["study_id"])
            told = self._told(study_id, str(f["name"]), counts.get(study_id, {}), now)
            version = _version(study_id, str(f["text"]), told)
            studies[study_id] = Filed(study_id, str(f["name"]), str(f["text"]), str(f["path"]), version)
            shown = {**told, "study": words.plain(f["name"], 120), "version": version}
            answers[study_id] = json_answer(shown)
            lines.append({k: v for k, v in shown.items() if k not in ("cells", "failures", "drivers")})
        gone = self._seen.keys() - studies.keys()
        for study_id in gone:
            del self._seen[study_id]
        return Snapshot(
            studies, json_answer({"ledger": words.plain(self._ledger.name, 200), "studies": lines}), answers
        )

    def _told(self, study_id: str, name: str, counts: Any, now: float) -> dict[str, Any]:
        before = self._seen.get(study_id)
        if before is not None and before[0] == counts and now - before[1] < STALE:
            return before[2]
        found = progress(self._ledger, study_id, name, self._vigil)
        rate = self._paces.setdefault(study_id, Pace()).see(found, now)
        told = progress_json(found) | {"rate": None if rate is None else asdict(rate)}
        told["runs"] = {c.status: 0 for c in found.counts}
        for c in found.counts:
            told["runs"][c.status] += c.runs
        told["failures"] = [{**f, "error": words.plain(f["error"], 400)} for f in told["failures"]]
        self._seen[study_id] = (counts, now, told, found)
        return told


def _version(study_id: str, text: str, told: Mapping[str, Any]) -> str:
    ended = [
        (c["arm"], c["rung"], sorted((s, n) for s, n in c["runs"].items() if s not in ("queued", "running")))
        for c in told["cells"]
    ]
    return hashlib.sha256(json.dumps([study_id, text, ended]).encode()).hexdigest()[:16]

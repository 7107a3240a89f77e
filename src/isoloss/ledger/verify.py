"""Every altered record of a ledger, named: what `isoloss verify` finds.

Everything has a hash of itself: a run's id of its spec, an environment's of its text, a study's of what it says, and a
record's digest of all that its end wrote. A member repeats its run's status and price, and says of which arm, rung and
purpose it is, which the run's spec says too; its round and position nothing else says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, func, select, text

from isoloss.ledger import schema
from isoloss.ledger.bundle.write import pages
from isoloss.ledger.connection import Database
from isoloss.ledger.record_check import environment_faults, run_faults, study_of

Fault = dict[str, str]


def faults(database: Database, told: Callable[[int, int], None] = lambda done, whole: None) -> Iterator[Fault]:
    """What is wrong, a fault at a time: ``kind`` and ``id`` of the row, and ``fault``, a phrase.

    `told` gets how many runs of how many are looked at. Raises `LedgerError` where the file itself can't be read.
    """
    with database.reading() as db:
        yield from _file(database, db)
        s, e = schema.studies, schema.environments
        studies: dict[str, Any] = {}
        for row in db.execute(select(s)):
            studies[row.study_id] = study_of(row.study_id, row.name, row.text)
            if studies[row.study_id] is None:
                yield from _of("study", row.study_id, ["its text is not that of the study it is filed as"])
        environments = set()
        for row in db.execute(select(e)):
            environments.add(row.environment_id)
            yield from _of("environment", row.environment_id, environment_faults(row.environment_id, row.data))
        for runs, notes, members in pages(db, None, told):
            said: dict[str, list[str]] = {}
            for note in notes:
                said.setdefault(note["run_id"], []).append(note["text"])
            mine: dict[str, list[dict[str, Any]]] = {}
            for member in members:
                mine.setdefault(member["run_id"], []).append(member)
            for run in runs:
                found = run_faults(run, said.get(run["run_id"], []))
                if run["environment_id"] is not None and run["environment_id"] not in environments:
                    found.append(f"its environment {str(run['environment_id'])[:40]} is missing")
                yield from _of("run", run["run_id"], found)
                yield from _members(run, mine.get(run["run_id"], []), studies)
        yield from _orphans(db)


def _file(database: Database, db: Connection) -> Iterator[Fault]:
    """What SQLite's own check says: of pages, of indexes that disagree with their tables."""
    if database.dialect == "sqlite":
        for (line,) in db.execute(text("PRAGMA integrity_check(100)")):
            if line != "ok":
                yield from _of("file", database.name, [" ".join(str(line).split())[:300]])


def _members(run: dict[str, Any], members: list[dict[str, Any]], studies: dict[str, Any]) -> Iterator[Fault]:
    priced: dict[str, int] = {}
    for member in members:
        where = f"as a member ({str(member['arm'])[:40]}) of study {str(member['study_id'])[:16]}"
        if member["status"] != run["status"]:
            yield from _of("run", run["run_id"], [f"is {run['status']}, but {str(member['status'])[:20]} {where}"])
        if member["study_id"] not in studies:
            yield from _of("run", run["run_id"], [f"{where} belongs to a study that is missing"])
        elif studies[member["study_id"]] is not None and (said := _misplaced(run, member, studies[member["study_id"]])):
            yield from _of("run", run["run_id"], [f"{said} {where}"])
        priced.setdefault(member["study_id"], 0)
        if member["price"] is not None:
            priced[member["study_id"]] += 1
            if member["price"] != run["price"]:
                yield from _of("run", run["run_id"], [f"has another price {where}"])
    for study, count in priced.items():
        if count != 1:
            yield from _of(
                "run", run["run_id"], [f"has its price {count} times in study {str(study)[:16]}, and once is right"]
            )


def _misplaced(run: dict[str, Any], member: dict[str, Any], study: Any) -> str:
    """What a member says of its run and the run's spec denies; empty if nothing. Rounds and places are in no spec."""
    arm = study.arms.get(member["arm"])
    if arm is None or member["rung"] not in study.ladder.rungs:
        return "has no place"
    try:
        spec = json.loads(run["spec"])
        algorithm, budget, splits = spec["algorithm"], spec["budget"], spec["evaluate"]
    except (ValueError, TypeError, KeyError, RecursionError):  # named as the run's own fault
        return ""
    if algorithm != arm.algorithm and not (arm.innovations or arm.without):  # those may change it
        return "trained another algorithm than it should"
    if budget != member["rung"]:
        return "has another budget than its rung"
    if (member["purpose"] == "report") != ("test" in splits):
        return f"was not trained to {str(member['purpose'])[:20]}"
    return ""


def _orphans(db: Connection) -> Iterator[Fault]:
    """Members and notes of runs that are not there."""
    r = schema.runs
    for table, what in ((schema.members, "study's member"), (schema.notes, "note")):
        absent = select(table.c.run_id, func.count()).where(
            ~select(r.c.run_id).where(r.c.run_id == table.c.run_id).exists()
        )
        for run_id, count in db.execute(absent.group_by(table.c.run_id).order_by(table.c.run_id)):
            yield from _of("run", run_id, [f"is missing, and {count} {what}{'s' if count > 1 else ''} of it are there"])


def _of(kind: str, of: str, said: list[str]) -> Iterator[Fault]:
    for phrase in said:
        yield {"kind": kind, "id": str(of)[:80], "fault": phrase}

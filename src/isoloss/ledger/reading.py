"""What is read from the run database beside the run table: progress, what was said, curves, machines."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Select, func, select

from isoloss.ledger import schema
from isoloss.ledger.status import batches


def progress(db: Connection, study_id: str | None = None) -> dict[str, dict[str, tuple[int, float]]]:
    """study id -> status -> (runs, price in FLOPs), of every study or of one."""
    m = schema.members
    # a run that two arms have is counted once: only the first of them has its price
    asked = select(m.c.study_id, m.c.status, func.count(m.c.price), func.sum(m.c.price))
    if study_id is not None:
        asked = asked.where(m.c.study_id == study_id)
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for study, status, count, price in db.execute(asked.group_by(m.c.study_id, m.c.status)):
        if count:
            found.setdefault(study, {})[status] = (count, float(price))
    return found


def errors(db: Connection, study_id: str | None = None) -> dict[str, list[str]]:
    """study id -> what its failed runs said, each once."""
    r = schema.runs
    return _lines(db, select(r.c.run_id, r.c.error).where(r.c.error.is_not(None)), study_id)


def notes(db: Connection, study_id: str | None = None) -> dict[str, list[str]]:
    """study id -> faults that its runs survived, each once."""
    return _lines(db, select(schema.notes.c.run_id, schema.notes.c.text), study_id)


def _lines(db: Connection, asked: Select[Any], study_id: str | None) -> dict[str, list[str]]:
    # few runs say anything: from those to their studies, where a join might go through all members
    said: dict[str, set[str]] = {}
    for run_id, line in db.execute(asked):
        said.setdefault(run_id, set()).add(str(line))
    m, found = schema.members, dict[str, set[str]]()
    for batch in batches(said):
        of = select(m.c.study_id, m.c.run_id).where(m.c.run_id.in_(batch))
        for study, run_id in db.execute(of if study_id is None else of.where(m.c.study_id == study_id)):
            found.setdefault(study, set()).update(said[run_id])
    return {study: sorted(lines) for study, lines in found.items()}


def curves(db: Connection, study_id: str) -> dict[str, dict[str, list[float]]]:
    """run id -> recorded curve, for a study's ended runs."""
    from isoloss.ledger.records import unpack_curve

    r, m = schema.runs, schema.members
    mine = select(m.c.run_id).where(m.c.study_id == study_id)
    rows = db.execute(select(r.c.run_id, r.c.curve).where(r.c.run_id.in_(mine), r.c.curve.is_not(None)))
    return {row.run_id: unpack_curve(row.curve) for row in rows}


def machine(db: Connection, study_id: str) -> list[dict[str, Any]]:
    """Of each ended run of a study, as they ended: id, status, error, seconds by phase, environment, when it ended."""
    r, m, e = schema.runs, schema.members, schema.environments
    environments = {i: json.loads(data) for i, data in db.execute(select(e.c.environment_id, e.c.data))}
    mine = select(m.c.run_id).where(m.c.study_id == study_id)
    rows = db.execute(
        select(r.c.run_id, r.c.spec, r.c.status, r.c.error, r.c.seconds, r.c.ended, r.c.price, r.c.environment_id)
        .where(r.c.run_id.in_(mine), r.c.ended.is_not(None))
        .order_by(r.c.ended, r.c.run_id)
    )
    return [
        {
            "run_id": row.run_id,
            "algorithm": json.loads(row.spec)["algorithm"],
            "status": row.status,
            "error": row.error,
            "seconds": json.loads(row.seconds or "{}"),
            "ended": row.ended,
            "price": row.price,
            "environment": environments.get(row.environment_id, {}),
        }
        for row in rows
    ]

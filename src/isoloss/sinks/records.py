"""Records for trackers out of the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from isoloss.ledger import schema
from isoloss.ledger.records import unpack_curve
from isoloss.ledger.status import ENDED, batches
from isoloss.ledger.store import Ledger
from isoloss.runs import Amount, Outcome, RunSpec
from isoloss.sinks.base import Record


def ended_ids(ledger: Ledger, study_id: str) -> list[str]:
    """Ids of a study's runs that have ended, in the study's own order."""
    m = schema.members
    mine = select(m.c.run_id).where(m.c.study_id == study_id, m.c.status.in_(ENDED)).order_by(m.c.position)
    return list(dict.fromkeys(ledger.database.read(lambda db: db.scalars(mine).all())))


def records(ledger: Ledger, study_id: str, name: str, run_ids: Sequence[str]) -> Iterator[Record]:
    """The records of those of `run_ids` that are runs of the study and have ended."""
    for ids in batches(run_ids):
        yield from ledger.database.read(lambda db, ids=ids: _read(db, study_id, name, ids))  # type: ignore[misc]


def _read(db: Connection, study_id: str, name: str, ids: Sequence[str]) -> list[Record]:
    m, r, n = schema.members, schema.runs, schema.notes
    places: dict[str, list[tuple[str, float, str]]] = {}
    mine = select(m.c.run_id, m.c.arm, m.c.rung, m.c.purpose).where(m.c.study_id == study_id, m.c.run_id.in_(ids))
    for run_id, arm, rung, purpose in db.execute(mine.order_by(m.c.position)):
        places.setdefault(run_id, []).append((arm, rung, purpose))
    notes: dict[str, list[str]] = {}
    for run_id, text in db.execute(select(n.c.run_id, n.c.text).where(n.c.run_id.in_(ids)).order_by(n.c.position)):
        notes.setdefault(run_id, []).append(text)
    rows = {row.run_id: row for row in db.execute(select(r).where(r.c.run_id.in_(ids), r.c.status.in_(ENDED)))}
    found = []
    for run_id in ids:
        if run_id not in rows or run_id not in places:
            continue
        row = rows[run_id]
        outcome = Outcome(
            row.status,
            json.loads(row.qualities or "{}"),
            {} if row.curve is None else unpack_curve(row.curve),
            {k: Amount(value, how) for k, (value, how) in json.loads(row.resources or "{}").items()},
            json.loads(row.seconds or "{}"),
            row.error or "",
            tuple(notes.get(run_id, ())),
        )
        arms = ",".join(dict.fromkeys(arm for arm, _, _ in places[run_id]))
        _, rung, purpose = places[run_id][0]
        found.append(Record(name, arms, rung, purpose, RunSpec.from_dict(json.loads(row.spec)), outcome))  # type: ignore[arg-type]
    return found

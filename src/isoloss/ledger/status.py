"""The status of runs: the one place that moves a run from one to another, in `runs` and in `members`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from isoloss.ledger import schema

#: A run that waits or is trained; a run that has a record.
OPEN = ("queued", "running")
ENDED = ("finished", "diverged", "dropped", "failed")
#: Ids in one statement: both databases allow tens of thousands, and plan a thousand well.
BATCH = 1000


def move(
    db: Connection,
    run_ids: Iterable[str],
    begin: Sequence[str],
    end: str,
    values: Mapping[str, Any] | None = None,
) -> list[str]:
    """Move those of `run_ids` whose status is in `begin` to `end`, setting `values` too; the ids that moved, sorted."""
    runs, members = schema.runs, schema.members
    moved: list[str] = []
    for ids in batches(sorted(set(run_ids))):
        of = select(runs.c.run_id).where(runs.c.run_id.in_(ids), runs.c.status.in_(begin)).order_by(runs.c.run_id)
        found = list(db.scalars(of.with_for_update()))
        if found:
            db.execute(update(runs).where(runs.c.run_id.in_(found)).values(status=end, **(values or {})))
            db.execute(update(members).where(members.c.run_id.in_(found)).values(status=end))
            moved += found
    return moved


def move_each(db: Connection, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Move each run, whose row the caller has locked, to the ``status`` of its `rows` entry with its other columns."""
    if not rows:
        return
    runs, members = schema.runs, schema.members
    own: dict[str, Any] = {name: bindparam(f"to_{name}") for name in next(iter(rows.values()))}
    sent = [{"of": i, **{f"to_{name}": value for name, value in row.items()}} for i, row in rows.items()]
    db.execute(update(runs).where(runs.c.run_id == bindparam("of")).values(own), sent)
    status = [{"of": s["of"], "to_status": s["to_status"]} for s in sent]
    db.execute(update(members).where(members.c.run_id == bindparam("of")).values(status=own["status"]), status)


#: What a run without a record has in the columns of one.
NO_RECORD: Mapping[str, Any] = dict.fromkeys(
    ("qualities", "resources", "seconds", "environment_id", "error", "ended", "digest", "curve")
)


def batches(ids: Iterable[str]) -> Iterable[list[str]]:
    """`ids` in lists of at most `BATCH`."""
    rest = iter(ids)
    while batch := list(islice(rest, BATCH)):
        yield batch

"""What no study needs: found first, removed only when told. A finished run of a study that stays is never removed."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, func, select

from isoloss.errors import LedgerError
from isoloss.ledger import schema
from isoloss.ledger.connection import Database
from isoloss.ledger.status import ENDED, batches


@dataclass(frozen=True)
class Removal:
    """Things of one kind that can go: `what` they are, how many, and bytes (of a database's rows: about)."""

    what: str
    count: int
    bytes: int


@dataclass(frozen=True)
class Waste:
    """What can go: whole studies, runs without a study, checkpoints of runs that ended, backups of older versions."""

    studies: tuple[str, ...]
    removals: tuple[Removal, ...]
    runs: tuple[str, ...]
    files: tuple[Path, ...]


def waste(database: Database, cache: Path, studies: Collection[str] = ()) -> Waste:
    """What could be removed if the `studies` (ids) were dropped; changes nothing.

    A run that is being trained stays, and so does a run that any other study has.
    """
    with database.reading() as db:
        runs, size = _unneeded(db, studies)
        ended = set(db.scalars(select(schema.runs.c.run_id).where(schema.runs.c.status.in_(ENDED))))
    checkpoints = [p for p in _files(cache / "checkpoints") if p.name.partition(".")[0] in ended | set(runs)]
    backups = [] if database.file is None else _backups(database.file)
    found = (
        Removal("studies named", len(studies), 0),
        Removal("runs that no other study has" if studies else "runs that no study has", len(runs), size),
        Removal("checkpoints of runs that ended", len(checkpoints), _bytes(checkpoints)),
        Removal("backups of an older or damaged ledger", len(backups), _bytes(backups)),
    )
    return Waste(tuple(studies), tuple(r for r in found if r.count), tuple(runs), (*checkpoints, *backups))


def remove(database: Database, found: Waste) -> int:
    """Remove `found`, as far as it still is waste, and give the space back; how many bytes of the disk came free."""
    before = _disk(database)
    m, n, r = schema.members, schema.notes, schema.runs

    def work(db: Connection) -> None:
        for study in found.studies:
            db.execute(m.delete().where(m.c.study_id == study))
            db.execute(schema.studies.delete().where(schema.studies.c.study_id == study))
        for ids in batches(found.runs):
            # a study may have taken one up meanwhile
            still = list(db.scalars(select(r.c.run_id).where(r.c.run_id.in_(ids), _lonely(()))))
            db.execute(n.delete().where(n.c.run_id.in_(still)))
            db.execute(r.delete().where(r.c.run_id.in_(still)))
        e = schema.environments
        used = select(r.c.environment_id).where(r.c.environment_id == e.c.environment_id).exists()
        db.execute(e.delete().where(~used))

    size = _bytes([p for p in found.files if p.exists()])
    database.write(work)
    for path in found.files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LedgerError(path, f"can't be removed ({error.strerror})", "check its permissions") from None
    database.vacuum()
    return max(0, before - _disk(database)) + size


def _unneeded(db: Connection, studies: Collection[str]) -> tuple[list[str], int]:
    r = schema.runs
    size: ColumnElement[int] = func.length(r.c.spec)
    for column in (r.c.qualities, r.c.resources, r.c.seconds, r.c.error, r.c.curve):
        size = size + func.coalesce(func.length(column), 0)
    asked = select(r.c.run_id, size).where(_lonely(studies)).order_by(r.c.run_id)
    rows = db.execute(asked).all()
    return [row[0] for row in rows], sum(int(row[1]) for row in rows)


def _lonely(studies: Collection[str]) -> ColumnElement[bool]:
    """Runs that nobody trains and that no study but `studies` has."""
    r, m = schema.runs, schema.members
    kept = select(m.c.run_id).where(m.c.run_id == r.c.run_id, m.c.study_id.not_in(sorted(studies)))
    return (r.c.status != "running") & ~kept.exists()


def _files(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink())
    return []


def _backups(ledger: Path) -> list[Path]:
    starts = (f"{ledger.name}.v", f"{ledger.name}.damaged")
    return [
        p for p in _files(ledger.parent) if p.name.startswith(starts) and ("-backup" in p.name or ".damaged" in p.name)
    ]


def _bytes(paths: list[Path]) -> int:
    return sum(os.path.getsize(p) for p in paths)


def _disk(database: Database) -> int:
    if database.file is None:
        return 0
    ends = ("", "-wal")
    paths = [database.file.with_name(database.file.name + end) for end in ends]
    return sum(p.stat().st_size for p in paths if p.exists())

"""Claims: who trains a run. A claim belongs to an owner, and an owner lives while its beat rises.

No clock of any machine is compared with another's, nor with its own past: who sees that a beat has not risen for
`LEASE` seconds of its own running time holds that owner for dead, and so does who sees that its process is gone.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select, tuple_, update

from isoloss.ledger import schema
from isoloss.ledger.status import move

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

#: Seconds without a beat after which a driver is dead to others; it beats four times as often.
LEASE = 60.0
_PAGE = 200


@cache
def machine_name() -> str:
    """Names this machine, boot and process-id space, so that a pid is looked up only where it means something.

    A digest: the name of nobody's machine is recorded.
    """
    parts = [socket.gethostname()]
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", os.readlink)):
        try:
            parts.append(str(read(Path(path))).strip())
        except OSError:
            parts.append("-")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def new_owner() -> str:
    """A name for a driver's claims: machine, process and a random part."""
    return f"{machine_name()}|{os.getpid()}|{uuid.uuid4().hex[:8]}"


class Vigil:
    """What this process has seen of other drivers' beats."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def dead(self, owner: str, beat: int) -> bool:
        """Whether `owner`, whose beat is now `beat`, is gone."""
        now = time.monotonic()
        last, since = self._seen.setdefault(owner, (beat, now))
        if last != beat:
            self._seen[owner] = (beat, now)
            return False
        return now - since >= LEASE or _process_is_gone(owner)


def _process_is_gone(owner: str) -> bool:
    machine, _, rest = owner.partition("|")
    pid = rest.partition("|")[0]
    if machine != machine_name() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:  # one that ended and that nobody has reaped
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return False


def claim(
    db: Connection, study_id: str, owner: str, limit: int, stack_of: Mapping[str, frozenset[str]], vigil: Vigil
) -> list[frozenset[str]]:
    """Up to `limit` stacks for `owner`, the longest first: of each, the runs that were queued.

    Two drivers never have runs of one stack unless one came when the other had begun: who claims locks a stack by its
    first run, and passes over those that are locked.
    """
    _free_the_dead(db, owner, vigil)
    found = _queued(db, study_id, limit, stack_of)
    if not found:
        return []
    _be_known(db, owner)
    wanted = {run_id for stack in found for run_id in stack}
    claims = {"owner": owner, "attempts": schema.runs.c.attempts + 1}
    got = frozenset(move(db, wanted, ("queued",), "running", claims))
    return [stack & got for stack in found if stack & got]


def _queued(db: Connection, study_id: str, limit: int, stack_of: Mapping[str, frozenset[str]]) -> list[frozenset[str]]:
    """The first `limit` stacks with a queued run that no other driver is just claiming; they stay locked."""
    m, runs = schema.members, schema.runs
    queued = (
        select(m.c.run_id, m.c.price)
        .where(m.c.study_id == study_id, m.c.status == "queued", m.c.price.is_not(None))
        .order_by(m.c.price.desc(), m.c.run_id.desc())
        .limit(_PAGE)
    )
    found: dict[str, frozenset[str]] = {}
    page = db.execute(queued).all()
    while page and len(found) < limit:
        firsts = {min(stack): stack for row in page if (stack := stack_of.get(row.run_id)) is not None}
        fresh = (
            select(runs.c.run_id)
            .where(runs.c.run_id.in_(sorted(firsts.keys() - found.keys())))
            .order_by(runs.c.price.desc(), runs.c.run_id.desc())
            .limit(limit - len(found))
        )
        locked = db.scalars(fresh.with_for_update(skip_locked=True)).all()
        found |= {first: firsts[first] for first in locked}
        if len(found) < limit:
            page = db.execute(queued.where(tuple_(m.c.price, m.c.run_id) < tuple_(*reversed(page[-1])))).all()
    return list(found.values())


def renew(db: Connection, owner: str) -> None:
    """Say that `owner` lives."""
    owners = schema.owners
    beaten = db.execute(update(owners).where(owners.c.owner == owner).values(beat=owners.c.beat + 1))
    if beaten.rowcount == 0:
        _be_known(db, owner)


def release(db: Connection, owner: str, run_ids: Iterable[str] | None = None) -> None:
    """Give claims of `owner` back to the queue: those of `run_ids`, or all, and then nobody of that name is known."""
    runs = schema.runs
    mine = set(db.scalars(select(runs.c.run_id).where(runs.c.owner == owner, runs.c.status == "running")))
    move(db, mine if run_ids is None else mine & set(run_ids), ("running",), "queued", {"owner": None})
    if run_ids is None:
        db.execute(delete(schema.owners).where(schema.owners.c.owner == owner))


def _free_the_dead(db: Connection, me: str, vigil: Vigil) -> None:
    owners = schema.owners
    for owner, beat in db.execute(select(owners.c.owner, owners.c.beat).where(owners.c.owner != me)).all():
        if not vigil.dead(owner, beat):
            continue
        still = delete(owners).where(owners.c.owner == owner, owners.c.beat == beat)
        if db.execute(still).rowcount == 1:
            release(db, owner)


def _be_known(db: Connection, owner: str) -> None:
    db.execute(insert_new(db, schema.owners).values(owner=owner, beat=0))


def insert_new(db: Connection, table: Any) -> sqlite.Insert | postgresql.Insert:
    """An insertion into `table` that passes over rows which are there."""
    # of the two only the one that is spoken is loaded already; the other would take long
    if db.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()

"""The run database: SQLite by default, one transaction a run, claims with leases.

A run is trained once, whoever works on the ledger: a driver claims a queued run for `LEASE` seconds and renews while
it works; the claim of a driver that died is free again at once on the same machine, after the lease elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from sqlalchemy import Connection, Engine, and_, create_engine, event, func, or_, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from isoloss.errors import LedgerError
from isoloss.ledger import schema
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.planning.plan import PlannedRun
from isoloss.runs import Outcome, RunSpec
from isoloss.study import Study

DEFAULT = "isoloss.sqlite"
LEASE = 60.0


def machine_name() -> str:
    """Names this machine, boot and process-id space, so that a pid can be looked up only where it means something."""
    parts = [socket.gethostname()]
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", os.readlink)):
        try:
            parts.append(str(read(Path(path))).strip())
        except OSError:
            parts.append("-")
    return "|".join(parts)


def new_owner() -> str:
    """A name for this driver's claims: machine, process and a random part."""
    return f"{machine_name()}|{os.getpid()}|{uuid.uuid4().hex[:8]}"


def _owner_is_dead(owner: str) -> bool:
    machine, pid, _ = owner.rsplit("|", 2)
    if machine != machine_name() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


class Ledger:
    """An open run database. Every method is one transaction; raises `LedgerError` in one line."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """Open (and with `create` make) the ledger at `url`: a file path or a SQLAlchemy URL."""
        self.name = url
        if "://" not in url:
            path = Path(url)
            if path.is_dir():
                raise LedgerError(url, "is a folder, not a ledger", "name a file")
            if not path.exists() and not create:
                raise LedgerError(url, "no such ledger", "run a study first, or name one with --ledger")
            if not path.parent.exists():
                raise LedgerError(url, "its folder does not exist", f"mkdir -p {path.parent}")
            url = f"sqlite:///{path}"
        self._engine: Engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _sqlite_pragmas)
            event.listen(self._engine, "begin", _sqlite_begin)
        with self._transaction() as db:
            schema.metadata.create_all(db, checkfirst=True)
            found = db.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "schema_version"))
            if found is None:
                db.execute(schema.meta.insert().values(key="schema_version", value=str(schema.SCHEMA_VERSION)))
            elif not found.isdigit() or int(found) > schema.SCHEMA_VERSION:
                raise LedgerError(
                    self.name,
                    f"was written by a newer isoloss (ledger version {found[:9]}, this reads {schema.SCHEMA_VERSION})",
                    "upgrade: pip install -U isoloss",
                )

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except SQLAlchemyError as error:
            raise self._said(error) from error

    def _said(self, error: SQLAlchemyError) -> LedgerError:
        text = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        low = text.lower()
        if "disk is full" in low or "no space left" in low or "disk i/o error" in low:
            return LedgerError(
                self.name, f"can't be written: {text}", "free space and run again: finished runs are kept"
            )
        if "not a database" in low or "malformed" in low:
            return LedgerError(self.name, "is damaged or not a ledger", "move it away, or name another with --ledger")
        if "readonly" in low or "unable to open" in low:
            return LedgerError(self.name, f"can't be opened for writing: {text}", "check the path and its permissions")
        if "locked" in low:
            return LedgerError(
                self.name, "is locked by another program", "close it and run again: finished runs are kept"
            )
        return LedgerError(self.name, text.splitlines()[0], "")

    # -- writing -----------------------------------------------------------------------------------------------

    def open_study(self, study: Study, text: str, path: str) -> None:
        """File the study itself; queue again what failed (divergence is a result and is kept).

        A trial that failed may change which one is chosen, so later rounds are forgotten and proposed anew; their
        runs stay in the ledger.
        """
        with self._transaction() as db:
            values = {"name": study.name, "text": text, "path": path, "opened": time.time()}
            known = db.scalar(select(schema.studies.c.name).where(schema.studies.c.study_id == study.study_id))
            if known is None:
                db.execute(schema.studies.insert().values(study_id=study.study_id, **values))
            else:
                db.execute(update(schema.studies).where(schema.studies.c.study_id == study.study_id).values(**values))
            m = schema.members
            mine = select(m.c.run_id).where(m.c.study_id == study.study_id)
            failed = db.scalar(
                select(func.min(m.c.round))
                .join(schema.runs, schema.runs.c.run_id == m.c.run_id)
                .where(m.c.study_id == study.study_id, schema.runs.c.status == "failed")
            )
            if failed is None:
                return
            db.execute(m.delete().where(m.c.study_id == study.study_id, m.c.round > failed))
            db.execute(
                update(schema.runs)
                .where(schema.runs.c.status == "failed", schema.runs.c.run_id.in_(mine))
                .values(status="queued", owner=None, lease=None, attempts=0, error=None)
            )

    def enqueue(self, study: Study, wanted: Iterable[tuple[int, PlannedRun]]) -> None:
        """Queue runs that the ledger does not hold; make all of `wanted` (round, run) the study's members, in order.

        Only adds: what a study wants once it wants always, so drivers at different rounds do not undo each other.
        """
        wanted = list(wanted)
        m = schema.members
        with self._transaction() as db:
            known = set(db.scalars(select(schema.runs.c.run_id)))
            rows_held = db.execute(select(m.c.arm, m.c.run_id).where(m.c.study_id == study.study_id)).all()
            held = {(row.arm, row.run_id) for row in rows_held}
            new = {r.spec.run_id: r for _, r in wanted if r.spec.run_id not in known}
            if new:
                db.execute(
                    schema.runs.insert(),
                    [
                        {
                            "run_id": i,
                            "spec": _json(r.spec.to_dict()),
                            "status": "queued",
                            "price": r.flops,
                            "attempts": 0,
                        }
                        for i, r in new.items()
                    ],
                )
            rows: dict[tuple[str, str], dict[str, Any]] = {}
            for position, (number, r) in enumerate(wanted):
                rows.setdefault(
                    (r.arm, r.spec.run_id),
                    {
                        "study_id": study.study_id,
                        "arm": r.arm,
                        "run_id": r.spec.run_id,
                        "position": position,
                        "round": number,
                        "rung": r.rung,
                        "purpose": r.purpose,
                    },
                )
            fresh = [row for key, row in rows.items() if key not in held]
            if fresh:
                db.execute(m.insert(), fresh)

    def claim(self, study: Study, owner: str, limit: int, stacks: Iterable[frozenset[str]]) -> list[frozenset[str]]:
        """Up to `limit` of the `stacks` of run ids for `owner`, longest first: of each, the runs that are queued or
        whose owner died, where there are any."""
        runs, now = schema.runs, time.time()
        mine = select(schema.members.c.run_id).where(schema.members.c.study_id == study.study_id)
        mates = {run_id: stack for stack in stacks for run_id in stack}
        claimed: list[frozenset[str]] = []
        with self._transaction() as db:
            rows = db.execute(
                select(runs.c.run_id, runs.c.status, runs.c.owner, runs.c.lease)
                .where(runs.c.run_id.in_(mine), runs.c.status.in_(("queued", "running")))
                .order_by(runs.c.price.desc(), runs.c.run_id)
            ).all()
            dead = {o: _owner_is_dead(o) for o in {r.owner for r in rows if r.owner}}
            free = {r.run_id: r for r in rows if r.status == "queued" or r.lease <= now or dead.get(r.owner, False)}
            for first in [i for i in free if i in mates]:
                if len(claimed) == limit:
                    break
                wanted = [free.pop(i) for i in sorted(mates[first]) if i in free]
                got = set()
                for row in wanted:
                    taken = db.execute(
                        update(runs)
                        .where(
                            runs.c.run_id == row.run_id,
                            runs.c.status == row.status,
                            or_(runs.c.owner.is_(None), runs.c.owner == row.owner),
                        )
                        .values(status="running", owner=owner, lease=now + LEASE, attempts=runs.c.attempts + 1)
                    )
                    if taken.rowcount == 1:
                        got.add(row.run_id)
                if got:
                    claimed.append(frozenset(got))
        return claimed

    def renew(self, owner: str) -> None:
        """Extend every claim of `owner`."""
        with self._transaction() as db:
            db.execute(
                update(schema.runs)
                .where(schema.runs.c.owner == owner, schema.runs.c.status == "running")
                .values(lease=time.time() + LEASE)
            )

    def release(self, owner: str, run_ids: Iterable[str] | None = None) -> None:
        """Give claims of `owner` back to the queue: all, or those of `run_ids`."""
        which = and_(schema.runs.c.owner == owner, schema.runs.c.status == "running")
        if run_ids is not None:
            which = and_(which, schema.runs.c.run_id.in_(list(run_ids)))
        with self._transaction() as db:
            db.execute(update(schema.runs).where(which).values(status="queued", owner=None, lease=None))

    def finish(self, run_id: str, outcome: Outcome, environment: Mapping[str, Any]) -> bool:
        """Record a run in one transaction; False when somebody already had."""
        return self.finish_all([(run_id, outcome, environment)])[0]

    def finish_all(self, ended: Iterable[tuple[str, Outcome, Mapping[str, Any]]]) -> list[bool]:
        """Record runs (id, outcome, environment), all in one transaction; False for each that somebody already had."""
        with self._transaction() as db:
            return [self._finish(db, *one) for one in ended]

    @staticmethod
    def _finish(db: Connection, run_id: str, outcome: Outcome, environment: Mapping[str, Any]) -> bool:
        data = _json(environment)
        environment_id = _digest(data)
        if db.scalar(select(func.count()).where(schema.environments.c.environment_id == environment_id)) == 0:
            db.execute(schema.environments.insert().values(environment_id=environment_id, data=data))
        done = db.execute(
            update(schema.runs)
            .where(schema.runs.c.run_id == run_id, schema.runs.c.status.in_(("queued", "running")))
            .values(
                status=outcome.status,
                owner=None,
                lease=None,
                qualities=_json(outcome.qualities),
                resources=_json({k: [a.value, a.how] for k, a in outcome.resources.items()}),
                seconds=_json(outcome.seconds),
                curve=_pack_curve(outcome.curve),
                environment_id=environment_id,
                error=outcome.error or None,
                ended=time.time(),
            )
        )
        if done.rowcount == 1 and outcome.notes:
            rows = [{"run_id": run_id, "position": i, "text": text} for i, text in enumerate(outcome.notes)]
            db.execute(schema.notes.delete().where(schema.notes.c.run_id == run_id))
            db.execute(schema.notes.insert(), rows)
        return bool(done.rowcount == 1)

    # -- reading -----------------------------------------------------------------------------------------------

    def table(self, study: Study) -> RunTable:
        """The study's ended runs, in the study's own order."""
        r, m = schema.runs, schema.members
        with self._transaction() as db:
            rows = db.execute(
                select(
                    m.c.arm,
                    m.c.round,
                    m.c.rung,
                    m.c.purpose,
                    r.c.run_id,
                    r.c.spec,
                    r.c.status,
                    r.c.qualities,
                    r.c.resources,
                )
                .join(r, r.c.run_id == m.c.run_id)
                .where(m.c.study_id == study.study_id, r.c.status.in_(("finished", "diverged", "dropped", "failed")))
                .order_by(m.c.position)
            ).all()
        data = []
        for row in rows:
            spec = json.loads(row.spec)
            qualities, resources = json.loads(row.qualities or "{}"), json.loads(row.resources or "{}")
            data.append(
                {
                    "run_id": row.run_id,
                    "study": study.name,
                    "arm": row.arm,
                    "algorithm": spec["algorithm"],
                    "task": spec["task"],
                    "purpose": row.purpose,
                    "round": row.round,
                    "rung": row.rung,
                    "seed": spec["seed"],
                    "cluster": RunSpec.from_dict(spec).trunk_id or row.run_id,
                    "status": row.status,
                    "choices": _json(spec["choices"]),
                    "validation": qualities.get("validation"),
                    "test": qualities.get("test"),
                    **{name: value for name, (value, _) in resources.items()},
                }
            )
        return RunTable(pl.DataFrame(data, schema=SCHEMA))

    def progress_of(self, study_id: str) -> dict[str, tuple[int, float]]:
        """status -> (runs, price in FLOPs) of the study's members."""
        r, m = schema.runs, schema.members
        mine = select(m.c.run_id).where(m.c.study_id == study_id)
        with self._transaction() as db:
            rows = db.execute(
                select(r.c.status, func.count(), func.sum(r.c.price)).where(r.c.run_id.in_(mine)).group_by(r.c.status)
            ).all()
        return {status: (count, float(price)) for status, count, price in rows}

    def errors_of(self, study_id: str) -> list[str]:
        """What the study's failed runs said, each once."""
        r, m = schema.runs, schema.members
        mine = select(m.c.run_id).where(m.c.study_id == study_id)
        with self._transaction() as db:
            said = db.scalars(select(r.c.error).distinct().where(r.c.run_id.in_(mine), r.c.error.is_not(None))).all()
        return sorted(str(s) for s in said)

    def notes_of(self, study_id: str) -> list[str]:
        """Faults that the study's runs survived, each once."""
        n, m = schema.notes, schema.members
        mine = select(m.c.run_id).where(m.c.study_id == study_id)
        with self._transaction() as db:
            return sorted(db.scalars(select(n.c.text).distinct().where(n.c.run_id.in_(mine))).all())

    def curves(self, study: Study) -> dict[str, dict[str, list[float]]]:
        """run id -> recorded curve, for the study's ended runs."""
        r, m = schema.runs, schema.members
        mine = select(m.c.run_id).where(m.c.study_id == study.study_id)
        with self._transaction() as db:
            rows = db.execute(select(r.c.run_id, r.c.curve).where(r.c.run_id.in_(mine), r.c.curve.is_not(None))).all()
        return {row.run_id: _unpack_curve(row.curve) for row in rows}

    def curve(self, run_id: str) -> dict[str, list[float]] | None:
        """The curve of an ended run; None where there is none."""
        with self._transaction() as db:
            blob = db.scalar(select(schema.runs.c.curve).where(schema.runs.c.run_id == run_id))
        return None if blob is None else _unpack_curve(blob)

    def studies(self) -> list[dict[str, Any]]:
        """Every study filed here, latest opened first: id, name, path, text, opened."""
        with self._transaction() as db:
            rows = db.execute(select(schema.studies).order_by(schema.studies.c.opened.desc())).mappings().all()
        return [dict(r) for r in rows]

    def machine(self, study: Study) -> list[dict[str, Any]]:
        """Of each ended run: id, status, error, seconds by phase, environment, when it ended."""
        r, m, e = schema.runs, schema.members, schema.environments
        mine = select(m.c.run_id).where(m.c.study_id == study.study_id)
        with self._transaction() as db:
            rows = db.execute(
                select(r.c.run_id, r.c.spec, r.c.status, r.c.error, r.c.seconds, r.c.ended, r.c.price, e.c.data)
                .join(e, e.c.environment_id == r.c.environment_id, isouter=True)
                .where(r.c.run_id.in_(mine), r.c.ended.is_not(None))
                .order_by(r.c.ended)
            ).all()
        return [
            {
                "run_id": row.run_id,
                "algorithm": json.loads(row.spec)["algorithm"],
                "status": row.status,
                "error": row.error,
                "seconds": json.loads(row.seconds or "{}"),
                "ended": row.ended,
                "price": row.price,
                "environment": json.loads(row.data or "{}"),
            }
            for row in rows
        ]


def _json(value: Any) -> str:
    return json.dumps(value if isinstance(value, dict) else dict(value), sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pack_curve(curve: Mapping[str, list[float]]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({k: pa.array(v, type=pa.float64()) for k, v in curve.items()})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _unpack_curve(blob: bytes) -> dict[str, list[float]]:
    with pa.ipc.open_stream(blob) as reader:
        columns: dict[str, list[float]] = reader.read_all().to_pydict()
    return columns


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below takes over
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    _write_ahead(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    # WAL: readers never wait for the writer, and a killed process leaves a whole database behind. Who opens a new file
    # beside somebody else is refused at once, whatever the busy timeout: SQLite sees a deadlock where each waits for
    # the other to leave the old mode.
    deadline = time.monotonic() + 30
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01 + 0.04 * random.random())


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


__all__ = ["DEFAULT", "LEASE", "Ledger", "machine_name", "new_owner"]

"""The run database: SQLite by default, PostgreSQL by URL; one transaction writes a run.

A run is trained once, whoever works on the ledger: see `isoloss.ledger.claims`. Only drivers and imports write.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, update

from isoloss.ledger import claims, reading, schema
from isoloss.ledger.claims import LEASE, machine_name, new_owner
from isoloss.ledger.connection import Database
from isoloss.ledger.digest import canonical_json, environment_id
from isoloss.ledger.status import NO_RECORD, OPEN, batches, move, move_each
from isoloss.ledger.versions import open_version

if TYPE_CHECKING:  # a ledger is opened for `status` without data frames
    from isoloss.ledger.table import RunTable
    from isoloss.planning.plan import PlannedRun
    from isoloss.runs import Outcome
    from isoloss.study import Study

DEFAULT = "isoloss.sqlite"


class Ledger:
    """An open run database. Every method is one transaction; raises `LedgerError` in one line."""

    def __init__(self, url: str, *, create: bool = True, read_only: bool = False) -> None:
        """Open (and with `create` make) the ledger at `url`: a file's path, or ``postgresql://``.

        With `read_only` the database itself refuses every change, and an older ledger is refused, not upgraded.
        """
        self.database = Database(url, create=create and not read_only, read_only=read_only)
        #: What anybody may read of where it is: no user, no password.
        self.name = self.database.name
        self._vigil = claims.Vigil()
        try:
            open_version(self.database, create=create and not read_only)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self.database.close()

    # -- writing -----------------------------------------------------------------------------------------------

    def open_study(self, study: Study, text: str, path: str) -> None:
        """File the study itself; queue again what failed (divergence is a result and is kept).

        A trial that failed may change which one is chosen, so later rounds are forgotten and proposed anew, as is what
        failed: of a plug-in that was mended since, other runs are wanted. The runs stay in the ledger.
        """
        from isoloss.ledger.records import plain_text

        s, m = schema.studies, schema.members
        values = {"name": study.name, "text": plain_text(text), "path": plain_text(path), "opened": time.time()}

        def work(db: Connection) -> None:
            db.execute(claims.insert_new(db, s).values(study_id=study.study_id, **values))
            db.execute(update(s).where(s.c.study_id == study.study_id).values(**values))
            mine = select(m.c.run_id, m.c.round).where(m.c.study_id == study.study_id, m.c.status == "failed")
            failed = db.execute(mine).all()
            if failed:
                first = min(row.round for row in failed)
                db.execute(m.delete().where(m.c.study_id == study.study_id, m.c.round > first))
                ids = [row.run_id for row in failed]
                for batch in batches(ids):
                    db.execute(m.delete().where(m.c.study_id == study.study_id, m.c.run_id.in_(batch)))
                moved = move(db, ids, ("failed",), "queued", {**NO_RECORD, "owner": None, "attempts": 0})
                for batch in batches(moved):
                    db.execute(schema.notes.delete().where(schema.notes.c.run_id.in_(batch)))

        self.database.write(work)

    def enqueue(self, study: Study, wanted: Iterable[tuple[int, PlannedRun]]) -> None:
        """Queue runs that the ledger does not hold; make all of `wanted` (round, run) the study's members, in order.

        Only adds: what a study wants once it wants always, so drivers at different rounds do not undo each other.
        """
        m, r = schema.members, schema.runs
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        runs: dict[str, PlannedRun] = {}
        for position, (number, run) in enumerate(wanted):
            run_id = run.spec.run_id
            # where two arms have one run, the first has its price
            price = None if run_id in runs else run.flops
            runs.setdefault(run_id, run)
            rows.setdefault(
                (run.arm, run_id),
                {
                    "study_id": study.study_id,
                    "arm": run.arm,
                    "run_id": run_id,
                    "position": position,
                    "round": number,
                    "rung": run.rung,
                    "purpose": run.purpose,
                    "price": price,
                },
            )

        def work(db: Connection) -> None:
            held = select(m.c.arm, m.c.run_id).where(m.c.study_id == study.study_id)
            absent = rows.keys() - {(row.arm, row.run_id) for row in db.execute(held)}
            fresh = sorted({run_id for _, run_id in absent})
            if not fresh:
                return
            queued = [
                {
                    "run_id": i,
                    "spec": canonical_json(runs[i].spec.to_dict()),
                    "status": "queued",
                    "price": runs[i].flops,
                    "attempts": 0,
                }
                for i in fresh
            ]
            db.execute(claims.insert_new(db, r), queued)
            status: dict[str, str] = {}
            for batch in batches(fresh):  # locked, so that none ends between this and the members' entry
                of = select(r.c.run_id, r.c.status).where(r.c.run_id.in_(batch)).order_by(r.c.run_id)
                status |= {row.run_id: row.status for row in db.execute(of.with_for_update(read=True))}
            members = [{**row, "status": status[row["run_id"]]} for key, row in rows.items() if key in absent]
            db.execute(claims.insert_new(db, m), members)

        self.database.write(work)

    def claim(
        self, study: Study, owner: str, limit: int, stack_of: Mapping[str, frozenset[str]]
    ) -> list[frozenset[str]]:
        """Up to `limit` stacks of run ids for `owner`, longest first: of each, the runs that are queued or whose owner
        died. `stack_of`: run id -> the stack that it is trained in."""
        known: set[str] | None = None

        def work(db: Connection) -> list[frozenset[str]]:
            nonlocal known
            mine = set(db.scalars(select(schema.runs.c.run_id).where(schema.runs.c.owner == owner)))
            if known is None:
                known = mine
            elif mine - known:  # claimed by this very call, whose answer was lost
                claims.release(db, owner, mine - known)
            return claims.claim(db, study.study_id, owner, limit, stack_of, self._vigil)

        return self.database.write(work)

    def renew(self, owner: str) -> None:
        """Say that `owner` lives; its claims hold while this is said every `LEASE` seconds."""
        self.database.write(lambda db: claims.renew(db, owner))

    def release(self, owner: str, run_ids: Iterable[str] | None = None) -> None:
        """Give claims of `owner` back to the queue: all, or those of `run_ids`."""
        ids = None if run_ids is None else list(run_ids)
        self.database.write(lambda db: claims.release(db, owner, ids))

    def finish(self, run_id: str, outcome: Outcome, environment: Mapping[str, Any]) -> bool:
        """Record a run in one transaction; False when somebody already had."""
        return self.finish_all([(run_id, outcome, environment)])[0]

    def finish_all(self, ended: Iterable[tuple[str, Outcome, Mapping[str, Any]]]) -> list[bool]:
        """Record runs (id, outcome, environment), all in one transaction; False for each that somebody already had."""
        from isoloss.ledger.records import record_of, remark

        ended, now = list(ended), time.time()
        texts = [canonical_json(dict(environment)) for _, _, environment in ended]
        r = schema.runs

        def work(db: Connection) -> list[bool]:
            new = [{"environment_id": environment_id(text), "data": text} for text in dict.fromkeys(texts)]
            if new:
                db.execute(claims.insert_new(db, schema.environments), new)
            held: dict[str, Any] = {}
            for batch in batches(sorted({run_id for run_id, _, _ in ended})):
                of = select(r.c.run_id, r.c.spec, r.c.status, r.c.digest).where(r.c.run_id.in_(batch))
                held |= {row.run_id: row for row in db.execute(of.order_by(r.c.run_id).with_for_update())}
            rows: dict[str, dict[str, Any]] = {}
            notes: list[dict[str, Any]] = []
            recorded = []
            for (run_id, outcome, _), text in zip(ended, texts, strict=True):
                if run_id not in held or run_id in rows:
                    recorded.append(False)
                    continue
                row = record_of(run_id, held[run_id].spec, outcome, environment_id(text), now)
                # with our digest it was written by this very call, whose answer was lost
                recorded.append(held[run_id].status in OPEN or held[run_id].digest == row["digest"])
                if held[run_id].status in OPEN:
                    rows[run_id] = row
                    notes += [
                        {"run_id": run_id, "position": i, "text": remark(note)} for i, note in enumerate(outcome.notes)
                    ]
            move_each(db, rows)
            if notes:
                db.execute(schema.notes.insert(), notes)
            return recorded

        return self.database.write(work)

    # -- reading -----------------------------------------------------------------------------------------------

    def table(self, study: Study) -> RunTable:
        """The study's ended runs, in the study's own order."""
        from isoloss.ledger.run_frame import run_frame
        from isoloss.ledger.table import RunTable

        return RunTable(self.database.read(lambda db: run_frame(db, study.study_id, study.name)))

    def open_runs(self, study: Study) -> set[str]:
        """Ids of the study's runs that have no record yet."""
        m = schema.members
        mine = select(m.c.run_id).where(m.c.study_id == study.study_id, m.c.status.in_(OPEN))
        return self.database.read(lambda db: set(db.scalars(mine)))

    def progress_of(self, study_id: str) -> dict[str, tuple[int, float]]:
        """status -> (runs, price in FLOPs) of the study's runs."""
        return self.progress(study_id).get(study_id, {})

    def progress(self, study_id: str | None = None) -> dict[str, dict[str, tuple[int, float]]]:
        """study id -> status -> (runs, price in FLOPs), of every study or of one."""
        return self.database.read(lambda db: reading.progress(db, study_id))

    def errors_of(self, study_id: str) -> list[str]:
        """What the study's failed runs said, each once."""
        return self.errors(study_id).get(study_id, [])

    def errors(self, study_id: str | None = None) -> dict[str, list[str]]:
        """study id -> what its failed runs said, each once."""
        return self.database.read(lambda db: reading.errors(db, study_id))

    def notes_of(self, study_id: str) -> list[str]:
        """Faults that the study's runs survived, each once."""
        return self.notes(study_id).get(study_id, [])

    def notes(self, study_id: str | None = None) -> dict[str, list[str]]:
        """study id -> faults that its runs survived, each once."""
        return self.database.read(lambda db: reading.notes(db, study_id))

    def curves(self, study: Study) -> dict[str, dict[str, list[float]]]:
        """run id -> recorded curve, for the study's ended runs."""
        return self.database.read(lambda db: reading.curves(db, study.study_id))

    def curve(self, run_id: str) -> dict[str, list[float]] | None:
        """The curve of an ended run; None where there is none."""
        from isoloss.ledger.records import unpack_curve

        wanted = select(schema.runs.c.curve).where(schema.runs.c.run_id == run_id)

        def work(db: Connection) -> dict[str, list[float]] | None:
            blob = db.scalar(wanted)
            return None if blob is None else unpack_curve(blob)

        return self.database.read(work)

    def studies(self) -> list[dict[str, Any]]:
        """Every study filed here, latest opened first: id, name, path, text, opened."""
        s = schema.studies
        filed = select(s).order_by(s.c.opened.desc(), s.c.study_id)
        return self.database.read(lambda db: [dict(row) for row in db.execute(filed).mappings()])

    def machine(self, study: Study) -> list[dict[str, Any]]:
        """Of each ended run: id, status, error, seconds by phase, environment, when it ended."""
        return self.database.read(lambda db: reading.machine(db, study.study_id))


__all__ = ["DEFAULT", "LEASE", "Ledger", "machine_name", "new_owner"]

"""The run database on a real PostgreSQL server: the same tables, nothing lost, nothing doubled, no word told."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import func, select, text

from isoloss import api
from isoloss.errors import LedgerError
from isoloss.execution.driver import Observer, drive
from isoloss.ledger import schema
from isoloss.ledger.store import Ledger, new_owner
from isoloss.planning.plan import PlannedRun
from isoloss.runs import Outcome, RunSpec
from tests import postgres
from tests.test_ledger import InProcess, assert_two_drivers_share, run_ridge
from tests.test_ledger_versions import TABLES, V1, as_version_1

pytestmark = postgres.needs_postgres


@pytest.fixture(scope="module")
def server():
    with postgres.server() as running:
        yield running


def test_a_study_gives_the_table_that_sqlite_gives(ridge, tmp_path, server):
    opened, url, engine = api.open_study(ridge), server.new_ledger(), InProcess()
    first = run_ridge(opened, url)
    assert first.equals(run_ridge(opened, tmp_path / "l.sqlite"))
    assert run_ridge(opened, url, engine).equals(first) and engine.trained == []


def test_two_drivers_share_the_work_and_double_nothing(ridge, server):
    assert_two_drivers_share(api.open_study(ridge), server.new_ledger())


def many(count):
    """`count` runs to plan, of no algorithm."""
    spec = RunSpec("none", 1, "none", 1, {}, "examples", 1.0, None, {}, 1, ("validation",))
    return [
        PlannedRun(RunSpec(**{**vars(spec), "seed": i, "choices": {}}), "a", 1.0, "report", float(i % 7 + 1))
        for i in range(count)
    ]


def work_through(url, study, runs, start, said):
    """A driver that claims, and records, until nothing is queued."""
    start.wait()
    ledger, owner = Ledger(url), new_owner()
    stack_of = {r.spec.run_id: frozenset((r.spec.run_id,)) for r in runs}
    mine = []
    rng = random.Random(os.getpid())
    while ids := [i for stack in ledger.claim(study, owner, rng.randint(1, 5), stack_of) for i in stack]:
        done = ledger.finish_all([(i, Outcome("finished", {"validation": 1.0}, {}, {}), {"cpu": "x"}) for i in ids])
        mine += [i for i, recorded in zip(ids, done, strict=True) if recorded]
    ledger.release(owner)
    ledger.close()
    said.put(mine)


def work_at_once(url, study, runs, drivers=8):
    """The ledger at `url`, once `drivers` processes have worked through `runs`, and the ids that they recorded."""
    ledger = Ledger(url)
    ledger.open_study(study, "", "x")
    ledger.enqueue(study, [(0, run) for run in runs])
    context = multiprocessing.get_context("fork")
    start, said = context.Barrier(drivers), context.SimpleQueue()
    working = [context.Process(target=work_through, args=(url, study, runs, start, said)) for _ in range(drivers)]
    for process in working:
        process.start()
    recorded = list(itertools.chain.from_iterable(said.get() for _ in working))
    for process in working:
        process.join()
    return ledger, recorded


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_eight_drivers_at_once_lose_nothing_and_double_nothing(ridge, server, tmp_path, kind):
    study, runs = api.open_study(ridge).study, many(800)
    url = server.new_ledger() if kind == "postgresql" else str(tmp_path / "l.sqlite")
    ledger, recorded = work_at_once(url, study, runs)
    assert sorted(recorded) == sorted(r.spec.run_id for r in runs), "each was recorded by exactly one"
    assert ledger.progress_of(study.study_id) == {"finished": (len(runs), sum(r.flops for r in runs))}
    r = schema.runs
    with ledger.database.reading() as db:
        assert db.scalar(select(func.max(r.c.attempts))) == 1, "none was claimed twice"
        assert db.scalar(select(func.count()).select_from(schema.owners)) == 0
    ledger.close()


def test_a_server_that_is_killed_and_comes_back_costs_nothing(ridge, server, tmp_path):
    opened, url = api.open_study(ridge), server.new_ledger()
    whole = run_ridge(opened, tmp_path / "l.sqlite")
    engine, said = Killing(server, kills=6), []
    ledger = Ledger(url)
    observer = Observer()
    observer.notice = said.append
    ledger.open_study(opened.study, opened.text, "x")
    table = drive(opened.study, ledger, engine, opened.plugins, observer).reproducible()
    ledger.close()
    engine.join()
    assert table.equals(whole) and len(engine.trained) == len(set(engine.trained)) == whole.height
    assert said and all("does not answer; trying again" in line and "s3cret" not in line for line in said)


class Killing(InProcess):
    """Trains, while the database is killed and started again behind the driver's back."""

    def __init__(self, server, kills):
        super().__init__()
        self.server, self._kills, self._threads = server, kills, []

    def collect(self, timeout):
        ended = super().collect(timeout)
        if ended and len(self.trained) % 4 == 1 and len(self._threads) < self._kills:
            self.join()
            self._threads.append(threading.Thread(target=self._strike, args=(0.004 * len(self._threads),)))
            self._threads[-1].start()
        return ended

    def _strike(self, delay):
        time.sleep(delay)
        self.server.kill()
        self.server.start()

    def join(self):
        for thread in self._threads:
            thread.join()


def test_a_commit_whose_answer_was_lost_is_not_repeated(ridge, server):
    """The connection is cut after the server has committed, before the driver knows."""
    study, runs, url = api.open_study(ridge).study, many(4), server.new_ledger()
    ledger, owner = Ledger(url), new_owner()
    ledger.open_study(study, "", "x")
    ledger.enqueue(study, [(0, run) for run in runs])
    stack_of = {r.spec.run_id: frozenset((r.spec.run_id,)) for r in runs}

    (first,) = ledger.claim(study, owner, 1, stack_of)
    with cut_after_commit(ledger):
        (second,) = ledger.claim(study, owner, 1, stack_of)
    assert ledger.progress_of(study.study_id)["running"][0] == 2 and first != second, "the lost claim was given back"
    outcome = Outcome("finished", {"validation": 1.0}, {}, {}, notes=("a note",))
    with cut_after_commit(ledger):
        assert ledger.finish(min(first), outcome, {}), "it was this call that recorded it"
    assert ledger.notes_of(study.study_id) == ["a note"]
    assert not ledger.finish(min(first), outcome, {}), "and nobody records it again"
    ledger.close()


class cut_after_commit:
    """The next transaction that writes is committed, and then its connection is found dead."""

    def __init__(self, ledger):
        self.engine = ledger.database._engine

    def __enter__(self):
        self.real = self.engine.dialect.do_commit
        self.engine.dialect.do_commit = self._commit

    def __exit__(self, *_):
        assert self.engine.dialect.do_commit == self.real, "it was cut"

    def _commit(self, connection):
        self.engine.dialect.do_commit = self.real
        self.real(connection)
        pid = connection.driver_connection.info.backend_pid
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            while other.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}):
                time.sleep(0.01)
        connection.driver_connection.execute("SELECT 1")  # psycopg says so, as it would of a commit that got no answer


def test_no_credential_is_told(ridge, server, tmp_path):
    url = server.new_ledger()
    env = {**os.environ, "ISOLOSS_LEDGER": url}

    def call(*words, **variables):
        command = [sys.executable, "-m", "isoloss", *map(str, words)]
        done = subprocess.run(command, env={**env, **variables}, cwd=tmp_path, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done

    hidden = [url.split("@")[0].split(":")[-1], postgres.PASSWORD, f"{postgres.USER}:"]
    ran = call("run", ridge, "--workers", "1", "--out", tmp_path / "reports")
    assert ran.returncode == 0, ran.stderr
    shown = [ran.stdout, ran.stderr]
    pair = api.open_study(ridge).study.comparisons[0]
    gained = call("gain", url, "-b", pair.baseline, "-c", pair.candidate)
    assert gained.returncode == 0, gained.stderr
    shown += [gained.stdout, call("gain", url, "-b", pair.baseline, "-c", "nobody").stderr]
    shown += [p.read_text() for p in tmp_path.rglob("*") if p.suffix in (".html", ".json", ".csv", ".md")]
    name = url.split("?")[0].split("/")[-1]
    wrong = {
        "another word": url.replace(hidden[0], "wrong-s3cret"),
        "nobody there": f"postgresql://{postgres.USER}:s3cret@/x?host={tmp_path}",
        "no such place": url.replace(name + "?", "absent?"),
        "a bare sign": f"postgresql://{postgres.USER}:s3cret@@@[/x",
        "another kind": f"mysql://{postgres.USER}:s3cret@db/x",
        "not empty": f"postgresql://{postgres.USER}:s3cret@db:port/x",
    }
    for why, bad in wrong.items():
        with pytest.raises(LedgerError) as caught:
            api.status(ledger=bad)
        assert len(str(caught.value).splitlines()) == 1
        assert "s3cret" not in str(caught.value) and postgres.USER not in str(caught.value), (why, caught.value)
    shown.append(call("status", ISOLOSS_LEDGER=wrong["another word"]).stderr)
    assert shown[-1].startswith("isoloss: postgresql:///") and len(shown[-1].strip().splitlines()) == 1
    ledger = Ledger(url)
    with ledger.database.reading() as db:
        shown += [str(db.execute(select(table)).all()) for table in schema.metadata.tables.values()]
    shown.append(repr(ledger.name) + json.dumps(api.status(ledger=url)))
    ledger.close()
    for told in shown:
        assert not [h for h in hidden if h in told]


def test_a_database_of_version_1_is_upgraded_with_its_tables_kept_aside(ridge, server, tmp_path):
    opened = api.open_study(ridge)
    table = run_ridge(opened, tmp_path / "new.sqlite")
    as_version_1(tmp_path / "new.sqlite", tmp_path / "old.sqlite")
    url = server.new_ledger()
    fill(url, tmp_path / "old.sqlite")
    ledger = Ledger(url)
    assert ledger.table(opened.study).reproducible().equals(table)
    with ledger.database.reading() as db:
        kept = {t: db.scalar(text(f"SELECT count(*) FROM isoloss_v1_backup.{t}")) for t in TABLES}
        assert kept == {t: db.scalar(text(f"SELECT count(*) FROM {t}")) for t in TABLES}
        assert db.scalar(text("SELECT value FROM isoloss_v1_backup.meta")) == "1"
        assert not db.scalar(select(func.count()).where(schema.runs.c.digest.is_(None)))
    ledger.close()
    assert run_ridge(opened, url).equals(table)


def fill(url, old):
    """The ledger of version 1 that the file `old` holds, in PostgreSQL."""
    import sqlite3

    import psycopg

    with psycopg.connect(url) as new, sqlite3.connect(old) as db:
        new.execute(V1.replace(" FLOAT", " DOUBLE PRECISION").replace(" BLOB", " BYTEA"))
        for name, columns in {"meta": "key, value", **TABLES}.items():
            rows = db.execute(f"SELECT {columns} FROM {name}").fetchall()
            marks = ", ".join(["%s"] * len(columns.split(",")))
            with new.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", rows)


def test_absent_ledgers_are_not_made_by_who_only_looks(server):
    url = server.new_ledger()
    with pytest.raises(LedgerError, match=r"postgresql:///ledger\d+: holds no ledger; run a study first"):
        api.status(ledger=url)

"""Ledgers of other versions: an older one is upgraded once with a backup beside it, a newer one refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select

from isoloss import api
from isoloss.errors import LedgerError
from isoloss.ledger import schema
from isoloss.ledger.digest import record_digest
from isoloss.ledger.store import Ledger, new_owner
from isoloss.planning.propose import members, propose
from isoloss.runs import Outcome
from tests.test_ledger import assert_four_open_at_once, run_ridge

#: What isoloss 0.1.0 of 2026-11-22 (commit 990676a) made: version 1.
V1 = """
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE studies (
    study_id VARCHAR NOT NULL, name VARCHAR NOT NULL, text TEXT NOT NULL, path TEXT NOT NULL, opened FLOAT NOT NULL,
    PRIMARY KEY (study_id));
CREATE INDEX ix_studies_name ON studies (name);
CREATE TABLE environments (environment_id VARCHAR NOT NULL, data TEXT NOT NULL, PRIMARY KEY (environment_id));
CREATE TABLE runs (
    run_id VARCHAR NOT NULL, spec TEXT NOT NULL, status VARCHAR NOT NULL, price FLOAT NOT NULL, owner VARCHAR,
    lease FLOAT, attempts INTEGER NOT NULL, qualities TEXT, resources TEXT, seconds TEXT, curve BLOB,
    environment_id VARCHAR, error TEXT, ended FLOAT, PRIMARY KEY (run_id),
    FOREIGN KEY(environment_id) REFERENCES environments (environment_id));
CREATE INDEX runs_status ON runs (status);
CREATE TABLE notes (
    run_id VARCHAR NOT NULL, position INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run_id, position),
    FOREIGN KEY(run_id) REFERENCES runs (run_id));
CREATE TABLE members (
    study_id VARCHAR NOT NULL, arm VARCHAR NOT NULL, run_id VARCHAR NOT NULL, position INTEGER NOT NULL,
    round INTEGER NOT NULL, rung FLOAT NOT NULL, purpose VARCHAR NOT NULL, PRIMARY KEY (study_id, arm, run_id),
    FOREIGN KEY(study_id) REFERENCES studies (study_id), FOREIGN KEY(run_id) REFERENCES runs (run_id));
CREATE INDEX members_run ON members (run_id);
"""
TABLES = {
    "studies": "study_id, name, text, path, opened",
    "environments": "environment_id, data",
    "runs": "run_id, spec, status, price, owner, attempts, qualities, resources, seconds, curve, environment_id, error,"
    " ended",
    "notes": "run_id, position, text",
    "members": "study_id, arm, run_id, position, round, rung, purpose",
}


def as_version_1(new, old):
    """A ledger of version 1 at `old` that holds what `new` does."""
    with closing(sqlite3.connect(old)) as db:
        db.executescript(V1)
        db.execute("ATTACH ? AS new", (str(new),))
        for table, columns in TABLES.items():
            db.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")
        db.execute("INSERT INTO meta VALUES ('schema_version', '1')")
        db.execute("UPDATE runs SET lease = 1e9 WHERE status = 'running'")
        db.commit()


@pytest.fixture
def old(ridge, tmp_path):
    """A study, its table, and a ledger of version 1 with runs of every kind: recorded, with notes, failed and queued
    again, claimed by a driver that is gone."""
    opened = api.open_study(ridge)
    table = run_ridge(opened, tmp_path / "new.sqlite")
    other = opened.study.model_copy(update={"name": "other", "ladder": opened.study.ladder})
    ledger = Ledger(str(tmp_path / "new.sqlite"))
    ledger.open_study(other, opened.text, "elsewhere")
    ledger.enqueue(other, members(other, ledger.table(other)))
    more = opened.study.model_copy(update={"name": "more", "task": opened.study.task, "report": opened.study.report})
    rungs = opened.study.ladder.model_copy(update={"rungs": (8.0, 32.0)})
    more = more.model_copy(update={"ladder": rungs})
    ledger.open_study(more, opened.text, "elsewhere")
    ledger.enqueue(more, members(more, ledger.table(more)))
    ids = [r.spec.run_id for r in propose(more, ledger.table(more)).runs]
    (claimed,) = ledger.claim(more, new_owner(), 1, {ids[0]: frozenset(ids[:1])})
    assert claimed == {ids[0]}
    curve = {"step": [1.0, 2.0], "train_loss": [0.3, float("inf")]}
    ledger.finish(ids[1], Outcome("diverged", {}, curve, {}, error="", notes=("a full disk", "again")), {"cpu": "x"})
    ledger.close()
    as_version_1(tmp_path / "new.sqlite", tmp_path / "l.sqlite")
    with closing(sqlite3.connect(tmp_path / "l.sqlite")) as db:
        db.execute("UPDATE runs SET ended = 5.0, qualities = '{}' WHERE run_id = ?", (ids[2],))
        db.commit()
    return opened, more, table, tmp_path / "l.sqlite"


def rows_of(path, table):
    columns = TABLES[table].replace("owner, ", "")
    with closing(sqlite3.connect(path)) as db:
        return sorted(db.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)


def test_a_ledger_of_version_1_is_upgraded_with_nothing_lost(old, tmp_path):
    opened, more, table, path = old
    ledger = Ledger(str(path))
    assert ledger.table(opened.study).reproducible().equals(table)
    assert ledger.notes_of(more.study_id) == ["a full disk", "again"]
    progress = ledger.progress_of(more.study_id)
    assert progress["running"][0] == 1 and progress["diverged"][0] == 1
    ledger.close()
    backup = tmp_path / "l.sqlite.v1-backup"
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("SELECT value FROM meta").fetchall() == [("1",)]
    for name in TABLES:
        assert rows_of(backup, name) == rows_of(tmp_path / "new.sqlite", name) or name == "runs"
        if name != "runs":
            assert rows_of(path, name) == rows_of(backup, name)
    again = {row[0]: row for row in rows_of(backup, "runs")}
    for row in rows_of(path, "runs"):  # what was queued again no longer has what it said when it failed
        assert row == again[row[0]] or (row[2] == "queued" and again[row[0]][-1] == 5.0 and row[-1] is None)


def test_an_upgraded_ledger_is_what_a_new_one_is(old, tmp_path):
    path = old[-1]
    Ledger(str(path)).close()
    fresh = Ledger(str(tmp_path / "fresh.sqlite"))
    upgraded = Ledger(str(path))
    with upgraded.database.reading() as db, fresh.database.reading() as other:
        assert compare_metadata(MigrationContext.configure(db), schema.metadata) == []
        names = inspect(db).get_table_names()
        assert names == inspect(other).get_table_names()
        for name in names:
            keys = [sorted(inspect(c).get_foreign_keys(name), key=repr) for c in (db, other)]
            assert keys[0] == keys[1]
            assert inspect(db).get_pk_constraint(name) == inspect(other).get_pk_constraint(name)
            indexes = {i["name"]: i["column_names"] for i in inspect(db).get_indexes(name)}
            assert indexes == {i["name"]: i["column_names"] for i in inspect(other).get_indexes(name)}
        m, r = schema.members, schema.runs
        joined = select(m.c.status, m.c.price, r.c.status, r.c.price).join(r, r.c.run_id == m.c.run_id)
        assert all((a, b) == (c, d) for a, b, c, d in db.execute(joined))
        said = {row.run_id: [] for row in db.execute(select(r.c.run_id))}
        for run_id, text in db.execute(select(schema.notes.c.run_id, schema.notes.c.text)):
            said[run_id].append(text)
        for row in db.execute(select(r)).mappings():
            kept = {k: row[k] for k in row if k not in ("price", "owner", "attempts", "digest")}
            ended = row["status"] not in ("queued", "running")
            assert row["digest"] == (record_digest(**kept, notes=said[row["run_id"]]) if ended else None)
    upgraded.close()
    fresh.close()


def test_the_study_of_an_upgraded_ledger_goes_on(old):
    opened, more, table, path = old
    assert run_ridge(opened, path).equals(table)
    ledger = Ledger(str(path))
    ids = {r.spec.run_id for r in propose(more, ledger.table(more)).runs}
    wanted = {i: frozenset((i,)) for i in ids}
    assert len(ledger.claim(more, new_owner(), 99, wanted)) == len(ids) - 1, "one is claimed by this very process"
    ledger.close()


def test_drivers_that_open_an_old_ledger_at_once_upgrade_it_once(old, tmp_path):
    opened, _, table, path = old
    assert_four_open_at_once(path)
    assert sorted(p.name for p in tmp_path.glob("l.sqlite.*backup*")) == ["l.sqlite.v1-backup"]
    assert run_ridge(opened, path).equals(table)


def test_a_ledger_that_can_not_be_copied_is_not_upgraded(old, tmp_path):
    path = old[-1]
    (tmp_path / "l.sqlite.v1-backup.part").mkdir()  # where the copy would be made
    before = [rows_of(path, table) for table in TABLES]
    with pytest.raises(LedgerError, match=r"v1-backup: the copy can't be made .*free space") as caught:
        Ledger(str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert [rows_of(path, table) for table in TABLES] == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM meta").fetchall() == [("1",)]


def test_a_backup_is_never_written_over(old, tmp_path):
    (tmp_path / "l.sqlite.v1-backup").write_text("kept")
    Ledger(str(old[-1])).close()
    assert (tmp_path / "l.sqlite.v1-backup").read_text() == "kept"
    assert (tmp_path / "l.sqlite.v1-backup-2").exists()


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(LedgerError, match="a database of something else, not a ledger"):
        Ledger(str(path))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]

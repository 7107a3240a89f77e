"""Altered and damaged ledgers: every altered record is named, every whole one saved, nothing ends in a traceback."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from isoloss import api
from isoloss.errors import IsolossError, LedgerError
from isoloss.ledger.importers import load
from isoloss.ledger.store import Ledger
from isoloss.planning.propose import propose
from isoloss.runs import Outcome
from tests.faults.test_disk import small_disk
from tests.test_bundle import exported, files, filled
from tests.test_cli import isoloss
from tests.test_ledger import run_ridge
from tests.test_ledger_versions import as_version_1

#: What is in a record whether or not its environment is known.
_RECORDS = "SELECT run_id, status, qualities, resources, seconds, curve, error FROM runs WHERE ended IS NOT NULL"


@pytest.fixture
def ledger(ridge, tmp_path):
    """A study's whole ledger, with two runs of long texts, which overflow their pages."""
    opened, path = api.open_study(ridge), tmp_path / "l.sqlite"
    run_ridge(opened, path)
    store = Ledger(str(path))
    table = store.table(opened.study)
    fresh = [(9, run) for run in propose(opened.study, table).runs[:2]] or _changed(opened, ridge, store)
    for _, run in fresh:
        store.finish(run.spec.run_id, Outcome("failed", {}, {}, {}, error="x" * 30_000, notes=("n" * 9_000,)), {})
    store.close()
    return path


def _changed(opened, ridge, store):
    """Runs of another study in the same ledger."""
    other = ridge.with_name("other.toml")
    other.write_text(ridge.read_text().replace("[16, 64, 256]", "[32, 128]").replace('"ridge"\n', '"other"\n', 1))
    study = api.open_study(other)
    store.open_study(study.study, study.text, str(other))
    runs = [(0, run) for run in propose(study.study, store.table(study.study)).runs[:3]]
    store.enqueue(study.study, runs)
    return runs[:2]


def sql(path, *statements):
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_an_untouched_ledger_verifies(ledger):
    assert api.verify(str(ledger)) == {"name": str(ledger), "runs": 45, "faults": []}


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("UPDATE runs SET qualities = '{\"test\":0.1}' WHERE run_id = '{}'", "run", "does not match its digest"),
        ("UPDATE runs SET ended = ended + 1 WHERE run_id = '{}'", "run", "does not match its digest"),
        ("UPDATE runs SET curve = x'00' WHERE run_id = '{}'", "run", "does not match its digest"),
        ("UPDATE runs SET spec = '[]' WHERE run_id = '{}'", "run", "spec does not match its run id"),
        ("UPDATE runs SET spec = x'ff' WHERE run_id = '{}'", "run", "another kind than its column"),
        ("UPDATE runs SET digest = NULL WHERE run_id = '{}'", "run", "does not match its digest"),
        ("UPDATE runs SET status = 'queued' WHERE run_id = '{}'", "run", "is queued and has curve, digest"),
        ("UPDATE members SET status = 'failed' WHERE run_id = '{}'", "run", "is finished, but failed as a member"),
        ("UPDATE members SET price = NULL WHERE run_id = '{}'", "run", "has its price 0 times"),
        ("UPDATE members SET rung = 999 WHERE run_id = '{}'", "run", "has no place as a member"),
        (
            "UPDATE members SET rung = 320 - rung WHERE run_id = '{}'",
            "run",
            "another budget than its rung|has no place",
        ),
        ("UPDATE members SET arm = arm || 'x' WHERE run_id = '{}'", "run", "has no place as a member"),
        ("UPDATE members SET purpose = 'tune' WHERE purpose = 'report'", "run", "was not trained to tune"),
        ("UPDATE members SET purpose = 'report' WHERE run_id = '{}'", "run", "was not trained to report"),
        ("INSERT INTO notes VALUES ('{}', 0, 'never said')", "run", "does not match its digest"),
        ("DELETE FROM runs WHERE run_id = '{}'", "run", "is missing, and 1 study's member of it are there"),
        ("UPDATE environments SET data = '{{}}'", "environment", "does not match its id"),
        ("UPDATE environments SET data = x'00'", "environment", "does not match its id"),
        ("DELETE FROM environments", "run", "its environment .* is missing"),
        ("UPDATE studies SET text = text || 'name = 1'", "study", "not that of the study"),
        ("DELETE FROM studies", "run", "belongs to a study that is missing"),
    ],
)
def test_what_is_altered_is_named(ledger, statement, kind, said):
    with closing(sqlite3.connect(ledger)) as db:
        (run_id,) = db.execute("SELECT run_id FROM runs WHERE status = 'finished' LIMIT 1").fetchone()
    sql(ledger, statement.replace("{}", run_id).replace("{{}}", "{}"))
    found = api.verify(str(ledger))["faults"]
    named = [f for f in found if f["kind"] == kind and (run_id == f["id"] or "run_id" not in statement)]
    assert any(re.search(said, f["fault"]) for f in named), found[:3]


def test_export_names_what_import_would_refuse(ledger, tmp_path):
    with closing(sqlite3.connect(ledger)) as db:
        finished = [
            i for (i,) in db.execute("SELECT run_id FROM runs WHERE status = 'finished' ORDER BY run_id LIMIT 2")
        ]
    sql(ledger, *(f"UPDATE runs SET ended = ended + 1 WHERE run_id = '{i}'" for i in finished))
    done = isoloss("export", "--ledger", ledger, "--out", tmp_path / "bundle")
    assert done.returncode == 0 and all(
        f"run {i}: its record does not match its digest" in done.stdout for i in finished
    )
    with pytest.raises(IsolossError, match=f"run {finished[0]}: its record does not match its digest"):
        api.import_bundles([tmp_path / "bundle"], ledger=str(tmp_path / "new.sqlite"))
    sql(ledger, f"UPDATE runs SET qualities = x'ff' WHERE run_id = '{finished[0]}'")
    with pytest.raises(IsolossError, match="holds a record that no bundle can hold; isoloss verify"):
        api.export_bundle(tmp_path / "none", ledger=str(ledger))
    assert not (tmp_path / "none").exists()


def test_a_ledger_is_rescued_whole_where_nothing_is_lost(ledger, tmp_path):
    done = api.rescue(ledger, tmp_path / "new.sqlite")
    assert (done["runs"], done["known"], done["refused"]) == (45, 45, 0)
    assert api.verify(str(tmp_path / "new.sqlite"))["faults"] == []
    old, new = (files(exported(p, f"{p}.bundle")) for p in (ledger, tmp_path / "new.sqlite"))
    assert old == new


def test_runs_whose_environment_is_damaged_are_rescued_without_it(ledger, tmp_path):
    with closing(sqlite3.connect(ledger)) as db:
        before = set(db.execute(_RECORDS))
        (with_one,) = db.execute("SELECT count(environment_id) FROM runs").fetchone()
    sql(ledger, "UPDATE environments SET data = data || ' '")
    done = api.rescue(ledger, tmp_path / "new.sqlite")
    assert (done["runs"], done["ended"], done["refused"]) == (45, 44, 0)  # one waits
    assert api.verify(str(tmp_path / "new.sqlite"))["faults"] == []
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as db:
        assert set(db.execute(_RECORDS)) == before
        said = db.execute("SELECT count(*) FROM notes WHERE text LIKE '%was lost in a damaged ledger'").fetchone()
    assert said == (with_one,) and with_one > 30


def test_a_ledger_in_a_folder_that_is_not_writable_is_read(ledger, ridge, tmp_path):
    folder = tmp_path / "sealed"
    folder.mkdir()
    shutil.copy(ledger, folder / "l.sqlite")
    told, sealed = api.status(ledger=str(ledger)), str(folder / "l.sqlite")
    with _not_writable(folder):
        assert api.status(ledger=sealed) == told
        assert api.verify(sealed)["faults"] == []
        assert files(exported(Path(sealed), tmp_path / "b")) == files(exported(ledger, tmp_path / "c"))
        assert load(Path(sealed), chosen=["study=ridge"]).frame.height > 0
        for change in (lambda: api.prune(["ridge"], ledger=sealed, yes=True), lambda: api.run(ridge, ledger=sealed)):
            with pytest.raises(LedgerError, match="can't be opened for writing"):
                change()
    assert api.verify(sealed) == {"name": sealed, "runs": 45, "faults": []}


def test_a_ledger_on_a_full_disk_is_read(ledger, ridge, tmp_path):
    told = api.status(ledger=str(ledger))
    with small_disk(tmp_path / "disk", "2m"):
        held = str(tmp_path / "disk" / "l.sqlite")
        shutil.copy(ledger, held)
        with suppress(OSError), open(tmp_path / "disk" / "rest", "wb", buffering=0) as rest:
            while True:
                rest.write(bytes(4096))
        with pytest.raises(LedgerError, match="can't be written"):
            api.run(ridge, ledger=held)
        for _ in range(2):  # the first try to write has left an empty log behind
            assert api.status(ledger=held) == told
            assert load(Path(held), chosen=["study=ridge"]).frame.height > 0
        with pytest.raises(LedgerError, match="can't be opened for writing"):
            api.prune(["ridge"], ledger=held, yes=True)
        (tmp_path / "disk" / "rest").unlink()
        assert api.verify(held)["faults"] == []
        api.run(ridge, ledger=held)


@contextmanager
def _not_writable(folder):
    """A folder of a read-only file system where that can be mounted, as root must; else one without the permission."""
    ways = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder])
    mounted = [subprocess.run(way, capture_output=True).returncode == 0 for way in ways]
    folder.chmod(0o555) if not all(mounted) else None
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("no folder can be made read-only for this user")
        yield
    finally:
        if mounted[0]:
            subprocess.run(["umount", folder], check=True)
        folder.chmod(0o755)


def test_an_upgraded_ledger_is_rescued_too(ledger, tmp_path):
    old = tmp_path / "v1.sqlite"
    as_version_1(ledger, old)
    Ledger(str(old)).close()
    assert api.rescue(old, tmp_path / "new.sqlite")["runs"] == 45
    assert files(exported(old, tmp_path / "a")) == files(exported(tmp_path / "new.sqlite", tmp_path / "b"))


def test_what_is_only_in_the_write_ahead_log_is_rescued(ridge, tmp_path):
    path = tmp_path / "l.sqlite"
    filled(api.open_study(ridge), path, ["finished"])
    held = sqlite3.connect(path)  # while somebody reads, closing does not empty the log
    held.execute("BEGIN")
    held.execute("SELECT count(*) FROM runs").fetchone()
    filled(api.open_study(ridge), path, ["finished", "diverged", "failed"])
    copied = tmp_path / "killed.sqlite"
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{copied}{end}")
    held.close()
    done = api.rescue(copied, tmp_path / "new.sqlite")
    os.unlink(f"{copied}-wal")
    without = api.rescue(copied, tmp_path / "without.sqlite")
    assert done["runs"] == done["ended"] == api.verify(str(path))["runs"] > without["runs"] == 1


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """`whole` with bits flipped, blocks overwritten or its end cut off, anywhere."""
    data = bytearray(whole)
    pick = rng.randrange(4)
    if pick == 0:
        return bytes(data[: rng.randrange(1, len(data))])
    for _ in range(rng.choice((1, 5, 50))):
        at = rng.randrange(len(data))
        if pick == 1:
            data[at] ^= 1 << rng.randrange(8)
        else:
            length = rng.choice((4, 100, 4096))
            data[at : at + length] = rng.randbytes(min(length, len(data) - at))
    return bytes(data)


def test_damage_anywhere_is_one_line_and_what_is_whole_is_saved(ledger, ridge, tmp_path):
    sql(ledger, "PRAGMA wal_checkpoint(TRUNCATE)")
    whole, rng = ledger.read_bytes(), random.Random(20261122)
    with closing(sqlite3.connect(ledger)) as db:
        digests = dict(db.execute("SELECT run_id, digest FROM runs"))
        records = set(db.execute(_RECORDS))
    saved, refused = 0, 0
    for trial in range(25):
        broken, out = tmp_path / f"d{trial}.sqlite", tmp_path / f"n{trial}.sqlite"
        broken.write_bytes(damaged(whole, rng))
        for command in (api.status, api.verify, lambda p: exported(p, f"{p}.bundle"), lambda p: _read(p, ridge)):
            try:
                command(str(broken)) if command is not api.status else api.status(ledger=str(broken))
            except IsolossError as error:
                refused += 1
                assert str(error).isprintable() and str(broken) in str(error)
        for end in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{broken}{end}")
        broken.write_bytes(damaged(whole, rng))
        try:
            done = api.rescue(broken, out)
        except LedgerError:
            assert not out.exists()
            continue
        assert os.path.exists(done["backup"]) and done["runs"] <= done["known"] <= 47
        assert api.verify(str(out))["faults"] == []
        with closing(sqlite3.connect(out)) as db:
            kept = set(db.execute(_RECORDS))
            lost = "run_id IN (SELECT run_id FROM notes WHERE text LIKE '%was lost in a damaged ledger')"
            same = dict(db.execute(f"SELECT run_id, digest FROM runs WHERE digest IS NOT NULL AND NOT {lost}"))
        assert kept <= records and same.items() <= digests.items()
        saved += len(kept)
    assert refused > 20 and saved > 25 * 44 * 0.4


def _read(path, ridge):
    store = Ledger(path, create=False)
    try:
        study = api.open_study(ridge).study
        store.table(study), store.curves(study), store.machine(study)
    finally:
        store.close()


# -- prune ------------------------------------------------------------------------------------------------------------


def test_prune_removes_what_no_study_needs_and_only_when_told(ledger, ridge, tmp_path):
    cache = tmp_path / "cache"
    (cache / "checkpoints").mkdir(parents=True)
    with closing(sqlite3.connect(ledger)) as db:
        (mine, ended), (_, waits) = (
            db.execute(f"SELECT m.study_id, m.run_id FROM members m WHERE m.status {said} LIMIT 1").fetchone()
            for said in ("= 'finished'", "= 'queued'")
        )
    for run_id in (ended, waits, "f" * 20):
        (cache / "checkpoints" / f"{run_id}.pt").write_bytes(b"x" * 1000)
    backup = tmp_path / "l.sqlite.v1-backup"
    backup.write_bytes(b"x" * 500)
    (tmp_path / "unrelated.v1-backup").write_bytes(b"")
    before = files(exported(ledger, tmp_path / "before"))

    shown = api.prune(ledger=str(ledger), cache=cache)
    assert {r["what"]: (r["count"], r["bytes"]) for r in shown["removals"]} == {
        "checkpoints of runs that ended": (1, 1000),
        "backups of an older or damaged ledger": (1, 500),
    }
    assert backup.exists() and files(exported(ledger, tmp_path / "same")) == before

    api.prune(ledger=str(ledger), cache=cache, yes=True)
    assert sorted(p.stem for p in (cache / "checkpoints").iterdir()) == sorted([waits, "f" * 20])
    assert not backup.exists() and (tmp_path / "unrelated.v1-backup").exists()
    assert files(exported(ledger, tmp_path / "kept")) == before

    size = ledger.stat().st_size
    told = api.prune(["other"], ledger=str(ledger), cache=cache, yes=True)
    assert next(r["count"] for r in told["removals"] if "runs" in r["what"]) == 3 and told["freed"] > 30_000
    assert ledger.stat().st_size < size
    assert api.verify(str(ledger))["runs"] == 42 and [s["study"] for s in api.status(ledger=str(ledger))] == ["ridge"]
    assert mine in {s["study_id"] for s in api.status(ledger=str(ledger))}


def test_prune_leaves_a_run_that_another_study_has_or_that_is_trained(ridge, tmp_path):
    path, opened = tmp_path / "l.sqlite", api.open_study(ridge)
    filled(opened, path, ["finished", "finished", "running"])
    other = tmp_path / "wider.toml"
    other.write_text(ridge.read_text().replace('"ridge"\n', '"wider"\n', 1))
    filled(api.open_study(other), path, ["finished"])
    api.prune(["ridge"], ledger=str(path), cache=tmp_path, yes=True)
    with closing(sqlite3.connect(path)) as db:
        assert sorted(s for (s,) in db.execute("SELECT status FROM runs")) == ["finished", "running"]
    with pytest.raises(IsolossError, match="unknown study 'ridge'"):
        api.prune(["ridge"], ledger=str(path), cache=tmp_path)

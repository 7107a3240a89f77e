"""A record says which code was measured, on which kind of machine, and never on whose."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest

from isoloss import api
from isoloss.execution.checkout import checkout
from isoloss.ledger.store import Ledger


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a.toml").write_text("x = 1")
    git(tmp_path, "add", "a.toml")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_the_state_of_a_checkout_is_its_commit_and_whether_tracked_files_differ(repository):
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "report.html").write_text("made by a run")
    assert checkout(repository) == checkout(repository / "a.toml") == {"commit": commit, "dirty": False}
    (repository / "a.toml").write_text("x = 2")
    assert checkout(repository) == {"commit": commit, "dirty": True}


def test_what_only_lies_below_a_checkout_is_no_part_of_it(repository, tmp_path_factory):
    installed = repository / "env" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "a.py").write_text("")
    assert checkout(installed) is None and checkout(installed / "a.py") is None
    assert checkout(tmp_path_factory.mktemp("nowhere")) is None


def test_each_run_is_recorded_with_the_state_of_its_study_and_no_machine_is_named(ridge, tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "ridge.toml", "ridge.py")
    git(tmp_path, "commit", "-qm", "study")
    ledger = tmp_path / "l.sqlite"
    api.run(ridge, workers=1, ledger=str(ledger), out=tmp_path / "reports")
    store = Ledger(str(ledger))
    records = store.machine(api.open_study(ridge).study)
    store.close()
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert records and all(r["environment"]["git"]["study"] == {"commit": commit, "dirty": False} for r in records)
    assert all("isoloss" in r["environment"]["git"] for r in records)
    assert socket.gethostname() not in json.dumps(records)
    assert socket.gethostname().encode() not in ledger.read_bytes() or len(socket.gethostname()) < 6

"""Every engine that is registered runs a study to the table of the local one; faults of a run, a worker and memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from isoloss import api
from isoloss.errors import StudyError, UnknownNameError
from isoloss.execution.driver import Observer, drive
from isoloss.execution.engine import RunEngine
from isoloss.execution.engines import engines, open_engine
from isoloss.execution.packing import Peaks, free_memory
from isoloss.ledger.store import Ledger
from isoloss.verbs.studies import open_study
from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY, ROOT

#: Options that make a small engine of each kind here; a launcher's has a test of its own (test_launched.py).
SMALL = {"local": {}, "ray": {}, "slurm": {"cluster": "local"}}
WORKERS = 2

#: The ridge of conftest, made to fail, to die and to last, as files beside it say.
TROUBLE = """
import os, signal, time
from pathlib import Path
HERE = Path(os.environ["TEST_FOLDER"])
_run = Ridge.run
def run(self, task, spec, context):
    with open(HERE / "began", "a") as log:
        log.write(spec.run_id + " " + str(os.getpid()) + "\\n")
    if (HERE / "fail").exists() and spec.budget == 64:
        raise ValueError("no such luck")
    if (HERE / "die").exists():
        try:
            (HERE / "die").unlink()
        except FileNotFoundError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    while (HERE / "last").exists():
        time.sleep(0.05)
    return _run(self, task, spec, context)
Ridge.run = run
"""


SMALLER = RIDGE_STUDY.replace("seeds = 3", "seeds = 1")
#: Eight runs at most: a Slurm job starts Python anew.
FEW = SMALLER.replace("[16, 64, 256]", "[16, 64]").replace("sweep = { penalty", "# sweep = { penalty")


def written(folder: Path) -> Path:
    (folder / "ridge.py").write_text(RIDGE_PLUGIN + TROUBLE)
    path = folder / "ridge.toml"
    path.write_text(FEW)
    return path


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch) -> Path:
    """A study whose runs fail, die or last where a file beside it says so."""
    monkeypatch.setenv("TEST_FOLDER", str(tmp_path))
    return written(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pl.DataFrame:
    """What the local engine makes of that study."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_FOLDER", str(folder))
        return table(written(folder), folder, "local")


def table(study: Path, folder: Path, name: str, **options) -> pl.DataFrame:
    """The study's final table by the engine `name`."""
    engine = open_engine(name, workers=WORKERS, options={**SMALL[name], **options}, folder=folder)
    return driven(study, folder / f"{name}.sqlite", engine)


def driven(study: Path, url: Path, engine: RunEngine, observer: Observer | None = None) -> pl.DataFrame:
    """The study's final table by `engine`, which is stopped."""
    opened, ledger = open_study(study), Ledger(str(url))
    try:
        ledger.open_study(opened.study, opened.text, str(study))
        return drive(opened.study, ledger, engine, opened.plugins, observer).reproducible()
    finally:
        engine.stop()
        ledger.close()


def said(folder: Path) -> list[list[str]]:
    """The words of each line of the log that a study's plug-in keeps there."""
    path = folder / "log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def attempts(folder: Path) -> list[str]:
    return [line.split()[0] for line in (folder / "began").read_text().splitlines()]


def test_every_engine_is_tried_here():
    assert set(engines.names()) == {*SMALL, "launched"}


@pytest.mark.parametrize("name", SMALL)
def test_a_run_that_raises_is_a_failed_run(trouble, tmp_path, name):
    (tmp_path / "fail").touch()
    found = table(trouble, tmp_path, name)
    assert set(found.filter(pl.col("rung") == 64)["status"]) == {"failed"}
    assert set(found.filter(pl.col("rung") != 64)["status"]) == {"finished"}
    store = Ledger(str(tmp_path / f"{name}.sqlite"))
    (said,) = store.errors_of(open_study(trouble).study.study_id)
    store.close()
    assert said.startswith("ValueError: no such luck (ridge.py:")


@pytest.mark.parametrize("name", SMALL)
def test_a_worker_that_dies_costs_its_own_run_alone_which_is_tried_again(trouble, tmp_path, undisturbed, name):
    (tmp_path / "die").touch()
    assert table(trouble, tmp_path, name).equals(undisturbed), "every bit as the local engine has it"
    again = attempts(tmp_path)
    assert len(again) == len(set(again)) + 1, "one run was begun twice, no other"


@pytest.mark.parametrize("name", SMALL)
def test_stopped_in_the_middle_it_leaves_no_process_and_goes_on_later(trouble, tmp_path, undisturbed, name):
    (tmp_path / "last").touch()
    log, opened = tmp_path / "began", open_study(trouble)
    engine = open_engine(name, workers=WORKERS, options=SMALL[name], folder=tmp_path)
    ledger = Ledger(str(tmp_path / f"{name}.sqlite"))

    def interrupt() -> None:
        while not log.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), contextlib.closing(ledger):
        ledger.open_study(opened.study, opened.text, str(trouble))
        drive(opened.study, ledger, engine, opened.plugins)
    engine.stop()  # a second time nothing is left to do
    assert not workers_left(log)
    (tmp_path / "last").unlink()
    assert table(trouble, tmp_path, name).equals(undisturbed)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "local"])  # local: tests/test_resume.py
def test_ctrl_c_twice_on_the_command_line_ends_it_at_once(trouble, tmp_path, undisturbed, name):
    (tmp_path / "last").touch()
    log, ledger = tmp_path / "began", tmp_path / f"{name}.sqlite"
    options = [word for key, value in SMALL[name].items() for word in ("--engine-option", f"{key}={value}")]
    where = ["--ledger", str(ledger), "--out", str(tmp_path / "reports"), "--engine", name, "--workers", str(WORKERS)]
    words = [sys.executable, "-m", "isoloss", "run", str(trouble), *where, *options]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
        deadline = time.monotonic() + 120
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        driver.send_signal(signal.SIGINT)
        time.sleep(2)  # two signals within one of Ray's waits are one to Python
        driver.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = driver.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert driver.returncode in (-signal.SIGINT, 130), "by the second signal, unless it was through with the first"
    assert b"Traceback" not in said, said.decode()
    if name == "ray":  # Slurm's jobs outlive a driver that could not cancel them, and are taken over below
        assert not workers_left(log)
    (tmp_path / "last").unlink()
    assert table(trouble, tmp_path, name).equals(undisturbed)


def workers_left(log: Path) -> list[str]:
    """Process ids of workers that began a run and outlive what stopped them by 20 s."""
    found = [line.split()[1] for line in log.read_text().splitlines()]
    deadline = time.monotonic() + 20
    while (left := [pid for pid in found if _lives(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _lives(pid: str) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_options_are_checked_by_name_and_value():
    with pytest.raises(UnknownNameError, match="--engine: unknown engine 'lcoal'; did you mean local"):
        open_engine("lcoal")
    with pytest.raises(StudyError, match="engine 'local' has no option 'per_gpus'; did you mean per_gpu"):
        open_engine("local", options={"per_gpus": "2"})
    with pytest.raises(StudyError, match="--engine-option per_gpu=none: input should be a valid integer"):
        open_engine("local", options={"per_gpu": "none"})
    listed = {row["name"]: row["options"] for row in api.known("engines")}
    assert "memory_gb" in listed["local"]


#: Runs that hold 400 MB for a while, and say when. The first waits for a second as long as the file `patience` says:
#: a quick machine would else be done with all of them before its second worker is up.
HUNGRY = """
import time
from pathlib import Path
_run = Ridge.run
def run(self, task, spec, context):
    folder = Path({folder!r})
    began = time.monotonic()
    held = np.ones(50_000_000)
    mine = folder / f"in-{{spec.seed}}-{{began}}"
    mine.touch()
    time.sleep(0.15)
    until = began + float((folder / "patience").read_text())
    while time.monotonic() < until and not (folder / "met").exists():
        if len(list(folder.glob("in-*"))) > 1:
            (folder / "met").touch()
        time.sleep(0.01)
    with open(folder / "spans", "a") as log:
        log.write(f"{{began}} {{time.monotonic()}}\\n")
    mine.unlink()
    del held
    return _run(self, task, spec, context)
Ridge.run = run
"""


def overlapping(folder: Path) -> int:
    spans = sorted(tuple(map(float, line.split())) for line in (folder / "spans").read_text().splitlines())
    return sum(a[1] > b[0] for a, b in pairwise(spans))


class Listener(Observer):
    """Keeps what the engine says."""

    def __init__(self):
        self.said = []

    def notice(self, text):
        self.said.append(text)


@pytest.mark.skipif(free_memory() is None, reason="the engine asks /proc how much memory is free")
def test_runs_that_do_not_fit_in_memory_wait_for_each_other(tmp_path):
    (tmp_path / "ridge.py").write_text(RIDGE_PLUGIN + HUNGRY.format(folder=str(tmp_path)))
    study = tmp_path / "ridge.toml"
    study.write_text(SMALLER.replace("[16, 64, 256]", "[16, 64]"))
    (tmp_path / "patience").write_text("0")
    table(study, tmp_path, "local", memory_gb="4")  # what runs take is in the ledger now
    for limit, rungs, together in (("0.8", "[16, 64, 256]", False), ("4", "[16, 64, 256, 1024]", True)):
        study.write_text(SMALLER.replace("[16, 64, 256]", rungs))
        (tmp_path / "spans").unlink()
        (tmp_path / "patience").write_text("10" if together else "0")
        listener, opened = Listener(), open_study(study)
        engine = open_engine("local", workers=WORKERS, options={"memory_gb": limit})
        with contextlib.closing(Ledger(str(tmp_path / "local.sqlite"))) as ledger:
            ledger.open_study(opened.study, opened.text, str(study))
            drive(opened.study, ledger, engine, opened.plugins, listener)
        assert (overlapping(tmp_path) > 0) == together
        assert bool(listener.said) != together
        assert all("of memory and" in line and "it waits" in line for line in listener.said)


def test_a_limit_of_the_control_group_counts(tmp_path, monkeypatch):
    """The files of a group as the kernel lays them out: its limit, its parent's, and what it could give back."""
    from isoloss.execution import packing

    group = tmp_path / "outer" / "inner"
    group.mkdir(parents=True)
    for folder, limit, used in ((group, "max", "50000000"), (group.parent, "300000000", "250000000")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 1\ninactive_file 30000000\n")
    assert packing._left_in(group, "memory.max", "memory.current", "inactive_file") == []
    assert packing._left_in(group.parent, "memory.max", "memory.current", "inactive_file") == [80e6]
    assert 0 < free_memory() < 1e15


def test_an_estimate_is_what_was_seen_at_that_budget_or_below(trouble, tmp_path):
    table(trouble, tmp_path, "local")
    store, study = Ledger(str(tmp_path / "local.sqlite")), open_study(trouble).study
    with contextlib.closing(store):
        known = store.table(study)
    from isoloss.planning.propose import members

    specs = {run.spec.budget: run.spec for _, run in members(study, known)}
    peaks = Peaks()
    assert peaks.of([specs[64]]) is None
    peaks.learn_table(type(known)(known.frame.filter(pl.col("rung") == 64)))
    assert peaks.of([specs[16]]) is None
    assert (
        peaks.of([specs[64]])
        == peaks.of([replace(specs[64], budget=256.0)])
        == known.frame.filter(pl.col("rung") == 64)["process_peak_bytes"].max()
    )


def test_workers_take_gpus_by_turns(monkeypatch):
    torch = pytest.importorskip("torch")
    from isoloss.execution.worker import by_turns

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)  # there is no such machine here
    assert [by_turns("cuda", i) for i in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert by_turns("cuda:1", 5) == "cuda:1" and by_turns("cpu", 5) == "cpu"
    assert open_engine("local", options={"per_gpu": "2"}).slots == 6


def test_the_command_line_names_the_engine_and_its_options(ridge, tmp_path):
    told = [sys.executable, "-m", "isoloss", "run", str(ridge), "--ledger", str(tmp_path / "l.sqlite")]
    told += ["--out", str(tmp_path / "r"), "--json", "-j", "1", "--engine-option", "memory_gb=2"]
    done = subprocess.run(told, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["provenance"]["workers"] == 1
    done = subprocess.run([*told, "--engine-option", "memory"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "--engine-option" in done.stderr and "Traceback" not in done.stderr

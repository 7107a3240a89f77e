"""kill -9 at random moments, again and again: finished runs kept, none doubled, the same table to the last bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from isoloss import api
from isoloss.ledger.store import Ledger
from tests.conftest import ROOT
from tests.faults.arena import TALLY

STUDY = ROOT / "studies" / "smoke.toml"

#: Runs that carry a state, draw noise, and share a trunk.
LANGUAGE_STUDY = """
name = "stops"
question = "Does a study that is stopped again and again end as one that is not?"
[task]
name = "language/sotu"
[ladder]
resource = "train_flops"
rungs = [1.2e9, 2.4e9]
[tuning]
seeds = 1
[report]
seeds = 2
[[comparisons]]
baseline = "lstm"
candidate = "modern"
[arms.lstm]
algorithm = "language/lstm"
settings = { batch_tokens = 256, dropout = 0.1 }
sweep = { lr = { centre = 0.06, factor = 3.0, points = 3 } }
[arms.modern]
algorithm = "language/transformer-modern"
innovations = ["wsd"]
settings = { batch_tokens = 256, width = 8, depth = 1, trunk_warmup = 20 }
sweep = { lr = { centre = 0.01, factor = 3.0, points = 3 } }
"""


def command(folder: Path, study: Path) -> list[str]:
    where = ["--ledger", str(folder / "l.sqlite"), "--out", str(folder / "reports")]
    return [sys.executable, "-m", "isoloss", "run", str(study), "--workers", "2", *where]


@contextmanager
def start(folder: Path, study: Path = STUDY, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    own = os.environ | variables
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(folder, study), env=own, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def table(folder: Path, study: Path = STUDY) -> pl.DataFrame:
    ledger = Ledger(str(folder / "l.sqlite"))
    try:
        return ledger.table(api.open_study(study).study).reproducible()
    finally:
        ledger.close()


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(p) for p in found]


def workers_left(pids: list[int]) -> list[int]:
    return [p for p in pids if Path(f"/proc/{p}/stat").exists() and " Z " not in Path(f"/proc/{p}/stat").read_text()]


def strike(process: subprocess.Popen[bytes], rng: random.Random, victim: str) -> tuple[bool, list[int]]:
    """Kill -9 the driver or one of its workers; False when the study had just ended by itself."""
    deadline = time.monotonic() + 10
    while len(pids := children(process.pid)) < 2 and victim == "worker" and time.monotonic() < deadline:
        if process.poll() is not None:
            return False, pids
        time.sleep(0.05)
    if process.poll() is not None:
        return False, pids
    try:
        os.kill(rng.choice(pids) if victim == "worker" else process.pid, signal.SIGKILL)
    except (ProcessLookupError, IndexError):
        return False, pids
    if victim == "worker":
        time.sleep(rng.uniform(0.0, 1.5))  # the driver goes on for a while, then dies too
        pids = sorted({*pids, *children(process.pid)})
    return True, pids


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds worker processes through /proc")
@pytest.mark.faults
@pytest.mark.parametrize("kills", [20])
def test_kills_in_real_training_lose_nothing_and_change_nothing(tmp_path, kills):
    whole = tmp_path / "whole"
    whole.mkdir()
    with start(whole) as process:
        assert process.wait(120) in (0, 1)
    expected = table(whole)
    rng = random.Random(20)
    deaths = {"driver": 0, "worker": 0}
    kept = studies = 0
    killed = tmp_path / "killed-0"
    killed.mkdir()
    while sum(deaths.values()) < kills:
        with start(killed) as process:
            time.sleep(rng.uniform(0.3, 7.0))
            victim = "worker" if rng.random() < 0.4 else "driver"
            struck, pids = strike(process, rng, victim)
            deaths[victim] += struck
            TALLY.kills[f"{victim} in real training"] += struck
        deadline = time.monotonic() + 10
        while workers_left(pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not workers_left(pids), "a killed driver leaves no worker behind"
        now = table(killed)
        assert now.height >= kept, "a finished run was lost"
        assert now["run_id"].n_unique() == now.height, "a run was doubled"
        kept = now.height
        if kept == expected.height and sum(deaths.values()) < kills:
            # it got to the end between the kills: check it, and go on killing a fresh one
            assert now.equals(expected)
            studies, kept = studies + 1, 0
            killed = tmp_path / f"killed-{studies}"
            killed.mkdir()
    with start(killed) as process:
        _, said = process.communicate(timeout=180)
    assert process.returncode in (0, 1), said.decode()
    assert min(deaths.values()) >= kills // 8
    assert table(killed).equals(expected)
    TALLY.studies, TALLY.runs = TALLY.studies + studies + 1, TALLY.runs + expected.height * (studies + 1)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    with start(tmp_path) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.3)
            if (tmp_path / "l.sqlite").exists() and table(tmp_path).height >= 2:
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"the same command goes on" in said and b"Traceback" not in said
    ledger = Ledger(str(tmp_path / "l.sqlite"))
    progress = ledger.progress_of(api.open_study(STUDY).study.study_id)
    ledger.close()
    assert "running" not in progress and progress["queued"][0] > 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds worker processes through /proc")
@pytest.mark.faults
def test_stopped_and_killed_in_the_middle_of_runs_it_ends_with_the_same_bytes(tmp_path):
    """SIGTERM four times, kill -9 twice, a checkpoint after every step that there is time for."""
    study, rng = tmp_path / "stops.toml", random.Random(7)
    study.write_text(LANGUAGE_STUDY)
    folders = {name: tmp_path / name for name in ("whole", "stopped")}
    caches = {name: tmp_path / f"cache-{name}" for name in folders}
    for folder in (*folders.values(), *caches.values()):
        folder.mkdir()
    with start(folders["whole"], study, ISOLOSS_CACHE=str(caches["whole"])) as process:
        assert process.wait(300) in (0, 1)
    often = {"ISOLOSS_CACHE": str(caches["stopped"]), "ISOLOSS_CHECKPOINT_SECONDS": "0"}
    left = 0
    for how in [signal.SIGTERM] * 2 + [signal.SIGKILL, signal.SIGTERM] * 2:
        checkpoints = caches["stopped"] / "checkpoints"
        with start(folders["stopped"], study, **often) as process:
            before = {p: p.stat().st_mtime_ns for p in checkpoints.glob("*.pt")}
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if any(before.get(p) != p.stat().st_mtime_ns for p in checkpoints.glob("*.pt") if p.exists()):
                    break
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.7))
            pids = children(process.pid)
            assert process.poll() is None, "the study is long enough to be stopped so often"
            process.send_signal(how)
            _, said = process.communicate(timeout=60)
        assert process.returncode == (143 if how == signal.SIGTERM else -how), said.decode()
        if how == signal.SIGTERM:
            assert b"the same command goes on" in said and b"Traceback" not in said
            left += len(list(checkpoints.glob("*.pt")))
        deadline = time.monotonic() + 10
        while workers_left(pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not workers_left(pids)
    assert left >= 4, "it was stopped in the middle of runs"
    with start(folders["stopped"], study, **often) as process:
        _, said = process.communicate(timeout=300)
    assert process.returncode in (0, 1), said.decode()
    assert table(folders["stopped"], study).write_csv() == table(folders["whole"], study).write_csv()
    assert not list(checkpoints.iterdir()), "recorded runs leave nothing behind"
    assert b"checkpoint" not in said, said.decode()


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds worker processes through /proc")
def test_a_second_signal_stops_at_once(tmp_path):
    with start(tmp_path) as process:
        deadline = time.monotonic() + 60
        while len(pids := children(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2)
        pids = [p for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
        for pid in pids:  # workers that do not answer
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None, "it waits for its workers"
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert process.returncode == -signal.SIGTERM and time.monotonic() - began < 5
    deadline = time.monotonic() + 10
    while workers_left(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers_left(pids)

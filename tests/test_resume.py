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

STUDY = ROOT / "studies" / "smoke.toml"
KILLS = 20


def command(folder: Path) -> list[str]:
    where = ["--ledger", str(folder / "l.sqlite"), "--out", str(folder / "reports")]
    return [sys.executable, "-m", "isoloss", "run", str(STUDY), "--workers", "2", *where]


@contextmanager
def start(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def table(folder: Path) -> pl.DataFrame:
    ledger = Ledger(str(folder / "l.sqlite"))
    try:
        return ledger.table(api.open_study(STUDY).study).reproducible()
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
def test_twenty_kills_lose_nothing_and_change_nothing(tmp_path):
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
    while sum(deaths.values()) < KILLS:
        with start(killed) as process:
            time.sleep(rng.uniform(0.3, 7.0))
            victim = "worker" if rng.random() < 0.4 else "driver"
            struck, pids = strike(process, rng, victim)
            deaths[victim] += struck
        deadline = time.monotonic() + 10
        while workers_left(pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not workers_left(pids), "a killed driver leaves no worker behind"
        now = table(killed)
        assert now.height >= kept, "a finished run was lost"
        assert now["run_id"].n_unique() == now.height, "a run was doubled"
        kept = now.height
        if kept == expected.height and sum(deaths.values()) < KILLS:
            # it got to the end between the kills: check it, and go on killing a fresh one
            assert now.equals(expected)
            studies, kept = studies + 1, 0
            killed = tmp_path / f"killed-{studies}"
            killed.mkdir()
    with start(killed) as process:
        _, said = process.communicate(timeout=180)
    assert process.returncode in (0, 1), said.decode()
    assert min(deaths.values()) >= 3
    assert table(killed).equals(expected)
    print(f"{KILLS} kills ({deaths}): {expected.height} runs, 0 lost, 0 doubled, table identical")


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

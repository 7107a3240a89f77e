"""kill -9 at random moments, again and again: finished runs kept, none doubled, the same table to the last bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
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
    return [sys.executable, "-m", "isoloss.cli", "run", str(STUDY), "--workers", "2", *where]


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


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


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds worker processes through /proc")
def test_twenty_kills_lose_nothing_and_change_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    began = time.monotonic()
    assert start(whole).wait(120) in (0, 1)
    length = time.monotonic() - began
    assert length < 60, "the study should take at most half a minute on an idle machine"
    rng = random.Random(20)
    kept = 0
    deaths = {"driver": 0, "worker": 0}
    for _ in range(KILLS):
        process = start(killed)
        time.sleep(rng.uniform(0.5, max(length / 2, 4.0)))
        pids = children(process.pid)
        victim = "worker" if pids and rng.random() < 0.4 else "driver"
        try:
            os.kill(rng.choice(pids) if victim == "worker" else process.pid, signal.SIGKILL)
            deaths[victim] += 1
        except ProcessLookupError:
            pass  # it had just ended by itself
        if victim == "worker":
            time.sleep(rng.uniform(0.0, 2.0))
            process.kill()
        process.wait(30)
        deadline = time.monotonic() + 10
        while workers_left(pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not workers_left(pids), "a killed driver leaves no worker behind"
        if (killed / "l.sqlite").exists():
            now = table(killed)
            assert now.height >= kept, "a finished run was lost"
            assert now["run_id"].n_unique() == now.height, "a run was doubled"
            kept = now.height
    process = start(killed)
    _, said = process.communicate(timeout=180)
    assert process.returncode in (0, 1), said.decode()
    assert deaths["driver"] >= 5
    final, expected = table(killed), table(whole)
    assert final.equals(expected)
    print(f"{KILLS} kills ({deaths}): {expected.height} runs, 0 lost, 0 doubled, table identical")


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path)
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

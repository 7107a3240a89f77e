"""A study seen from outside, through its ledger alone: what is shown is what is there, and it fits the terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from isoloss import api
from isoloss.errors import LedgerError, StudyError, UnknownNameError
from isoloss.ledger.pace import Pace
from isoloss.ledger.progress import Count, Driver, Progress
from isoloss.ledger.status import ENDED, OPEN
from isoloss.report.progress import lines, view


def isoloss(*words, **options):
    return subprocess.Popen([sys.executable, "-m", "isoloss", *map(str, words)], text=True, **options)


def slow(ridge: Path, seconds: float) -> Path:
    """The study, with runs that take a while."""
    plugin = ridge.parent / "ridge.py"
    first = "        n = round("
    plugin.write_text(plugin.read_text().replace(first, f"        import time\n        time.sleep({seconds})\n{first}"))
    return ridge


def test_watched_from_another_process_it_grows_until_it_is_finished(ridge, tmp_path):
    url = str(tmp_path / "l.sqlite")
    words = ("run", slow(ridge, 0.1), "--ledger", url, "--out", tmp_path)
    with isoloss(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
        deadline = time.monotonic() + 60
        while not Path(url).exists() or not api.status(ledger=url):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        watch = ("status", "--watch", "--every", "0.2", "--ledger", url, "--json")
        with isoloss(*watch, stdout=subprocess.PIPE) as watcher:
            said, _ = watcher.communicate(timeout=120)
        _, told = driver.communicate(timeout=60)
    assert driver.returncode == 0, told
    looks = [json.loads(line) for line in said.splitlines()]
    assert watcher.returncode == 0 and looks[-1]["state"] == "finished"
    ended = [look["ended"] for look in looks]
    assert ended == sorted(ended) and ended[-1] == len(api.report(ridge, ledger=url, out=tmp_path)[0].runs)
    assert max(len(look["drivers"]) for look in looks) == 1 and looks[-1]["drivers"] == []
    assert any(look["rate"] for look in looks)
    assert {look["state"] for look in looks} <= {"empty", "running", "finished"}


@pytest.mark.skipif(not Path("/proc").exists(), reason="a dead driver is known by its process on Linux")
def test_a_study_whose_driver_was_killed_is_called_stopped(ridge, tmp_path):
    url = str(tmp_path / "l.sqlite")
    driver = isoloss("run", slow(ridge, 0.3), "--ledger", url, "--out", tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60

    def at_work():
        try:
            return bool(api.status(ledger=url) and api.look(ledger=url).progress.drivers)
        except LedgerError:  # its file is there before what it holds
            return False

    while not at_work():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert api.look(ridge, ledger=url).progress.state == "running"
    driver.send_signal(signal.SIGKILL)
    driver.wait(10)
    found = api.look("ridge", ledger=url).progress
    assert found.state == "stopped" and not any(d.alive for d in found.drivers)


def test_a_study_is_found_by_file_name_or_id_and_else_refused_in_one_line(ridge, tmp_path):
    url = str(tmp_path / "l.sqlite")
    with pytest.raises(StudyError, match="holds no study yet"):
        from isoloss.ledger.store import Ledger

        Ledger(url).close()
        api.look(ledger=url)
    with pytest.raises(StudyError, match="has no runs in the ledger"):
        api.look(ridge, ledger=url)
    opened = api.open_study(ridge)
    ledger = Ledger(url)
    ledger.open_study(opened.study, opened.text, str(ridge))
    ledger.close()
    for name in (None, ridge, "ridge", opened.study.study_id[:6]):
        assert api.look(name, ledger=url).progress.study_id == opened.study.study_id
    with pytest.raises(UnknownNameError, match="did you mean ridge"):
        api.look("rigde", ledger=url)


def test_on_a_terminal_of_80_columns_nothing_wraps(ridge, tmp_path):
    """A real pseudo-terminal; what is drawn is cursor movements and lines that fit."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
        words = ["run", str(slow(ridge, 0.1)), "--ledger", str(tmp_path / "l.sqlite"), "--out", str(tmp_path)]
        os.execv(sys.executable, [sys.executable, "-m", "isoloss", *words])
    drawn = b""
    try:
        while chunk := os.read(terminal, 65536):
            drawn += chunk
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, drawn.decode()
    text = drawn.decode()
    assert "ridge-again" in text and "of FLOPs" in text and "analysing" in text and "Traceback" not in text
    assert "1 driver holds" in text and "\x1b[2K" in text, "it is redrawn in place"


statuses = st.sampled_from((*ENDED, *OPEN))
counts = st.builds(
    Count,
    st.one_of(st.integers(0, 300).map("arm-{}".format), st.text(min_size=1, max_size=70)),
    st.sampled_from([1e8, 3e8, 1e9, 3e9, 1e10]),
    st.sampled_from(["tune", "report"]),
    statuses,
    st.integers(1, 10**6),
    st.floats(0, 1e20),
)


@given(
    st.lists(counts, max_size=400),
    st.integers(40, 200),
    st.integers(10, 60),
    st.lists(st.tuples(st.text(max_size=60), st.just(1e9), st.text(max_size=400)), max_size=5),
)
def test_any_progress_fits_any_terminal_and_no_run_is_left_out(found, width, height, failures):
    driver = Driver("m", "1", 3, True)
    progress = Progress("a study", "id", tuple(found), (driver,), True, tuple(failures))
    console = Console(
        width=width, height=height, force_terminal=True, color_system=None, record=True, file=io.StringIO()
    )
    console.print(view(progress, None, width, height))
    drawn = console.export_text().splitlines()
    assert len(drawn) <= height
    assert all(cell_len(line.rstrip()) <= width for line in drawn)
    rows = lines(found, max(height, 12))
    assert sum(c.runs for row in rows if not row.arm.startswith("  ") for c in row.counts) == sum(c.runs for c in found)


@given(st.floats(0.1, 100), st.floats(1e6, 1e15), st.integers(10, 500))
def test_a_steady_pace_is_found_and_the_time_left_is_right(per_second, flops, total):
    pace, rate = Pace(), None
    for i in range(8):
        counts = (
            Count("a", 1.0, "tune", "finished", i, i * flops),
            Count("a", 1.0, "tune", "queued", total, total * flops),
        )
        rate = pace.see(Progress("s", "i", counts, (), True, ()), i / per_second)
    assert rate.runs_per_minute == pytest.approx(60 * per_second)
    assert rate.seconds_left == pytest.approx(total / per_second)

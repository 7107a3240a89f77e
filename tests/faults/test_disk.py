"""A disk that is really full, a small tmpfs: named in one line, nothing recorded is lost, and it goes on afterwards."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.arena import PATIENCE, Arena

pytestmark = pytest.mark.slow


@contextmanager
def small_disk(folder: Path, size: str):
    """A file system of `size` in `folder`, and how to make it larger; skips where mounting is not permitted."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted here (root is needed)")
    try:
        yield lambda larger: subprocess.run(["mount", "-o", f"remount,size={larger}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def said_in_one_line(driver, *words: str) -> None:
    """It ended with exit code 2 and one line of error that has `words`."""
    assert driver.wait(PATIENCE) == 2, driver.said.read_text()
    lines = [line for line in driver.said.read_text().splitlines() if line.startswith("isoloss:")]
    assert len(lines) == 1 and "Traceback" not in driver.said.read_text()
    for word in words:
        assert word in lines[0]


@pytest.mark.faults
def test_a_full_disk_under_the_ledger_or_the_report_is_one_line_and_loses_nothing(tmp_path):
    with small_disk(tmp_path / "disk", "300k") as enlarge:
        arena = Arena(tmp_path / "arena", lambda place: str(tmp_path / "disk" / f"{place.name}.sqlite"))
        said_in_one_line(arena.drive(), "can't be written", "finished runs are kept")
        enlarge("16m")
        arena.look()
        assert 0 < len(arena.held) < arena.expected.count("\n") - 1, "it was in the middle of the study"
        reports = arena.place / "reports"
        reports.mkdir()
        with small_disk(reports, "16k") as enlarge_reports:
            said_in_one_line(arena.drive(), "the report can't be written", "No space left")
            arena.ended()
            enlarge_reports("64m")
            last = arena.drive()
            assert last.wait(PATIENCE) == 0, last.said.read_text()
            assert (reports / "faults" / "report.html").exists()
            arena.ended()

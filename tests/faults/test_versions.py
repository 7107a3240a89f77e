"""Two versions of isoloss on one ledger: the older is refused in one line, whichever came first; nothing is harmed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from isoloss import api
from tests.conftest import ROOT
from tests.faults.arena import PATIENCE, Arena
from tests.faults.test_kills import sqlite

#: The last commit that wrote ledgers of version 1.
OLD = "990676a"


@pytest.fixture
def old(tmp_path):
    """The source of the older isoloss."""
    packed = subprocess.run(["git", "-C", ROOT, "archive", OLD, "src"], capture_output=True)
    if packed.returncode:
        pytest.skip(f"commit {OLD} is not in this clone: git fetch --unshallow")
    (tmp_path / "old").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "old"], input=packed.stdout, check=True)
    return tmp_path / "old" / "src"


class Older(Arena):
    """Drives with the older isoloss while `old` is set."""

    old: Path | None = None

    def surroundings(self) -> dict[str, str]:
        own = super().surroundings()
        return own if self.old is None else own | {"PYTHONPATH": f"{self.old}{os.pathsep}{own['PYTHONPATH']}"}


def refused(driver) -> str:
    """The one line that it ended with."""
    said = driver.said.read_text()
    assert driver.wait(PATIENCE) == 2 and "Traceback" not in said, said
    (line,) = (line for line in driver.said.read_text().splitlines() if line.startswith("isoloss:"))
    return line


@pytest.mark.faults
def test_an_older_isoloss_is_refused_by_a_newer_ledger_and_stopped_by_an_upgrade(tmp_path, old):
    arena = Older(tmp_path / "arena", sqlite)
    # an older driver is at work when a newer one opens its ledger
    arena.old = old
    older = arena.drive()
    while arena.log.read_text().count("end") < 10:
        assert older.poll() is None, older.said.read_text()
        time.sleep(0.05)
    api.status(ledger=arena.url)
    assert older.wait(PATIENCE) == 2, older.said.read_text()
    print(refused(older))
    arena.look()
    assert arena.held, "what it had recorded was taken over"
    assert Path(f"{arena.url}.v1-backup").exists() or list(Path(arena.url).parent.glob("*v1-backup*"))
    # and one that comes when the upgrade is done
    line = refused(arena.drive())
    assert "newer isoloss" in line and "upgrade" in line
    arena.look()
    arena.old = None
    newer = arena.drive()
    assert newer.wait(PATIENCE) == 0, newer.said.read_text()
    arena.ended()

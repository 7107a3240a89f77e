"""kill -9 of workers and drivers at random moments: nothing recorded is lost, nothing is trained twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.arena import Arena, either, kill_driver, kill_worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="finds worker processes by their parent"),
]


def sqlite(folder: Path) -> str:
    return str(folder / "ledger.sqlite")


@pytest.mark.parametrize("kills", [5, pytest.param(140, marks=pytest.mark.faults)])
def test_workers_and_drivers_killed_at_random_lose_and_double_nothing(tmp_path, kills):
    arena = Arena(tmp_path, sqlite, seeds=40 if kills > 20 else 4)
    arena.storm(kills, 20 + kills, either({kill_driver: 1, kill_worker: 3}))

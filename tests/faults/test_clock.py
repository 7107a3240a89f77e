"""Clocks that jump while drivers work, and one of them is killed: nothing changes."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults.arena import TALLY, Arena, kill_driver
from tests.faults.test_kills import sqlite

#: Python loads it before anything else: the time of day goes an hour back, or a day on, ten times a second.
JUMPS = """
import random, time
_time, _ns = time.time, time.time_ns
def _off(): return random.Random(int(_time() * 10)).choice([-3600.0, 0.0, 86400.0])
time.time = lambda: _time() + _off()
time.time_ns = lambda: _ns() + int(1e9 * _off())
"""


@pytest.mark.faults
def test_clocks_that_jump_lose_and_double_nothing(tmp_path):
    arena = Arena(tmp_path, sqlite)
    blocked = arena.surroundings()["PYTHONPATH"].partition(os.pathsep)[0]
    Path(blocked, "sitecustomize.py").write_text(JUMPS)
    arena.keep_driving()
    while len(arena.held) < 10:
        time.sleep(0.1)
        arena.look()
    TALLY.kills[kill_driver(arena, random.Random(1)) or "nobody"] += 1
    arena.keep_driving()
    try:
        arena.finish()
    finally:
        arena.stop()

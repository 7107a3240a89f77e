"""What `isoloss run` says where there is no terminal to draw on."""

from __future__ import annotations

import io
from types import SimpleNamespace

from rich.console import Console

from isoloss.report import live
from isoloss.runs import Outcome


def test_the_time_left_is_not_estimated_by_the_run_that_bore_the_start(monkeypatch):
    """A first run of 100 s, start included, then one a second: 44 runs left are about 44 s, never over an hour."""
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(live, "QUIET_SECONDS", 0.0)
    said = io.StringIO()
    told = live.LiveProgress(Console(file=said, width=200, force_terminal=False))
    told.round(SimpleNamespace(phase="tuning", runs=[None] * 48, flops=48e9), 48e9)
    ended = SimpleNamespace(outcome=Outcome("finished", {}, {}, {}), spec=SimpleNamespace(algorithm="a"))
    for seconds in (100.0, 1.0, 1.0, 1.0):
        clock[0] += seconds
        told.ended(ended, 1e9)
    lines = said.getvalue().splitlines()[1:]
    assert [line.partition(",")[0] for line in lines] == [f"tuning: {n}/48 runs" for n in (1, 2, 3, 4)]
    assert ["left" in line for line in lines] == [False, False, False, True]
    assert "about 44 s left" in lines[-1]

"""Prints what was killed, lost and doubled, in all."""

from __future__ import annotations

from tests.faults.arena import TALLY


def pytest_terminal_summary(terminalreporter):
    if TALLY.kills:
        terminalreporter.write_line(f"faults: {TALLY.line()} (seeds {', '.join(map(str, TALLY.seeds))})")

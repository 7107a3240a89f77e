"""Prints what was killed, lost and doubled, in all: of this process, or of pytest-xdist's workers."""

from __future__ import annotations

import pytest

from tests.faults.arena import TALLY


def pytest_sessionfinish(session):
    told = getattr(session.config, "workeroutput", None)
    if told is not None:  # a worker: what it hands over is of plain types
        told["faults"] = TALLY.plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    TALLY.add((getattr(node, "workeroutput", None) or {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter):
    if TALLY.kills:
        terminalreporter.write_line(f"faults: {TALLY.line()} (seeds {', '.join(map(str, sorted(TALLY.seeds)))})")

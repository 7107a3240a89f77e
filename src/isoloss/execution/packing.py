"""Memory: how much a run takes, by what was measured, and how much of the machine's is free."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from isoloss.execution.engine import Ended
from isoloss.execution.worker import PEAK
from isoloss.ledger.table import RunTable
from isoloss.runs import RunSpec

_GROUPS = Path("/sys/fs/cgroup")


class Peaks:
    """The most resident memory that runs of an algorithm on a task were seen to take, by budget."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[float, float]] = {}

    def learn(self, ended: Iterable[Ended]) -> None:
        """Take in what came back."""
        for one in ended:
            amount = one.outcome.resources.get(PEAK)
            if amount is not None:
                self._add(one.spec.algorithm, one.spec.task, one.spec.budget, amount.value)

    def learn_table(self, table: RunTable) -> None:
        """Take in what a ledger's table says of earlier runs; a rung is its budget."""
        known = table.frame.select("algorithm", "task", "rung", PEAK).drop_nulls()
        for algorithm, task, budget, peak in known.group_by("algorithm", "task", "rung").max().iter_rows():
            self._add(algorithm, task, budget, peak)

    def of(self, specs: Sequence[RunSpec]) -> float | None:
        """Bytes that one process needs for runs trained together: the most seen at their budget, else at the largest
        smaller one; None where nothing is known."""
        needs = []
        for spec in specs:
            seen = self._seen.get((spec.algorithm, spec.task), {})
            below = [budget for budget in seen if budget <= spec.budget]
            if below:
                needs.append(seen[max(below)])
        return max(needs, default=None)

    def _add(self, algorithm: str, task: str, budget: float, peak: float) -> None:
        seen = self._seen.setdefault((algorithm, task), {})
        seen[budget] = max(seen.get(budget, 0.0), peak)


def free_memory() -> float | None:
    """Bytes that this process and its children may still take: the machine's, or its control group's where that is
    less. None where nobody says (not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    said = dict(line.split(":", 1) for line in lines)
    machine = 1024.0 * int(said["MemAvailable"].split()[0])
    return min([machine, *_group_limits()])


def _group_limits() -> list[float]:
    """What is left below the limit of each control group that holds this process (version 2, else 1)."""
    left = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, most, used, cache = _GROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, most, used = _GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            left += _left_in(folder, most, used, cache)
            folder = folder.parent
    return left


def _left_in(folder: Path, most: str, used: str, cache: str) -> list[float]:
    try:
        limit = (folder / most).read_text().strip()
        if limit == "max":
            return []
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        # file pages that nobody looked at lately are given back before anyone is killed
        return [float(limit) - float((folder / used).read_text()) + float(stat.get(cache, 0))]
    except (OSError, ValueError):
        return []


def resident(pid: int) -> float:
    """Bytes of memory that a process has now; 0 for one that is gone, and where nobody says."""
    try:
        return float(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0.0


def gigabytes(amount: float) -> str:
    """
    >>> gigabytes(1.54e9)
    '1.5 GB'
    """
    return f"{amount / 1e9:.1f} GB"

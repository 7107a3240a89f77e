"""The engine protocol: something that carries out runs. It knows nothing of studies, rounds or the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isoloss.runs import Outcome, RunSpec


@dataclass(frozen=True)
class Job:
    """What one worker does at a time: runs trained together, most often one. `references`: of each, the curve that
    ``RunSpec.drop`` names."""

    specs: tuple[RunSpec, ...]
    references: tuple[Mapping[str, list[float]] | None, ...]


@dataclass(frozen=True)
class Ended:
    """A run that came back. `lost` marks one whose worker died: nothing is known of it, it may be tried again."""

    spec: RunSpec
    outcome: Outcome
    environment: dict[str, Any]
    lost: bool = False


class RunEngine(Protocol):
    """Start, submit, collect, stop."""

    slots: int

    def start(self, plugins: Sequence[Path]) -> None:
        """Make workers ready; `plugins` are files that register algorithms or tasks."""

    def submit(self, job: Job) -> None:
        """Begin a job as soon as a worker is free."""

    def collect(self, timeout: float) -> list[list[Ended]]:
        """The runs of each job that ended since the last call; waits at most `timeout` seconds for the first."""

    def recorded(self, spec: RunSpec) -> None:
        """The result of a run is safe: what it left to go on from may go."""

    def stop(self) -> None:
        """End all workers, as soon as the runs in hand have left checkpoints; what they did not keep is lost."""

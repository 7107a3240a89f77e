"""The engine protocol: something that carries out runs. It knows nothing of studies, rounds or the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from isoloss.runs import Outcome, RunSpec

#: Seconds that workers have to end a step and write a checkpoint when they are told to stop.
GRACE = 30.0


@dataclass(frozen=True)
class Job:
    """What one worker does at a time: runs trained together, most often one. `references`: of each, the curve that
    ``RunSpec.drop`` names; `peak_bytes`: memory that it is expected to take, None where nothing is known."""

    specs: tuple[RunSpec, ...]
    references: tuple[Mapping[str, list[float]] | None, ...]
    peak_bytes: float | None = None


@dataclass(frozen=True)
class Ended:
    """A run that came back. `lost` marks one whose worker died: nothing is known of it, it may be tried again."""

    spec: RunSpec
    outcome: Outcome
    environment: dict[str, Any]
    lost: bool = False


def lost(job: Job, how: str = "its worker process died (killed, or out of memory)") -> list[Ended]:
    """What comes back of a job whose worker died."""
    outcome = Outcome("failed", {}, {}, {}, error=how)
    return [Ended(spec, outcome, {}, lost=True) for spec in job.specs]


class EngineOptions(BaseModel):
    """What ``--engine-option KEY=VALUE`` may set; each engine has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Asked:
    """What a person asked of an engine. `workers`: jobs at a time (None: the engine's own choice); `device`: ``auto``,
    ``cpu``, ``cuda`` or ``cuda:N``; `options`: its own `Options`; `folder`: where it may keep files that all its
    workers see."""

    workers: int | None = None
    device: str = "auto"
    options: Any = None
    folder: Path = Path("reports")


class RunEngine(Protocol):
    """Start, submit, collect, recorded, notices, stop; and how many jobs it takes at a time."""

    summary: ClassVar[str]
    Options: ClassVar[type[EngineOptions]]

    @property
    def slots(self) -> int:
        """Jobs that can run at a time, now: a cluster may grow and shrink."""

    @classmethod
    def open(cls, asked: Asked) -> RunEngine:
        """An engine as asked for, not started. Raises `StudyError` or `MissingError` in one line."""

    def start(self, plugins: Sequence[Path]) -> None:
        """Make workers ready, unless they are; `plugins` are files that register algorithms or tasks."""

    def submit(self, job: Job) -> None:
        """Begin a job as soon as a worker is free."""

    def collect(self, timeout: float) -> list[list[Ended]]:
        """The runs of each job that ended since the last call; waits at most `timeout` seconds for the first."""

    def recorded(self, spec: RunSpec) -> None:
        """The result of a run is safe: what it left to go on from may go."""

    def notices(self) -> list[str]:
        """What a person should know since the last call, a line each."""

    def stop(self) -> None:
        """End all workers, as soon as the runs in hand have left checkpoints; what they did not keep is lost. A second
        time nothing is left to do."""

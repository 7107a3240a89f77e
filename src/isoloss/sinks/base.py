"""What a tracker is sent of a run, and the protocol of those that take it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from isoloss.runs import Outcome, Purpose, RunSpec

#: The column of a curve that counts; a curve without it is counted by its points.
STEP = "step"


@dataclass(frozen=True)
class Record:
    """A run that ended, with its place in a study. `arms` are all that share it, joined by commas."""

    study: str
    arms: str
    rung: float
    purpose: Purpose
    spec: RunSpec
    outcome: Outcome

    @property
    def run_id(self) -> str:
        """The run's identity, which becomes the tracker's."""
        return self.spec.run_id

    def settings(self) -> dict[str, str | float | int | bool]:
        """What is known before the run: study, arm, rung, seed, algorithm, task, and ``choices.NAME``, all flat."""
        spec = self.spec
        return {
            "study": self.study,
            "arm": self.arms,
            "rung": self.rung,
            "purpose": self.purpose,
            "seed": spec.seed,
            "algorithm": spec.algorithm,
            "task": spec.task,
            "resource": spec.resource,
            "budget": spec.budget,
            "run_id": self.run_id,
            "status": self.outcome.status,
            **{f"choices.{k}": v if isinstance(v, (bool, int, float)) else str(v) for k, v in spec.choices.items()},
        }

    def results(self) -> dict[str, float]:
        """What is known after it: ``quality/SPLIT``, ``resource/NAME`` and ``seconds/PHASE``."""
        outcome = self.outcome
        return {
            **{f"quality/{k}": float(v) for k, v in outcome.qualities.items()},
            **{f"resource/{k}": float(a.value) for k, a in outcome.resources.items()},
            **{f"seconds/{k}": float(v) for k, v in outcome.seconds.items()},
        }

    def points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The curve: step, and ``curve/COLUMN`` there."""
        curve = self.outcome.curve
        columns = {f"curve/{k}": v for k, v in curve.items() if k != STEP}
        length = len(next(iter(curve.values()), ()))
        for i in range(length):
            step = int(curve[STEP][i]) if STEP in curve else i
            yield step, {k: float(v[i]) for k, v in columns.items()}

    @property
    def last_step(self) -> int:
        """Where `results` belong: the step of the curve's last point."""
        return max((step for step, _ in self.points()), default=0)

    @property
    def failed(self) -> bool:
        """Whether the run gave no result: to be tried again, so a tracker's record of it may be replaced."""
        return self.outcome.status == "failed"


class Sink(abc.ABC):
    """A tracker. Made from the target of ``--to NAME:TARGET``; raises `ValueError` for a wrong one, `MissingError`
    where its package is missing.

    Whatever else it raises is said once, and harms no study.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, target: str) -> None:
        """Check `target`; nothing is written or connected yet."""

    @abc.abstractmethod
    def open(self, study: str) -> None:
        """Begin with the runs of the study called `study`."""

    @abc.abstractmethod
    def run(self, record: Record) -> bool:
        """Write a run under its run id; False where the tracker holds it already. One that was cut short or that had
        failed is replaced."""

    @abc.abstractmethod
    def close(self) -> None:
        """Write what is pending and let go."""

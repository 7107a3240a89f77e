"""What to run: a frozen list of runs with their place in the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isoloss.runs import Purpose, RunSpec

Phase = Literal["tuning", "checking", "widening", "finalists", "reporting", "done"]


@dataclass(frozen=True)
class PlannedRun:
    """A run and why it is wanted; `flops` is its price by the algorithm's own formula."""

    spec: RunSpec
    arm: str
    rung: float
    purpose: Purpose
    flops: float


@dataclass(frozen=True)
class Plan:
    """One round. `runs` holds only what the table does not hold yet; empty when the study is done."""

    study_id: str
    round: int
    phase: Phase
    runs: tuple[PlannedRun, ...]

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole round."""
        return sum(r.flops for r in self.runs)

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
    """One round. `runs` holds only what the table does not hold yet; empty when the study is done.

    `stacks`: those runs as they are to be trained, together or alone, longest first. A stack is trained whole: it may
    hold runs that the table has already.
    """

    study_id: str
    round: int
    phase: Phase
    runs: tuple[PlannedRun, ...]
    stacks: tuple[tuple[RunSpec, ...], ...] = ()

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole round."""
        return sum(r.flops for r in self.runs)

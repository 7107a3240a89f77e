"""The algorithm contract: resolve choices at a rung, price a run, run it."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from isoloss.runs import Card, Context, Outcome, RunSpec, StepRule
from isoloss.tasks.base import Options, Task


@dataclass(frozen=True)
class Rung:
    """One step of a ladder: `budget` units of `resource`; `step_rule` where the resource is not compute."""

    resource: str
    budget: float
    step_rule: StepRule | None = None


class Algorithm(abc.ABC):
    """Everything but the resource: architecture, optimiser, objective, schedule, data/parameter balance.

    `Choices` types the hyper-parameters that a study may set or sweep. Instances hold no state.
    """

    card: ClassVar[Card]
    #: Choices that count training steps: a plan times a run with few of each.
    stepped: ClassVar[tuple[str, ...]] = ("steps",)
    #: Choices that seconds per FLOP do not depend on: a plan times one of the runs that differ in these alone.
    timed_alike: ClassVar[frozenset[str]] = frozenset()

    class Choices(Options):
        """No choices."""

    @abc.abstractmethod
    def resolve(self, task: Task, rung: Rung, choices: Any) -> Any:
        """`choices` with everything decided that the rung decides (width, steps, ...): pure and cheap, no training.
        Raises `StudyError` where the rung is too small to run at all."""

    @abc.abstractmethod
    def train_flops(self, task: Task, choices: Any) -> float:
        """Training FLOPs of the whole run by formula, independent of the counter (used to plan and to check it)."""

    def code(self, choices: Any) -> str:
        """Digest of the plug-in files behind the parts that `choices` name; empty where all are built in. It is part
        of a run's identity, as the digest of the algorithm's own file is."""
        return ""

    def stack(self, choices: Any, numerics: Mapping[str, Any], flops: float) -> tuple[Hashable, int] | None:
        """What runs must have in common to be trained together, and how many at most; None for one by one. `flops` are
        the run's."""
        return None

    def run_together(self, task: Task, specs: Sequence[RunSpec], contexts: Sequence[Context]) -> list[Outcome]:
        """Runs of one stack, each with an outcome of its own."""
        return [self.run(task, spec, context) for spec, context in zip(specs, contexts, strict=True)]

    @abc.abstractmethod
    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Train at `spec` and measure quality on the splits of ``spec.evaluate``."""

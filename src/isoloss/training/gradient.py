"""The base of every algorithm trained by gradient: it builds a `Trainee`, the one loop trains it."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, final

import torch

from isoloss.algorithms.base import Algorithm
from isoloss.runs import Context, Outcome, RunSpec
from isoloss.tasks.base import Task
from isoloss.training.accumulate import by_shards
from isoloss.training.compiled import compiled
from isoloss.training.placement import choose_device, place
from isoloss.training.precision import products, slow_bfloat16, within

if TYPE_CHECKING:
    from isoloss.training.trunk import Stem


class Optimizer(Protocol):
    """What the loop needs of an optimiser; every ``torch.optim.Optimizer`` has it.

    It may also have ``period``, after how many steps its work repeats (1 if absent), and ``train()`` and ``eval()``,
    called before training and before evaluation.
    """

    param_groups: list[dict[str, Any]]

    def step(self) -> Any:
        """Update the parameters from their gradients."""


@dataclass
class Trainee:
    """What the loop needs of one run.

    `loss(batch)` is a scalar tensor with gradient; `pieces` parts of a batch, cut by rows, are given to it in turn and
    their gradients averaged; `batches` never ends; `schedule(progress)` in [0, 1] multiplies
    every group's base learning rate; `evaluate(split)` is the quality in the task's unit; `examples_per_step`
    counts what the task calls an example; `sizes` are the model's own parameter and inference counts
    (``parameters``, ``active_parameters``, ``non_embedding_parameters``, ``inference_flops``, ``unique_examples``);
    `stem` makes the run a branch of a trunk, whose rate it sets in place of `schedule`. What the model carries from
    step to step besides parameters and buffers (a recurrent state) is read by `carried()` and put back by `restore`, as
    tensors and plain values: a run that is killed goes on from there, with the batches that follow.
    """

    model: torch.nn.Module
    optimizer: Optimizer
    batches: Iterator[Any]
    loss: Callable[[Any], torch.Tensor]
    evaluate: Callable[[str], float]
    schedule: Callable[[float], float]
    steps: int
    examples_per_step: float
    clip: float | None = 1.0
    pieces: int = 1
    sizes: dict[str, float] | None = None
    stem: Stem | None = None
    carried: Callable[[], Any] = lambda: None
    restore: Callable[[Any], None] = lambda carried: None


class GradientAlgorithm(Algorithm):
    """An algorithm trained by gradient. Subclasses give `Choices`, `resolve`, `train_flops` and `build`."""

    @abc.abstractmethod
    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Model, optimiser and data order for `choices`, all randomness from `seed`: equal seeds of two algorithms
        on one task must give equal data order."""

    @final
    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Build and train; see `isoloss.training.loop.train`. The arithmetic is that of ``spec.numerics``: see
        `isoloss.training.precision`, `compiled` and `accumulate`."""
        from isoloss.training.dropping import DropRule
        from isoloss.training.keeper import Keeper
        from isoloss.training.loop import train

        start = time.perf_counter()
        device = choose_device(context.device)
        task.prepare()
        trainee = self._trainee(task, spec, context, device)
        shards = by_shards(trainee, spec, device, lambda: self._trainee(task, spec, context, device))
        note = slow_bfloat16() if (spec.numerics.get("dtype"), device.type) == ("bfloat16", "cpu") else None
        try:
            with Keeper(trainee, spec, context) as keeper:
                setup = time.perf_counter() - start
                rule = DropRule(spec.drop, context.reference)
                outcome = train(trainee, spec.evaluate, context, setup, keeper, shards, rule)
        finally:
            if shards is not None:
                shards.close()
        return outcome if note is None else replace(outcome, notes=(*outcome.notes, note))

    def _trainee(self, task: Task, spec: RunSpec, context: Context, device: torch.device) -> Trainee:
        torch.manual_seed(spec.seed)
        trainee = self.build(task, self.Choices(**spec.choices), spec.seed)
        place(trainee, device)
        trainee.loss = within(products(spec.numerics, device.type), trainee.loss)
        if spec.numerics.get("compiled"):
            trainee.loss = compiled(trainee.loss, context.cache, device)
        return trainee

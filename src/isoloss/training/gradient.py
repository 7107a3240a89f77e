"""The base of every algorithm trained by gradient: it builds a `Trainee`, the one loop trains it."""

from __future__ import annotations

import abc
import json
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

import torch

from isoloss.algorithms.base import Algorithm
from isoloss.runs import Context, Outcome, RunSpec
from isoloss.tasks.base import Task
from isoloss.training.accumulate import by_shards
from isoloss.training.placement import choose_device, place
from isoloss.training.precision import products, slow_bfloat16, within

if TYPE_CHECKING:
    from isoloss.training.trunk import Stem


#: A stack's step costs at most so many FLOPs: beyond, products dominate, and lanes push each other out of the cache.
STACK_FLOPS = 6e7


class Optimizer(Protocol):
    """What the loop needs of an optimiser; every ``torch.optim.Optimizer`` has it.

    It may also have ``period``, after how many steps its work repeats (1 if absent), and ``train()`` and ``eval()``,
    called before training and before evaluation.
    """

    param_groups: list[dict[str, Any]]

    def step(self) -> Any:
        """Update the parameters from their gradients."""


def tell(optimizer: Any, what: str) -> None:
    """Call ``optimizer.what()`` where there is such a method: most have no modes."""
    method = getattr(optimizer, what, None)
    if method is not None:
        method()


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
    """An algorithm trained by gradient. Subclasses give `Choices`, `resolve`, `train_flops` and `build`.

    `outside_loss`: the choices that the loss, as a function of parameters and batch, does not depend on; runs that
    differ in no other may be trained as one computation, `most_lanes` at a time.
    """

    outside_loss: ClassVar[frozenset[str]] = frozenset()
    most_lanes: ClassVar[int] = 16

    @abc.abstractmethod
    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Model, optimiser and data order for `choices`, all randomness from `seed`: equal seeds of two algorithms
        on one task must give equal data order."""

    @final
    def stack(self, choices: Any, numerics: Mapping[str, Any], flops: float) -> tuple[Hashable, int] | None:
        """By the choices that the loss depends on; as many lanes as keep a step of all of them within `STACK_FLOPS`."""
        if not numerics.get("compiled") or getattr(choices, "trunk_warmup", None) is not None:
            return None
        fits = int(STACK_FLOPS * choices.steps / flops)
        return self._key(choices), min(max(fits, 1), self.most_lanes)

    def _key(self, choices: Any) -> Hashable:
        kept = choices.model_dump(mode="json", exclude=set(self.outside_loss))
        return self.card.name, json.dumps(kept, sort_keys=True)

    @final
    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Build and train; see `isoloss.training.loop.Member`. The arithmetic is that of ``spec.numerics``: see
        `isoloss.training.precision`, `stack` and `accumulate`."""
        return self.run_together(task, (spec,), (context,))[0]

    @final
    def run_together(self, task: Task, specs: Sequence[RunSpec], contexts: Sequence[Context]) -> list[Outcome]:
        """As one computation where the numerics say ``compiled``; see `isoloss.training.stack`. Where memory does not
        suffice, in stacks of half the width, which the runs' notes say."""
        from isoloss.training.faults import is_out_of_memory

        if len(specs) > 1 and not specs[0].numerics.get("compiled"):
            return super().run_together(task, specs, contexts)
        try:
            return self._trained(task, specs, contexts)
        except (RuntimeError, MemoryError) as error:
            if len(specs) == 1 or not is_out_of_memory(error):
                raise
        half = (len(specs) + 1) // 2
        parts = (slice(half), slice(half, None))
        outcomes = [o for part in parts for o in self.run_together(task, specs[part], contexts[part])]
        note = f"out of memory as a stack of {len(specs)}: trained in stacks of {half} at most"
        return [replace(o, notes=(note, *o.notes)) for o in outcomes]

    def _trained(self, task: Task, specs: Sequence[RunSpec], contexts: Sequence[Context]) -> list[Outcome]:
        """One run, or compiled ones as one computation."""
        from isoloss.training.dropping import DropRule
        from isoloss.training.graph import use_cache
        from isoloss.training.keeper import Keeper
        from isoloss.training.loop import Member
        from isoloss.training.stack import train_stack

        first, start = specs[0], time.perf_counter()
        device, alone = choose_device(contexts[0].device), len(specs) == 1
        task.prepare()
        members, notes = [], []
        with ExitStack() as held:
            for spec, context in zip(specs, contexts, strict=True):
                trainee = self._trainee(task, spec, device)
                shards = by_shards(trainee, spec, device, partial(self._trainee, task, spec, device))
                if shards is not None:
                    held.callback(shards.close)
                # runs of a stack are short, and start anew together
                keeper = held.enter_context(Keeper(trainee, spec, context)) if alone else None
                rule, now = DropRule(spec.drop, context.reference), time.perf_counter()
                members.append(Member(trainee, spec.evaluate, context, now - start, keeper, shards, rule, alone))
                start = now
            if first.numerics.get("compiled"):
                use_cache(contexts[0].cache)
                key = (self._key(self.Choices(**first.choices)), first.code, json.dumps(dict(first.numerics)))
                outcomes, why = train_stack(members, key)
                notes += [f"not compiled: {why}"] if why else []
            else:
                outcomes = [member.train() for member in members]
        slow = slow_bfloat16() if (first.numerics.get("dtype"), device.type) == ("bfloat16", "cpu") else None
        notes += [] if slow is None else [slow]
        return [replace(o, notes=(*o.notes, *notes)) for o in outcomes]

    def _trainee(self, task: Task, spec: RunSpec, device: torch.device) -> Trainee:
        torch.manual_seed(spec.seed)
        trainee = self.build(task, self.Choices(**spec.choices), spec.seed)
        place(trainee, device)
        trainee.loss = within(products(spec.numerics, device.type), trainee.loss)
        return trainee

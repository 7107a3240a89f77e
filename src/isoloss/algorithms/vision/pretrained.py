"""Learning in two phases: an encoder is pre-trained on images without labels, then trained on with labels.

Both phases are counted, and a run is charged with both. Runs of one seed that differ in their labels alone have one
pre-training in common: the first that needs it leaves its end in ``encoders/`` of the cache folder, the others go on
from there, bit for bit. What was really computed is recorded as ``spent_flops``. As with trunks, that file is a cache:
deleted or damaged, it is made again.
"""

from __future__ import annotations

import abc
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from filelock import FileLock
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms.base import Algorithm, Rung
from isoloss.algorithms.vision.base import in_order
from isoloss.algorithms.vision.classifier import Classifier
from isoloss.errors import StudyError
from isoloss.runs import Amount, Context, Outcome, RunSpec
from isoloss.tasks.base import Options, Task
from isoloss.training import checkpoint
from isoloss.training.accounts import counted
from isoloss.training.flops import PeriodicMeter
from isoloss.training.gradient import Trainee
from isoloss.training.loop import Member
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.placement import choose_device, place
from isoloss.training.precision import products, within
from isoloss.training.schedules import cosine

#: Amounts of which a run of two phases has the larger one; of all others that phases spend it has the sum.
LARGER = ("peak_memory_bytes", "activation_bytes")


class Pretraining(Options):
    """Choices of a pre-training: `unlabelled` images, `pretrain_steps` of `pretrain_batch` of them, at `pretrain_lr`
    and `pretrain_decay` (AdamW, cosine to zero)."""

    unlabelled: int = Field(10_000, ge=2)
    pretrain_steps: int = Field(300, ge=1)
    pretrain_batch: int = Field(256, ge=2)
    pretrain_lr: float = Field(3e-3, gt=0)
    pretrain_decay: float = Field(0.01, ge=0)


def without_labels(
    model: nn.Module, views: Callable[[Tensor, torch.Generator], Any], task: Any, choices: Any, seed: int
) -> Trainee:
    """A first phase on images without labels: `model` turns ``views(images, generator)`` of a batch into its loss."""

    def batches() -> Iterator[Any]:
        generator = torch.Generator().manual_seed(seed)
        x_n1hw = torch.from_numpy(task.unlabelled(choices.unlabelled, seed)).unsqueeze(1)
        for picked in in_order(len(x_n1hw), choices.pretrain_batch, choices.pretrain_steps, generator):
            yield views(x_n1hw[picked], generator)

    return Trainee(
        model=model,
        optimizer=FusedAdam(model.parameters(), choices.pretrain_lr, weight_decay=choices.pretrain_decay),
        batches=batches(),
        loss=model,
        evaluate=lambda split: 0.0,
        schedule=functools.partial(cosine, final=0.0),
        steps=choices.pretrain_steps,
        examples_per_step=choices.pretrain_batch,
        sizes={"unique_examples": float(task.distinct(choices.labels, choices.unlabelled, seed))},
    )


class Pretrained(Algorithm):
    """An encoder that learns from images without labels first. Subclasses give `pretext`, `pretext_step_flops` and
    `Choices`: those of `supervised` and of `Pretraining`.

    `supervised`: whose encoder it is, and how it is trained with labels; `second_phase`: the choices that the
    pre-training does not depend on.
    """

    stepped = ("pretrain_steps", "steps")
    timed_alike = frozenset({"lr", "pretrain_lr", "weight_decay", "labels"})
    supervised: ClassVar[Classifier]
    second_phase: ClassVar[frozenset[str]] = frozenset({"lr", "batch", "weight_decay", "steps", "labels", "augment"})

    @abc.abstractmethod
    def pretext(self, task: Any, choices: Any, seed: int) -> Trainee:
        """The first phase; its model has the encoder as ``encoder``."""

    @abc.abstractmethod
    def pretext_step_flops(self, task: Any, choices: Any) -> float:
        """FLOPs of a step of it, by formula."""

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """As the supervised phase does it. Raises `StudyError` for a ladder over anything but labels, and for more
        unlabelled images than exist."""
        if rung.resource != "labels":
            what = f"'{rung.resource}' can't be divided between pre-training and training"
            raise StudyError("ladder.resource", what, "use 'labels'")
        if choices.unlabelled > task.pool:
            what = f"{choices.unlabelled} images without labels are asked for"
            raise StudyError("unlabelled", what, f"the task has {task.pool}")
        return self.supervised.resolve(task, rung, choices)

    def train_flops(self, task: Task, choices: Any) -> float:
        """Both phases."""
        first = choices.pretrain_steps * self.pretext_step_flops(task, choices)
        return first + self.supervised.train_flops(task, choices)

    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Pre-train or find it done, then train with labels; see the module."""
        start = time.perf_counter()
        task.prepare()
        choices, device = self.Choices(**spec.choices), choose_device(context.device)
        arithmetic = products(spec.numerics, device.type)
        torch.manual_seed(spec.seed)
        first = self.pretext(task, choices, spec.seed)
        place(first, device)
        first.loss = within(arithmetic, first.loss)
        began = time.perf_counter()
        meter, spent = self._pretrain(first, spec, context)
        pretraining = time.perf_counter() - began
        if meter is None:
            return Outcome("diverged", {}, {"step": [], "examples": [], "train_flops": [], "train_loss": []}, {})
        torch.manual_seed(spec.seed)
        second = self.supervised.build(task, choices, spec.seed)
        second.model.encoder.load_state_dict(first.model.encoder.state_dict())  # type: ignore[union-attr]
        place(second, device)
        second.loss = within(arithmetic, second.loss)
        setup = time.perf_counter() - start - pretraining
        outcome = joined(first, meter, spent, Member(second, spec.evaluate, context, setup).train())
        whole = Amount(outcome.resources["seconds"].value + pretraining, "measured")
        return replace(
            outcome,
            resources={**outcome.resources, "seconds": whole},
            seconds={**outcome.seconds, "pretrain": pretraining},
        )

    def _pretrain(self, trainee: Trainee, spec: RunSpec, context: Context) -> tuple[PeriodicMeter | None, bool]:
        """Train `trainee`, or put it where another run left it: its counts, None where it diverged, and whether it
        was trained here."""
        whole = spec.to_dict()
        kept = {k: v for k, v in whole.items() if k in ("algorithm", "algorithm_version", "code", "seed", "numerics")}
        of_task = {k: whole[k] for k in ("task", "task_version", "task_options")}
        choices = {k: v for k, v in whole["choices"].items() if k not in self.second_phase}
        key = checkpoint.key_of({**kept, **of_task, "choices": choices}, trainee.model)
        path = _path(key, context.cache)
        with nullcontext() if path is None else FileLock(path.with_suffix(".lock")):
            if path is not None:
                with suppress(OSError, ValueError):
                    meter = PeriodicMeter(1)
                    checkpoint.restore(trainee, checkpoint.read(path, key, trainee.model), meter)
                    return meter, False
            member = Member(trainee, (), context)
            outcome = member.train()
            if outcome.status != "finished":
                return None, True
            if path is not None:
                losses = [torch.tensor(outcome.curve["train_loss"])]
                with suppress(OSError):
                    checkpoint.write(path, checkpoint.snapshot(trainee, key, losses, member.step.meter, {}))
        return member.step.meter, True


def _path(key: str, cache: Path | None) -> Path | None:
    """Where the pre-training of `key` is kept; None where nothing is."""
    if cache is None:
        return None
    try:
        (cache / "encoders").mkdir(parents=True, exist_ok=True)
    except OSError:  # the cache can't be written: train without it
        return None
    return cache / "encoders" / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.pt"


def joined(first: Trainee, meter: PeriodicMeter, spent: bool, second: Outcome) -> Outcome:
    """The outcome of both phases: what they spent is added up, the model and its quality are the second's; the curve is
    the second phase's, behind the examples and FLOPs of the first."""
    weights = sum(p.numel() for p in first.model.parameters() if p.requires_grad)
    examples = first.steps * first.examples_per_step
    before = {
        **counted(meter, first.steps, examples, weights),
        "examples": Amount(float(examples), "counted"),
        "steps": Amount(float(first.steps), "counted"),
    }
    after = dict(second.resources)
    train_flops = after["train_flops"].value
    for name, amount in before.items():
        if name in after:
            both = (amount.value, after[name].value)
            after[name] = Amount(max(both) if name in LARGER else sum(both), amount.how)
    after["spent_flops"] = Amount(train_flops + spent * before["train_flops"].value, "counted")
    seen = max(after["unique_examples"].value, (first.sizes or {}).get("unique_examples", 0.0))
    after["unique_examples"] = Amount(seen, "analytic")
    after.pop("joules", None)  # the meter of energy saw the second phase only
    return replace(second, resources=after, curve=_behind(second.curve, before))


def _behind(curve: Mapping[str, list[float]], before: Mapping[str, Amount]) -> dict[str, list[float]]:
    moved = {"step": "steps", "examples": "examples", "train_flops": "train_flops"}
    shifts = {column: before[name].value for column, name in moved.items()}
    return {column: [v + shifts.get(column, 0.0) for v in values] for column, values in curve.items()}

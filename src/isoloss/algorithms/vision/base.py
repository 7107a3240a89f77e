"""What everything trained on labelled images shares: choices, rungs, data order, evaluation and the wiring of a run."""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms.base import Rung
from isoloss.algorithms.cost import Cost
from isoloss.errors import StudyError
from isoloss.tasks.base import Task
from isoloss.tasks.vision.images import Images, ImageTask, Labels
from isoloss.training.formulas import ADAMW_FLOPS_PER_PARAMETER, NORMALISE_FLOPS_PER_ELEMENT
from isoloss.training.gradient import GradientAlgorithm, Trainee
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.schedules import cosine

#: FLOPs of an update per parameter: AdamW, and clipping by one norm and one scaling.
UPDATE_FLOPS = ADAMW_FLOPS_PER_PARAMETER + 3
#: Images evaluated at a time: what a core's cache and a machine's memory can take.
CHUNK = 2_000


class ImageAlgorithm(GradientAlgorithm):
    """A network trained on a seed's subset of labelled images: cross-entropy, AdamW, cosine to zero.

    Subclasses give `model` and `cost`; `batches` where images are changed on their way.
    """

    outside_loss = frozenset({"lr", "weight_decay", "steps", "labels"})
    timed_alike = frozenset({"lr", "weight_decay", "labels"})

    class Choices(GradientAlgorithm.Choices):
        """Hyper-parameters. The rung sets `labels` (left out: the whole pool) and `steps` where they are left out."""

        lr: float = Field(1e-2, gt=0)
        width: int = Field(16, ge=1)
        batch: int = Field(64, ge=2)
        weight_decay: float = Field(0.1, ge=0)
        steps: int | None = Field(None, ge=1)
        labels: int | None = Field(None, ge=2)

    @abc.abstractmethod
    def model(self, task: Any, choices: Any) -> nn.Module:
        """The network: images ``(batch, 1, pixels, pixels)`` in [0, 1] to logits ``(batch, classes)``."""

    @abc.abstractmethod
    def cost(self, task: Any, choices: Any) -> Cost:
        """What an image costs the network, by formula, without loss, clipping and update."""

    def step_flops(self, task: Any, choices: Any) -> float:
        """Training FLOPs of a step: network and cross-entropy for every image, one update."""
        cost = self.cost(task, choices)
        return choices.batch * (cost.training + loss_flops(task.classes)) + UPDATE_FLOPS * cost.parameters

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """`choices` with `labels` and `steps` decided: by the rung and its step rule where the ladder is over labels,
        else by the budget, at the choices' labels or the whole pool.

        Raises `StudyError` for another ladder, one over labels without a step rule, and more labels than exist.
        """
        settable = [r for r in ("labels", "train_flops", "examples") if r in task.resources]
        if rung.resource not in settable:
            known = " or ".join(f"'{r}'" for r in settable)
            raise StudyError("ladder.resource", f"'{rung.resource}' can't be set for this task", f"use {known}")
        labels = choices.labels or task.pool
        if rung.resource == "labels":
            if rung.step_rule is None:
                what = "a ladder over labels states how many steps a run takes"
                raise StudyError("ladder.step_rule", "is missing", what)
            labels = round(rung.budget)
            if choices.labels not in (None, labels):
                what = f"is set to {choices.labels} at a rung of {labels}"
                raise StudyError("labels", what, "leave it to the ladder")
        if not 2 <= labels <= task.pool:
            field = "ladder.rungs" if rung.resource == "labels" else "labels"
            raise StudyError(field, f"{labels} labels are asked for", f"the task has 2 to {task.pool}")
        choices = choices.model_copy(update={"labels": labels})
        steps = choices.steps or self._steps(task, rung, choices)
        if steps < 1:
            raise StudyError("ladder.rungs", f"{rung.budget:.3g} {rung.resource} buy no step", "raise the rung")
        return choices.model_copy(update={"steps": steps})

    def _steps(self, task: Any, rung: Rung, choices: Any) -> int:
        if rung.resource == "train_flops":
            return round(rung.budget / self.step_flops(task, choices))
        if rung.step_rule is None:
            return round(rung.budget / choices.batch)
        value = rung.step_rule.value
        return round(value if rung.step_rule.kind == "constant" else math.ceil(value * choices.labels / choices.batch))

    def train_flops(self, task: Task, choices: Any) -> float:
        """A step of the resolved choices times their number."""
        return choices.steps * self.step_flops(task, choices)

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Network, data and optimiser; initial weights, subset and order each come from `seed`."""
        assert isinstance(task, ImageTask)
        generator = torch.Generator().manual_seed(seed)
        model = self.model(task, choices)
        return Trainee(
            model=model,
            optimizer=FusedAdam(model.parameters(), choices.lr, weight_decay=choices.weight_decay),
            batches=self.batches(task, choices, seed, generator),
            loss=lambda batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
            evaluate=lambda split: error_rate(model, *task.evaluation(split)),  # type: ignore[arg-type]
            schedule=functools.partial(cosine, final=0.0),
            steps=choices.steps,
            examples_per_step=choices.batch,
            sizes=self.sizes(task, choices),
        )

    def sizes(self, task: Any, choices: Any) -> dict[str, float]:
        """The model's own counts for the resource vector, by formula, and the labels that it has seen."""
        cost = self.cost(task, choices)
        return {
            "inference_flops": cost.forward,
            "active_parameters": cost.active,
            "non_embedding_parameters": cost.parameters - cost.embedding,
            "labels": choices.labels,
            "unique_examples": choices.labels,
        }

    def batches(
        self, task: Any, choices: Any, seed: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of images ``(batch, 1, pixels, pixels)`` and labels; `generator` draws their order."""
        images, labels = task.subset(choices.labels, seed)
        x_n1hw, y_n = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
        for picked in in_order(len(y_n), choices.batch, choices.steps, generator):
            yield x_n1hw[picked], y_n[picked]


def in_order(n: int, batch: int, steps: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Which of `n` images each of `steps` batches holds; an image comes back only after all the others.

    >>> [b.tolist() for b in in_order(2, 4, 1, torch.Generator())][0][:2] in ([0, 1], [1, 0])
    True
    """
    drawn = batch * steps
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-drawn // n))])
    return order[:drawn].split(batch)


def loss_flops(classes: int) -> float:
    """Cross-entropy of an image: log-softmax forward and backward, one entry of it read."""
    return 2 * NORMALISE_FLOPS_PER_ELEMENT * classes + 1


def error_rate(model: nn.Module, images: Images, labels: Labels) -> float:
    """Share of `images` ``(n, pixels, pixels)`` that the model gets wrong."""
    wrong = 0
    for first in range(0, len(labels), CHUNK):
        logits = model(torch.from_numpy(images[first : first + CHUNK]).unsqueeze(1))
        wrong += int((logits.argmax(1).cpu() != torch.from_numpy(labels[first : first + CHUNK])).sum())
    return wrong / len(labels)

"""What the convolutional arms share: choices, data, evaluation and the price of a step.

Every arm is one layout, so that only the convolution differs. With `w` = ``width`` channels and G the group whose
elements each channel holds (one for a plain CNN):

====== ============================== ================= =====================
stage  operation                      output (pixels)   channels
====== ============================== ================= =====================
1      3x3 convolution, norm, ReLU    8 x 8             w |G|
       mean over 2x2                  4 x 4             w |G|
2      3x3 convolution, norm, ReLU    4 x 4             w |G|
3      4x4 convolution, norm, ReLU    1 x 1             2w |G|
       maximum over G                 1 x 1             2w
head   linear                                           10
====== ============================== ================= =====================

Norm is batch normalisation: without it the plain network's error at 800 labels doubles, and p4 looks eleven to
eighteen times better in place of five. Stage 3 sees the whole 4x4 map, so the plain network keeps all positions,
which a global mean would take from it.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import nn

from isoloss.algorithms.base import Rung
from isoloss.errors import StudyError
from isoloss.tasks.base import Task
from isoloss.tasks.rotated_digits import CLASSES, POOL, TURNS, RotatedDigits
from isoloss.training.formulas import ADAMW_FLOPS_PER_PARAMETER, NORMALISE_FLOPS_PER_ELEMENT
from isoloss.training.gradient import GradientAlgorithm, Trainee
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.schedules import cosine

PIXELS = 8


class ImageClassifier(GradientAlgorithm):
    """A convolutional network trained on a seed's subset of labelled images, AdamW, cosine to zero.

    Subclasses give `network(width)`, `order` (|G|) and `augmented` (whether drawn images are turned at random).
    """

    order: int = 1
    augmented: bool = False
    outside_loss = frozenset({"lr", "weight_decay", "steps", "labels"})

    class Choices(GradientAlgorithm.Choices):
        """Hyper-parameters of a convolutional arm. `labels` and `steps` are set by the rung where left out."""

        lr: float = Field(3e-2, gt=0)
        width: int = Field(16, ge=1)
        batch: int = Field(64, ge=2)
        weight_decay: float = Field(1.0, ge=0)
        steps: int | None = Field(None, ge=1)
        labels: int | None = Field(None, ge=2)

    @abc.abstractmethod
    def network(self, width: int) -> nn.Module:
        """The network: images ``(batch, 1, 8, 8)`` to logits ``(batch, 10)``."""

    def resolve(self, task: Task, rung: Rung, choices: Any) -> Choices:
        """`choices` with `labels` from the rung and `steps` from its step rule.

        Raises `StudyError` for a ladder over anything but labels, one without a step rule, and more labels than exist.
        """
        if rung.resource != "labels":
            raise StudyError("ladder.resource", f"'{rung.resource}' can't be set for this task", "use 'labels'")
        if rung.step_rule is None:
            raise StudyError("ladder.step_rule", "is missing", "a ladder over labels states how many steps a run takes")
        labels = round(rung.budget)
        if not 2 <= labels <= POOL:
            raise StudyError("ladder.rungs", f"{labels} labels are asked for", f"the task has 2 to {POOL}")
        if choices.labels not in (None, labels):
            raise StudyError("labels", f"is set to {choices.labels} at a rung of {labels}", "leave it to the ladder")
        steps = choices.steps
        if steps is None:
            value = rung.step_rule.value
            steps = round(value if rung.step_rule.kind == "constant" else math.ceil(value * labels / choices.batch))
        return choices.model_copy(update={"labels": labels, "steps": steps})

    def train_flops(self, task: Task, choices: Choices) -> float:
        """FLOPs of the run, by layer: see `price`."""
        assert choices.steps is not None
        return choices.steps * price(self.order, choices.width, choices.batch)["step"]

    def build(self, task: Any, choices: Choices, seed: int) -> Trainee:
        """Network, data and optimiser; initial weights, subset, order and turns each come from `seed`."""
        assert isinstance(task, RotatedDigits) and choices.labels is not None and choices.steps is not None
        generator = torch.Generator().manual_seed(seed)
        model = self.network(choices.width)
        optimizer = FusedAdam(model.parameters(), choices.lr, weight_decay=choices.weight_decay)
        amounts = price(self.order, choices.width, choices.batch)
        sizes = {name: amounts[name] for name in ("inference_flops", "active_parameters", "non_embedding_parameters")}
        return Trainee(
            model=model,
            optimizer=optimizer,
            batches=self._batches(task, choices, seed, generator),
            loss=lambda batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
            evaluate=lambda split: _error(model, *task.evaluation(split)),  # type: ignore[arg-type]
            schedule=functools.partial(cosine, final=0.0),
            steps=choices.steps,
            examples_per_step=choices.batch,
            sizes={**sizes, "labels": choices.labels, "unique_examples": choices.labels},
        )

    def _batches(
        self, task: RotatedDigits, choices: Choices, seed: int, generator: torch.Generator
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches without end; an image comes back only after all the others.

        Order and turns are drawn for all arms, used or not, so that equal seeds mean equal order.
        """
        images, labels = task.subset(choices.labels or 0, seed)
        x_n1hw, y_n = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
        turned_rn1hw = torch.stack([torch.rot90(x_n1hw, k, dims=(2, 3)) for k in range(TURNS)])
        n, drawn = len(y_n), (choices.steps or 0) * choices.batch
        order = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-drawn // n))])
        turns = torch.randint(TURNS, (len(order),), generator=generator)
        if not self.augmented:
            turns = torch.zeros_like(turns)
        for start in range(0, drawn, choices.batch):
            picked, turn = order[start : start + choices.batch], turns[start : start + choices.batch]
            yield turned_rn1hw[turn, picked], y_n[picked]


def _error(model: nn.Module, images: Any, labels: Any) -> float:
    """Fraction of `images` ``(n, 8, 8)`` that the model gets wrong."""
    logits = model(torch.from_numpy(images).unsqueeze(1))
    return float((logits.argmax(1) != torch.from_numpy(labels)).float().mean())


def price(order: int, width: int, batch: int) -> dict[str, float]:
    r"""Parameters, inference FLOPs of an image and training FLOPs of a step (``step``), by formula.

    A convolution with :math:`c` input and :math:`c'` output channels (both counted over the group), window
    :math:`k^2` and :math:`p` output pixels costs :math:`2 c c' k^2 p` forward, as much again for the gradient of its
    kernel and, unless it is the first, for that of its input. Its free kernel has :math:`c c' k^2 / |G|` entries;
    expanding it moves numbers only, the gradient of the expansion adds :math:`c c' k^2` of them. Batch normalisation
    5 per element each way, ReLU 1 each way, AdamW 14 and clipping 3 per parameter.
    """
    stages = [  # input channels, output channels, window, output pixels
        (1, width * order, 3, PIXELS**2),
        (width * order, width * order, 3, (PIXELS // 2) ** 2),
        (width * order, 2 * width * order, PIXELS // 2, 1),
    ]
    weights = [cin * cout * k * k for cin, cout, k, _ in stages]
    products = [2 * n * pixels for n, (*_, pixels) in zip(weights, stages, strict=True)]
    elements = sum(cout * pixels for _, cout, _, pixels in stages)
    head = 2 * width * CLASSES
    pooled = width * order * PIXELS**2 + (2 * width * order if order > 1 else 0)
    softmax = NORMALISE_FLOPS_PER_ELEMENT * CLASSES

    parameters = sum(weights) // order + 2 * (4 * width) + head + CLASSES
    forward = sum(products) + 2 * head + (NORMALISE_FLOPS_PER_ELEMENT + 1) * elements + pooled
    backward = (
        products[0] + 2 * sum(products[1:]) + 2 * 2 * head + (NORMALISE_FLOPS_PER_ELEMENT + 1) * elements + CLASSES
    )
    expansion = sum(weights) if order > 1 else 0
    step = batch * (forward + backward + 2 * softmax) + expansion + (ADAMW_FLOPS_PER_PARAMETER + 3) * parameters
    return {
        "step": float(step),
        "inference_flops": float(forward),
        "active_parameters": float(parameters),
        "non_embedding_parameters": float(parameters),
    }

r"""Transfer: the CNN is trained on classes with many labels first, then adapted to new ones with few.

What is adapted is a choice. ``all``: every parameter goes on from where the source left it. ``lora``: of stages 2 and 3
a matrix of rank r is learnt on top of the frozen kernel, :math:`W + B A` with A of r rows and :math:`B = 0` at first
(Hu et al. 2021, arXiv 2106.09685); norms train on. ``head``: a linear probe, the encoder and its running means stay as
they are. The head is new in all three.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.base import Rung
from isoloss.algorithms.cost import Cost, linear
from isoloss.algorithms.vision.cnn import CNN, Convolutions, halved
from isoloss.algorithms.vision.cost import convolution
from isoloss.algorithms.vision.pretrained import Pretrained
from isoloss.errors import StudyError
from isoloss.tasks.base import Options
from isoloss.tasks.vision.new_classes import NewClasses
from isoloss.training.gradient import Trainee
from isoloss.training.optimizers.adam import FusedAdam


class LowRank(nn.Module):
    """`Convolutions` whose kernels of stages 2 and 3 are frozen but for a sum of `rank` products, and a head."""

    def __init__(self, encoder: Convolutions, head: nn.Linear, rank: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for conv in (encoder.conv1, encoder.conv2, encoder.conv3):
            conv.weight.requires_grad_(False)
        for conv in (encoder.conv2, encoder.conv3):
            inputs = conv.weight[0].numel()
            self.down.append(torch.randn(rank, inputs) / inputs**0.5)
            self.up.append(torch.zeros(conv.out_channels, rank))

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images to logits."""
        e = self.encoder
        h_bchw = e.norm1(e.conv1(x_b1hw)).relu()
        for conv, norm, down, up in zip((e.conv2, e.conv3), (e.norm2, e.norm3), self.down, self.up, strict=True):
            kernel = conv.weight + (up @ down).view_as(conv.weight)
            h_bchw = norm(nn.functional.conv2d(h_bchw, kernel, stride=conv.stride, padding=conv.padding)).relu()
        return self.head(h_bchw.flatten(1))


class Probed(nn.Module):
    """A frozen encoder, normalising by the means that it has seen, and a linear head."""

    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder.requires_grad_(False), head

    def train(self, mode: bool = True) -> Probed:
        """The head alone trains."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images to logits."""
        return self.head(self.encoder(x_b1hw))


class AdaptedCNN(CNN):
    """The second phase: the CNN, trained as far as ``adapt`` says."""

    class Choices(CNN.Choices):
        """`adapt`: what is trained; `rank`: of what ``lora`` learns."""

        adapt: Literal["all", "lora", "head"] = "all"
        rank: int = Field(4, ge=1)

    def model(self, task: Any, choices: Any) -> nn.Module:
        """Encoder and head."""
        encoder, head = self.encoder(task, choices), nn.Linear(self.features(task, choices), task.classes)
        if choices.adapt == "lora":
            return LowRank(encoder, head, choices.rank)  # type: ignore[arg-type]
        if choices.adapt == "head":
            return Probed(encoder, head)
        return nn.Sequential(OrderedDict(encoder=encoder, head=head))

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """As the CNN, the optimiser with what is trained alone."""
        made = super().build(task, choices, seed)
        trained = [p for p in made.model.parameters() if p.requires_grad]
        made.optimizer = FusedAdam(trained, choices.lr, weight_decay=choices.weight_decay)
        return made

    def cost(self, task: Any, choices: Any) -> Cost:
        """An image's price; ``parameters`` are those that are trained. Without gradients of the first kernel for
        ``lora``, and of anything before the head for ``head``."""
        whole, encoding = super().cost(task, choices), self.encoding(task, choices)
        if choices.adapt == "head":
            head = linear(self.features(task, choices), task.classes, bias=True)
            training = encoding.forward + head.training - head.forward
            return replace(whole, parameters=head.parameters, training=training)
        if choices.adapt == "lora":
            first = convolution(1, choices.width, 3, halved(task.pixels) ** 2, first=True)
            frozen = first.parameters + sum(out * inputs for out, inputs in _kernels(choices))
            added = choices.rank * sum(out + inputs for out, inputs in _kernels(choices))
            return replace(
                whole,
                parameters=whole.parameters - frozen + added,
                active=whole.active + added,
                training=whole.training - first.forward,
            )
        return whole

    def step_flops(self, task: Any, choices: Any) -> float:
        """With the low-rank sums: a product forward and two backward of each, and their addition."""
        made = sum(out * inputs for out, inputs in _kernels(choices))
        return super().step_flops(task, choices) + (choices.adapt == "lora") * made * (6 * choices.rank + 1)


def _kernels(choices: Any) -> tuple[tuple[int, int], ...]:
    """Output channels and inputs of the kernels of stages 2 and 3."""
    w = choices.width
    return (2 * w, 9 * w), (2 * w, 18 * w)


class Source(Options):
    """Choices of the first phase: `source` labelled images of other classes, `pretrain_steps` of `pretrain_batch` of
    them, at `pretrain_lr` and `pretrain_decay` (AdamW, cosine to zero)."""

    source: int = Field(400, ge=2)
    pretrain_steps: int = Field(600, ge=1)
    pretrain_batch: int = Field(64, ge=2)
    pretrain_lr: float = Field(1e-2, gt=0)
    pretrain_decay: float = Field(0.1, ge=0)


@algorithm(
    "vision/fine-tuned",
    version=1,
    summary="the CNN pre-trained on other classes with labels, then adapted: all of it, by low rank, or its head",
    year=2014,
    source="Yosinski et al. 2014, arXiv 1411.1792; Hernandez et al. 2021, arXiv 2102.01293; LoRA: arXiv 2106.09685",
    claim="data transferred from text to Python: D_T = k D_F^0.18 N^0.38, most if labels are few (Hernandez et al.)",
    smoke={
        "task": "vision/new-classes",
        "resource": "labels",
        "budget": 100,
        "step_rule": {"kind": "constant", "value": 40},
        "choices": {"lr": 1e-2, "width": 8, "source": 400, "pretrain_steps": 40},
    },
)
class FineTuned(Pretrained):
    """Supervised training on the source's classes, then on the target's. Both are charged; labels are the target's."""

    supervised = AdaptedCNN()
    second_phase = Pretrained.second_phase | {"adapt", "rank"}

    class Choices(Source, AdaptedCNN.Choices):
        """Of both phases."""

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """As the second phase does it. Raises `StudyError` for a task without other classes, a ladder over anything but
        labels, and more images of the source than exist."""
        if not isinstance(task, NewClasses):
            raise StudyError(
                "task.name", f"{task.card.name} has no classes to pre-train on", "use 'vision/new-classes'"
            )
        if rung.resource != "labels":
            raise StudyError("ladder.resource", f"'{rung.resource}' pays for both phases", "use 'labels'")
        if choices.source > task.source.pool:
            raise StudyError("source", f"{choices.source} images are asked for", f"the source has {task.source.pool}")
        return self.supervised.resolve(task, rung, choices)

    def pretext(self, task: Any, choices: Any, seed: int) -> Trainee:
        """The CNN on the source."""
        made = CNN().build(task.source, self._first(choices), seed)
        return replace(made, sizes={"unique_examples": choices.source + choices.labels})

    def pretext_step_flops(self, task: Any, choices: Any) -> float:
        """A step of the CNN."""
        return CNN().step_flops(task.source, self._first(choices))

    def _first(self, choices: Any) -> CNN.Choices:
        return CNN.Choices(
            lr=choices.pretrain_lr, width=choices.width, batch=choices.pretrain_batch,
            weight_decay=choices.pretrain_decay, steps=choices.pretrain_steps, labels=choices.source,
        )  # fmt: skip

"""What the arms that learn from images and their texts share: image encoder, data, zero-shot choice, price of a step.

Only the objective differs. With w = ``width`` and d = ``features``:

====== ===================================== ================= ========
stage  operation                             output (pixels)   channels
====== ===================================== ================= ========
1      3x3 convolution, stride 2, norm, ReLU 14 x 14           w
2      3x3 convolution, stride 2, norm, ReLU 7 x 7             2w
3      3x3 convolution, stride 2, norm, ReLU 4 x 4             4w
out    linear                                1 x 1             d
====== ===================================== ================= ========

What a text is to an objective (a set of words, a sequence, a point in the same space) is
its own; each answers how well any caption fits an image, and zero-shot the best of the candidates is chosen.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms.base import Rung
from isoloss.algorithms.cost import Cost, linear
from isoloss.algorithms.vision.base import UPDATE_FLOPS, in_order
from isoloss.algorithms.vision.cost import convolution, norm, pointwise
from isoloss.errors import StudyError
from isoloss.tasks.base import Task
from isoloss.tasks.vision.glyphs import Glyphs
from isoloss.training.gradient import GradientAlgorithm, Trainee
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.schedules import cosine

#: Sides of the encoder's maps, one a stage.
SIDES = (14, 7, 4)
#: A contract run: seconds, and better than a guess.
SMOKE: dict[str, Any] = {
    "task": "vision/glyphs",
    "options": {"fonts": "matplotlib"},
    "resource": "examples",
    "budget": 5600,
    "step_rule": {"kind": "epochs", "value": 1},
    "choices": {"lr": 1e-2, "width": 8, "features": 32, "batch": 16},
}


@dataclass(frozen=True)
class Captions:
    """Texts in the two forms that objectives read: word by word, ``(n, longest)``, and as sets, ``(n, vocabulary)``."""

    words_nt: Tensor
    bag_nv: Tensor

    def __getitem__(self, rows: Any) -> Captions:
        return Captions(self.words_nt[rows], self.bag_nv[rows])


def captions(words_nt: Tensor, vocabulary: int) -> Captions:
    """Both forms of `words_nt`; the end of a caption is in no set."""
    bag_nv = torch.zeros(len(words_nt), vocabulary).scatter_(1, words_nt, 1.0)
    bag_nv[:, 0] = 0.0
    return Captions(words_nt, bag_nv)


class Objective(nn.Module, abc.ABC):
    """What is learned from pairs of features and texts, and how a text is then chosen for an image."""

    @abc.abstractmethod
    def loss(self, f_bd: Tensor, texts: Captions) -> Tensor:
        """The loss of a batch of pairs."""

    @abc.abstractmethod
    def scores(self, f_nd: Tensor, texts: Captions) -> Tensor:
        """How well each of the c `texts` fits each image, ``(n, c)``: the larger the better."""


class Encoder(nn.Module):
    """Images ``(batch, 1, 28, 28)`` to features ``(batch, d)``; see the layout above."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for channels, out in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
            stages += [nn.Conv2d(channels, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        self.out = nn.Linear(4 * width * SIDES[-1] ** 2, features)

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Features of `x_b1hw`."""
        return self.out(self.stages(x_b1hw).flatten(1))


class ImageText(GradientAlgorithm):
    """An image encoder trained on pairs of an image and its name, AdamW, cosine to zero.

    Subclasses give `objective` and `objective_cost`.
    """

    class Choices(GradientAlgorithm.Choices):
        """Hyper-parameters of an arm. `steps` is set by the rung where left out."""

        lr: float = Field(1e-2, gt=0)
        width: int = Field(16, ge=1)
        features: int = Field(64, ge=2, multiple_of=2)
        batch: int = Field(64, ge=2)
        weight_decay: float = Field(0.1, ge=0)
        steps: int | None = Field(None, ge=1)

    @abc.abstractmethod
    def objective(self, vocabulary: int, longest: int, choices: Any) -> Objective:
        """The objective over captions of up to `longest` words out of `vocabulary`."""

    @abc.abstractmethod
    def objective_cost(self, vocabulary: int, longest: int, choices: Any) -> Cost:
        """What it costs for one pair of a batch in training."""

    def resolve(self, task: Task, rung: Rung, choices: Any) -> Any:
        """`choices` with the `steps` that draw as many pairs as the rung says.

        Raises `StudyError` for a task without texts, for a ladder over anything else or with another step rule than one
        pass over the rung's pairs, and for less than a batch.
        """
        if not isinstance(task, Glyphs):
            raise StudyError("task.name", f"{task.card.name} has no texts beside its images", "use 'vision/glyphs'")
        if rung.resource != "examples":
            raise StudyError("ladder.resource", f"'{rung.resource}' can't be set for this task", "use 'examples'")
        if rung.step_rule is None or rung.step_rule.kind != "epochs" or rung.step_rule.value != 1:
            raise StudyError(
                "ladder.step_rule", "pairs are counted as they are drawn", 'say { kind = "epochs", value = 1 }'
            )
        if rung.budget < choices.batch:
            what = f"{rung.budget:g} pairs are less than a batch of {choices.batch}"
            raise StudyError("ladder.rungs", what, "raise the rung or lower `batch`")
        return choices if choices.steps else choices.model_copy(update={"steps": round(rung.budget / choices.batch)})

    def cost(self, task: Any, choices: Any) -> Cost:
        """Of one training pair: encoder and objective."""
        return encoder_cost(choices.width, choices.features) + self.objective_cost(*_sizes(task), choices)

    def train_flops(self, task: Task, choices: Any) -> float:
        """Steps times a batch of pairs and an update."""
        cost = self.cost(task, choices)
        return choices.steps * (choices.batch * cost.training + UPDATE_FLOPS * cost.parameters)

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Encoder, objective, data and optimiser; weights, order and fonts each come from `seed`."""
        assert isinstance(task, Glyphs) and choices.steps is not None
        generator = torch.Generator().manual_seed(seed)
        encoder = Encoder(choices.width, choices.features)
        objective = self.objective(*_sizes(task), choices)
        model = nn.ModuleDict({"encoder": encoder, "objective": objective})
        cost = self.cost(task, choices)
        return Trainee(
            model=model,
            optimizer=FusedAdam(model.parameters(), choices.lr, weight_decay=choices.weight_decay),
            batches=_batches(task, choices, generator),
            loss=lambda batch: objective.loss(encoder(batch[0]), Captions(batch[1], batch[2])),
            evaluate=lambda split: zero_shot_error(encoder, objective, task, split),
            schedule=functools.partial(cosine, final=0.0),
            steps=choices.steps,
            examples_per_step=choices.batch,
            sizes={
                "inference_flops": encoder_cost(choices.width, choices.features).forward,
                "active_parameters": cost.parameters,
                "non_embedding_parameters": cost.parameters - cost.embedding,
                "unique_examples": min(task.facts()["unique_examples"], choices.steps * choices.batch),
            },
        )


def _sizes(task: Glyphs) -> tuple[int, int]:
    return len(task.words), task.captions("train").shape[1]


def _batches(task: Glyphs, choices: Any, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches without end: every name once, in a font drawn for it, before any comes again. Equal for all arms."""
    x_fn1hw = torch.from_numpy(task.drawings("train", "train")).unsqueeze(2)
    texts = captions(torch.from_numpy(task.captions("train")), len(task.words))
    fonts, names, batch = *x_fn1hw.shape[:2], choices.batch
    order = in_order(names, batch, choices.steps, generator)
    styles = torch.randint(fonts, (batch * choices.steps,), generator=generator).split(batch)
    for picked, font in zip(order, styles, strict=True):
        said = texts[picked]
        yield x_fn1hw[font, picked], said.words_nt, said.bag_nv


@torch.no_grad()
def zero_shot_error(encoder: nn.Module, objective: Objective, task: Glyphs, split: Any) -> float:
    """Fraction of the images of `split` for which another candidate than the true name fits best."""
    images, words_ct, answers = task.evaluation(split)
    candidates = captions(torch.from_numpy(words_ct), len(task.words))
    scores = objective.scores(encoder(torch.from_numpy(images).unsqueeze(1)), candidates)
    return float((scores.argmax(1) != torch.from_numpy(answers)).float().mean())


def encoder_cost(width: int, features: int) -> Cost:
    """Of one image: each stage is a convolution, a norm and an activation."""
    total = linear(4 * width * SIDES[-1] ** 2, features, bias=True)
    for into, out, side in ((1, width, SIDES[0]), (width, 2 * width, SIDES[1]), (2 * width, 4 * width, SIDES[2])):
        total += convolution(into, out, 3, side**2, first=into == 1) + norm(out, side**2) + pointwise(out * side**2)
    return total

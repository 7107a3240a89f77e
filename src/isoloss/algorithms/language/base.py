"""What every language model here shares: the choices, one dial from the rung to the size, and the wiring of a run."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from isoloss.algorithms.base import Rung
from isoloss.algorithms.language.sizing import Shape, choose
from isoloss.errors import StudyError
from isoloss.tasks.base import Options, Task
from isoloss.training.adam import FusedAdam
from isoloss.training.flops import ADAMW_FLOPS_PER_PARAMETER
from isoloss.training.gradient import GradientAlgorithm, Optimizer, Trainee
from isoloss.training.schedules import cosine, inverse_sqrt

SCHEDULES: dict[str, Callable[[float], float]] = {"cosine": cosine, "inverse_sqrt": inverse_sqrt}
REFERENCE_WIDTH = 16
REFERENCE_BATCH = 128
FEWEST_STEPS = 20


class LanguageChoices(Options):
    """Hyper-parameters of any language model trained here.

    `lr`: peak learning rate of a model of width 16 on batches of 128 tokens; with width d and batch B it is
    ``lr * (d / 16) ** -lr_width_exponent * (B / 128) ** lr_batch_exponent``, so that one sweep brackets the best rate
    at every rung (square root in the batch: Malladi et al. 2022, arXiv 2205.10287).
    `batch_tokens`: tokens a step, a multiple of `context`. `context`: window the model is trained and evaluated on.
    `tokens_per_parameter`: the balance that the rung's budget is split by (Hoffmann et al. 2022, approach 1-3: about
    20). `width`, `depth`, `steps`: decided by the rung when left out. `betas`, `weight_decay`: of Adam or AdamW.
    `clip`: largest norm of the gradient.
    """

    lr: float = Field(1e-2, gt=0)
    lr_width_exponent: float = Field(1.0, ge=-2, le=2)
    lr_batch_exponent: float = Field(0.5, ge=-2, le=2)
    batch_tokens: int = Field(512, gt=0)
    context: int = Field(64, gt=0)
    tokens_per_parameter: float = Field(20.0, gt=0)
    width: int | None = Field(None, ge=2)
    depth: int | None = Field(None, ge=1, le=16)
    steps: int | None = Field(None, ge=1)
    optimizer: Literal["adam", "adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    schedule: Literal["cosine", "inverse_sqrt"] = "cosine"
    clip: float = Field(1.0, gt=0)


@dataclass(frozen=True)
class Size:
    """Counts of one model by formula, apart from any counter.

    `parameters`, `embedding`: all trained parameters, and the tied embedding among them; `forward`, `training`:
    FLOPs of one token forward, and forward plus backward, without loss, optimiser and clipping.
    """

    parameters: float
    embedding: float
    forward: float
    training: float


class LanguageAlgorithm(GradientAlgorithm):
    """A next-token model. Subclasses give `shapes`, `size` and `model`; everything else is shared by all arms."""

    #: FLOPs of one optimiser update per parameter; a subclass with another optimiser states its own
    optimizer_flops: ClassVar[float] = ADAMW_FLOPS_PER_PARAMETER

    class Choices(LanguageChoices):
        """See `LanguageChoices`."""

    @abc.abstractmethod
    def shapes(self, choices: Any) -> Iterator[Shape]:
        """Every (width, depth) that this family offers, smallest first."""

    @abc.abstractmethod
    def size(self, vocabulary: int, shape: Shape, choices: Any) -> Size:
        """Parameters and FLOPs of one token at `shape`, by formula."""

    @abc.abstractmethod
    def model(self, vocabulary: int, choices: Any) -> nn.Module:
        """An initialised module: ``forward(tokens_bt, state) -> (logits_btv, state)``, causal, detached state."""

    def step_flops(self, task: Any, shape: Shape, choices: Any) -> float:
        """FLOPs of one optimiser step: model, cross-entropy, clipping (one norm, one scaling) and fused Adam."""
        size = self.size(task.vocabulary, shape, choices)
        loss = 10 * task.vocabulary + 1  # log-softmax forward and backward at 5 an element
        tied = size.embedding  # the gradients of the tied matrix's two uses are added
        return choices.batch_tokens * (size.training + loss) + (self.optimizer_flops + 2) * size.parameters + tied

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """Width, depth and steps from the rung: tokens = `tokens_per_parameter` x parameters, steps = budget / step.

        Raises `StudyError` where the rung is not in training FLOPs, the context does not fit the task's blocks, the
        batch is not a whole number of windows, or the budget is too small for the smallest model.
        """
        if rung.resource not in task.resources:
            raise StudyError("ladder.resource", f"'{rung.resource}' can't size a language model", "use train_flops")
        task.check_window(choices.context)
        if choices.batch_tokens % choices.context:
            what = f"{choices.batch_tokens} is no multiple of the context {choices.context}"
            nearest = max(choices.batch_tokens // choices.context, 1) * choices.context
            raise StudyError("batch_tokens", what, f"try {nearest}")

        def price(shape: Shape) -> tuple[float, float]:
            steps = rung.budget / self.step_flops(task, shape, choices)
            return steps, steps * choices.batch_tokens / self.size(task.vocabulary, shape, choices).parameters

        if choices.width is None:
            candidates = (s for s in self.shapes(choices) if choices.depth in (None, s.depth))
            shape = choose(candidates, lambda s: price(s)[1] / choices.tokens_per_parameter)
        else:
            shape = Shape(choices.width, choices.depth or max(1, round(choices.width / 16)))
        steps, ratio = price(shape)
        too_large = choices.width is None and 2 * ratio < choices.tokens_per_parameter
        if choices.steps is None and (steps < FEWEST_STEPS or too_large):
            what = f"{rung.budget:.3g} FLOPs buy {steps:.0f} steps of {choices.batch_tokens} tokens"
            raise StudyError("ladder.rungs", f"{what} at width {shape.width}", "raise the rung or lower batch_tokens")
        decided = {"width": shape.width, "depth": shape.depth, "steps": choices.steps or round(steps)}
        return choices.model_copy(update=decided)

    def train_flops(self, task: Task, choices: Any) -> float:
        """`step_flops` of the resolved choices times their steps."""
        return choices.steps * self.step_flops(task, Shape(choices.width, choices.depth), choices)

    def build_optimizer(self, parameters: list[nn.Parameter], choices: Any) -> Optimizer:
        """Adam or AdamW at the peak rate of this width and batch."""
        scale = (choices.width / REFERENCE_WIDTH) ** -choices.lr_width_exponent
        scale *= (choices.batch_tokens / REFERENCE_BATCH) ** choices.lr_batch_exponent
        decay = choices.weight_decay if choices.optimizer == "adamw" else 0.0
        return FusedAdam(parameters, choices.lr * scale, choices.betas, decay)

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Model from torch's seeded generator, data order from (seed, batch shape) alone, state carried by window."""
        model = self.model(task.vocabulary, choices)
        rows = choices.batch_tokens // choices.context
        state: Any = None

        def loss(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            nonlocal state
            tokens_bt, target_bt = batch
            logits_btv, state = model(tokens_bt, state)
            return F.cross_entropy(logits_btv.flatten(0, 1), target_bt.flatten())

        size = self.size(task.vocabulary, Shape(choices.width, choices.depth), choices)
        return Trainee(
            model=model,
            optimizer=self.build_optimizer(list(model.parameters()), choices),
            batches=task.batches(rows, choices.context, seed),
            loss=loss,
            evaluate=lambda split: task.evaluate(model, split, choices.context),
            schedule=SCHEDULES[choices.schedule],
            steps=choices.steps,
            examples_per_step=choices.batch_tokens,
            clip=choices.clip,
            sizes={
                "active_parameters": size.parameters,
                "non_embedding_parameters": size.parameters - size.embedding,
                "inference_flops": size.forward,
                "unique_examples": task.unique_examples(choices.steps * choices.batch_tokens),
            },
        )

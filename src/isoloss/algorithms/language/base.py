"""What every language model here shares: the choices, one dial from the rung to the size, and the wiring of a run."""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from isoloss.algorithms.base import Rung
from isoloss.algorithms.cost import Cost
from isoloss.algorithms.language.model import LanguageModel
from isoloss.algorithms.language.sizing import Shape, choose
from isoloss.errors import StudyError
from isoloss.registry import Registry
from isoloss.tasks.base import Options, Task
from isoloss.training.gradient import GradientAlgorithm, Trainee
from isoloss.training.optimizers import optimizers
from isoloss.training.schedules import schedules
from isoloss.training.trunk import Stem, branch_step

REFERENCE_WIDTH = 16
REFERENCE_BATCH = 128
REFERENCE_BUDGET = 1e10
FEWEST_STEPS = 20


class LanguageChoices(Options):
    """Hyper-parameters of any language model trained here.

    `lr`: peak learning rate of a model of width 16 on batches of 128 tokens; with width d and batch B it is
    ``lr * (d / 16) ** -lr_width_exponent * (B / 128) ** lr_batch_exponent``, so that one sweep brackets the best rate
    at every rung (square root in the batch: Malladi et al. 2022, arXiv 2205.10287).
    `batch_tokens`: tokens a step, a multiple of `context`. `micro_batch`: so many of them at a time, their gradients
    added up before a step, for memory's sake; left out: all. `context`: window the model is trained and evaluated on.
    `tokens_per_parameter`: the balance that the rung's budget is split by (Hoffmann et al. 2022, approach 1-3: about
    20), at 1e10 FLOPs; at C it is ``tokens_per_parameter * (C / 1e10) ** tokens_per_parameter_exponent`` (0 by
    Hoffmann et al.; N as C^0.73 and D as C^0.27, Kaplan et al. 2020, make it -0.46). Parameters are those that a token
    touches.
    `width`, `depth`, `steps`: decided by the rung when left out. `optimizer`, `schedule`: names of
    `isoloss.training.optimizers` and `isoloss.training.schedules`; `betas`, `weight_decay`, `momentum` as the optimiser
    reads them. `clip`: largest norm of the gradient. `trunk_warmup`: with the schedule ``wsd``, a warm-up of so many
    steps whatever the length of the run, so
    that runs which differ in length alone share their stable phase (see `isoloss.training.trunk`).
    `tied`: the embedding is the head's matrix too. `dropout`: share of features dropped, on the embedding
    and every residual. `tokenizer`: ``bytes``, ``bpe-N`` with a vocabulary of N, or ``file:PATH``.
    """

    lr: float = Field(1e-2, gt=0)
    lr_width_exponent: float = Field(1.0, ge=-2, le=2)
    lr_batch_exponent: float = Field(0.5, ge=-2, le=2)
    batch_tokens: int = Field(512, gt=0)
    micro_batch: int | None = Field(None, gt=0, exclude_if=lambda value: value is None)
    context: int = Field(64, gt=0)
    tokens_per_parameter: float = Field(20.0, gt=0)
    tokens_per_parameter_exponent: float = Field(0.0, ge=-1, le=1)
    width: int | None = Field(None, ge=2)
    depth: int | None = Field(None, ge=1, le=16)
    steps: int | None = Field(None, ge=1)
    optimizer: str = "adamw"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    momentum: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    schedule: str = "cosine"
    # left out of a run's identity where it is not used: the key came later
    trunk_warmup: int | None = Field(None, ge=1, exclude_if=lambda value: value is None)
    clip: float = Field(1.0, gt=0)
    tied: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)
    tokenizer: str = "bytes"
    parametrisation: Literal["standard"] = "standard"

    @property
    def pieces(self) -> int:
        """In how many parts a batch is trained."""
        return 1 if self.micro_batch is None else self.batch_tokens // self.micro_batch


class LanguageAlgorithm(GradientAlgorithm):
    """A next-token model. Subclasses give `shapes`, `cost` and `model`; everything else is shared by all arms."""

    outside_loss = frozenset({
        "lr", "lr_width_exponent", "lr_batch_exponent", "tokens_per_parameter", "tokens_per_parameter_exponent",
        "steps", "optimizer", "betas", "momentum", "weight_decay", "schedule", "clip", "batch_tokens",
    })  # fmt: skip
    timed_alike = frozenset({"lr"})

    class Choices(LanguageChoices):
        """See `LanguageChoices`."""

    @abc.abstractmethod
    def shapes(self, choices: Any) -> Iterator[Shape]:
        """Every (width, depth) that this family offers, smallest first."""

    def shape(self, choices: Any) -> Shape:
        """That of resolved `choices`."""
        return Shape(choices.width, choices.depth)

    @abc.abstractmethod
    def cost(self, vocabulary: int, shape: Shape, choices: Any) -> Cost:
        """Parameters and FLOPs of one token at `shape`, by formula, without loss, optimiser and clipping."""

    @abc.abstractmethod
    def model(self, vocabulary: int, choices: Any) -> LanguageModel:
        """An initialised module."""

    def parts(self, choices: Any) -> list[tuple[Registry[Any], str]]:
        """The interchangeable parts that `choices` name, with the families they belong to."""
        return [(optimizers, choices.optimizer), (schedules, choices.schedule)]

    def code(self, choices: Any) -> str:
        """Digests of the plug-in files that parts come from, joined; empty where all are built in."""
        return "+".join(sorted({registry.code(name) for registry, name in self.parts(choices)} - {""}))

    def priced(self, task: Any, shape: Shape, choices: Any) -> tuple[Cost, float]:
        """The parts' cost, and the FLOPs of one optimiser step: model, cross-entropy, clipping (one norm, one scaling)
        and the update."""
        vocabulary = task.vocabulary(choices.tokenizer)
        cost = self.cost(vocabulary, shape, choices)
        loss = 10 * vocabulary + 1  # log-softmax forward and backward at 5 an element
        update = optimizers.get(choices.optimizer).flops(cost.matrices, round(cost.others), choices)
        # the gradients of a tied matrix's uses are added
        uses = getattr(choices, "prediction", 1) - (0 if choices.tied else 1)
        again = vocabulary * shape.width * uses
        pieces = choices.pieces  # all but the first are scaled and added to what is there
        adding = pieces * again + (pieces - 1) * cost.parameters
        return cost, choices.batch_tokens * (cost.training + loss) + update + 2 * cost.parameters + adding

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """Width, depth and steps from the rung: tokens = `tokens_per_parameter` x parameters, steps = budget / step.

        Raises `StudyError` where the rung is not in training FLOPs, the context does not fit the task's blocks, the
        batch is not a whole number of windows, or the budget is too small for the smallest model; `UnknownNameError`
        for a part that is not registered.
        """
        if rung.resource not in task.resources:
            raise StudyError("ladder.resource", f"'{rung.resource}' can't size a language model", "use train_flops")
        task.check_window(choices.context)
        choices = choices.model_copy(update={"tokenizer": task.check_tokenizer(choices.tokenizer)})
        if choices.batch_tokens % choices.context:
            what = f"{choices.batch_tokens} is no multiple of the context {choices.context}"
            nearest = max(choices.batch_tokens // choices.context, 1) * choices.context
            raise StudyError("batch_tokens", what, f"try {nearest}")
        if choices.micro_batch is not None and (
            choices.batch_tokens % choices.micro_batch or choices.micro_batch % choices.context
        ):
            what = f"{choices.micro_batch} tokens are no whole windows of {choices.context}, or do not divide the batch"
            raise StudyError("micro_batch", what, f"try {choices.context}")
        for registry, name in self.parts(choices):
            registry.get(name, registry.kind)
        optimizers.get(choices.optimizer).check(choices)
        growth = (rung.budget / REFERENCE_BUDGET) ** choices.tokens_per_parameter_exponent
        wanted = choices.tokens_per_parameter * growth

        def price(shape: Shape) -> tuple[float, float]:
            cost, step = self.priced(task, shape, choices)
            return rung.budget / step, rung.budget / step * choices.batch_tokens / cost.active

        if choices.width is None:
            candidates = (s for s in self.shapes(choices) if choices.depth in (None, s.depth))
            shape = choose(candidates, lambda s: price(s)[1] / wanted)
        else:
            depth = choices.depth or max(1, round(choices.width / 16))
            shape = self.shape(choices.model_copy(update={"depth": depth}))
        steps, ratio = price(shape)
        too_large = choices.width is None and 2 * ratio < wanted
        if choices.steps is None and (steps < FEWEST_STEPS or too_large):
            what = f"{rung.budget:.3g} FLOPs buy {steps:.0f} steps of {choices.batch_tokens} tokens"
            raise StudyError("ladder.rungs", f"{what} at width {shape.width}", "raise the rung or lower batch_tokens")
        decided = {"width": shape.width, "depth": shape.depth, "steps": choices.steps or round(steps)}
        if choices.trunk_warmup is not None:
            if choices.schedule != "wsd":
                raise StudyError("trunk_warmup", f"goes with schedule 'wsd', not '{choices.schedule}'", "leave it out")
            branch = branch_step(decided["steps"])
            if choices.trunk_warmup > branch:
                what = f"{choices.trunk_warmup} steps of warm-up do not fit before the decay at step {branch}"
                raise StudyError("trunk_warmup", what, "lower it, or raise the rung")
        return choices.model_copy(update=decided)

    def train_flops(self, task: Task, choices: Any) -> float:
        """A step of the resolved choices times their number."""
        return choices.steps * self.priced(task, self.shape(choices), choices)[1]

    def rates(self, choices: Any) -> tuple[float, float]:
        """Peak learning rates at this width and batch: of hidden matrices, and of everything else."""
        batch = (choices.batch_tokens / REFERENCE_BATCH) ** choices.lr_batch_exponent
        width = (choices.width / REFERENCE_WIDTH) ** -choices.lr_width_exponent
        mup = choices.parametrisation == "mup"
        return choices.lr * batch * width, choices.lr * batch * (1.0 if mup else width)

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Model from torch's seeded generator, data order from (seed, batch shape) alone, state carried by window."""
        vocabulary = task.vocabulary(choices.tokenizer)
        model = self.model(vocabulary, choices)
        rows = choices.batch_tokens // choices.context
        states: deque[Any] = deque([None] * choices.pieces)  # of the rows of each piece, in turn

        def loss(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            found, state = model.loss(*batch, states.popleft())
            states.append(state)
            return found

        def carried() -> Any:
            return states[0] if len(states) == 1 else list(states)

        def restore(carried: Any) -> None:
            kept = [carried] if len(states) == 1 else carried
            states.clear()
            states.extend(kept)

        stem = None if choices.trunk_warmup is None else Stem(choices.trunk_warmup, choices.steps)
        matrices = model.matrices()
        named = {id(p) for p in matrices}
        others = [p for p in model.parameters() if id(p) not in named]
        cost = self.cost(vocabulary, self.shape(choices), choices)
        return Trainee(
            model=model,
            optimizer=optimizers.get(choices.optimizer).build(matrices, others, *self.rates(choices), choices),
            batches=task.batches(rows, choices.context, seed, choices.tokenizer),
            loss=loss,
            evaluate=lambda split: task.evaluate(model, split, choices.context, choices.tokenizer),
            schedule=schedules.get(choices.schedule),
            steps=choices.steps,
            examples_per_step=choices.batch_tokens,
            clip=choices.clip,
            stem=stem,
            carried=carried,
            pieces=choices.pieces,
            restore=restore,
            sizes={
                "active_parameters": cost.active,
                "non_embedding_parameters": cost.parameters - cost.embedding,
                "inference_flops": cost.forward,
                "stored_bytes": 4 * cost.parameters,
                "unique_examples": task.unique_examples(choices.steps * choices.batch_tokens, choices.tokenizer),
            },
        )

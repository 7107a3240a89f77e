"""The modern Transformer, trained on several devices: what is computed, kept and sent are choices; the model is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from pydantic import Field, model_validator

from isoloss.algorithms import algorithm, algorithms
from isoloss.algorithms.base import Algorithm, Rung
from isoloss.algorithms.language.cost import Cost
from isoloss.algorithms.language.sizing import Shape
from isoloss.algorithms.language.transformer import TransformerModern
from isoloss.errors import StudyError
from isoloss.runs import Context, Outcome, RunSpec
from isoloss.tasks import Task, tasks
from isoloss.training.distributed import compressions, strategies
from isoloss.training.distributed.base import Price
from isoloss.training.distributed.group import Group
from isoloss.training.distributed.launch import together
from isoloss.training.distributed.train import train_device
from isoloss.training.gradient import Trainee
from isoloss.training.loop import train
from isoloss.training.optimizers import optimizers
from isoloss.training.recompute import Checkpointing, recompute, segments

DEEPEST = 256


class SystemsChoices(TransformerModern.Choices):
    """How the training is carried out, on top of the Transformer's choices.

    `devices`: processes that train together, 1 for an ordinary run. `strategy`, `compression`: names of
    `isoloss.training.distributed`, how the training is divided and how tensors are averaged; `keep`: share of numbers
    that ``top-k`` sends; `rank`: columns of ``power-sgd``. `sync_every`, `outer_lr`, `outer_momentum`: of the strategy
    ``local``. `checkpointing`: activations are computed again in the backward pass, of every ``layer`` or of
    ``sqrt`` (L) segments. `accumulate`: micro-batches that each device's part of a batch is cut into.

    With `width` and `steps` given and `depth` left out, the rung decides the depth.
    """

    depth: int | None = Field(None, ge=1, le=DEEPEST)
    devices: int = Field(2, ge=1, le=1024)
    strategy: str = "data"
    compression: str = "none"
    keep: float = Field(0.01, gt=0, le=1)
    rank: int = Field(2, ge=1)
    sync_every: int = Field(16, ge=1)
    outer_lr: float = Field(0.7, gt=0)
    outer_momentum: float = Field(0.9, ge=0, lt=1)
    checkpointing: Checkpointing = "none"
    accumulate: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _used(self) -> SystemsChoices:
        read_by = {
            "keep": self.compression == "top-k", "rank": self.compression == "power-sgd",
            **dict.fromkeys(("sync_every", "outer_lr", "outer_momentum"), self.strategy == "local"),
            "compression": self.strategy in ("data", "local") and self.devices > 1, "strategy": self.devices > 1,
        }  # fmt: skip
        for name, is_read in read_by.items():
            if not is_read and getattr(self, name) != SystemsChoices.model_fields[name].default:
                on = f"strategy {self.strategy}, compression {self.compression}, {self.devices} devices"
                raise ValueError(f"{name} does nothing with {on}")
        if self.checkpointing != "none" and self.experts > 1:
            raise ValueError("experts count their tokens in the forward pass, which checkpointing repeats")
        if self.accumulate > 1 and self.mixer != "attention":
            raise ValueError(f"mixer '{self.mixer}' carries a state from batch to batch, which micro-batches would mix")
        return self


@algorithm(
    "systems/transformer",
    version=1,
    summary="modern Transformer trained on several devices, with what they keep and send as choices",
    year=2012,
    source="data parallel: Dean et al. 2012 (DistBelief, NeurIPS 25); model: Touvron et al. 2023 (arXiv 2302.13971)",
    claim="exact methods reach the loss of one device with less memory or fewer bytes on each",
    smoke={
        "task": "language/sotu",
        "resource": "train_flops",
        "budget": 1e9,
        # two heads, so that they can be divided
        "choices": {"batch_tokens": 128, "width": 32, "depth": 2},
    },
)
class SystemsTransformer(Algorithm):
    """One Transformer, its data in one order and its batches of one size, whatever the number of devices.

    A rung buys the model and the steps that its FLOPs buy on one device without anything computed twice; what a
    strategy or checkpointing adds is recorded on top of that.
    """

    whole = TransformerModern()

    class Choices(SystemsChoices):
        """See `SystemsChoices`."""

    def code(self, choices: Any) -> str:
        """Digests of plug-in files, joined."""
        ours = {strategies.code(choices.strategy), compressions.code(choices.compression)}
        return "+".join(sorted({*self.whole.code(choices).split("+"), *ours} - {""}))

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """As the Transformer on one device; the depth, where width and steps are given. Raises `StudyError` where
        the strategy can't divide what comes out."""
        if choices.width is not None and choices.steps is not None and choices.depth is None:

            def cost(depth: int) -> float:
                return float(choices.steps * self.whole.priced(task, Shape(choices.width, depth), choices)[1])

            if rung.budget < cost(1):
                what = f"{rung.budget:.3g} FLOPs are less than {choices.steps} steps of one layer ({cost(1):.3g})"
                raise StudyError("ladder.rungs", what, "raise the rung, or lower steps or width")
            each = (cost(DEEPEST) - cost(1)) / (DEEPEST - 1)
            depth = min(1 + round((rung.budget - cost(1)) / each), DEEPEST)
            choices = choices.model_copy(update={"depth": depth})
        resolved = self.whole.resolve(task, rung, choices)
        strategies.get(resolved.strategy, "strategy").check(resolved)
        compressions.get(resolved.compression, "compression")
        return resolved

    def train_flops(self, task: Task, choices: Any) -> float:
        """Steps times a step over all devices."""
        price = self._price(task, choices)
        if choices.devices == 1:
            return float(choices.steps * (price.work + price.again + price.update + 2 * price.parameters))
        exchange = compressions.get(choices.compression)
        return choices.steps * strategies.get(choices.strategy).flops(price, exchange, choices)

    def _price(self, task: Any, choices: Any) -> Price:
        vocabulary, width = task.vocabulary(choices.tokenizer), choices.width
        cost, step = self.whole.priced(task, Shape(width, choices.depth), choices)
        ends = self.whole.cost(vocabulary, Shape(width, 0), choices)
        layers, shape = Cost(), Shape(width, choices.depth)
        norm, part = self.whole.norm(choices), self.whole.feed_forward(choices)
        if choices.experts == 1:
            for layer in range(choices.depth):
                mixer = self.whole.mixer(choices, layer)
                layers += mixer.cost(shape, norm.biased, layer, choices) + part.cost(width, norm.biased)
        update = optimizers.get(choices.optimizer).flops(cost.matrices, round(cost.others), choices)
        tokens, loss = choices.batch_tokens, 10 * vocabulary + 1
        again = step - tokens * (cost.training + loss) - update - 2 * cost.parameters
        repeated = bool(segments(choices.depth, choices.checkpointing))
        tables = ((vocabulary, width, 1 if choices.tied else 2),)
        return Price(
            work=tokens * (cost.training + loss + repeated * (cost.forward - ends.forward)),
            divisible=tokens * (layers.training + repeated * layers.forward),
            again=choices.accumulate * again + (choices.accumulate - 1) * cost.parameters,
            update=update,
            parameters=cost.parameters,
            divisible_parameters=layers.parameters,
            matrices=(*cost.matrices, *tables),
        )

    def trainee(self, task: Task, choices: Any, seed: int) -> Trainee:
        """The run as one device would train it, with its layers in segments and its batches in parts."""
        torch.manual_seed(seed)
        found = self.whole.build(task, choices, seed)
        model: Any = found.model
        model.blocks = recompute(model.blocks, choices.checkpointing)
        if choices.accumulate > 1:
            found.loss = accumulated(found.loss, choices.accumulate)
        return found

    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Train on ``choices.devices`` processes; see `isoloss.training.distributed.launch.together`."""
        start = time.perf_counter()
        task.prepare()
        choices = self.Choices(**spec.choices)
        if choices.devices == 1:
            trainee = self.trainee(task, choices, spec.seed)
            return train(trainee, spec.evaluate, context, time.perf_counter() - start)
        told = (spec.algorithm, spec.task, dict(spec.task_options), dict(spec.choices), spec.seed, spec.evaluate)
        outcome: Outcome = together(choices.devices, context, on_device, *told)
        return outcome


def on_device(
    group: Group,
    context: Context,
    name: str,
    task_name: str,
    options: Mapping[str, Any],
    chosen: Mapping[str, Any],
    seed: int,
    evaluate: tuple[str, ...],
) -> Outcome:
    """What each device does of a run of the systems algorithm `name`: build all of it, train its part."""
    own: Any = algorithms.get(name)()
    choices = own.Choices(**chosen)
    trainee = own.trainee(_task(task_name, json.dumps(options, sort_keys=True)), choices, seed)

    def build(matrices: list[torch.nn.Parameter], others: list[torch.nn.Parameter]) -> Any:
        lr, lr_others = own.whole.rates(choices)
        return optimizers.get(choices.optimizer).build(matrices, others, lr, lr_others, choices)

    return train_device(group, trainee, build, choices, seed, evaluate, context)


@cache
def _task(name: str, options: str) -> Task:
    found = tasks.get(name)
    task = found(found.Options(**json.loads(options)))
    task.prepare()
    return task


def accumulated(loss: Callable[[Any], torch.Tensor], parts: int) -> Callable[[Any], torch.Tensor]:
    """The mean loss over `parts` micro-batches of a batch, rows in order; the gradients of all but the last are added
    up on the way, so that only one micro-batch's activations are held."""

    def mean(batch: Any) -> torch.Tensor:
        rows = len(batch[0]) // parts
        before = torch.zeros(())
        for i in range(parts):
            part = loss(tuple(tensor[i * rows : (i + 1) * rows] for tensor in batch)) / parts
            if i < parts - 1:
                part.backward()
                before = before + part.detach()
        return part + before

    return mean

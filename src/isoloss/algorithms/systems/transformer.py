"""The modern Transformer, trained on several devices: what is computed, kept and sent are choices; the model is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from pydantic import Field, model_validator

from isoloss.algorithms import algorithm, algorithms
from isoloss.algorithms.base import Algorithm, Rung
from isoloss.algorithms.cost import Cost
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
from isoloss.training.optimizers import optimizers
from isoloss.training.placement import place
from isoloss.training.precision import products, within
from isoloss.training.recompute import Checkpointing, recompute, segments

DEEPEST = 256


class SystemsChoices(TransformerModern.Choices):
    """How the training is carried out, on top of the Transformer's choices.

    `devices`: processes that train together, 1 for an ordinary run. `strategy`, `compression`: names of
    `isoloss.training.distributed`, how the training is divided and how tensors are averaged; `keep`: share of numbers
    that ``top-k`` sends; `rank`: columns of ``power-sgd``. `sync_every`, `outer_lr`, `outer_momentum`: of the strategy
    ``local``. `checkpointing`: activations are computed again in the backward pass, of every ``layer`` or of
    ``sqrt`` (L) segments. `micro_batch`: tokens at a time of all devices together.

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
        return self


class Checkpointed(TransformerModern):
    """The Transformer on one device, its layers in segments that are computed again."""

    class Choices(SystemsChoices):
        """See `SystemsChoices`."""

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """As `LanguageAlgorithm.build`."""
        found = super().build(task, choices, seed)
        model: Any = found.model
        model.blocks = recompute(model.blocks, choices.checkpointing)
        return found


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

    whole = Checkpointed()

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
            again=again,
            update=update,
            parameters=cost.parameters,
            divisible_parameters=layers.parameters,
            matrices=(*cost.matrices, *tables),
        )

    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Train on ``choices.devices`` processes; see `isoloss.training.distributed.launch.together`. One device trains
        as any other algorithm does."""
        devices = self.Choices(**spec.choices).devices
        if devices == 1:
            return self.whole.run(task, spec, context)
        for name in ("compiled", "shards"):
            if spec.numerics.get(name, 1) not in (1, False):
                raise StudyError(f"numerics.{name}", f"does not go with {devices} devices", "leave it out")
        task.prepare()
        outcome: Outcome = together(devices, context, on_device, spec.to_dict())
        return outcome


def on_device(group: Group, context: Context, plain_spec: Mapping[str, Any]) -> Outcome:
    """What each device does of the run of a systems algorithm: build all of it, train its part."""
    spec = RunSpec.from_dict(plain_spec)
    own: Any = algorithms.get(spec.algorithm)()
    choices = own.Choices(**spec.choices)
    task = _task(spec.task, json.dumps(dict(spec.task_options), sort_keys=True))
    torch.manual_seed(spec.seed)
    trainee = own.whole.build(task, choices, spec.seed)
    place(trainee, group.device)
    trainee.loss = within(products(spec.numerics, group.device.type), trainee.loss)

    def build(matrices: list[torch.nn.Parameter], others: list[torch.nn.Parameter]) -> Any:
        lr, lr_others = own.whole.rates(choices)
        return optimizers.get(choices.optimizer).build(matrices, others, lr, lr_others, choices)

    return train_device(group, trainee, build, choices, spec, context)


@cache
def _task(name: str, options: str) -> Task:
    found = tasks.get(name)
    task = found(found.Options(**json.loads(options)))
    task.prepare()
    return task

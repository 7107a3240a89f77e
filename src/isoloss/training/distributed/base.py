"""What every way of dividing a training over devices shares."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import Parameter

from isoloss.errors import StudyError
from isoloss.runs import Card
from isoloss.training.distributed.group import Group
from isoloss.training.optimizers import optimizers
from isoloss.training.optimizers.base import UniformPart

if TYPE_CHECKING:
    from isoloss.training.distributed.exchange import Exchange
    from isoloss.training.gradient import Optimizer, Trainee

#: An optimiser of some matrices and other parameters, as the algorithm would build it.
Build = Callable[[list[Parameter], list[Parameter]], "Optimizer"]


@dataclass(frozen=True)
class Price:
    """What a strategy needs to know to price a step, in FLOPs: `work` of the global batch forward, backward and loss;
    `divisible`, that part of it that is done in matrices which can be divided; `again`, what each device's backward
    pass costs apart from tokens (gradients added up); `update` of the whole model's parameters. And in numbers:
    `parameters`, `divisible_parameters`, and the matrices among them as (rows, columns, how many)."""

    work: float
    divisible: float
    again: float
    update: float
    parameters: float
    divisible_parameters: float
    matrices: tuple[tuple[int, int, int], ...]


class Strategy(abc.ABC):
    """A way to divide a training. `divide` turns the run as one device would train it into this device's part of it;
    global batch, data order and number of steps stay what they were."""

    card: ClassVar[Card]
    #: every device must take part in the forward pass, so in evaluation too
    model_divided: ClassVar[bool] = False

    def __init__(self, group: Group, exchange: Exchange, choices: Any) -> None:
        self.group, self.exchange, self.choices = group, exchange, choices

    @classmethod
    def check(cls, choices: Any) -> None:
        """Raise `StudyError` where this strategy can't go with `choices`; asked before any run."""
        del choices

    @abc.abstractmethod
    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """This device's part of `trainee`, whose optimiser was built by ``build(matrices, others)``."""

    @classmethod
    @abc.abstractmethod
    def flops(cls, price: Price, exchange: type[Exchange], choices: Any) -> float:
        """FLOPs of a step over all devices by formula, the mean over a period."""


class DeviceOptimizer(abc.ABC):
    """An optimiser as the loop sees it on one device: sends, clips, updates.

    The norm that is clipped is the whole model's, so the loop's own clipping is off.
    """

    def __init__(self, inner: Optimizer, group: Group, period: int = 1) -> None:
        self.inner, self.group, self.param_groups = inner, group, inner.param_groups
        self.period = math.lcm(int(getattr(inner, "period", 1)), period)

    @abc.abstractmethod
    def step(self) -> None:
        """Update the parameters from this device's gradients and the others'."""

    def train(self) -> None:
        """Told before training."""
        getattr(self.inner, "train", _nothing)()

    def eval(self) -> None:
        """Told before evaluation, which is not training: from here on nothing that is sent is counted."""
        self.group.counting = False
        getattr(self.inner, "eval", _nothing)()


def _nothing() -> None:
    """What an optimiser without modes does when told its mode."""


def clip(gradients: list[torch.Tensor], largest: float | None, squared_norm: torch.Tensor | None = None) -> None:
    """Scale `gradients` in place so that the norm of the whole gradient is at most `largest`.

    `squared_norm`: of the whole gradient, where `gradients` are only a part of it.
    """
    if largest is None:
        return
    if squared_norm is None:
        squared_norm = square(gradients)
    torch._foreach_mul_(gradients, (largest / (squared_norm.sqrt() + 1e-6)).clamp_(max=1.0))


def square(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The squared Euclidean norm of all of them together."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).square()


def own_rows(batches: Iterator[Any], group: Group) -> Iterator[Any]:
    """This device's rows of every batch, a tuple of tensors whose first axis is the row."""
    for batch in batches:
        rows = len(batch[0]) // group.size
        yield tuple(part[group.rank * rows : (group.rank + 1) * rows] for part in batch)


def with_recorded_loss(trainee: Trainee, group: Group) -> Trainee:
    """The same, with a loss whose value is the mean over devices and whose gradient is this device's own."""
    loss = trainee.loss

    def mean(batch: Any) -> torch.Tensor:
        own = loss(batch)
        return own + (group.recorded_mean(own) - own.detach())

    return dataclasses.replace(trainee, loss=mean)


def check_rows(choices: Any) -> None:
    """Raise `StudyError` unless every device and every micro-batch gets equally many whole windows of a batch."""
    rows, parts = choices.batch_tokens // choices.context, choices.devices * choices.pieces
    if rows % parts:
        what = f"{rows} windows can't be split over {choices.devices} devices and {choices.pieces} micro-batches"
        raise StudyError("batch_tokens", what, f"try {max(rows // parts, 1) * parts * choices.context}")


def check_elementwise(strategy: str, choices: Any) -> None:
    """Raise `StudyError` unless the optimiser treats every parameter by itself, so that it can work on slices."""
    if not issubclass(optimizers.get(choices.optimizer), UniformPart):
        what = f"'{choices.optimizer}' updates whole matrices, and {strategy} keeps slices of them"
        raise StudyError("optimizer", what, "use adamw, adam or sgd, or the strategy 'data'")

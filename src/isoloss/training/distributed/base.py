"""What every way of dividing a training over devices shares."""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import Parameter

from isoloss.errors import StudyError
from isoloss.runs import Card
from isoloss.training.distributed.group import Group
from isoloss.training.gradient import tell
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


class OwnRows(Strategy):
    """A strategy whose devices have rows of the batch each."""

    @classmethod
    def check(cls, choices: Any) -> None:
        """Every device and every micro-batch gets equally many whole windows of a batch."""
        rows, parts = choices.batch_tokens // choices.context, choices.devices * choices.pieces
        if rows % parts:
            what = f"{rows} windows can't be split over {choices.devices} devices and {choices.pieces} micro-batches"
            raise StudyError("batch_tokens", what, f"try {max(rows // parts, 1) * parts * choices.context}")

    def part(self, trainee: Trainee, optimizer: DeviceOptimizer) -> Trainee:
        """`trainee` on this device's rows, updated by `optimizer`. Its loss has the value of the mean over devices, for
        the record, and the gradient of this device's own."""
        group, loss = self.group, trainee.loss

        def rows() -> Iterator[Any]:
            for batch in trainee.batches:  # a tuple of tensors whose first axis is the row
                share = len(batch[0]) // group.size
                yield tuple(part[group.rank * share : (group.rank + 1) * share] for part in batch)

        def mean(batch: Any) -> torch.Tensor:
            own = loss(batch)
            return own + (group.recorded_mean(own) - own.detach())

        return dataclasses.replace(trainee, optimizer=optimizer, batches=rows(), loss=mean, clip=None)


class OwnState(OwnRows):
    """One that divides the optimiser's state as well, so that it must treat each parameter by itself."""

    @classmethod
    def check(cls, choices: Any) -> None:
        """Whole windows on every device, an elementwise optimiser."""
        super().check(choices)
        check_elementwise(cls.card.name, choices)

    @classmethod
    def flops(cls, price: Price, exchange: type[Exchange], choices: Any) -> float:
        """As one device: division, clipping and update are of this device's share."""
        return price.work + choices.devices * price.again + 3 * price.parameters + price.update


class DeviceOptimizer(abc.ABC):
    """An optimiser as the loop sees it on one device: sends, clips, updates.

    The norm that is clipped to `largest` is the whole model's, so the loop's own clipping is off.
    """

    def __init__(self, inner: Optimizer, group: Group, largest: float | None, period: int = 1) -> None:
        self.inner, self.group, self.param_groups, self.largest = inner, group, inner.param_groups, largest
        self.period = math.lcm(int(getattr(inner, "period", 1)), period)

    @abc.abstractmethod
    def step(self) -> None:
        """Update the parameters from this device's gradients and the others'."""

    def clip(self, whole: list[torch.Tensor], parts: list[torch.Tensor] | None = None) -> None:
        """Scale gradients in place so that the norm of the whole model's is at most `largest`. `whole` are what every
        device has, `parts` this device's of what is divided."""
        if self.largest is None:
            return
        squares = [] if parts is None else [self.group.sum_(_square(parts))]
        squares += [_square(whole)] if whole else []
        norm = functools.reduce(torch.add, squares).sqrt()
        torch._foreach_mul_([*(parts or ()), *whole], (self.largest / (norm + 1e-6)).clamp_(max=1.0))

    def train(self) -> None:
        """Told before training."""
        tell(self.inner, "train")

    def eval(self) -> None:
        """Told before evaluation, which is not training: from here on nothing that is sent is counted."""
        self.group.counting = False
        tell(self.inner, "eval")


def _square(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The squared Euclidean norm of all of them together."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).square()


def check_elementwise(strategy: str, choices: Any) -> None:
    """Raise `StudyError` unless the optimiser treats every parameter by itself, so that it can work on slices."""
    if not issubclass(optimizers.get(choices.optimizer), UniformPart):
        what = f"'{choices.optimizer}' updates whole matrices, and {strategy} keeps slices of them"
        raise StudyError("optimizer", what, "use adamw, adam or sgd, or the strategy 'data'")

"""Data parallel: every device has the whole model and a part of the batch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from isoloss.training.distributed import strategy
from isoloss.training.distributed.base import (
    Build,
    DeviceOptimizer,
    Price,
    Strategy,
    check_rows,
    clip,
    own_rows,
    with_recorded_loss,
)
from isoloss.training.distributed.exchange import Exchange

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer, Trainee


class Averaged(DeviceOptimizer):
    """Averages the gradients of `parameters`, clips their norm, and updates as one device would."""

    def __init__(
        self, inner: Optimizer, parameters: list[torch.nn.Parameter], exchange: Exchange, largest: float | None
    ) -> None:
        super().__init__(inner, exchange.group)
        self.parameters, self.exchange, self.largest = parameters, exchange, largest

    @torch.no_grad()
    def step(self) -> None:
        """Average, clip, update."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.exchange.average(gradients)
        clip(gradients, self.largest)
        self.inner.step()


@strategy(
    "data",
    version=1,
    summary="data parallel: gradients averaged over devices every step",
    year=2012,
    source="Dean et al. 2012 (DistBelief); synchronous: Goyal et al. 2017 (arXiv 1706.02677)",
)
class DataParallel(Strategy):
    """The gradient of the global batch is the mean of the devices' gradients, so every device makes the same update."""

    @classmethod
    def check(cls, choices: Any) -> None:
        """Whole windows on every device."""
        check_rows(choices)

    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """Own rows; the optimiser with an average before it."""
        parameters = [p for p in trainee.model.parameters() if p.requires_grad]
        optimizer = Averaged(trainee.optimizer, parameters, self.exchange, trainee.clip)
        own = dataclasses.replace(
            trainee, optimizer=optimizer, batches=own_rows(trainee.batches, self.group), clip=None
        )
        return with_recorded_loss(own, self.group)

    @classmethod
    def flops(cls, price: Price, exchange: type[Exchange], choices: Any) -> float:
        """The work once; update, clipping and average on every device."""
        averaging = exchange.flops(price.parameters, price.matrices, choices)
        return price.work + choices.devices * (price.again + averaging + 2 * price.parameters + price.update)

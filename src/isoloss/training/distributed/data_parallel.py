"""Data parallel: every device has the whole model and a part of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isoloss.training.distributed import strategy
from isoloss.training.distributed.base import Build, DeviceOptimizer, OwnRows, Price
from isoloss.training.distributed.exchange import Exchange

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer, Trainee


class Averaged(DeviceOptimizer):
    """Averages the gradients of `parameters`, clips their norm, and updates as one device would."""

    def __init__(
        self, inner: Optimizer, parameters: list[torch.nn.Parameter], exchange: Exchange, largest: float | None
    ) -> None:
        super().__init__(inner, exchange.group, largest)
        self.parameters, self.exchange = parameters, exchange

    @torch.no_grad()
    def step(self) -> None:
        """Average, clip, update."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.exchange.average(gradients)
        self.clip(gradients)
        self.inner.step()


@strategy(
    "data",
    version=1,
    summary="data parallel: gradients averaged over devices every step",
    year=2012,
    source="Dean et al. 2012 (DistBelief); synchronous: Goyal et al. 2017 (arXiv 1706.02677)",
)
class DataParallel(OwnRows):
    """The gradient of the global batch is the mean of the devices' gradients, so every device makes the same update."""

    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """Own rows; the optimiser with an average before it."""
        parameters = [p for p in trainee.model.parameters() if p.requires_grad]
        return self.part(trainee, Averaged(trainee.optimizer, parameters, self.exchange, trainee.clip))

    @classmethod
    def flops(cls, price: Price, exchange: type[Exchange], choices: Any) -> float:
        """The work once; update, clipping and average on every device."""
        averaging = exchange.flops(price.parameters, price.matrices, choices)
        return price.work + choices.devices * (price.again + averaging + 2 * price.parameters + price.update)

"""Local steps between averages: local SGD, and DiLoCo with an outer optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isoloss.errors import StudyError
from isoloss.training.distributed import strategy
from isoloss.training.distributed.base import Build, DeviceOptimizer, OwnRows, Price
from isoloss.training.distributed.exchange import Exchange

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer, Trainee


class Outer(DeviceOptimizer):
    r"""`every` inner steps on each device alone, then one outer step of all together, from where the last one ended.

    With :math:`\theta` where the last outer step ended and :math:`\theta_i` where device i is, the outer gradient is
    :math:`\Delta = \theta - \mathrm{mean}_i\, \theta_i`, and Nesterov's step with it, momentum :math:`\mu` and rate
    :math:`\eta`, is :math:`b \leftarrow \mu b + \Delta`, :math:`\theta \leftarrow \theta - \eta (\Delta + \mu b)`
    (Douillard et al. 2023, arXiv 2311.08105, algorithm 1). The run's last step ends with an outer one.
    """

    def __init__(
        self,
        inner: Optimizer,
        parameters: list[torch.nn.Parameter],
        exchange: Exchange,
        largest: float | None,
        choices: Any,
    ) -> None:
        super().__init__(inner, exchange.group, largest, choices.sync_every)
        self.parameters, self.exchange = parameters, exchange
        self.every, self.lr, self.momentum = choices.sync_every, choices.outer_lr, choices.outer_momentum
        self.last, self.done = choices.steps, 0
        self.start = [p.detach().clone() for p in parameters]
        self.velocity = [torch.zeros_like(p) for p in parameters] if self.momentum else []

    @torch.no_grad()
    def step(self) -> None:
        """An inner step, and an outer one where it is due."""
        self.clip([p.grad for p in self.parameters if p.grad is not None])
        self.inner.step()
        self.done += 1
        if self.done % self.every == 0 or self.done == self.last:
            self.outer_step()

    def outer_step(self) -> None:
        """Average what the devices have moved by and go there."""
        moved: Any = torch._foreach_sub(self.start, list(self.parameters))
        self.exchange.average(list(moved))
        if self.momentum:
            torch._foreach_mul_(self.velocity, self.momentum)
            torch._foreach_add_(self.velocity, moved)
            torch._foreach_add_(moved, self.velocity, alpha=self.momentum)
        torch._foreach_add_(self.start, moved, alpha=-self.lr)
        torch._foreach_copy_(list(self.parameters), self.start)


@strategy(
    "local",
    version=1,
    summary="each device trains alone for some steps, then all average (local SGD, DiLoCo)",
    year=2023,
    source="Douillard et al. 2023 (DiLoCo, arXiv 2311.08105); local SGD: Stich 2019 (arXiv 1805.09767)",
)
class Local(OwnRows):
    """Inner state (Adam's moments) stays on its device. `sync_every` 1, `outer_lr` 1, no momentum: parameter
    averaging."""

    @classmethod
    def check(cls, choices: Any) -> None:
        """Whole windows on every device; an optimiser whose parameters are those that it evaluates."""
        super().check(choices)
        if choices.optimizer == "schedule-free":
            raise StudyError("optimizer", "schedule-free evaluates other parameters than it trains", "use adamw")

    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """Own rows; the optimiser with an outer one around it."""
        parameters = [p for p in trainee.model.parameters() if p.requires_grad]
        outer = Outer(trainee.optimizer, parameters, self.exchange, trainee.clip, self.choices)
        return self.part(trainee, outer)

    @classmethod
    def flops(cls, price: Price, exchange: type[Exchange], choices: Any) -> float:
        """The work once; update and clipping on every device; every `sync_every` steps a difference, an average, the
        momentum (4 a parameter) and a step (2)."""
        averaging = exchange.flops(price.parameters, price.matrices, choices)
        outer = (3 + 5 * bool(choices.outer_momentum)) * price.parameters + averaging
        each = price.again + 2 * price.parameters + price.update + outer / choices.sync_every
        return price.work + choices.devices * each

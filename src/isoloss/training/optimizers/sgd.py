"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any

import torch

from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.base import ElementwiseOptimizer, UniformPart


class MomentumSGD(ElementwiseOptimizer):
    """Bit for bit ``torch.optim.SGD(..., foreach=True)`` with momentum, without PyTorch's compiler imported for it."""

    held = ("velocity",)

    def __init__(
        self, parameters: list[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold, which it changes."""
        if not self.parameters:
            return
        parameters, gradients, velocity = self.operands()
        if self.weight_decay:
            torch._foreach_add_(gradients, parameters, alpha=self.weight_decay)
        torch._foreach_mul_(velocity, self.momentum)
        torch._foreach_add_(velocity, gradients)
        torch._foreach_add_(parameters, velocity, alpha=-self.param_groups[0]["lr"])


@optimizer(
    "sgd",
    version=1,
    summary="stochastic gradient descent with heavy-ball momentum, coupled weight decay",
    year=1986,
    source="Robbins & Monro 1951; momentum: Rumelhart, Hinton & Williams 1986 (Nature 323); Polyak 1964",
)
class SGD(UniformPart):
    r"""Heavy-ball momentum :math:`\mu` = ``momentum``; weight decay is coupled, that is, part of the gradient:
    :math:`b \leftarrow \mu b + g + \lambda w`, :math:`w \leftarrow w - \eta b`.

    Its rates are not Adam's: the update is as large as the gradient.
    """

    @classmethod
    def of(cls, parameters: list[torch.nn.Parameter], lr: float, choices: Any) -> MomentumSGD:
        """List operators, one call for all parameters."""
        return MomentumSGD(parameters, lr, choices.momentum, choices.weight_decay)

    @classmethod
    def price(cls, choices: Any) -> float:
        """3, 4 with weight decay."""
        return 3 + bool(choices.weight_decay)

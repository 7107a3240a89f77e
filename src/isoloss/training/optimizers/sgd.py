"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.base import Held, Joint, OptimizerPart, elements

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer


class MomentumSGD(Held):
    """Bit for bit ``torch.optim.SGD(..., foreach=True)`` with momentum, without PyTorch's compiler imported for it."""

    held = ("velocity",)

    def __init__(
        self, parameters: list[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float = 0.0
    ) -> None:
        self.parameters: list[torch.Tensor] = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": lr}]
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold, which it changes."""
        if not self.parameters:
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.weight_decay:
            torch._foreach_add_(gradients, self.parameters, alpha=self.weight_decay)
        torch._foreach_mul_(self.velocity, self.momentum)
        torch._foreach_add_(self.velocity, gradients)
        torch._foreach_add_(self.parameters, self.velocity, alpha=-self.param_groups[0]["lr"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for p in self.parameters:
            p.grad = None


@optimizer(
    "sgd",
    version=1,
    summary="stochastic gradient descent with heavy-ball momentum, coupled weight decay",
    year=1986,
    source="Robbins & Monro 1951; momentum: Rumelhart, Hinton & Williams 1986 (Nature 323); Polyak 1964",
)
class SGD(OptimizerPart):
    r"""Heavy-ball momentum :math:`\mu` = ``momentum``; weight decay is coupled, that is, part of the gradient:
    :math:`b \leftarrow \mu b + g + \lambda w`, :math:`w \leftarrow w - \eta b`.

    Its rates are not Adam's: the update is as large as the gradient.
    """

    @classmethod
    def build(
        cls,
        matrices: list[torch.nn.Parameter],
        others: list[torch.nn.Parameter],
        lr: float,
        lr_others: float,
        choices: Any,
    ) -> Optimizer:
        """One optimiser, two where the rates differ."""
        momentum, decay = choices.momentum, choices.weight_decay
        if lr == lr_others:
            return MomentumSGD([*matrices, *others], lr, momentum, decay)
        return Joint(MomentumSGD(matrices, lr, momentum, decay), MomentumSGD(others, lr_others, momentum, decay))

    @classmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        """3 a parameter, 4 with weight decay."""
        return (3 + bool(choices.weight_decay)) * (elements(matrices) + others)

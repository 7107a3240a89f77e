"""Adam and AdamW in one kernel call a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from isoloss.training.formulas import ADAMW_FLOPS_PER_PARAMETER
from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.base import ElementwiseOptimizer, UniformPart


class FusedAdam(ElementwiseOptimizer):
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); with ``weight_decay=0``, Adam (Kingma & Ba 2015).

    Bit for bit ``torch.optim.AdamW(..., fused=True)``, whose bookkeeping around the same kernel takes three times as
    long as the kernel on models of a few thousand parameters, up to a tenth of a training step. Not a
    ``torch.optim.Optimizer``: the first of those in a process imports PyTorch's compiler, a second a worker. Every
    parameter must have a gradient at every step.
    """

    held = ("mean", "square", "steps")

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.weight_decay, self.eps = betas, weight_decay, eps
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold, at the rate of the one parameter group."""
        if not self.parameters:
            return
        parameters, gradients, mean, square, steps = self.operands()
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            parameters,
            gradients,
            mean,
            square,
            [],
            steps,
            lr=self.param_groups[0]["lr"],
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


@optimizer(
    "adamw",
    version=1,
    summary="Adam with decoupled weight decay",
    year=2017,
    source="Loshchilov & Hutter 2019 (arXiv 1711.05101)",
)
class AdamW(UniformPart):
    r"""Running means of the gradient and its square, weight decay apart from both.

    With :math:`m, v` the bias-corrected means at rates :math:`\beta_1, \beta_2` and :math:`\epsilon = 10^{-8}`:
    :math:`w \leftarrow (1 - \eta \lambda) w - \eta\, m / (\sqrt{v} + \epsilon)`.
    """

    @classmethod
    def decay(cls, choices: Any) -> float:
        """Weight decay: ``weight_decay`` of the choices."""
        return float(choices.weight_decay)

    @classmethod
    def of(cls, parameters: list[torch.nn.Parameter], lr: float, choices: Any) -> FusedAdam:
        """One kernel call a step."""
        return FusedAdam(parameters, lr, choices.betas, cls.decay(choices))

    @classmethod
    def price(cls, choices: Any) -> float:
        """14."""
        return ADAMW_FLOPS_PER_PARAMETER


@optimizer(
    "adam", version=1, summary="Adam without weight decay", year=2014, source="Kingma & Ba 2015 (arXiv 1412.6980)"
)
class Adam(AdamW):
    """`AdamW` without weight decay, whatever the choices say of it."""

    @classmethod
    def decay(cls, choices: Any) -> float:
        """None."""
        return 0.0

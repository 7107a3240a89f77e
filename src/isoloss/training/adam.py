"""Adam and AdamW in one kernel call a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class FusedAdam(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); with ``weight_decay=0``, Adam (Kingma & Ba 2015).

    Bit for bit ``torch.optim.AdamW(..., fused=True)``, whose bookkeeping around the same kernel takes three times as
    long as the kernel on models of a few thousand parameters, up to a tenth of a training step. Every parameter must
    have a gradient at every step.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps})
        for group in self.param_groups:
            group["mean"] = [torch.zeros_like(p) for p in group["params"]]
            group["square"] = [torch.zeros_like(p) for p in group["params"]]
            group["steps"] = [torch.zeros((), device=p.device) for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients that the parameters hold."""
        for group in self.param_groups:
            torch._foreach_add_(group["steps"], 1)
            torch._fused_adamw_(
                group["params"],
                [p.grad for p in group["params"]],
                group["mean"],
                group["square"],
                [],
                group["steps"],
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

"""Cross-entropy of the next token without ever holding the logits of all tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

#: From so many tokens on, logits are made a few rows at a time: below, they are small beside everything else.
LARGE_VOCABULARY = 8192
#: Logits held at a time, and the fewest rows: fewer would make products too narrow to be fast.
LOGITS = 1 << 24
FEWEST_ROWS = 256

Logits = Callable[..., torch.Tensor]


class _InChunks(torch.autograd.Function):
    """The forward pass makes each chunk's loss and gradient and keeps the gradients; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any, logits: Logits, rows: int, x_nd: torch.Tensor, target_n: torch.Tensor, *parameters: torch.Tensor
    ) -> torch.Tensor:
        leaves = [p.detach().requires_grad_() for p in parameters]
        total = x_nd.new_zeros(())
        to_x: list[torch.Tensor] = []
        to_parameters: list[torch.Tensor] = []
        for x, target in zip(x_nd.split(rows), target_n.split(rows), strict=True):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                loss = F.cross_entropy(logits(x, *leaves), target, reduction="sum") / len(x_nd)
                here, *shared = torch.autograd.grad(loss, [x, *leaves])
            to_x.append(here)
            if to_parameters:
                torch._foreach_add_(to_parameters, shared)
            else:
                to_parameters = list(shared)
            total += loss.detach()
        ctx.save_for_backward(torch.cat(to_x), *to_parameters)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (g,) = gradients
        to_x, *to_parameters = ctx.saved_tensors
        return None, None, g * to_x, None, *(g * p for p in to_parameters)


def token_loss(
    logits: Logits, x_btd: torch.Tensor, target_bt: torch.Tensor, *parameters: torch.Tensor, rows: int | None = None
) -> torch.Tensor:
    """Mean cross-entropy in nats of ``logits(x, *parameters)``, the first of the parameters having a row a token.

    From `LARGE_VOCABULARY` on (or with `rows`) in chunks of so many rows, whose gradients are made along with the loss:
    the arithmetic is the same, the memory is that of a chunk's logits in place of all (Hsu et al. 2024, Liger Kernel,
    arXiv 2410.10989, s 3.2).
    """
    vocabulary = len(parameters[0])
    x_nd, target_n = x_btd.flatten(0, -2), target_bt.flatten()
    if rows is None:
        if vocabulary < LARGE_VOCABULARY:
            return F.cross_entropy(logits(x_btd, *parameters).flatten(0, -2), target_n)
        rows = max(FEWEST_ROWS, LOGITS // vocabulary)
    return _InChunks.apply(logits, rows, x_nd, target_n, *parameters)

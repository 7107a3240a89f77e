"""Low-rank gradients with error feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from isoloss.training.distributed import compression
from isoloss.training.distributed.exchange import Exchange
from isoloss.training.distributed.whole import Uncompressed
from isoloss.training.formulas import qr_flops


@compression(
    "power-sgd",
    version=1,
    summary="matrices are sent as a product of two thin ones, the rest kept for later (error feedback)",
    year=2019,
    source="Vogels, Karimireddy & Jaggi 2019 (PowerSGD, arXiv 1905.13727)",
)
class PowerSGD(Exchange):
    r"""One step of the power method from the last one's result: with :math:`M = G + e` of an m x n gradient,
    :math:`P = \mathrm{orth}(\mathrm{mean}\, M Q)`, :math:`Q = \mathrm{mean}\, M^\top P`, and :math:`P Q^\top` comes
    back (algorithm 1 there). `rank` columns; vectors and matrices too small to gain are sent whole."""

    def __init__(self, group: Any, choices: Any) -> None:
        super().__init__(group, choices)
        self.whole = Uncompressed(group, choices)
        self.errors: list[torch.Tensor] = []
        self.right: list[torch.Tensor] = []

    def average(self, tensors: list[torch.Tensor]) -> None:
        """Two all-reduces of thin matrices, and one of what is sent whole."""
        thin = [t for t in tensors if t.dim() == 2 and _pays(t.shape[0], t.shape[1], self.choices.rank)]
        if not self.right:
            # the same on every device; from a generator of its own, so that no run's random numbers change
            generator = torch.Generator().manual_seed(0)
            self.right = [torch.randn(t.shape[1], self.choices.rank, generator=generator).to(t.device) for t in thin]
            self.errors = [torch.zeros_like(t) for t in thin]
        chosen = {id(t) for t in thin}
        torch._foreach_add_(self.errors, thin)
        left = [m @ q for m, q in zip(self.errors, self.right, strict=True)]
        self.whole.average([*left, *(t for t in tensors if id(t) not in chosen)])
        left = [torch.linalg.qr(p).Q for p in left]
        self.right = [m.T @ p for m, p in zip(self.errors, left, strict=True)]
        # what the mean misses of its own matrix is a device's error, so its own product is taken off, not the mean's
        own = [p @ q.T for p, q in zip(left, self.right, strict=True)]
        self.whole.average(self.right)
        torch._foreach_sub_(self.errors, own)
        for t, p, q in zip(thin, left, self.right, strict=True):
            torch.mm(p, q.T, out=t)

    @classmethod
    def flops(cls, parameters: float, matrices: Sequence[tuple[int, int, int]], choices: Any) -> float:
        """Four products with a thin matrix, its orthogonalisation, two sums with the error; divisions."""
        r, total, rest = choices.rank, 0.0, parameters
        for rows, columns, count in matrices:
            if _pays(rows, columns, r):
                elements = rows * columns
                total += count * (8 * elements * r + qr_flops(rows, r) + 2 * elements + (rows + columns) * r)
                rest -= count * elements
        return total + rest


def _pays(rows: int, columns: int, rank: int) -> bool:
    return (rows + columns) * rank < rows * columns

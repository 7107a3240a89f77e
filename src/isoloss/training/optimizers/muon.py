"""Muon: momentum whose matrix updates are orthogonalised, all matrices of one shape at once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.base import OwnOptimizer
from isoloss.training.optimizers.matrices import MatrixPart

#: quintic of the Newton-Schulz iteration, chosen for its slope at zero (Jordan et al. 2024)
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
#: root mean square of an AdamW update, which a Muon update is scaled to (Liu et al. 2025, arXiv 2502.16982, s2.2)
ADAMW_RMS = 0.2


def orthogonalise(x_nrc: torch.Tensor) -> torch.Tensor:
    r"""Every matrix of `x_nrc` (count, rows <= columns) with its singular values moved towards 1.

    Five times :math:`X \leftarrow a X + (b\,G + c\,G^2) X` with :math:`G = X X^T`, from :math:`X` of unit Frobenius
    norm. Singular values above about 0.002 of that norm end between 0.68 and 1.14: the coefficients trade exactness
    for speed.
    """
    a, b, c = QUINTIC
    x = x_nrc / torch.linalg.vector_norm(x_nrc, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class BatchedMuon(OwnOptimizer):
    """What ``torch.optim.Muon(..., adjust_lr_fn="match_rms_adamw")`` computes, in float32 and by shape.

    PyTorch's goes matrix by matrix, in bfloat16; on small matrices the calls cost more than the arithmetic: for 6 to 24
    matrices, its step (AdamW's for the rest included) takes 4 to 6 times this one's at width 16 and 1.4 to 1.5 times at
    64, on a processor with bfloat16 units; at 128, and only with such units, half (``benchmarks/optimisers.py``).
    """

    held = ("mean",)

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.alike: dict[tuple[int, int], list[int]] = {}
        for index, p in enumerate(self.parameters):
            # a tall matrix is orthogonalised as its transpose, so it joins the wide ones
            self.alike.setdefault((min(p.shape), max(p.shape)), []).append(index)

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold."""
        lr = self.param_groups[0]["lr"]
        gradients = self.gradients()
        torch._foreach_lerp_(self.mean, gradients, 1 - self.momentum)
        ahead = torch._foreach_lerp(gradients, self.mean, self.momentum)  # Nesterov's momentum
        torch._foreach_mul_(self.parameters, 1 - lr * self.weight_decay)
        for (_, columns), indices in self.alike.items():
            tall = [self.parameters[i].shape[0] == columns for i in indices]
            wide_nrc = torch.stack([ahead[i].mT if t else ahead[i] for i, t in zip(indices, tall, strict=True)])
            updates = [u.mT if t else u for u, t in zip(orthogonalise(wide_nrc), tall, strict=True)]
            chosen = [self.parameters[i] for i in indices]
            torch._foreach_add_(chosen, updates, alpha=-lr * ADAMW_RMS * math.sqrt(columns))


@optimizer(
    "muon",
    version=1,
    summary="Muon (orthogonalised momentum) for hidden matrices, AdamW for the rest",
    year=2024,
    source="Jordan et al. 2024 (kellerjordan.github.io/posts/muon); scaling of Liu et al. 2025 (arXiv 2502.16982)",
    claim="half of AdamW's compute (Liu et al. 2025); 1.4x at 0.1B, 1.1x at 1.2B against tuned AdamW (Wen et al. 2025)",
)
class Muon(MatrixPart):
    r"""With :math:`g` the gradient of a matrix of :math:`r \times c` and :math:`\mu` = ``momentum``:
    :math:`m \leftarrow \mu m + (1 - \mu) g`,
    :math:`w \leftarrow (1 - \eta \lambda) w - 0.2 \sqrt{\max(r, c)}\, \eta\, \mathrm{NS}(\mu m + (1 - \mu) g)`,
    so that an update is as large as AdamW's and one rate serves both; see `orthogonalise` for NS.
    """

    @classmethod
    def of(cls, matrices: list[torch.nn.Parameter], lr: float, choices: Any) -> BatchedMuon:
        """All matrices of one shape together."""
        return BatchedMuon(matrices, lr, choices.momentum, choices.weight_decay)

    @classmethod
    def price(cls, rows: int, columns: int, choices: Any) -> float:
        r"""With :math:`s \le l`: five times :math:`4 s^2 l + 2 s^3`, and 6 an element for momentum, norm, decay and
        update."""
        s, longer = sorted((rows, columns))
        return ITERATIONS * (4 * s * s * longer + 2 * s**3) + 6 * s * longer

"""Muon: momentum whose matrix updates are orthogonalised, all matrices of one shape at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from isoloss.training.flops import ADAMW_FLOPS_PER_PARAMETER
from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.optimizers.base import Held, Joint, OptimizerPart

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer

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


class BatchedMuon(Held):
    """What ``torch.optim.Muon(..., adjust_lr_fn="match_rms_adamw")`` computes, in float32 and by shape.

    PyTorch's goes matrix by matrix, in bfloat16; on small matrices the calls cost more than the arithmetic: for 6 to 24
    matrices, 4 to 9 times this one's step at width 16 and 1.6 to 1.8 times at 64, on a processor with bfloat16 units.
    At 128, and only with such units, PyTorch's takes half as long.
    """

    held = ("mean",)

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        self.parameters: list[torch.Tensor] = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": lr}]
        self.momentum, self.weight_decay = momentum, weight_decay
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.alike: dict[tuple[int, int], list[int]] = {}
        for index, p in enumerate(self.parameters):
            # a tall matrix is orthogonalised as its transpose, so it joins the wide ones
            self.alike.setdefault((min(p.shape), max(p.shape)), []).append(index)

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that the parameters hold."""
        if not self.parameters:
            return
        lr = self.param_groups[0]["lr"]
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        torch._foreach_lerp_(self.mean, gradients, 1 - self.momentum)
        ahead = torch._foreach_lerp(gradients, self.mean, self.momentum)  # Nesterov's momentum
        torch._foreach_mul_(self.parameters, 1 - lr * self.weight_decay)
        for (_, columns), indices in self.alike.items():
            tall = [self.parameters[i].shape[0] == columns for i in indices]
            wide_nrc = torch.stack([ahead[i].mT if t else ahead[i] for i, t in zip(indices, tall, strict=True)])
            updates = [u.mT if t else u for u, t in zip(orthogonalise(wide_nrc), tall, strict=True)]
            chosen = [self.parameters[i] for i in indices]
            torch._foreach_add_(chosen, updates, alpha=-lr * ADAMW_RMS * math.sqrt(columns))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for p in self.parameters:
            p.grad = None


@optimizer(
    "muon",
    version=1,
    summary="Muon (orthogonalised momentum) for hidden matrices, AdamW for the rest",
    year=2024,
    source="Jordan et al. 2024 (kellerjordan.github.io/posts/muon); scaling of Liu et al. 2025 (arXiv 2502.16982)",
    claim="half of AdamW's compute (Liu et al. 2025); 1.4x at 0.1B, 1.1x at 1.2B against tuned AdamW (Wen et al. 2025)",
)
class Muon(OptimizerPart):
    r"""With :math:`g` the gradient of a matrix of :math:`r \times c` and :math:`\mu` = ``momentum``:
    :math:`m \leftarrow \mu m + (1 - \mu) g`,
    :math:`w \leftarrow (1 - \eta \lambda) w - 0.2 \sqrt{\max(r, c)}\, \eta\, \mathrm{NS}(\mu m + (1 - \mu) g)`,
    so that an update is as large as AdamW's and one rate serves both; see `orthogonalise` for NS.
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
        """`BatchedMuon` and `FusedAdam` together."""
        return Joint(
            BatchedMuon(matrices, lr, choices.momentum, choices.weight_decay),
            FusedAdam(others, lr_others, choices.betas, choices.weight_decay),
        )

    @classmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        r"""A matrix of :math:`s \le l`: five times :math:`4 s^2 l + 2 s^3`, and 6 an element for momentum, norm,
        decay and update; any other parameter 14."""
        total = ADAMW_FLOPS_PER_PARAMETER * others
        for rows, columns, count in matrices:
            s, longer = sorted((rows, columns))
            total += count * (ITERATIONS * (4 * s * s * longer + 2 * s**3) + 6 * s * longer)
        return float(total)

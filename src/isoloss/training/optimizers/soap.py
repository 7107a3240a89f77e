"""SOAP: Adam in the eigenbasis of Shampoo's statistics, by the package pytorch-optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isoloss.training.flops import ADAMW_FLOPS_PER_PARAMETER, qr_flops
from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.optimizers.base import Joint, OptimizerPart, needs

if TYPE_CHECKING:
    from torch.nn import Parameter

    from isoloss.training.gradient import Optimizer

needs("pytorch_optimizer")


@optimizer(
    "soap",
    version=1,
    summary="SOAP (Adam in Shampoo's eigenbasis) for hidden matrices, AdamW for the rest",
    year=2024,
    source="Vyas et al. 2024 (arXiv 2409.11321); implementation: pytorch-optimizer",
    claim="40% fewer steps and 35% less time than AdamW at 360M and 660M, batches of 2M tokens (Vyas et al. 2024)",
)
class SOAP(OptimizerPart):
    r"""Of a matrix's gradient :math:`G`, running means of :math:`G G^T` and :math:`G^T G` at rate :math:`\beta_2`;
    Adam runs in their eigenbases, which one step of power iteration and a QR refresh every tenth step. Weight decay
    is decoupled. As in the source's own code, the first step only starts the statistics and moves no matrix.
    """

    period = 10

    @classmethod
    def build(
        cls, matrices: list[Parameter], others: list[Parameter], lr: float, lr_others: float, choices: Any
    ) -> Optimizer:
        """The package's optimiser and `FusedAdam` together."""
        rest = FusedAdam(others, lr_others, choices.betas, choices.weight_decay)
        if not matrices:
            return rest
        from pytorch_optimizer import SOAP as PackagedSOAP

        soap = PackagedSOAP(
            matrices,
            lr=lr,
            betas=choices.betas,
            weight_decay=choices.weight_decay,
            precondition_frequency=cls.period,
        )
        return Joint(soap, rest, period=cls.period)

    @classmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        r"""A matrix of :math:`r \times c`: three changes of basis and two outer products, :math:`8 r c (r + c)`;
        7 an element, 8 with weight decay; :math:`r^2 + c^2` for the running means. A tenth of the refresh: for each
        side :math:`n` a product, a QR and :math:`2 n^2`. Any other parameter 14.
        """
        pointwise = 7 + bool(choices.weight_decay)
        total = float(ADAMW_FLOPS_PER_PARAMETER * others)
        for r, c, count in matrices:
            refresh = sum(2 * n**3 + qr_flops(n, n) + 2 * n * n for n in (r, c))
            step = 8 * r * c * (r + c) + pointwise * r * c + r * r + c * c
            total += count * (step + refresh / cls.period)
        return total

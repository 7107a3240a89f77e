"""Shampoo with grafting, by the package pytorch-optimizer."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from isoloss.training.formulas import svd_flops
from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.base import needs
from isoloss.training.optimizers.matrices import MatrixPart

if TYPE_CHECKING:
    from torch.nn import Parameter

    from isoloss.training.gradient import Optimizer

needs("pytorch_optimizer")

#: a longer side is cut into blocks of this many, each with statistics of its own
BLOCK = 512


def blocks(side: int) -> list[int]:
    """Sizes of the blocks of a side.

    >>> blocks(16), blocks(1100)
    ([16], [512, 512, 76])
    """
    return [min(BLOCK, side - start) for start in range(0, side, BLOCK)]


@optimizer(
    "shampoo",
    version=1,
    summary="Shampoo with RMSProp's step size for hidden matrices, AdamW for the rest",
    year=2018,
    source="Gupta et al. 2018 (arXiv 1802.09568); grafting: Anil et al. 2020 (arXiv 2002.09018); "
    "implementation: pytorch-optimizer",
    claim="28% faster than the tuned baseline over AlgoPerf's workloads (Kasimbeg et al. 2025)",
)
class Shampoo(MatrixPart):
    r"""With :math:`L, R` running means of :math:`G G^T` and :math:`G^T G` at rate :math:`\beta_2`, the direction
    :math:`L^{-1/4} G R^{-1/4}` (roots by SVD, refreshed every tenth step) is scaled to the norm of RMSProp's update,
    so that rates are Adam's; then Nesterov's momentum :math:`\beta_1` and decoupled weight decay. The first nine
    steps are RMSProp's.
    """

    period = 10

    @classmethod
    def of(cls, matrices: list[Parameter], lr: float, choices: Any) -> Optimizer:
        """The package's optimiser."""
        from pytorch_optimizer import ScalableShampoo
        from pytorch_optimizer.optimizer.utils.graft import LayerWiseGrafting

        return ScalableShampoo(
            matrices,
            lr=lr,
            betas=choices.betas,
            moving_average_for_momentum=True,
            weight_decay=choices.weight_decay,
            decoupled_weight_decay=True,
            start_preconditioning_step=cls.period,
            preconditioning_compute_steps=cls.period,
            block_size=BLOCK,
            # on, it folds any matrix of up to `block_size` elements into a vector, which is then not preconditioned
            shape_interpretation=False,
            graft_type=LayerWiseGrafting.RMSPROP,
            # the alternative iterates as long as the numbers ask for (no formula) and draws from torch's generator
            use_svd=True,
        )

    @classmethod
    def price(cls, rows: int, columns: int, choices: Any) -> float:
        r"""Of each block of :math:`r \times c`: statistics and direction :math:`4 r c (r + c)` together, and
        :math:`2 (r^2 + c^2)` where the blocks of the matrix are not all square and alike; 15 an element, 16 with weight
        decay. A tenth of the refresh: for each side :math:`n` an SVD, a product and :math:`n^2 + n`.
        """
        pointwise = 15 + bool(choices.weight_decay)
        cut = list(product(blocks(rows), blocks(columns)))
        alike = len({n for block in cut for n in block}) == 1  # then all statistics are one batched product
        total = 0.0
        for r, c in cut:
            refresh = sum(svd_flops(n, n) + 2 * n**3 + n * n + n for n in (r, c))
            means = 0 if alike else 2 * (r * r + c * c)
            total += 4 * r * c * (r + c) + pointwise * r * c + means + refresh / cls.period
        return total

"""Optimisers of matrices: a rule for hidden matrices, AdamW for everything else."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isoloss.training.formulas import ADAMW_FLOPS_PER_PARAMETER
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.optimizers.base import Joint, OptimizerPart

if TYPE_CHECKING:
    from torch.nn import Parameter

    from isoloss.training.gradient import Optimizer


class MatrixPart(OptimizerPart):
    """Subclasses give `of` and `price` for hidden matrices; embeddings, head and vectors go to AdamW."""

    @classmethod
    @abc.abstractmethod
    def of(cls, matrices: list[Parameter], lr: float, choices: Any) -> Optimizer:
        """The optimiser of `matrices` (at least one) at the peak rate `lr`."""

    @classmethod
    @abc.abstractmethod
    def price(cls, rows: int, columns: int, choices: Any) -> float:
        """FLOPs of a step of one matrix, the mean over a period."""

    @classmethod
    def build(
        cls, matrices: list[Parameter], others: list[Parameter], lr: float, lr_others: float, choices: Any
    ) -> Optimizer:
        """Both side by side; AdamW alone where there is no matrix."""
        rest = FusedAdam(others, lr_others, choices.betas, choices.weight_decay)
        return Joint(cls.of(matrices, lr, choices), rest, period=cls.period) if matrices else rest

    @classmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        """`price` of every matrix, and 14 for any other parameter."""
        total = sum(count * cls.price(rows, columns, choices) for rows, columns, count in matrices)
        return total + ADAMW_FLOPS_PER_PARAMETER * others

"""Schedule-free AdamW, by its authors' package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isoloss.errors import StudyError
from isoloss.training.optimizers import optimizer
from isoloss.training.optimizers.base import OptimizerPart, elements, needs

if TYPE_CHECKING:
    from torch.nn import Parameter

    from isoloss.training.gradient import Optimizer

needs("schedulefree")


@optimizer(
    "schedule-free",
    version=1,
    summary="AdamW whose averaged weights stand in for a decaying rate",
    year=2024,
    source="Defazio et al. 2024 (arXiv 2405.15682); implementation: schedulefree",
    claim="8% faster than the tuned baseline over AlgoPerf's workloads (Kasimbeg et al. 2025)",
)
class ScheduleFree(OptimizerPart):
    r"""Gradients are taken at :math:`y = (1 - \beta_1) z + \beta_1 x`, Adam's step without momentum moves :math:`z`,
    and :math:`x` is the mean of all :math:`z`, weighted by the square of the largest rate so far; :math:`x` is what is
    evaluated, so the loop calls ``train()`` and ``eval()``.

    The rate warms up and then stays, which is the schedule ``constant``; any other is refused, since the weights of
    the mean assume that the rate never falls. The package's own warm-up is off: the schedule's does the same to both
    step and weights. Batch normalisation would need its statistics taken again at :math:`x`; no model here with it
    offers this optimiser.
    """

    @classmethod
    def check(cls, choices: Any) -> None:
        """Raise `StudyError` for any schedule but ``constant``."""
        if choices.schedule != "constant":
            what = f"'{choices.schedule}' can't go with optimizer 'schedule-free', which replaces the schedule"
            raise StudyError("schedule", what, "set schedule to 'constant' (warm-up only)")

    @classmethod
    def build(
        cls, matrices: list[Parameter], others: list[Parameter], lr: float, lr_others: float, choices: Any
    ) -> Optimizer:
        """The package's optimiser with a group for each rate. Raises as `check` does."""
        cls.check(choices)
        from schedulefree import AdamWScheduleFree

        groups = [{"params": part, "lr": rate} for part, rate in ((matrices, lr), (others, lr_others)) if part]
        return AdamWScheduleFree(groups, betas=choices.betas, weight_decay=choices.weight_decay)

    @classmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        """9 a parameter, 10 with weight decay."""
        return (9 + bool(choices.weight_decay)) * (elements(matrices) + others)

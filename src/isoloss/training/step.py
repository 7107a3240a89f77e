"""One step of one run: gradient, clipping, update."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from isoloss.training.accumulate import Shards, backward
from isoloss.training.faults import is_out_of_memory
from isoloss.training.flops import PeriodicMeter
from isoloss.training.gradient import Trainee


def scale_down(gradients: list[torch.Tensor], largest: float) -> None:
    """Scale `gradients` together, in place, so that their joint Euclidean norm is at most `largest`.

    What `torch.nn.utils.clip_grad_norm_` computes, without its grouping by device: on models this small that
    bookkeeping is a tenth of a step.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp_(max=1.0))


def finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether every number in `tensors` is finite."""
    found = list(tensors)
    if not found:
        return True
    largest = torch.stack(torch._foreach_norm(found, float("inf")))
    return bool(largest.isfinite().all())


class Step:
    """``loss = step(batch)``: the loss of `trainee` before an update by its optimiser, watched while `meter` needs it.

    `shards` make the gradient where there are any. The loss is NaN where an operator refuses to go on because a number
    is not finite.
    """

    def __init__(self, trainee: Trainee, meter: PeriodicMeter, shards: Shards | None = None) -> None:
        self.trainee, self.meter, self.shards = trainee, meter, shards
        self.parameters = [p for p in trainee.model.parameters() if p.requires_grad]

    def __call__(self, batch: Any) -> torch.Tensor:
        """Take the step."""
        try:
            with self.meter.step():
                return self._take(batch)
        except RuntimeError as error:
            # a decomposition, say, that is given no numbers: the loss was not finite, or a gradient
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            if is_out_of_memory(error) or finite([*self.parameters, *gradients]):
                raise
            return torch.full((), math.nan, device=self.parameters[0].device)

    def _take(self, batch: Any) -> torch.Tensor:
        trainee = self.trainee
        loss = backward(trainee, batch) if self.shards is None else self.shards(batch)
        if trainee.clip is not None:
            scale_down([p.grad for p in self.parameters if p.grad is not None], trainee.clip)
        trainee.optimizer.step()
        for p in self.parameters:
            p.grad = None
        return loss

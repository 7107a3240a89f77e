r"""Distillation: a small network that learns from the labels and from a large one that learns beside it.

.. math:: L = H(y, t) + (1 - \alpha) H(y, s) + \alpha \tau^2 H(\mathrm{softmax}(t / \tau), s / \tau),

logits t of the teacher (no gradient through the last term) and s of the student, H the cross-entropy. Teacher and
student take the same steps at the same time, so that a run costs one training of both and no more: online distillation.

Sources: Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), :math:`\alpha` and :math:`\tau`; Anil et al. 2018 (arXiv
1804.03235), at the same time.
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, work
from isoloss.algorithms.vision.base import error_rate, loss_flops
from isoloss.algorithms.vision.compact import LARGE, SMOKE, CompactDense, Perceptron, perceptron_cost
from isoloss.training.gradient import Trainee


@algorithm(
    "vision/compact-distilled",
    version=1,
    summary="small dense network taught by the large one, which learns at the same time",
    year=2015,
    source="Hinton, Vinyals & Dean 2015, arXiv 1503.02531; Anil et al. 2018, arXiv 1804.03235",
    claim="MNIST: 146 test errors alone, 74 when distilled from a network with 67 (Hinton et al. 2015)",
    smoke=SMOKE,
)
class CompactDistilled(CompactDense):
    """`CompactDense` and its teacher; evaluated, stored and priced for inference without it."""

    class Choices(CompactDense.Choices):
        """`taught`: the weight alpha of the teacher's answers; `temperature`: tau."""

        taught: float = Field(0.5, ge=0, le=1)
        temperature: float = Field(2.0, gt=0)

    def model(self, task: Any, choices: Any) -> nn.Module:
        """Both."""
        teacher = Perceptron(task.pixels, LARGE, task.classes)
        return nn.ModuleDict({"student": super().model(task, choices), "teacher": teacher})

    def cost(self, task: Any, choices: Any) -> Cost:
        """Both; the cross-entropy of the teacher with the labels and of the student with it, 3 softmaxes more."""
        extra = work(3 * loss_flops(task.classes), 0)
        return super().cost(task, choices) + perceptron_cost(task.pixels, LARGE, task.classes) + extra

    def sizes(self, task: Any, choices: Any) -> dict[str, float]:
        """The student's."""
        student = super().cost(task, choices)
        own = {"inference_flops": student.forward, "active_parameters": student.active}
        return super().sizes(task, choices) | own | {"non_embedding_parameters": student.parameters}

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """With the loss above, and the student's error."""
        trainee = super().build(task, choices, seed)
        student, teacher = trainee.model["student"], trainee.model["teacher"]  # type: ignore[index]
        trainee.loss = functools.partial(_loss, student, teacher, choices)
        trainee.evaluate = lambda split: error_rate(student, *task.evaluation(split))
        return trainee


def _loss(
    student: nn.Module, teacher: nn.Module, choices: CompactDistilled.Choices, batch: tuple[Tensor, Tensor]
) -> Tensor:
    x_b1hw, y_b = batch
    alpha, tau = choices.taught, choices.temperature
    s_bk, t_bk = student(x_b1hw), teacher(x_b1hw)
    told = cross_entropy(s_bk / tau, (t_bk.detach() / tau).softmax(1))
    return cross_entropy(t_bk, y_b) + (1 - alpha) * cross_entropy(s_bk, y_b) + alpha * tau**2 * told

r"""What is compared at equal size: a network of two hidden layers on Fashion-MNIST, and the budget of its parameters.

The ladder is ``active_parameters``: weights and biases that are not zero. Images are first averaged over 2x2 pixels (in
every arm), so that a dense network of 2,000 parameters makes sense, and dropping empty borders is no merit. The large
network is LeNet-300-100 (LeCun et al. 1998; Frankle & Carbin 2019, arXiv 1803.03635): 196, 300, 100, 10 units, 90,210
parameters. Every arm takes the same number of steps in all, pruning and fine-tuning included; no gradient is clipped,
since the norm of a masked gradient is not that of a whole one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.base import Rung
from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.vision.base import ImageAlgorithm, loss_flops
from isoloss.algorithms.vision.cost import pointwise
from isoloss.algorithms.vision.masks import WEIGHT
from isoloss.errors import StudyError
from isoloss.training.formulas import ADAMW_FLOPS_PER_PARAMETER
from isoloss.training.gradient import Trainee

#: Hidden units of the large network.
LARGE = (300, 100)
#: A contract run: seconds, and better than a guess.
SMOKE: dict[str, Any] = {
    "task": "vision/fashion-mnist",
    "resource": "active_parameters",
    "budget": 9000,
    "step_rule": {"kind": "constant", "value": 80},
    "choices": {"lr": 5e-3, "labels": 2000},
}


class Perceptron(nn.Module):
    """2x2 means, two hidden layers with ReLU, logits. `bits` below 32: weights as that many bits would hold them."""

    def __init__(self, pixels: int, hidden: tuple[int, int], classes: int, bits: int = 32) -> None:
        super().__init__()
        sizes = ((pixels // 2) ** 2, *hidden, classes)
        self.layers = nn.ModuleList(Rounded(into, out, bits) for into, out in pairwise(sizes))

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images ``(batch, 1, pixels, pixels)`` to logits."""
        h_bc = nn.functional.avg_pool2d(x_b1hw, 2).flatten(1)
        for i, layer in enumerate(self.layers):
            h_bc = layer(h_bc.relu() if i else h_bc)
        return h_bc


class Rounded(nn.Linear):
    """A dense layer whose weights are `rounded` to `bits` bits; at 32 an ordinary one."""

    def __init__(self, into: int, out: int, bits: int) -> None:
        super().__init__(into, out)
        self.bits = bits

    def forward(self, x_bc: Tensor) -> Tensor:
        """``(batch, into)`` to ``(batch, out)``."""
        weight = self.weight if self.bits == 32 else rounded(self.weight, self.bits)
        return nn.functional.linear(x_bc, weight, self.bias)


def rounded(weight: Tensor, bits: int) -> Tensor:
    r"""`weight` in `bits` bits, symmetric about 0 with a scale for each row (output), and the gradient of no rounding.

    :math:`s\,\mathrm{round}(w / s)` with :math:`s = \max|w| / (2^{b-1} - 1)`; straight-through gradient (Bengio et al.
    2013; Jacob et al. 2018, arXiv 1712.05877). 7 FLOPs a weight.
    """
    with torch.no_grad():
        scale = (weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp(min=1e-12)
        difference = (weight / scale).round() * scale - weight
    return weight + difference


def shapes(pixels: int, hidden: tuple[int, int], classes: int) -> list[tuple[int, int]]:
    """``(out, in)`` of each weight matrix."""
    return [(out, into) for into, out in pairwise(((pixels // 2) ** 2, *hidden, classes))]


def perceptron_cost(pixels: int, hidden: tuple[int, int], classes: int) -> Cost:
    """Parameters, and FLOPs of an image, of a dense `Perceptron`."""
    layers = shapes(pixels, hidden, classes)
    cost = work(pixels**2, 0) + pointwise(sum(hidden))
    for out, into in layers:
        cost += linear(into, out, bias=True)
    # the gradient of the image is not made
    return cost + work(0, -2 * layers[0][0] * layers[0][1])


def fitting(pixels: int, classes: int, budget: int) -> tuple[int, int]:
    """Hidden units of the largest dense network within `budget` parameters: a third in the second layer, or as many as
    classes where that is more. ``(0, classes)`` where there is none.

    >>> fitting(28, 10, 9000)
    (41, 14)
    """
    first = 0
    while True:
        hidden = (first + 1, max(round((first + 1) / 3), classes))
        if perceptron_cost(pixels, hidden, classes).parameters > budget:
            return first, max(round(first / 3), classes)
        first += 1


class Compact(ImageAlgorithm):
    """A network that ends up with the rung's number of parameters that are not zero."""

    class Choices(ImageAlgorithm.Choices):
        """`nonzeros` is set by the rung."""

        lr: float = Field(3e-3, gt=0)
        weight_decay: float = Field(0.01, ge=0)
        nonzeros: int | None = Field(None, ge=1)

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """`choices` with `nonzeros` from the rung and `steps` from its step rule.

        Raises `StudyError` for another ladder, one without a step rule, and a budget that no network fits in.
        """
        if rung.resource != "active_parameters":
            what = f"'{rung.resource}' can't be set for this algorithm"
            raise StudyError("ladder.resource", what, "use 'active_parameters'")
        if rung.step_rule is None and choices.steps is None:
            what = "a ladder over parameters states how many steps a run takes"
            raise StudyError("ladder.step_rule", "is missing", what)
        nonzeros, labels = round(rung.budget), choices.labels or task.pool
        if choices.nonzeros not in (None, nonzeros):
            what = f"is set to {choices.nonzeros} at a rung of {nonzeros}"
            raise StudyError("nonzeros", what, "leave it to the ladder")
        if not 2 <= labels <= task.pool:
            raise StudyError("labels", f"{labels} labels are asked for", f"the task has 2 to {task.pool}")
        least, most = self.fits(task)
        if not least <= nonzeros <= most:
            raise StudyError("ladder.rungs", f"{nonzeros} parameters are asked for", f"it has {least} to {most}")
        choices = choices.model_copy(update={"labels": labels, "nonzeros": nonzeros})
        return choices.model_copy(update={"steps": choices.steps or self._steps(task, rung, choices)})

    def fits(self, task: Any) -> tuple[int, int]:
        """The smallest and the largest rung."""
        least = perceptron_cost(task.pixels, (1, task.classes), task.classes).parameters
        return int(least), int(perceptron_cost(task.pixels, LARGE, task.classes).parameters)

    def hidden(self, task: Any, choices: Any) -> tuple[int, int]:
        """Hidden units of the network that is trained."""
        return LARGE

    def model(self, task: Any, choices: Any) -> nn.Module:
        """A `Perceptron`."""
        return Perceptron(task.pixels, self.hidden(task, choices), task.classes)

    def cost(self, task: Any, choices: Any) -> Cost:
        """That of the network that is trained, zeros included."""
        return perceptron_cost(task.pixels, self.hidden(task, choices), task.classes)

    def step_flops(self, task: Any, choices: Any) -> float:
        """All images, AdamW without clipping, and what a step does once whatever the batch."""
        cost = self.cost(task, choices)
        update = ADAMW_FLOPS_PER_PARAMETER * cost.parameters
        return choices.batch * (cost.training + loss_flops(task.classes)) + update + self.once(task, choices)

    def once(self, task: Any, choices: Any) -> float:
        """FLOPs of a step that no image adds to."""
        return 0.0

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """As any image algorithm's, unclipped."""
        trainee = super().build(task, choices, seed)
        trainee.clip = None
        return trainee


@algorithm(
    "vision/compact-dense",
    version=1,
    summary="dense network as small as the budget of parameters asks, by choice with weights of few bits",
    year=1989,
    source="LeCun, Denker & Solla 1989 (its rival is the smaller network); Jacob et al. 2018, arXiv 1712.05877 (bits)",
    claim="the baseline that papers on pruning leave out most (Blalock et al. 2020, arXiv 2003.03033)",
    smoke=SMOKE,
)
class CompactDense(Compact):
    """`fitting` hidden units; `bits` below 32 are trained with rounded weights."""

    class Choices(Compact.Choices):
        """`bits` of a weight, one scale of 4 bytes for each output."""

        bits: Literal[32, 8, 4, 2] = 32

    def hidden(self, task: Any, choices: Any) -> tuple[int, int]:
        """As many as fit."""
        return fitting(task.pixels, task.classes, choices.nonzeros)

    def model(self, task: Any, choices: Any) -> nn.Module:
        """A `Perceptron`, rounded where the choices say so."""
        return Perceptron(task.pixels, self.hidden(task, choices), task.classes, choices.bits)

    def once(self, task: Any, choices: Any) -> float:
        """Rounding: 7 a weight."""
        return 0.0 if choices.bits == 32 else 7.0 * self._weights(task, choices)

    def sizes(self, task: Any, choices: Any) -> dict[str, float]:
        """Those of any network, and its bytes."""
        sizes, weights = super().sizes(task, choices), self._weights(task, choices)
        rows = sum(out for out, _ in shapes(task.pixels, self.hidden(task, choices), task.classes))
        scales = 0 if choices.bits == 32 else WEIGHT * rows
        return sizes | {"stored_bytes": weights * choices.bits / 8 + scales + WEIGHT * rows}

    def _weights(self, task: Any, choices: Any) -> int:
        return sum(out * into for out, into in shapes(task.pixels, self.hidden(task, choices), task.classes))

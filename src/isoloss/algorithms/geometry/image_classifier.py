"""What the convolutional arms share: choices, data, evaluation and the price of a step.

Every arm is one layout, so that only the convolution differs. With `w` = ``width`` channels and G the group whose
elements each channel holds (one for a plain CNN):

====== ============================== ================= =====================
stage  operation                      output (pixels)   channels
====== ============================== ================= =====================
1      3x3 convolution, norm, ReLU    8 x 8             w |G|
       mean over 2x2                  4 x 4             w |G|
2      3x3 convolution, norm, ReLU    4 x 4             w |G|
3      4x4 convolution, norm, ReLU    1 x 1             2w |G|
       maximum over G                 1 x 1             2w
head   linear                                           10
====== ============================== ================= =====================

Norm is batch normalisation: without it the plain network's error at 800 labels doubles, and p4 looks eleven to
eighteen times better in place of five. Stage 3 sees the whole 4x4 map, so the plain network keeps all positions,
which a global mean would take from it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms.cost import Cost
from isoloss.algorithms.vision.base import UPDATE_FLOPS, ImageAlgorithm, in_order
from isoloss.tasks.rotated_digits import TURNS
from isoloss.training.formulas import NORMALISE_FLOPS_PER_ELEMENT

PIXELS = 8
CLASSES = 10


class ImageClassifier(ImageAlgorithm):
    """A convolutional network trained on a seed's subset of labelled images, AdamW, cosine to zero.

    Subclasses give `network(width)`, `order` (|G|) and `augmented` (whether drawn images are turned at random).
    """

    order: int = 1
    augmented: bool = False

    class Choices(ImageAlgorithm.Choices):
        """Hyper-parameters of a convolutional arm."""

        lr: float = Field(3e-2, gt=0)
        weight_decay: float = Field(1.0, ge=0)

    @abc.abstractmethod
    def network(self, width: int) -> nn.Module:
        """The network: images ``(batch, 1, 8, 8)`` to logits ``(batch, 10)``."""

    def model(self, task: Any, choices: Any) -> nn.Module:
        """`network` at the chosen width."""
        return self.network(choices.width)

    def cost(self, task: Any, choices: Any) -> Cost:
        """See `price`."""
        amounts = price(self.order, choices.width, choices.batch)
        weights, forward = amounts["active_parameters"], amounts["inference_flops"]
        return Cost(weights, weights, 0.0, forward, amounts["training"])

    def step_flops(self, task: Any, choices: Any) -> float:
        """See `price`."""
        return price(self.order, choices.width, choices.batch)["step"]

    def batches(
        self, task: Any, choices: Any, seed: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches in the order of all arms; turns are drawn for all of them too, used or not."""
        images, labels = task.subset(choices.labels, seed)
        x_n1hw, y_n = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
        turned_rn1hw = torch.stack([torch.rot90(x_n1hw, k, dims=(2, 3)) for k in range(TURNS)])
        picked = in_order(len(y_n), choices.batch, choices.steps, generator)
        rounds = -(-choices.batch * choices.steps // len(y_n))
        turns = torch.randint(TURNS, (rounds * len(y_n),), generator=generator)
        if not self.augmented:
            turns = torch.zeros_like(turns)
        for place, turn in zip(picked, turns.split(choices.batch), strict=False):
            yield turned_rn1hw[turn[: len(place)], place], y_n[place]


def price(order: int, width: int, batch: int) -> dict[str, float]:
    r"""Parameters, inference FLOPs of an image and training FLOPs of a step (``step``), by formula.

    A convolution with :math:`c` input and :math:`c'` output channels (both counted over the group), window
    :math:`k^2` and :math:`p` output pixels costs :math:`2 c c' k^2 p` forward, as much again for the gradient of its
    kernel and, unless it is the first, for that of its input. Its free kernel has :math:`c c' k^2 / |G|` entries;
    expanding it moves numbers only, the gradient of the expansion adds :math:`c c' k^2` of them. Batch normalisation
    5 per element each way, ReLU 1 each way, AdamW 14 and clipping 3 per parameter.
    """
    stages = [  # input channels, output channels, window, output pixels
        (1, width * order, 3, PIXELS**2),
        (width * order, width * order, 3, (PIXELS // 2) ** 2),
        (width * order, 2 * width * order, PIXELS // 2, 1),
    ]
    weights = [cin * cout * k * k for cin, cout, k, _ in stages]
    products = [2 * n * pixels for n, (*_, pixels) in zip(weights, stages, strict=True)]
    elements = sum(cout * pixels for _, cout, _, pixels in stages)
    head = 2 * width * CLASSES
    pooled = width * order * PIXELS**2 + (2 * width * order if order > 1 else 0)
    softmax = NORMALISE_FLOPS_PER_ELEMENT * CLASSES

    parameters = sum(weights) // order + 2 * (4 * width) + head + CLASSES
    forward = sum(products) + 2 * head + (NORMALISE_FLOPS_PER_ELEMENT + 1) * elements + pooled
    backward = (
        products[0] + 2 * sum(products[1:]) + 2 * 2 * head + (NORMALISE_FLOPS_PER_ELEMENT + 1) * elements + CLASSES
    )
    expansion = sum(weights) if order > 1 else 0
    step = batch * (forward + backward + 2 * softmax) + expansion + UPDATE_FLOPS * parameters
    return {
        "step": float(step),
        "training": float(forward + backward),
        "inference_flops": float(forward),
        "active_parameters": float(parameters),
        "non_embedding_parameters": float(parameters),
    }

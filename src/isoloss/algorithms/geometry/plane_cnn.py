"""The plain network on digits at any angle: what every equivariant one must beat, augmented and averaged as well."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear
from isoloss.algorithms.geometry.plane_classifier import (
    CLASSES,
    SMOKE,
    STAGES,
    PlaneClassifier,
)
from isoloss.algorithms.vision.cost import convolution, norm, pointwise
from isoloss.tasks.rotated_mnist import FULL, turned


class PlaneCNN(nn.Module):
    """Three convolutions (layout: `isoloss.algorithms.geometry.plane_classifier`), the last with twice the channels.

    `averaged`: evaluated as the mean probability over that many equal turns of the image (test-time augmentation).
    """

    def __init__(self, width: int, averaged: int) -> None:
        super().__init__()
        self.averaged = averaged
        layers: list[nn.Module] = []
        for into, out, stage in zip((1, width, width), (width, width, 2 * width), STAGES, strict=True):
            layers += [
                nn.Conv2d(into, out, stage.size, stage.stride, stage.padding, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images ``(batch, 1, 28, 28)`` to logits ``(batch, 10)``; log-probabilities where it averages."""
        if self.training or self.averaged == 1:
            return self.head(self.layers(x_b1hw).flatten(1))
        found = []
        for k in range(self.averaged):
            angle = x_b1hw.new_full((len(x_b1hw),), k * FULL / self.averaged)
            found.append(self.head(self.layers(turned(x_b1hw, angle)).flatten(1)).log_softmax(1))
        return torch.stack(found).logsumexp(0)


@algorithm(
    "geometry/plane-cnn",
    version=1,
    summary="plain convolutional network on digits at any angle, by choice augmented or averaged over turns",
    year=1989,
    source="LeCun et al. 1989, Neural Computation 1(4); Simard, Steinkraus & Platt 2003 (augmentation)",
    claim="the baseline: 2.9% error on rotated MNIST with 12,000 images (Weiler & Cesa 2019, their plain CNN)",
    smoke=SMOKE | {"choices": {"width": 8}},
)
class PlainPlaneCNN(PlaneClassifier):
    """`PlaneCNN`; without its choices, on the images as they are."""

    class Choices(PlaneClassifier.Choices):
        """`averaged`: turns of an image whose predictions are averaged when it is evaluated."""

        averaged: int = Field(1, ge=1, le=64)

    def model(self, task: Any, choices: Choices) -> nn.Module:
        """A `PlaneCNN`."""
        return PlaneCNN(choices.width, choices.averaged)

    def cost(self, task: Any, choices: Choices) -> Cost:
        """Layer by layer; an image is evaluated `averaged` times."""
        w, cost = choices.width, linear(2 * choices.width, CLASSES, bias=True)
        for into, out, stage in zip((1, w, w), (w, w, 2 * w), STAGES, strict=True):
            places = stage.pixels**2
            cost += convolution(into, out, stage.size, places, first=into == 1)
            cost += norm(out, places) + pointwise(out * places)
        return cost + Cost(forward=(choices.averaged - 1) * cost.forward)

    def expansion(self, choices: Choices) -> float:
        """None: kernels are free."""
        return 0.0

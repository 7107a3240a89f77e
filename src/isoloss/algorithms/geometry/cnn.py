"""The plain convolutional network, with and without rotation augmentation: the baselines of any equivariant one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.geometry.image_classifier import CLASSES, PIXELS, ImageClassifier

#: A contract run: seconds, and better than a guess.
SMOKE: dict[str, Any] = {
    "task": "geometry/rotated-digits",
    "resource": "labels",
    "budget": 128,
    "step_rule": {"kind": "constant", "value": 60},
    "choices": {"lr": 1e-2, "width": 8},
}


class PlainCNN(nn.Module):
    """Convolution, norm and ReLU three times, then linear (layout: `isoloss.algorithms.geometry.image_classifier`)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * width, PIXELS // 2, bias=False)
        self.norm3 = nn.BatchNorm2d(2 * width)
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images ``(batch, 1, 8, 8)`` to logits ``(batch, 10)``."""
        h_bchw = nn.functional.avg_pool2d(self.norm1(self.conv1(x_b1hw)).relu(), 2)
        h_bchw = self.norm2(self.conv2(h_bchw)).relu()
        h_bc11 = self.norm3(self.conv3(h_bchw)).relu()
        return self.head(h_bc11.flatten(1))


@algorithm(
    "geometry/cnn",
    version=1,
    summary="plain convolutional network with batch normalisation; each image in its one turn",
    year=1989,
    source="LeCun et al. 1989, Neural Computation 1(4); Ioffe & Szegedy 2015, arXiv 1502.03167 (normalisation)",
    claim="the baseline: about 2.9% error on rotated MNIST with 12,000 images (Weiler & Cesa 2019, their plain CNN)",
    smoke=SMOKE,
)
class CNN(ImageClassifier):
    """The plain network on the images as they are."""

    def network(self, width: int) -> nn.Module:
        """A `PlainCNN`."""
        return PlainCNN(width)


@algorithm(
    "geometry/cnn-augmented",
    version=1,
    summary="the plain network trained on random quarter turns of each drawn image",
    year=2003,
    source="Simard, Steinkraus & Platt 2003 (augmentation); Brehmer et al. 2024, arXiv 2410.23179 (as a rival)",
    claim="given enough epochs augmentation closes the data gap to an equivariant network (Brehmer et al. 2024)",
    smoke=SMOKE,
)
class AugmentedCNN(CNN):
    """The plain network; every drawn image is turned by a random multiple of 90 degrees, at no FLOPs."""

    augmented = True

r"""The small convolutional network that every other idea of the vision laboratory is measured against.

With w = ``width`` and images of P x P (28: 14 x 14 after the first layer, 7 x 7 after the second):

====== ===================================== ================= ========
stage  operation                             output (pixels)   channels
====== ===================================== ================= ========
1      3x3 convolution, stride 2, norm, ReLU P/2 x P/2         w
2      3x3 convolution, stride 2, norm, ReLU P/4 x P/4         2w
3      3x3 convolution, norm, ReLU           P/4 x P/4         2w
====== ===================================== ================= ========

The head sees every position of stage 3: a mean over them costs a third more errors at 8,000 labels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost
from isoloss.algorithms.vision.classifier import Classifier
from isoloss.algorithms.vision.cost import convolution, norm, pointwise

#: A contract run: seconds, and better than a guess.
SMOKE: dict[str, Any] = {
    "task": "vision/digits",
    "resource": "labels",
    "budget": 200,
    "step_rule": {"kind": "constant", "value": 60},
    "choices": {"lr": 1e-2, "width": 8},
}


class Convolutions(nn.Module):
    """Three convolutions with batch normalisation: the encoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(2 * width)

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images to features ``(batch, 2 width (P/4)^2)``."""
        h_bchw = self.norm1(self.conv1(x_b1hw)).relu()
        h_bchw = self.norm2(self.conv2(h_bchw)).relu()
        return self.norm3(self.conv3(h_bchw)).relu().flatten(1)


def halved(pixels: int) -> int:
    """Pixels a side after a convolution of stride 2 with padding."""
    return (pixels + 1) // 2


@algorithm(
    "vision/cnn",
    version=1,
    summary="small convolutional network with batch normalisation: the baseline",
    year=1989,
    source="LeCun et al. 1989, Neural Computation 1(4); Ioffe & Szegedy 2015, arXiv 1502.03167 (normalisation)",
    claim="the baseline: two convolutional layers reach 8.4% error on Fashion-MNIST with 60,000 labels (its read-me)",
    smoke=SMOKE,
)
class CNN(Classifier):
    """`Convolutions` and a linear head."""

    def encoder(self, task: Any, choices: Any) -> nn.Module:
        """`Convolutions`."""
        return Convolutions(choices.width)

    def features(self, task: Any, choices: Any) -> int:
        """Channels of the last stage at all of its positions."""
        return 2 * choices.width * halved(halved(task.pixels)) ** 2

    def encoding(self, task: Any, choices: Any) -> Cost:
        """Each stage is a convolution, a norm and an activation."""
        w, half = choices.width, halved(task.pixels)
        quarter = halved(half)
        stages = [(1, w, half**2), (w, 2 * w, quarter**2), (2 * w, 2 * w, quarter**2)]
        total = Cost()
        for number, (into, out, pixels) in enumerate(stages):
            total += convolution(into, out, 3, pixels, first=number == 0)
            total += norm(out, pixels) + pointwise(out * pixels)
        return total

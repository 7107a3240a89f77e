r"""Group-equivariant convolutional networks on the square grid (p4, p4m).

A feature map after the first layer is a function :math:`f_c(h, x)` of channel, group element and pixel. The lifting
and the group convolution are

.. math::
    (\psi * f)_o(g, x) = \sum_{c, y} \psi_{oc}(g^{-1} y)\, f_c(x + y), \qquad
    (\psi * f)_o(g, x) = \sum_{c, h, y} \psi_{oc}(g^{-1}h,\, g^{-1} y)\, f_c(h, x + y),

so turning the input by t turns every output plane and permutes them, :math:`f(h, x) \to f(t^{-1}h, t^{-1}x)`: the
features of a turned image are known from those of the image. Both are ordinary convolutions with an *expanded* kernel
(rows: `PlaneGroup.kernel_index`). Zero padding, 2x2 means on even maps and normalisation per channel over the whole
group commute with the action, and the maximum over G of the last 1x1 map is invariant: logits are equal for all |G|
copies of an image, up to rounding.

On the square grid these are the E(2)-steerable networks with regular representations of C4 and D4.
Sources: Cohen & Welling 2016 (arXiv 1602.07576, eq. 10-11); Weiler & Cesa 2019 (arXiv 1911.08251).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.geometry.cnn import SMOKE
from isoloss.algorithms.geometry.image_classifier import CLASSES, PIXELS, ImageClassifier
from isoloss.algorithms.geometry.plane_groups import P4, P4M, PlaneGroup


class GroupConv2d(nn.Module):
    """Convolution equivariant to `group`; feature maps hold channel and group element flat, element fastest.

    `inputs`: group elements per input channel: 1 for an image (the lifting layer), |G| for a feature map. The free
    kernel is ``weight (out, in, inputs, size, size)``; expanding it is one gather.
    """

    index: Tensor

    def __init__(self, group: PlaneGroup, channels: int, out: int, size: int, inputs: int, padding: int = 0) -> None:
        super().__init__()
        self.order, self.out, self.padding = group.order, out, padding
        self.shape = (channels * inputs, size, size)
        self.weight = nn.Parameter(torch.empty(out, channels, inputs, size, size))
        # the bound of nn.Conv2d: 1 / sqrt(inputs to one output)
        nn.init.uniform_(self.weight, -1.0, 1.0).data.mul_((channels * inputs * size**2) ** -0.5)
        index = torch.from_numpy(group.kernel_index(channels, inputs, size)).flatten()
        self.register_buffer("index", index, persistent=False)

    def expanded(self) -> Tensor:
        """The kernel ``(out * |G|, in * inputs, size, size)`` of the ordinary convolution that does the work."""
        return self.weight.flatten(1).index_select(1, self.index).view(self.out * self.order, *self.shape)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``(batch, in * inputs, H, W)`` to ``(batch, out * |G|, H', W')``."""
        return nn.functional.conv2d(x_bchw, self.expanded(), padding=self.padding)


class GroupNorm2d(nn.BatchNorm2d):
    """Batch normalisation with one mean and variance per channel over batch, pixels *and* group elements.

    Separate statistics per element would break equivariance in training.
    """

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``(batch, channels * |G|, H, W)`` to the same."""
        b, _, h, w = x_bchw.shape
        return super().forward(x_bchw.reshape(b, self.num_features, -1, w)).view(b, -1, h, w)


class GroupCNN(nn.Module):
    """Lifting and two group convolutions, maximum over the group, linear head."""

    def __init__(self, group: PlaneGroup, width: int) -> None:
        super().__init__()
        self.order = group.order
        self.conv1 = GroupConv2d(group, 1, width, 3, inputs=1, padding=1)
        self.norm1 = GroupNorm2d(width)
        self.conv2 = GroupConv2d(group, width, width, 3, inputs=group.order, padding=1)
        self.norm2 = GroupNorm2d(width)
        self.conv3 = GroupConv2d(group, width, 2 * width, PIXELS // 2, inputs=group.order)
        self.norm3 = GroupNorm2d(2 * width)
        self.head = nn.Linear(2 * width, CLASSES)

    def features(self, x_b1hw: Tensor) -> Tensor:
        """The equivariant map ``(batch, width * |G|, 4, 4)`` after the second stage."""
        h_bchw = nn.functional.avg_pool2d(self.norm1(self.conv1(x_b1hw)).relu(), 2)
        return self.norm2(self.conv2(h_bchw)).relu()

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images ``(batch, 1, 8, 8)`` to logits ``(batch, 10)``, equal for all |G| copies of an image."""
        h_bc11 = self.norm3(self.conv3(self.features(x_b1hw))).relu()
        h_bcg = h_bc11.view(len(x_b1hw), -1, self.order)
        return self.head(h_bcg.amax(2))


@algorithm(
    "geometry/p4-cnn",
    version=1,
    summary="group-equivariant network over the four quarter turns",
    year=2016,
    source="Cohen & Welling 2016, arXiv 1602.07576; Weiler & Cesa 2019, arXiv 1911.08251",
    claim="rotated MNIST (12,000 images): error 5.0% to 2.3% for p4 at equal parameters (Cohen & Welling 2016)",
    smoke=SMOKE | {"choices": {"lr": 1e-2, "width": 4}},
)
class P4CNN(ImageClassifier):
    """`GroupCNN` over p4. Half the width of a plain network has the same parameters and four times its FLOPs."""

    order = P4.order

    def network(self, width: int) -> nn.Module:
        """A `GroupCNN` over p4."""
        return GroupCNN(P4, width)


@algorithm(
    "geometry/p4m-cnn",
    version=1,
    summary="group-equivariant network over quarter turns and mirror images (which digits don't have)",
    year=2016,
    source="Cohen & Welling 2016, arXiv 1602.07576; Weiler & Cesa 2019, arXiv 1911.08251",
    claim="CIFAR-10: error 9.4% to 7.6% for p4m at equal parameters in an all-convolutional net (Cohen & Welling 2016)",
    smoke=SMOKE | {"choices": {"lr": 1e-2, "width": 3}},
)
class P4MCNN(ImageClassifier):
    """`GroupCNN` over p4m: also invariant to mirror images, a symmetry the task lacks."""

    order = P4M.order

    def network(self, width: int) -> nn.Module:
        """A `GroupCNN` over p4m."""
        return GroupCNN(P4M, width)

r"""Layers between feature fields: the steerable convolution, and what of norm and nonlinearity commutes with rotation.

Channels lie field by field, the components of a field next to each other: ``(batch, fields * size, H, W)``.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from isoloss.algorithms.cost import Cost, work
from isoloss.algorithms.geometry.point_groups import SO2, Representation, direct_sum, harmonic, trivial
from isoloss.algorithms.geometry.steerable_kernels import sampled
from isoloss.algorithms.vision.cost import norm, pointwise


class SteerableConv2d(nn.Module):
    """Convolution with kernels that obey equation (1) of `isoloss.algorithms.geometry.steerable_kernels`.

    `fields` of `source` go to `out` of `target`. Free are ``weight (out * fields, count)``, coordinates in the basis of
    `count` kernels; the kernel of the ordinary convolution that does the work is one matrix product away.
    """

    basis: Tensor

    def __init__(
        self, source: Representation, target: Representation, fields: int, out: int, size: int, stride: int = 1,
        padding: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        basis = torch.from_numpy(sampled(source, target, size)).float()
        self.shape = (out, fields, target.size, source.size, size, size)
        self.stride, self.padding = stride, padding
        self.register_buffer("basis", basis.flatten(1), persistent=False)
        # a kernel of the basis has a mean square of 1 an output channel: this is one over the root of the inputs
        self.weight = nn.Parameter(torch.randn(out * fields, len(basis)) * (len(basis) * fields) ** -0.5)

    def expanded(self) -> Tensor:
        """The kernel ``(out * target.size, fields * source.size, size, size)``."""
        out, fields, rows, columns, size, _ = self.shape
        kernel = (self.weight @ self.basis).view(self.shape).transpose(1, 2)
        return kernel.reshape(out * rows, fields * columns, size, size)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``(batch, fields * source.size, H, W)`` to ``(batch, out * target.size, H', W')``."""
        return nn.functional.conv2d(x_bchw, self.expanded(), stride=self.stride, padding=self.padding)


@functools.cache
def harmonics(highest: int) -> Representation:
    r"""One field with every frequency up to `highest`, :math:`\psi_0 \oplus \psi_1 \oplus \dots`: a function on the
    circle without higher harmonics, as SO(2) turns it."""
    return direct_sum(*(harmonic(SO2, m) for m in range(highest + 1)))


@functools.cache
def gated_harmonics(highest: int) -> Representation:
    """`harmonics` after a scalar for each frequency above 0, its gate: what a convolution gives to `Gate`."""
    return direct_sum(*[trivial(SO2)] * highest, harmonics(highest))


class Gate(nn.Module):
    r"""Norm and nonlinearity of SO(2) fields: `gated_harmonics` in, `harmonics` out.

    Scalars are batch-normalised and rectified. A pair of frequency m > 0 may only be scaled, by what does not change
    under rotation:

    .. math:: v_m \mapsto \gamma_m\, \sigma(s_m)\, v_m \big/ \sqrt{\tfrac12 \mathbb{E}|v_m|^2 + \epsilon},

    its own gate :math:`s_m` and its mean square over batch and pixels (a running mean when evaluated). No mean is taken
    off: that of a vector over all rotations is 0.
    """

    square: Tensor

    def __init__(self, fields: int, highest: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.fields, self.highest, self.momentum, self.eps = fields, highest, momentum, eps
        self.scalars = nn.BatchNorm2d(fields * (highest + 1), eps=eps, momentum=momentum)
        self.gain = nn.Parameter(torch.ones(fields, highest, 1, 1, 1))
        self.register_buffer("square", torch.ones(fields, highest, 1, 1, 1))

    def forward(self, x_bchw: Tensor) -> Tensor:
        """``(batch, fields * (3 highest + 1), H, W)`` to ``(batch, fields * (2 highest + 1), H, W)``."""
        b, _, h, w = x_bchw.shape
        f, m = self.fields, self.highest
        scalars, pairs = x_bchw.view(b, f, 3 * m + 1, h, w).split([m + 1, 2 * m], 2)
        gates, values = self.scalars(scalars.reshape(b, -1, h, w)).view(b, f, m + 1, h, w).split([m, 1], 2)
        pairs_bfmchw = pairs.reshape(b, f, m, 2, h, w)
        square = self.square
        if self.training:
            square = (pairs_bfmchw * pairs_bfmchw).mean((0, 3, 4, 5)).view(f, m, 1, 1, 1)
            self.square.lerp_(square.detach(), self.momentum)
        scale = gates.unsqueeze(3).sigmoid() * (self.gain * (square + self.eps).rsqrt())
        scaled = (pairs_bfmchw * scale).view(b, f, 2 * m, h, w)
        return torch.cat([values.relu(), scaled], 2).reshape(b, -1, h, w)


def gate_cost(fields: int, highest: int, pixels: int) -> Cost:
    """A `Gate` on a map of so many pixels: a gain for each pair, and the batch norm of the scalars.

    FLOPs beside the norm: 1 a rectified scalar each way; for each component of a pair forward 1 to square it, 1 to
    average, 1 for the gate and its product with the gain, 1 to scale; backward 10: 4 for the scaling and its sum over
    the pair, 2 for the gate and the gain, 3 for the mean square, 1 to add up.
    """
    components = 2 * fields * highest * pixels
    gains = Cost(parameters=fields * highest, active=fields * highest)
    return (
        norm(fields * (highest + 1), pixels)
        + pointwise(fields * pixels)
        + work(4 * components, 10 * components)
        + gains
    )

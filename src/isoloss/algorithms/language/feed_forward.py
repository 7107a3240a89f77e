"""Feed-forwards: what a token does by itself between two exchanges with its past."""

from __future__ import annotations

import abc

import torch
import torch.nn.functional as F
from torch import nn

from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.language.parts import feed_forward


class FeedForward(nn.Module, abc.ABC):
    """``W2 f(W1 x)`` with four times the width inside; subclasses give `activate` and what it costs."""

    #: FLOPs of `activate` per hidden unit, forward (backward is counted as twice that)
    activation_flops = 1

    def __init__(self, width: int, bias: bool, share: int = 1) -> None:
        super().__init__()
        self.up = nn.Linear(width, self.inner(width, share), bias=bias)
        self.down = nn.Linear(self.hidden(width, share), width, bias=bias)

    @classmethod
    def hidden(cls, width: int, share: int = 1) -> int:
        """Units after the activation; `share` divides them among so many smaller experts."""
        return 4 * width // share

    @classmethod
    def inner(cls, width: int, share: int = 1) -> int:
        """Units before the activation: as many, unless some of them gate others."""
        return cls.hidden(width, share)

    @classmethod
    def cost(cls, width: int, bias: bool, share: int = 1) -> Cost:
        """Parameters and FLOPs of one token."""
        hidden = cls.hidden(width, share)
        pointwise = cls.activation_flops * hidden
        products = linear(width, cls.inner(width, share), bias) + linear(hidden, width, bias)
        return products + work(pointwise, 2 * pointwise)

    @abc.abstractmethod
    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """(..., inner) -> (..., hidden)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) -> the same."""
        return self.down(self.activate(self.up(x)))


@feed_forward("relu", version=1, summary="max(h, 0)", year=2010, source="Nair & Hinton 2010; Vaswani et al. 2017")
class ReLU(FeedForward):
    """The feed-forward of the first Transformer."""

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """max(h, 0)."""
        return F.relu(h)


@feed_forward("gelu", version=1, summary="h Phi(h)", year=2016, source="Hendrycks & Gimpel 2016 (arXiv 1606.08415)")
class GELU(FeedForward):
    """The feed-forward of GPT and BERT."""

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """h Phi(h)."""
        return F.gelu(h)


@feed_forward("relu2", version=1, summary="max(h, 0)^2", year=2021, source="So et al. 2021, Primer (arXiv 2109.08668)")
class SquaredReLU(FeedForward):
    """Primer's activation, found by search."""

    activation_flops = 2

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """max(h, 0)^2."""
        return F.relu(h).square()


@feed_forward("swiglu", version=1, summary="silu(a) b", year=2020, source="Shazeer 2020 (arXiv 2002.05202)")
class SwiGLU(FeedForward):
    """``silu(a) * b``, with two thirds of the units so that parameters match."""

    activation_flops = 2

    @classmethod
    def hidden(cls, width: int, share: int = 1) -> int:
        """8/3 of the width, in steps of 4, at least 4."""
        return max(4 * round(2 * width / 3 / share), 4)

    @classmethod
    def inner(cls, width: int, share: int = 1) -> int:
        """A gate for every unit."""
        return 2 * cls.hidden(width, share)

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """Half of the units gate the other half."""
        gate, value = h.chunk(2, -1)
        return F.silu(gate) * value

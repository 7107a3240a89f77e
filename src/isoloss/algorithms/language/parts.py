"""Interchangeable parts of a Transformer: feed-forwards, norms and positions, each with its source."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class FeedForward(nn.Module):
    """``W2 f(W1 x)`` with four times the width inside; subclasses give `activate` and what it costs."""

    #: FLOPs of `activate` per hidden unit, forward (backward is counted as twice that)
    activation_flops = 1

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.up = nn.Linear(width, self.inner(width), bias=bias)
        self.down = nn.Linear(self.hidden(width), width, bias=bias)

    @classmethod
    def hidden(cls, width: int) -> int:
        """Units after the activation."""
        return 4 * width

    @classmethod
    def inner(cls, width: int) -> int:
        """Units before the activation: as many, unless some of them gate others."""
        return cls.hidden(width)

    @classmethod
    def weights(cls, width: int) -> int:
        """Matrix parameters."""
        return width * (cls.inner(width) + cls.hidden(width))

    @classmethod
    def biases(cls, width: int) -> int:
        """Bias parameters, where there are any."""
        return cls.inner(width) + width

    @classmethod
    def pointwise(cls, width: int) -> int:
        """Forward FLOPs of one token outside the products."""
        return cls.activation_flops * cls.hidden(width)

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """(..., inner) -> (..., hidden)."""
        raise NotImplementedError

    def forward(self, x_btd: torch.Tensor) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        return self.down(self.activate(self.up(x_btd)))


class ReLU(FeedForward):
    """Vaswani et al. 2017."""

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """max(h, 0)."""
        return F.relu(h)


class GELU(FeedForward):
    """Hendrycks & Gimpel 2016 (arXiv 1606.08415)."""

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """h Phi(h)."""
        return F.gelu(h)


class SwiGLU(FeedForward):
    """Shazeer 2020 (arXiv 2002.05202): ``silu(a) * b``, two thirds of the units so that parameters match."""

    activation_flops = 2

    @classmethod
    def hidden(cls, width: int) -> int:
        """8/3 of the width, in steps of 4."""
        return 4 * round(2 * width / 3)

    @classmethod
    def inner(cls, width: int) -> int:
        """A gate for every unit."""
        return 2 * cls.hidden(width)

    def activate(self, h: torch.Tensor) -> torch.Tensor:
        """Half of the units gate the other half."""
        gate, value = h.chunk(2, -1)
        return F.silu(gate) * value


class LayerNorm(nn.LayerNorm):
    """Ba et al. 2016 (arXiv 1607.06450)."""


class RMSNorm(nn.RMSNorm):
    """Zhang & Sennrich 2019 (arXiv 1910.07467)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)


FEED_FORWARDS: dict[str, type[FeedForward]] = {"relu": ReLU, "gelu": GELU, "swiglu": SwiGLU}
NORMS: dict[str, type[nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm}


def _angles(context: int, width: int) -> torch.Tensor:
    """Position times frequency, (context, width / 2): frequencies from 1 to 1/10,000, geometric."""
    frequency = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.outer(torch.arange(context), frequency)


def sinusoids(context: int, width: int) -> torch.Tensor:
    """Fixed positions added to the embedding (Vaswani et al. 2017 s3.5): (context, width)."""
    angles = _angles(context, width)
    return torch.cat([angles.sin(), angles.cos()], 1)


def rotary_table(context: int, head: int) -> torch.Tensor:
    """Unit complex numbers that `rotate` multiplies by: (context, head / 2)."""
    angles = _angles(context, head)
    return torch.complex(angles.cos(), angles.sin())


def rotate(x_bhte: torch.Tensor, table_te: torch.Tensor) -> torch.Tensor:
    """Turn each pair of features by its position's angle (Su et al. 2021, arXiv 2104.09864, equation 34)."""
    pairs = torch.view_as_complex(x_bhte.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table_te).flatten(-2)

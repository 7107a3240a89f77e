"""Positions: how a model that looks at its whole window at once knows what came when."""

from __future__ import annotations

import torch

from isoloss.training.formulas import COMPLEX_PRODUCT_FLOPS

#: FLOPs of turning the queries and keys of one token, per unit of their joint width: a complex product for two
ROTATION_FLOPS = COMPLEX_PRODUCT_FLOPS // 2


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

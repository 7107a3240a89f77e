"""Activation checkpointing: keep what goes into some layers, and compute the rest again for the backward pass.

Chen et al. 2016 (arXiv 1604.06174): of L layers in segments of s, the inputs of L / s segments and the activations of
one segment of s are held, which is least at s = sqrt(L), for one more forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Checkpointing = Literal["none", "layer", "sqrt"]


def segments(layers: int, checkpointing: Checkpointing) -> list[int]:
    """Layers in each segment that is computed again; none where nothing is.

    >>> segments(9, "sqrt"), segments(3, "layer"), segments(7, "sqrt"), segments(4, "none")
    ([3, 3, 3], [1, 1, 1], [3, 2, 2], [])
    """
    if checkpointing == "none":
        return []
    count = layers if checkpointing == "layer" else math.ceil(layers / max(round(math.sqrt(layers)), 1))
    return [layers // count + (i < layers % count) for i in range(count)]


class Segment(nn.Module):
    """Some layers, called one after the other with ``(x, *rest)``, whose activations are not kept."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        """What the layers give."""
        if not torch.is_grad_enabled():
            return self._through(x, *rest)
        # again to the end, not only as far as needed: then a step costs one forward pass more, whatever the layers are
        found: torch.Tensor = checkpoint(self._through, x, *rest, use_reentrant=False, early_stop=False)
        return found

    def _through(self, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, *rest)
        return x


def recompute(layers: nn.ModuleList, checkpointing: Checkpointing) -> nn.ModuleList:
    """`layers` in segments; the list itself where nothing is computed again."""
    found, first = [], 0
    for length in segments(len(layers), checkpointing):
        found.append(Segment(list(layers[first : first + length])))
        first += length
    return nn.ModuleList(found) if found else layers

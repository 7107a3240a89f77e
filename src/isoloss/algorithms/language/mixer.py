"""What every mixer of tokens shares: a part that lets a token read its past."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from isoloss.algorithms.cost import Cost
from isoloss.algorithms.language.sizing import Shape


@dataclass
class Flow:
    """What travels beside the residual stream through one forward pass.

    `rotation_te`: the rotary table, where positions are rotary; `value_btd`: the values that value embeddings give to
    this window's tokens; `first_value`: the values of the first attention, where later ones look back at them;
    `states`: each recurrent layer's state after the last window; `next_states`: the same after this one, detached.
    """

    rotation_te: torch.Tensor | None = None
    value_btd: torch.Tensor | None = None
    first_value: torch.Tensor | None = None
    states: dict[int, torch.Tensor] = field(default_factory=dict)
    next_states: dict[int, torch.Tensor] = field(default_factory=dict)


class Mixer(nn.Module, abc.ABC):
    """(batch, time, width) -> the same, causal. `layer` is its place in the stack."""

    def __init__(self, shape: Shape, bias: bool, layer: int, choices: Any) -> None:
        super().__init__()

    @classmethod
    @abc.abstractmethod
    def cost(cls, shape: Shape, bias: bool, layer: int, choices: Any) -> Cost:
        """Parameters and FLOPs of one token."""

    @abc.abstractmethod
    def forward(self, x_btd: torch.Tensor, flow: Flow) -> torch.Tensor:
        """Mix; may read and add to `flow`."""

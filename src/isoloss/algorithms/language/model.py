"""The module that every language model here is."""

from __future__ import annotations

import abc
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class LanguageModel(nn.Module, abc.ABC):
    """Predicts the next token. `state` is what goes from one window of a stream to the next, None at its start."""

    @abc.abstractmethod
    def forward(self, tokens_bt: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Logits of the next token, (batch, time, vocabulary), and the state after the last one, detached; causal."""

    def loss(self, tokens_bt: torch.Tensor, target_bt: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Mean cross-entropy in nats, and the state. A model with further objectives adds their gradient, never their
        value, so that curves of all arms mean the same."""
        logits_btv, state = self(tokens_bt, state)
        return F.cross_entropy(logits_btv.flatten(0, 1), target_bt.flatten()), state

    @abc.abstractmethod
    def matrices(self) -> list[nn.Parameter]:
        """The hidden weight matrices: what an optimiser of matrices treats as such."""

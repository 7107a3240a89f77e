"""The LSTM language model of 2014-17: one layer, tied embeddings, truncated back-propagation with the state carried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.language.base import LanguageAlgorithm, LanguageChoices, Size
from isoloss.algorithms.language.sizing import Shape

State = tuple[torch.Tensor, torch.Tensor]


class LSTMLanguageModel(nn.Module):
    """Embedding, one LSTM layer of the same width, the embedding again as the head.

    ``forward(tokens_bt, state) -> (logits_btv, state)``; the state (h, c) is detached, so gradients stop at the
    window and memory does not.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.xavier_uniform_(self.embedding.weight)
        weight_ih, weight_hh, bias_ih, bias_hh = self.lstm.all_weights[0]
        nn.init.xavier_uniform_(weight_ih)
        for gate_dd in weight_hh.data.chunk(4):
            nn.init.orthogonal_(gate_dd)
        nn.init.zeros_(bias_ih)
        nn.init.zeros_(bias_hh)
        # gates are ordered input, forget, cell, output; an open forget gate lets early gradients through time
        nn.init.ones_(bias_ih.data[width : 2 * width])

    def forward(self, tokens_bt: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Logits of the next token and the state after the last one."""
        h_btd, (h, c) = self.lstm(self.embedding(tokens_bt), state)
        return F.linear(h_btd, self.embedding.weight, self.bias), (h.detach(), c.detach())


@algorithm(
    "language/lstm",
    version=1,
    summary="one LSTM layer, tied embeddings, streaming state, AdamW, cosine",
    year=2014,
    source="Hochreiter & Schmidhuber 1997; Zaremba et al. 2014 (arXiv 1409.2329); set-up of Gundlach et al. 2025 s4.1",
    claim="the 2012-14 reference: the modern Transformer needs 4.99x fewer FLOPs at about 1e15 (Gundlach et al. 2025)",
    smoke={
        "task": "language/sotu",
        "resource": "train_flops",
        "budget": 3e8,
        "choices": {"batch_tokens": 256},
    },
)
class LSTM(LanguageAlgorithm):
    """One layer (a second one was worse at every size tried by the source), no dropout (one pass over the data)."""

    class Choices(LanguageChoices):
        """See `LanguageChoices`; depth is always 1."""

        lr: float = Field(0.06, gt=0)
        depth: int | None = Field(1, ge=1, le=1)

    def shapes(self, choices: Any) -> Iterator[Shape]:
        """Every width, one layer."""
        return (Shape(width, 1) for width in range(4, 1025))

    def size(self, vocabulary: int, shape: Shape, choices: Any) -> Size:
        """Weights 8 d^2 (four gates, two products), 2 FLOPs each forward and twice that backward, 9 d pointwise."""
        d = shape.width
        embedding = vocabulary * d
        cell = 2 * 8 * d * d + 9 * d
        forward = cell + 2 * embedding + vocabulary
        # backward: twice the products; embedding rows are added up (d), the head's bias gradient is a sum (V)
        training = 3 * cell + 6 * embedding + 2 * vocabulary + d
        return Size(embedding + 8 * d * d + 8 * d + vocabulary, embedding, forward, training)

    def model(self, vocabulary: int, choices: Any) -> nn.Module:
        """See `LSTMLanguageModel`."""
        return LSTMLanguageModel(vocabulary, choices.width)

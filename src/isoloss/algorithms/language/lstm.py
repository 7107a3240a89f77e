"""The LSTM language model of 2014-17: one or two layers, truncated back-propagation with the state carried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, work
from isoloss.algorithms.language.base import LanguageAlgorithm, LanguageChoices
from isoloss.algorithms.language.loss import token_loss
from isoloss.algorithms.language.model import LanguageModel
from isoloss.algorithms.language.sizing import Shape

State = tuple[torch.Tensor, torch.Tensor]


class LSTMLanguageModel(LanguageModel):
    """Embedding, LSTM layers of the same width, a head.

    The state (h, c) is detached, so gradients stop at the window and memory does not.
    """

    def __init__(self, vocabulary: int, width: int, depth: int, tied: bool, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, num_layers=depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = dropout
        nn.init.xavier_uniform_(self.embedding.weight)
        for weight_ih, weight_hh, bias_ih, bias_hh in self.lstm.all_weights:
            nn.init.xavier_uniform_(weight_ih)
            for gate_dd in weight_hh.data.chunk(4):
                nn.init.orthogonal_(gate_dd)
            nn.init.zeros_(bias_ih)
            nn.init.zeros_(bias_hh)
            # gates are ordered input, forget, cell, output; an open forget gate lets early gradients through time
            nn.init.ones_(bias_ih.data[width : 2 * width])
        self.table = None if tied else nn.Parameter(nn.init.xavier_uniform_(torch.empty(vocabulary, width)))

    def matrices(self) -> list[nn.Parameter]:
        """Input and recurrent weights, four gates in one matrix."""
        return [weight for layer in self.lstm.all_weights for weight in layer[:2]]

    def _features(self, tokens_bt: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
        x_btd = self.embedding(tokens_bt)
        if self.dropout:
            x_btd = F.dropout(x_btd, self.dropout, self.training)
        h_btd, (h, c) = self.lstm(x_btd, state)
        if self.dropout:
            h_btd = F.dropout(h_btd, self.dropout, self.training)
        return h_btd, (h.detach(), c.detach())

    def _head(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.embedding.weight if self.table is None else self.table, self.bias

    def forward(self, tokens_bt: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Logits of the next token and the state after the last one."""
        h_btd, state = self._features(tokens_bt, state)
        return F.linear(h_btd, *self._head()), state

    def loss(
        self, tokens_bt: torch.Tensor, target_bt: torch.Tensor, state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """Cross-entropy of the next token, in chunks where the vocabulary is large."""
        h_btd, state = self._features(tokens_bt, state)
        return token_loss(F.linear, h_btd, target_bt, *self._head()), state


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
    """One layer by default (a second one was worse at every size tried by the source), two by choice."""

    class Choices(LanguageChoices):
        """See `LanguageChoices`; `depth` is 1 or 2. `dropout` acts on the embedding, between layers and on the output
        (Zaremba et al. 2014)."""

        lr: float = Field(0.06, gt=0)
        depth: int | None = Field(1, ge=1, le=2)

    def shapes(self, choices: Any) -> Iterator[Shape]:
        """Every width, as many layers as chosen."""
        return (Shape(width, choices.depth or 1) for width in range(4, 1025))

    def cost(self, vocabulary: int, shape: Shape, choices: Any) -> Cost:
        """A layer's weights are 8 d^2 (four gates, two products), 2 FLOPs each forward and twice that backward, 9 d
        pointwise."""
        d, layers = shape.width, shape.depth
        table = vocabulary * d
        cell = 2 * 8 * d * d + 9 * d
        weights = 8 * d * d + 8 * d
        layer = Cost(weights, weights, 0.0, cell, 3 * cell, ((4 * d, d, 2),))
        tables = 2 * table if not choices.tied else table
        # backward: twice the products; embedding rows are added up (d), the head's bias gradient is a sum (V)
        head = Cost(
            tables + vocabulary,
            (table if choices.tied else table + d) + vocabulary,
            tables,
            2 * table + vocabulary,
            6 * table + 2 * vocabulary + d,
        )
        found = layer * layers + head
        return found + work(2 * d, d) * 2 if choices.dropout else found

    def model(self, vocabulary: int, choices: Any) -> LanguageModel:
        """See `LSTMLanguageModel`."""
        return LSTMLanguageModel(vocabulary, choices.width, choices.depth, choices.tied, choices.dropout)

"""The two ends of a model: token tables, logits, and what is asked of them beside the next token."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.language.loss import token_loss


class Head(nn.Module):
    """Logits from the last features and a matrix of tokens, its own or the embedding (Press & Wolf 2017, 1608.05859).

    Choices: `tied`; `soft_cap` c, logits ``c tanh(logits / c)`` (Gemma 2, arXiv 2408.00118); `prediction`, how many
    tokens ahead are predicted in training (Gloeckle et al. 2024, arXiv 2404.19737), here with one residual layer for
    each beyond the next and one matrix of tokens for all. `scale` multiplies logits.
    """

    def __init__(self, vocabulary: int, width: int, scale: float, choices: Any) -> None:
        super().__init__()
        self.cap, self.scale = choices.soft_cap, scale
        # as the embedding: of the width's inverse root, with a constant one under muP
        deviation = (scale * width) ** -0.5 if choices.parametrisation == "mup" else width**-0.5
        self.table = None if choices.tied else nn.Parameter(torch.empty(vocabulary, width).normal_(std=deviation))
        self.ahead = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(choices.prediction - 1)])

    @classmethod
    def cost(cls, vocabulary: int, width: int, choices: Any) -> Cost:
        """The embedding, the product with it or with a table of the head's own, and every further token ahead.

        An untied embedding is looked up, so a token touches one row of it.
        """
        table = vocabulary * width
        found = Cost(table, table, table) if choices.tied else Cost(2 * table, table + width, 2 * table)
        cap = work(3 * vocabulary, 5 * vocabulary) if choices.soft_cap else Cost()
        if choices.parametrisation == "mup":
            cap += work(vocabulary, vocabulary)
        found += work(2 * table, 4 * table) + cap
        # what the loss costs is counted for the next token elsewhere, once
        more = linear(width, width, False) + work(width, width) + work(2 * table + 10 * vocabulary, 4 * table) + cap
        for distance in range(1, choices.prediction):
            share = 1 - distance / choices.context  # the last tokens of a window have no token so far ahead
            # not part of a forward pass that predicts the next token
            found += Cost(more.parameters, more.active, 0.0, 0.0, more.training * share, more.matrices)
        return found

    def forward(self, x_btd: torch.Tensor, embedding_vd: torch.Tensor) -> torch.Tensor:
        """Logits of the next token, (batch, time, vocabulary)."""
        return self._logits(x_btd, embedding_vd if self.table is None else self.table)

    def _logits(self, x: torch.Tensor, table_vd: torch.Tensor) -> torch.Tensor:
        logits = F.linear(x, table_vd)
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def loss(self, x_btd: torch.Tensor, target_bt: torch.Tensor, embedding_vd: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the next token: see `token_loss`."""
        return token_loss(self._logits, x_btd, target_bt, embedding_vd if self.table is None else self.table)

    def further(self, x_btd: torch.Tensor, target_bt: torch.Tensor, embedding_vd: torch.Tensor) -> torch.Tensor:
        """Sum of the mean losses of the second token ahead and those beyond it, as far as the window goes."""
        loss = x_btd.new_zeros(())
        for distance, layer in enumerate(self.ahead, 1):
            early = x_btd[:, :-distance]
            loss = loss + self.loss(early + layer(early), target_bt[:, distance:], embedding_vd)
        return loss

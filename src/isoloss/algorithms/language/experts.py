"""Mixture of experts: many feed-forwards, few of them run for a token."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.language.feed_forward import FeedForward

BALANCE_LOSS = 0.01  # Fedus et al. 2021, equation 4
BALANCE_STEP = 0.001  # Wang et al. 2024, table 2


class Experts(nn.Module):
    """`experts` feed-forwards of the dense size, of which `experts_top` run for a token; no token is ever dropped.

    With `experts_grain` g each is cut into g experts of a g-th of the size and g times as many run (Dai et al. 2024,
    DeepSeekMoE, arXiv 2401.06066): the same parameters and FLOPs up to the rounding of units, more ways to combine.
    Loads are evened by `balance`:

    - ``loss``: softmax scores and the auxiliary loss ``0.01 E sum_i f_i P_i`` over shares of tokens f and of score P
      (Fedus et al. 2021, Switch, arXiv 2101.03961);
    - ``bias``: sigmoid scores and, for the choice alone, a bias of each expert, moved by 0.001 a step towards an equal
      load (Wang et al. 2024, arXiv 2408.15664).

    After a training pass `auxiliary` holds the loss that balances (0 with ``bias``).
    """

    def __init__(self, part: type[FeedForward], width: int, bias: bool, choices: Any) -> None:
        super().__init__()
        grain = choices.experts_grain
        self.count, self.top = choices.experts * grain, choices.experts_top * grain
        self.balance = choices.experts_balance
        self.router = nn.Linear(width, self.count, bias=False)
        self.experts = nn.ModuleList([part(width, bias, grain) for _ in range(self.count)])
        self.offset: torch.Tensor
        self.register_buffer("offset", torch.zeros(self.count))
        self.auxiliary = torch.zeros(())

    @classmethod
    def cost(cls, part: type[FeedForward], width: int, bias: bool, choices: Any) -> Cost:
        """All experts' parameters, the chosen ones' work, the router's, and the weighing of outputs."""
        grain = choices.experts_grain
        count, top = choices.experts * grain, choices.experts_top * grain
        one = part.cost(width, bias, grain)
        run, kept = one * top, one * count
        found = Cost(kept.parameters, run.active, 0.0, run.forward, run.training, kept.matrices)
        found += linear(width, count, False, matrix=False)
        scores = 5 if choices.experts_balance == "loss" else 2
        return found + work(scores * count + top * width + 3 * top, 2 * scores * count + 2 * top * width + 6 * top)

    def forward(self, x_btd: torch.Tensor) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        x_nd = x_btd.flatten(0, 1)
        raw = self.router(x_nd)
        scores = raw.softmax(-1) if self.balance == "loss" else raw.sigmoid()
        chosen = (scores.detach() + self.offset).topk(self.top, dim=-1).indices
        weight = scores.gather(1, chosen)
        if self.balance == "bias" and self.top > 1:
            weight = weight / weight.sum(-1, keepdim=True)
        # sorted by expert, so that each runs once on its own tokens, and on none of them where it has none: its
        # parameters have a gradient all the same
        order = chosen.flatten().argsort(stable=True)
        rows = order // self.top
        load = torch.bincount(chosen.flatten(), minlength=self.count)
        pieces = x_nd[rows].split(load.tolist())
        y_md = torch.cat([expert(piece) for expert, piece in zip(self.experts, pieces, strict=True)])
        y_nd = torch.zeros_like(x_nd).index_add(0, rows, y_md * weight.flatten()[order, None])
        if self.training:
            share = load / chosen.numel()
            if self.balance == "loss":
                self.auxiliary = BALANCE_LOSS * self.count * (share * scores.mean(0)).sum()
            else:
                self.offset += BALANCE_STEP * torch.sign(1 / self.count - share)
        return y_nd.view_as(x_btd)

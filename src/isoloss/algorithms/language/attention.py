"""Causal attention, with the changes made to it since 2017 as choices."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.language.mixer import Flow, Mixer
from isoloss.algorithms.language.normalisation import RMSNorm
from isoloss.algorithms.language.parts import mixer
from isoloss.algorithms.language.position import ROTATION_FLOPS, rotate
from isoloss.algorithms.language.sizing import Shape


def key_heads(heads: int, kept: str) -> int:
    """Heads of keys and values: ``all``; ``half`` (grouped queries); ``one`` (one for all queries).

    >>> [key_heads(6, kept) for kept in ("all", "half", "one")]
    [6, 3, 1]
    """
    if kept == "one":
        return 1
    # groups must be equal, so an odd number of heads keeps its largest proper divisor
    return heads if kept == "all" else max((n for n in range(1, heads) if heads % n == 0), default=1)


def value_width(shape: Shape, choices: Any) -> int:
    """Width of all heads' values together."""
    return key_heads(shape.heads, choices.kv_heads) * (shape.width // shape.heads)


def first_attention(choices: Any) -> int:
    """The first layer whose mixer is attention: 0, or 1 where layers take turns with a recurrence."""
    return 1 if choices.mixer == "hybrid" else 0


@mixer("attention", version=1, summary="softmax over the past", year=2017, source="Vaswani et al. 2017 (1706.03762)")
class Attention(Mixer):
    """Multi-head attention; queries, keys and values from one product, rotated when `flow` holds a table.

    Choices: `kv_heads` (Shazeer 2019, arXiv 1911.02150; Ainslie et al. 2023, arXiv 2305.13245); `attention_window`, the
    number of latest tokens seen, itself included (Child et al. 2019; Beltagy et al. 2020, arXiv 2004.05150); `qk_norm`
    (Henry et al. 2020, arXiv 2010.04245); `attention_gate`, a sigmoid of the input on each head's output (Qiu et al.
    2025, arXiv 2505.06708, head by head); `value_residual`, a learned blend with the first layer's values (Zhou et al.
    2024, arXiv 2410.17897); `value_embeddings`, a table of values by token, added by a learned share (modded-nanogpt).
    """

    def __init__(self, shape: Shape, bias: bool, layer: int, choices: Any) -> None:
        super().__init__(shape, bias, layer, choices)
        width = shape.width
        self.heads, self.head = shape.heads, width // shape.heads
        self.kept = key_heads(shape.heads, choices.kv_heads)
        self.window = choices.attention_window
        self.qkv = nn.Linear(width, width + 2 * self.kept * self.head, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.norm = nn.ModuleList([RMSNorm(self.head), RMSNorm(self.head)]) if choices.qk_norm else None
        self.gate = nn.Linear(width, self.heads, bias=False) if choices.attention_gate else None
        # a blend of half of each to start with
        first = first_attention(choices)
        self.blend = nn.Parameter(torch.full((2,), 0.5)) if choices.value_residual and layer > first else None
        self.first = bool(choices.value_residual) and layer == first
        self.share = nn.Parameter(torch.tensor(0.5)) if choices.value_embeddings else None

    @classmethod
    def cost(cls, shape: Shape, bias: bool, layer: int, choices: Any) -> Cost:
        """Products, scores against the window's keys, softmax, and whatever the choices add."""
        width, heads = shape.width, shape.heads
        kept, values = key_heads(heads, choices.kv_heads), value_width(shape, choices)
        found = linear(width, width + 2 * values, bias) + linear(width, width, bias)
        window = choices.attention_window
        # a window that does not divide the context is masked, not cut: every key is computed
        whole = window is None or 2 * window >= choices.context or choices.context % window
        seen = choices.context if whole else 2 * window
        softmax = 5 * seen * heads
        found += work(4 * seen * width + softmax, 10 * seen * width + 2 * softmax)
        if choices.positions == "rotary":
            turned = ROTATION_FLOPS * (width + values)
            found += work(turned, turned)
        if kept < heads:
            found += work(0, 2 * width)  # the gradients of a key's and a value's copies are added
        if choices.qk_norm:
            gains = 2 * (width // heads)  # shared by the heads; the work is over all of them
            found += Cost(gains, gains, 0.0, 5 * (width + values), 10 * (width + values))
        if choices.attention_gate:
            found += linear(width, heads, False, matrix=False) + work(heads + width, heads * 2 + 2 * width)
        if choices.value_residual and layer > first_attention(choices):
            found += Cost(2, 2, 0.0, 3 * values, 3 * values + 4 * values)
        if choices.value_embeddings:
            found += Cost(1, 1, 0.0, 2 * values, 2 * values + 3 * values)
        return found

    def forward(self, x_btd: torch.Tensor, flow: Flow) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        b, t, _ = x_btd.shape
        e, h, n = self.head, self.heads, self.kept
        qkv_bnte = self.qkv(x_btd).view(b, t, h + 2 * n, e).transpose(1, 2)
        qk, v = qkv_bnte.split((h + n, n), 1)
        if self.norm is not None:
            q, k = qk.split((h, n), 1)
            qk = torch.cat([self.norm[0](q), self.norm[1](k)], 1)
        if flow.rotation_te is not None:
            qk = rotate(qk, flow.rotation_te[:t])
        if flow.value_btd is not None and self.share is not None:
            v = v + self.share * flow.value_btd.view(b, t, n, e).transpose(1, 2)
        if self.first:
            flow.first_value = v
        elif self.blend is not None and flow.first_value is not None:
            v = self.blend[0] * v + self.blend[1] * flow.first_value
        q, k = qk.split((h, n), 1)
        if n < h:
            k, v = (x.repeat_interleave(h // n, 1) for x in (k, v))
        if self.window is not None and 2 * self.window < t:
            y = local_attention(q, k, v, self.window)
        elif self.window is not None and self.window < t:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=band(t, t, self.window, q))
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if self.gate is not None:
            y = y * torch.sigmoid(self.gate(x_btd)).transpose(1, 2).unsqueeze(-1)
        return self.out(y.transpose(1, 2).flatten(2))


def band(queries: int, keys: int, window: int, like: torch.Tensor) -> torch.Tensor:
    """0 where a query sees a key, -inf elsewhere: the last `queries` of `keys` places, `window` of them back."""
    here = torch.arange(keys - queries, keys, device=like.device)[:, None]
    there = torch.arange(keys, device=like.device)
    seen = (there <= here) & (there > here - window)
    return torch.zeros(queries, keys, dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)


def local_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Each token sees itself and the `window` - 1 before it: (b, h, t, e) -> the same.

    Tokens are cut into pieces of `window`, each of which looks at itself and at the piece before, so 2 `window` keys
    are computed for a query in place of t.
    """
    b, h, t, e = q.shape
    if t % window:  # the held-out stream's last window is a byte short
        return F.scaled_dot_product_attention(q, k, v, attn_mask=band(t, t, window, q))
    pieces = t // window

    def cut(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(b, h, pieces, window, e).transpose(1, 2)

    def both(x: torch.Tensor) -> torch.Tensor:
        own = cut(x)
        before = torch.cat([torch.zeros_like(own[:, :1]), own[:, :-1]], 1)
        return torch.cat([before, own], 3).reshape(b * pieces, h, 2 * window, e)

    mask = band(window, 2 * window, window, q).repeat(pieces, 1, 1, 1)
    mask[0, :, :, :window] = -torch.inf  # nothing comes before the first piece
    mask = mask.repeat(b, 1, 1, 1)
    y = F.scaled_dot_product_attention(cut(q).reshape(b * pieces, h, window, e), both(k), both(v), attn_mask=mask)
    return y.reshape(b, pieces, h, window, e).transpose(1, 2).reshape(b, h, t, e)

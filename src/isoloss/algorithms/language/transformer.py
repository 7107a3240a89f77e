"""One Transformer decoder whose parts are choices; two registered sets of them, eight years apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.language.base import LanguageAlgorithm, LanguageChoices, Size
from isoloss.algorithms.language.parts import (
    FEED_FORWARDS,
    NORMS,
    FeedForward,
    rotary_table,
    rotate,
    sinusoids,
)
from isoloss.algorithms.language.sizing import ASPECT, Shape
from isoloss.errors import StudyError


class Attention(nn.Module):
    """Causal multi-head attention; queries, keys and values from one product, rotated when a table is given."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x_btd: torch.Tensor, rotation_te: torch.Tensor | None) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        b, t, d = x_btd.shape
        qkv_bnthe = self.qkv(x_btd).view(b, t, 3 * self.heads, d // self.heads).transpose(1, 2)
        qk, v_bhte = qkv_bnthe.split((2 * self.heads, self.heads), 1)
        if rotation_te is not None:
            qk = rotate(qk, rotation_te[:t])
        q_bhte, k_bhte = qk.chunk(2, 1)
        y_bhte = F.scaled_dot_product_attention(q_bhte, k_bhte, v_bhte, is_causal=True)
        return self.out(y_bhte.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    """Attention and feed-forward, each with a residual: norm before (x + f(norm x)) or after (norm(x + f x))."""

    def __init__(self, attention: Attention, feed_forward: nn.Module, norms: list[nn.Module], placement: str) -> None:
        super().__init__()
        self.attention, self.feed_forward = attention, feed_forward
        self.first, self.second = norms
        self.placement = placement

    def forward(self, x_btd: torch.Tensor, rotation_te: torch.Tensor | None) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        if self.placement == "pre":
            x_btd = x_btd + self.attention(self.first(x_btd), rotation_te)
            return x_btd + self.feed_forward(self.second(x_btd))
        x_btd = self.first(x_btd + self.attention(x_btd, rotation_te))
        return self.second(x_btd + self.feed_forward(x_btd))


class TransformerLanguageModel(nn.Module):
    """``forward(tokens_bt, state) -> (logits_btv, None)``: each window stands alone, there is no state."""

    def __init__(
        self, vocabulary: int, width: int, context: int, positions: str, blocks: list[Block], last: nn.Module
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(blocks)
        self.last = last
        self.position: torch.Tensor | None
        self.rotation: torch.Tensor | None
        head = width // blocks[0].attention.heads
        self.register_buffer("position", sinusoids(context, width) if positions == "sinusoidal" else None)
        self.register_buffer("rotation", rotary_table(context, head) if positions == "rotary" else None)
        self.scale = width**0.5
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens_bt: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        """Logits of the next token; the state is ignored."""
        x_btd = self.embedding(tokens_bt) * self.scale
        if self.position is not None:
            x_btd = x_btd + self.position[: tokens_bt.shape[1]]
        for block in self.blocks:
            x_btd = block(x_btd, self.rotation)
        return F.linear(self.last(x_btd), self.embedding.weight), None


class TransformerChoices(LanguageChoices):
    """The parts of a Transformer, on top of `LanguageChoices`: each is one published innovation or its predecessor."""

    feed_forward: Literal["relu", "gelu", "swiglu"] = "swiglu"
    norm: Literal["layer", "rms"] = "rms"
    placement: Literal["pre", "post"] = "pre"
    positions: Literal["none", "sinusoidal", "rotary"] = "rotary"


class Transformer(LanguageAlgorithm):
    """A decoder with tied embeddings. Override `feed_forward` or `norm` to add a part of your own."""

    class Choices(TransformerChoices):
        """See `TransformerChoices`."""

    def feed_forward(self, choices: Any) -> type[FeedForward]:
        """The module class between attentions."""
        return FEED_FORWARDS[choices.feed_forward]

    def norm(self, choices: Any) -> type[nn.Module]:
        """The module class that normalises."""
        return NORMS[choices.norm]

    def shapes(self, choices: Any) -> Iterator[Shape]:
        """Depths 1 to 16; widths whose heads are alike, of even size and at most 16 wide."""
        for depth in range(1, 17):
            for width in range(4, 513, 2):
                shape = Shape(width, depth)
                if width % (2 * shape.heads) == 0:
                    yield shape

    def size(self, vocabulary: int, shape: Shape, choices: Any) -> Size:
        """A layer has 4 d^2 weights of attention plus the feed-forward's; attention costs 14 T d a token to train."""
        d, layers, context = shape.width, shape.depth, choices.context
        if d % (2 * shape.heads):
            raise StudyError("width", f"{d} has no {shape.heads} heads of even width", f"try a multiple of {ASPECT}")
        bias = choices.norm == "layer"
        part = self.feed_forward(choices)
        gains = d * (2 if bias else 1)
        norms = 2 * layers + (choices.placement == "pre")
        weights = layers * (4 * d * d + part.weights(d))
        vectors = layers * (4 * d + part.biases(d)) * bias
        embedding = vocabulary * d
        scores = context * d
        softmax = 5 * context * shape.heads
        rotary = 12 * d if choices.positions == "rotary" else 0
        sinusoidal = d if choices.positions == "sinusoidal" else 0
        layer = 4 * scores + softmax + part.pointwise(d) + rotary + 2 * d
        forward = 2 * (weights + embedding) + layers * layer + norms * 5 * d + sinusoidal
        back = 10 * scores + 2 * softmax + 2 * part.pointwise(d) + rotary + 2 * d
        training = forward + 4 * (weights + embedding) + layers * back + norms * 5 * d + vectors + 3 * d
        return Size(embedding + weights + vectors + norms * gains, embedding, forward, training)

    def model(self, vocabulary: int, choices: Any) -> nn.Module:
        """See `TransformerLanguageModel`."""
        d, shape = choices.width, Shape(choices.width, choices.depth)
        bias = choices.norm == "layer"
        norm, part = self.norm(choices), self.feed_forward(choices)
        blocks = [
            Block(Attention(d, shape.heads, bias), part(d, bias), [norm(d), norm(d)], choices.placement)
            for _ in range(choices.depth)
        ]
        last = norm(d) if choices.placement == "pre" else nn.Identity()
        return TransformerLanguageModel(vocabulary, d, choices.context, choices.positions, blocks, last)


@algorithm(
    "language/transformer-retro",
    version=1,
    summary="Transformer of 2017: GELU, post-LayerNorm, sinusoidal positions, Adam, inverse square root",
    year=2017,
    source="Vaswani et al. 2017 (arXiv 1706.03762); set-up of Gundlach et al. 2025 s4.1",
    claim="needs 2.54x fewer FLOPs than the LSTM at about 1e15 by the authors' curves, 4.69x as plotted",
    smoke={
        "task": "language/sotu",
        "resource": "train_flops",
        "budget": 3e8,
        "choices": {"batch_tokens": 256},
    },
)
class TransformerRetro(Transformer):
    """The decoder of 2017, without dropout (one pass over the data)."""

    class Choices(TransformerChoices):
        """`TransformerChoices` with the defaults of 2017."""

        lr: float = Field(0.014, gt=0)
        feed_forward: Literal["relu", "gelu", "swiglu"] = "gelu"
        norm: Literal["layer", "rms"] = "layer"
        placement: Literal["pre", "post"] = "post"
        positions: Literal["none", "sinusoidal", "rotary"] = "sinusoidal"
        optimizer: Literal["adam", "adamw"] = "adam"
        schedule: Literal["cosine", "inverse_sqrt"] = "inverse_sqrt"
        betas: tuple[float, float] = (0.9, 0.98)


@algorithm(
    "language/transformer-modern",
    version=1,
    summary="Transformer of 2023: SwiGLU, pre-RMSNorm, rotary positions, AdamW, cosine",
    year=2023,
    source="Touvron et al. 2023 (arXiv 2302.13971); set-up of Gundlach et al. 2025 s4.1",
    claim="needs 4.99x fewer FLOPs than the LSTM and 1.97x fewer than the Transformer of 2017 at about 1e15",
    smoke={
        "task": "language/sotu",
        "resource": "train_flops",
        "budget": 3e8,
        "choices": {"batch_tokens": 256},
    },
)
class TransformerModern(Transformer):
    """The decoder of 2023."""

    class Choices(TransformerChoices):
        """`TransformerChoices` with the defaults of 2023."""

        lr: float = Field(0.018, gt=0)

"""One Transformer decoder whose parts are choices; two registered sets of them, six years apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, work
from isoloss.algorithms.language.attention import first_attention, value_width
from isoloss.algorithms.language.base import REFERENCE_WIDTH, LanguageAlgorithm, LanguageChoices
from isoloss.algorithms.language.experts import Experts
from isoloss.algorithms.language.feed_forward import FeedForward
from isoloss.algorithms.language.head import Head
from isoloss.algorithms.language.mixer import Flow, Mixer
from isoloss.algorithms.language.model import LanguageModel
from isoloss.algorithms.language.normalisation import Norm
from isoloss.algorithms.language.parts import feed_forwards, mixers, norms
from isoloss.algorithms.language.position import rotary_table, sinusoids
from isoloss.algorithms.language.sizing import ASPECT, Shape
from isoloss.errors import StudyError
from isoloss.registry import Registry


class Block(nn.Module):
    """A mixer and a feed-forward, each with a residual: norm before (x + f(norm x)) or after (norm(x + f x))."""

    def __init__(self, mix: Mixer, feed_forward: nn.Module, both: list[nn.Module], choices: Any) -> None:
        super().__init__()
        self.mix, self.feed_forward = mix, feed_forward
        self.first, self.second = both
        self.placement, self.dropout = choices.placement, choices.dropout

    def _drop(self, x_btd: torch.Tensor) -> torch.Tensor:
        return F.dropout(x_btd, self.dropout, self.training) if self.dropout else x_btd

    def forward(self, x_btd: torch.Tensor, flow: Flow) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        if self.placement == "pre":
            x_btd = x_btd + self._drop(self.mix(self.first(x_btd), flow))
            return x_btd + self._drop(self.feed_forward(self.second(x_btd)))
        x_btd = self.first(x_btd + self._drop(self.mix(x_btd, flow)))
        return self.second(x_btd + self._drop(self.feed_forward(x_btd)))


class TransformerLanguageModel(LanguageModel):
    """The decoder. Its state is that of its recurrent layers; without any, each window stands alone."""

    def __init__(self, vocabulary: int, shape: Shape, blocks: list[Block], last: nn.Module, choices: Any) -> None:
        super().__init__()
        width = shape.width
        mup = choices.parametrisation == "mup"
        self.scale = (REFERENCE_WIDTH if mup else width) ** 0.5
        self.dropout = choices.dropout
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(blocks)
        self.last = last
        self.position: torch.Tensor | None
        self.rotation: torch.Tensor | None
        positions, context = choices.positions, choices.context
        self.register_buffer("position", sinusoids(context, width) if positions == "sinusoidal" else None)
        rotary = rotary_table(context, width // shape.heads) if positions == "rotary" else None
        self.register_buffer("rotation", rotary)
        nn.init.normal_(self.embedding.weight, std=1 / self.scale)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.head = Head(vocabulary, width, REFERENCE_WIDTH / width if mup else 1.0, choices)
        self.learned = nn.Parameter(0.02 * torch.randn(context, width)) if positions == "learned" else None
        self.values: nn.Embedding | None = None
        if choices.value_embeddings and len(blocks) > first_attention(choices):
            self.values = nn.Embedding(vocabulary, value_width(shape, choices))
            nn.init.normal_(self.values.weight, std=0.1)

    def matrices(self) -> list[nn.Parameter]:
        """Weights of the layers inside blocks and of the heads for tokens further ahead; no router, no gate."""
        apart = ("router", "gate", "control")
        layers = [(n, m) for part in (self.blocks, self.head.ahead) for n, m in part.named_modules()]
        inside = [m for n, m in layers if isinstance(m, nn.Linear) and n.rpartition(".")[2] not in apart]
        return [parameter for m in inside for name, parameter in m.named_parameters() if name == "weight"]

    def _features(self, tokens_bt: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        x_btd = self.embedding(tokens_bt) * self.scale
        if self.position is not None:
            x_btd = x_btd + self.position[: tokens_bt.shape[1]]
        if self.learned is not None:
            x_btd = x_btd + self.learned[: tokens_bt.shape[1]] * self.scale
        if self.dropout:
            x_btd = F.dropout(x_btd, self.dropout, self.training)
        values = None if self.values is None else self.values(tokens_bt)
        flow = Flow(self.rotation, values, states=state or {})
        for block in self.blocks:
            x_btd = block(x_btd, flow)
        return self.last(x_btd), flow.next_states or None

    def forward(self, tokens_bt: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Logits of the next token and the recurrent layers' states."""
        x_btd, state = self._features(tokens_bt, state)
        return self.head(x_btd, self.embedding.weight), state

    def loss(self, tokens_bt: torch.Tensor, target_bt: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Cross-entropy of the next token, with the gradient of experts' balance and of tokens further ahead."""
        x_btd, state = self._features(tokens_bt, state)
        loss = self.head.loss(x_btd, target_bt, self.embedding.weight)
        mixtures = (getattr(b, "feed_forward", None) for b in self.blocks)
        more = [part.auxiliary for part in mixtures if isinstance(part, Experts)]
        if self.head.ahead:
            more.append(self.head.further(x_btd, target_bt, self.embedding.weight))
        for objective in more:
            loss = loss + (objective - objective.detach())
        return loss, state


class TransformerChoices(LanguageChoices):
    """The parts of a Transformer, on top of `LanguageChoices`: each is one published innovation or its predecessor.

    `feed_forward`, `norm`: names of `isoloss.algorithms.language.parts`; `mixer`: one of them too, or ``hybrid``, a
    recurrence in every layer of odd number and attention in the others. `head_width`: the widest that an attention
    head may be. `kv_heads` ... `value_embeddings`: see
    `attention`; `soft_cap`, `prediction`: see `head`; `experts` ...: see `experts`, 1 for a dense model.
    `parametrisation`: ``standard``, every rate scaled by `lr_width_exponent`; ``mup``, hidden matrices' alone, with
    constant tables, routers and gates, and logits divided by the width (Yang et al. 2022, arXiv 2203.03466; both agree
    at width 16).
    """

    head_width: int = Field(ASPECT, ge=2, le=256, exclude_if=lambda value: value == ASPECT)
    feed_forward: str = "swiglu"
    norm: str = "rms"
    placement: Literal["pre", "post"] = "pre"
    positions: Literal["none", "learned", "sinusoidal", "rotary"] = "rotary"
    mixer: str = "attention"
    kv_heads: Literal["all", "half", "one"] = "all"
    attention_window: int | None = Field(None, ge=1)
    attention_gate: bool = False
    qk_norm: bool = False
    value_residual: bool = False
    value_embeddings: bool = False
    soft_cap: float | None = Field(None, gt=0)
    prediction: int = Field(1, ge=1, le=4)
    experts: int = Field(1, ge=1, le=256)
    experts_top: int = Field(1, ge=1)
    experts_grain: int = Field(1, ge=1, le=8)
    experts_balance: Literal["loss", "bias"] = "loss"
    parametrisation: Literal["standard", "mup"] = "standard"  # type: ignore[assignment]

    @model_validator(mode="after")
    def _consistent(self) -> TransformerChoices:
        if self.experts == 1 and (self.experts_top, self.experts_grain) != (1, 1):
            raise ValueError("experts_top and experts_grain need experts > 1")
        if self.experts_top > self.experts:
            raise ValueError(f"experts_top {self.experts_top} exceeds experts {self.experts}")
        if self.prediction > self.context:
            raise ValueError(f"prediction {self.prediction} looks beyond the context {self.context}")
        if self.mixer == "gated-delta":
            reads = ("kv_heads", "attention_window", "attention_gate", "qk_norm", "value_residual", "value_embeddings")
            given = [f for f in reads if getattr(self, f) != type(self).model_fields[f].default]
            if given:
                raise ValueError(f"{given[0]} changes attention, and mixer 'gated-delta' has none")
        return self


class Transformer(LanguageAlgorithm):
    """A decoder. Override `feed_forward`, `norm` or `mixer` to add a part of your own, or register one in `parts`."""

    class Choices(TransformerChoices):
        """See `TransformerChoices`."""

    def parts(self, choices: Any) -> list[tuple[Registry[Any], str]]:
        """Feed-forward, norm and mixer beside what every language model has."""
        named = ("gated-delta", "attention") if choices.mixer == "hybrid" else (choices.mixer,)
        mixed = [(mixers, name) for name in named]
        return [*super().parts(choices), (feed_forwards, choices.feed_forward), (norms, choices.norm), *mixed]

    def feed_forward(self, choices: Any) -> type[FeedForward]:
        """The module class between mixers."""
        return feed_forwards.get(choices.feed_forward, "feed_forward")

    def norm(self, choices: Any) -> type[Norm]:
        """The module class that normalises."""
        return norms.get(choices.norm, "norm")

    def mixer(self, choices: Any, layer: int) -> type[Mixer]:
        """The module class that mixes tokens in layer `layer`, counted from 0."""
        hybrid = "gated-delta" if layer % 2 == 0 else "attention"
        return mixers.get(hybrid if choices.mixer == "hybrid" else choices.mixer, "mixer")

    def shape(self, choices: Any) -> Shape:
        """Its heads are those of `head_width`."""
        return Shape(choices.width, choices.depth, choices.head_width)

    def shapes(self, choices: Any) -> Iterator[Shape]:
        """Depths 1 to 16; widths whose heads are alike, of even size and at most `head_width` wide."""
        for depth in range(1, 17):
            for width in range(4, 513, 2):
                shape = Shape(width, depth, choices.head_width)
                if width % (2 * shape.heads) == 0:
                    yield shape

    def cost(self, vocabulary: int, shape: Shape, choices: Any) -> Cost:
        """The sum of the parts, residuals, norms and embedding."""
        d, layers = shape.width, shape.depth
        if d % (2 * shape.heads):
            raise StudyError("width", f"{d} has no {shape.heads} heads of even width", f"try a multiple of {ASPECT}")
        norm, part = self.norm(choices), self.feed_forward(choices)
        found = Head.cost(vocabulary, d, choices) + work(d, 3 * d)
        found += norm.cost(d) * (2 * layers + (choices.placement == "pre"))
        if choices.experts > 1:
            found += Experts.cost(part, d, norm.biased, choices) * layers
        else:
            found += part.cost(d, norm.biased) * layers
        for layer in range(layers):
            found += self.mixer(choices, layer).cost(shape, norm.biased, layer, choices)
        found += work(2 * d, 2 * d) * layers
        if choices.positions == "sinusoidal":
            found += work(d, 0)
        elif choices.positions == "learned":
            found += Cost(choices.context * d, choices.context * d, 0.0, 2 * d, 4 * d)
        if choices.dropout:
            found += work(2 * d, d) * (2 * layers + 1)
        if choices.value_embeddings and layers > first_attention(choices):
            values = value_width(shape, choices)
            found += Cost(vocabulary * values, values, vocabulary * values, 0.0, values)
        return found

    def model(self, vocabulary: int, choices: Any) -> LanguageModel:
        """See `TransformerLanguageModel`."""
        d, shape = choices.width, self.shape(choices)
        norm, part = self.norm(choices), self.feed_forward(choices)
        blocks = []
        for layer in range(choices.depth):
            mix = self.mixer(choices, layer)(shape, norm.biased, layer, choices)
            dense = choices.experts == 1
            forward = part(d, norm.biased) if dense else Experts(part, d, norm.biased, choices)
            blocks.append(Block(mix, forward, [norm(d), norm(d)], choices))
        last = norm(d) if choices.placement == "pre" else nn.Identity()
        return TransformerLanguageModel(vocabulary, shape, blocks, last, choices)


_SMOKE = {
    "task": "language/sotu",
    "resource": "train_flops",
    "budget": 3e8,
    "choices": {"batch_tokens": 256},
}


@algorithm(
    "language/transformer-retro",
    version=1,
    summary="Transformer of 2017: GELU, post-LayerNorm, sinusoidal positions, Adam, inverse square root",
    year=2017,
    source="Vaswani et al. 2017 (arXiv 1706.03762); set-up of Gundlach et al. 2025 s4.1",
    claim="needs 2.54x fewer FLOPs than the LSTM at about 1e15 by the authors' curves, 4.69x as plotted",
    smoke=_SMOKE,
)
class TransformerRetro(Transformer):
    """The decoder of 2017, without dropout (one pass over the data)."""

    class Choices(TransformerChoices):
        """`TransformerChoices` with the defaults of 2017."""

        lr: float = Field(0.014, gt=0)
        feed_forward: str = "gelu"
        norm: str = "layer"
        placement: Literal["pre", "post"] = "post"
        positions: Literal["none", "learned", "sinusoidal", "rotary"] = "sinusoidal"
        optimizer: str = "adam"
        schedule: str = "inverse_sqrt"
        betas: tuple[float, float] = (0.9, 0.98)


@algorithm(
    "language/transformer-modern",
    version=1,
    summary="Transformer of 2023: SwiGLU, pre-RMSNorm, rotary positions, AdamW, cosine",
    year=2023,
    source="Touvron et al. 2023 (arXiv 2302.13971); set-up of Gundlach et al. 2025 s4.1",
    claim="needs 4.99x fewer FLOPs than the LSTM and 1.97x fewer than the Transformer of 2017 at about 1e15",
    smoke=_SMOKE,
)
class TransformerModern(Transformer):
    """The decoder of 2023."""

    class Choices(TransformerChoices):
        """`TransformerChoices` with the defaults of 2023."""

        lr: float = Field(0.018, gt=0)

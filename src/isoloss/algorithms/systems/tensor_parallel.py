"""Tensor parallel: the matrices of every layer divided over devices, attention by heads (Megatron-LM).

In each block the first product is divided by columns and the second by rows, so a device computes with its own heads
and hidden units, and one sum over devices follows each half of a block forward, one backward.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from isoloss.algorithms.language.attention import Attention, key_heads
from isoloss.algorithms.language.parts import feed_forwards
from isoloss.algorithms.language.sizing import Shape
from isoloss.errors import StudyError
from isoloss.training.distributed import strategy
from isoloss.training.distributed.base import Build, DeviceOptimizer, Price, Strategy, check_elementwise
from isoloss.training.distributed.exchange import Exchange
from isoloss.training.distributed.group import Group

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer, Trainee


class _Enter(torch.autograd.Function):
    """Forward nothing; backward the sum over devices, each of which has the gradient of its own columns."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: Group) -> torch.Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return ctx.group.sum_(gradients[0].clone(memory_format=torch.contiguous_format)), None


class _Leave(torch.autograd.Function):
    """Forward the sum over devices, each of which has the product with its own rows; backward nothing."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: Group) -> torch.Tensor:
        return group.sum_(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0], None


class Columns(nn.Module):
    """This device's outputs of a dense layer."""

    def __init__(self, whole: nn.Linear, rows: torch.Tensor, group: Group) -> None:
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(whole.weight.detach()[rows].clone())
        self.bias = None if whole.bias is None else nn.Parameter(whole.bias.detach()[rows].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., own outputs)."""
        entered: Any = _Enter.apply(x, self.group)
        return F.linear(entered, self.weight, self.bias)


class Rows(nn.Module):
    """A dense layer from this device's inputs; the bias, whole on every device, is added after the sum."""

    def __init__(self, whole: nn.Linear, columns: torch.Tensor, group: Group) -> None:
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(whole.weight.detach()[:, columns].clone())
        self.bias = None if whole.bias is None else nn.Parameter(whole.bias.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., own inputs) -> (..., out)."""
        left: Any = _Leave.apply(F.linear(x, self.weight), self.group)
        return left if self.bias is None else left + self.bias


def _own(count: int, group: Group, each: int = 1, first: int = 0) -> torch.Tensor:
    """Places of this device's share of `count` things of `each` rows, the first row at `first`."""
    share = count // group.size * each
    return first + group.rank * share + torch.arange(share)


def divide_block(block: Any, group: Group) -> list[nn.Parameter]:
    """Replace the four products of `block` by this device's part of them; the parameters that are parts."""
    mix, forward = block.mix, block.feed_forward
    e, h, n = mix.head, mix.heads, mix.kept
    heads = _own(h, group, e)
    keys = [_own(n, group, e, (h + i * n) * e) for i in range(2)]
    mix.qkv = Columns(mix.qkv, torch.cat([heads, *keys]), group)
    mix.out = Rows(mix.out, heads, group)
    mix.heads, mix.kept = h // group.size, n // group.size
    hidden, inner = forward.down.in_features, forward.up.out_features
    # units that gate others lie behind one another: each device takes its share of both
    own = torch.cat([_own(hidden, group, 1, first) for first in range(0, inner, hidden)])
    forward.up = Columns(forward.up, own, group)
    forward.down = Rows(forward.down, _own(hidden, group), group)
    columns, rows = (mix.qkv, forward.up), (mix.out, forward.down)
    return [p for m in columns for p in m.parameters()] + [m.weight for m in rows]


class Parts(DeviceOptimizer):
    """Clips by the norm of the whole gradient, of which the divided parameters' part is summed over devices."""

    def __init__(
        self, inner: Optimizer, model: nn.Module, divided: list[nn.Parameter], group: Group, largest: float | None
    ) -> None:
        super().__init__(inner, group, largest)
        named = {id(p) for p in divided}
        self.divided = divided
        self.whole = [p for p in model.parameters() if id(p) not in named]

    @torch.no_grad()
    def step(self) -> None:
        """Clip and update."""
        parts, whole = ([p.grad for p in ps if p.grad is not None] for ps in (self.divided, self.whole))
        self.clip(whole, parts)
        self.inner.step()


@strategy(
    "tensor",
    version=1,
    summary="tensor parallel: heads and hidden units divided over devices",
    year=2019,
    source="Shoeybi et al. 2019 (Megatron-LM, arXiv 1909.08053)",
)
class TensorParallel(Strategy):
    """Of plain attention and dense feed-forwards; embedding, head and norms are on every device. Every device sees the
    whole batch."""

    model_divided = True

    @classmethod
    def check(cls, choices: Any) -> None:
        """Parts that can be divided, and an optimiser that does not mind that matrices are."""
        check_elementwise("tensor", choices)
        plain = {
            "mixer": "attention", "attention_gate": False, "qk_norm": False, "value_residual": False,
            "value_embeddings": False, "experts": 1, "dropout": 0.0,
        }  # fmt: skip
        for name, wanted in plain.items():
            if getattr(choices, name) != wanted:
                what = f"{getattr(choices, name)!r} is nothing that strategy 'tensor' can divide"
                raise StudyError(name, what, f"set {name} = {wanted!r}, or another strategy")
        if choices.width is None:
            return
        shape, devices = Shape(choices.width, choices.depth or 1), choices.devices
        hidden = feed_forwards.get(choices.feed_forward).hidden(choices.width)
        counts = {
            "heads": shape.heads,
            "heads of keys": key_heads(shape.heads, choices.kv_heads),
            "hidden units": hidden,
        }
        for what, count in counts.items():
            if count % devices:
                raise StudyError("devices", f"{count} {what} can't be divided by {devices}", "choose another width")

    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """The same batches; layers cut."""
        model: Any = trainee.model
        divided = []
        for block in model.modules():
            if isinstance(getattr(block, "mix", None), Attention):
                divided += divide_block(block, self.group)
        named = {id(p) for p in divided if p.dim() == 2}
        matrices = [p for p in model.parameters() if id(p) in named]
        others = [p for p in model.parameters() if id(p) not in named]
        optimizer = Parts(build(matrices, others), model, divided, self.group, trainee.clip)
        return dataclasses.replace(trainee, optimizer=optimizer, clip=None)

    @classmethod
    def flops(cls, price: Price, exchange: type[Exchange], choices: Any) -> float:
        """What is not divided is done on every device."""
        devices = choices.devices
        work = price.divisible + devices * (price.work - price.divisible + price.again)
        held = price.divisible_parameters + devices * (price.parameters - price.divisible_parameters)
        return work + held * (price.update / price.parameters + 2)

"""Matrix products in bfloat16, or in float32 by oneDNN, while everything else stays as it is.

Weights, optimiser, norms, softmax, attention and everything pointwise are float32 in either case. Attention is left out
on a CPU: its bfloat16 kernel takes nine times as long backward as the float32 one. Which pays where is in
``docs/speed.md``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from isoloss.errors import StudyError

#: Below this ratio to float32 a machine's bfloat16 is called slow.
WORTH_IT = 1.3
_PRODUCTS = frozenset({
    F.linear, F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d,
    torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm,
    torch.addmm, torch.baddbmm, torch.einsum,
})  # fmt: skip
_RECURRENT = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})
_OWN = (torch.Tensor, torch.nn.Parameter)


def _cast(value: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """`value` with every tensor of dtype `old` in it as `new`; lists become tuples."""
    if isinstance(value, torch.Tensor):
        return value.to(new) if value.dtype == old else value
    if isinstance(value, (list, tuple)):
        return tuple(_cast(v, old, new) for v in value)
    return value


class BFloat16Products(TorchFunctionMode):
    """Context manager: products, convolutions and recurrent layers called inside take operands rounded to bfloat16, add
    up in float32, and their results, rounded once more, go on as float32. Gradients of them alike."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, rounded where it is a product."""
        options = kwargs or {}
        if func not in _PRODUCTS and func not in _RECURRENT:
            return func(*args, **options)
        full, half = torch.float32, torch.bfloat16
        out = func(*_cast(args, full, half), **{name: _cast(v, full, half) for name, v in options.items()})
        return _cast(out, half, full)


class _OneDNNLinear(torch.autograd.Function):
    """``F.linear`` in float32 whose three products go to oneDNN, whatever library PyTorch would take."""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        x, weight, bias = inputs
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
        x, weight = ctx.saved_tensors
        (g,) = gradients
        product = torch.ops.mkldnn._linear_pointwise
        to_input = product(g, weight.t(), None, "none", [], "") if ctx.needs_input_grad[0] else None
        g, x = g.flatten(0, -2), x.flatten(0, -2)
        # the first operand is copied, so it is the narrower one
        if g.shape[1] <= x.shape[1]:
            to_weight = product(g.t(), x.t(), None, "none", [], "")
        else:
            to_weight = product(x.t(), g.t(), None, "none", [], "").t()
        return to_input, to_weight, g.sum(0) if ctx.biased else None


class OneDNNProducts(TorchFunctionMode):
    """Context manager: ``F.linear`` called inside is float32 by oneDNN. PyTorch's default, MKL, leaves half of an AMD
    processor's vector units idle. Same formula, other rounding."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, or oneDNN in its place."""
        if func is F.linear and args[0].dtype == torch.float32 and args[0].dim() > 1:
            bias = args[2] if len(args) > 2 else (kwargs or {}).get("bias")
            return _OneDNNLinear.apply(args[0], args[1], bias)
        return func(*args, **(kwargs or {}))


def products(numerics: Mapping[str, Any], device: str = "cpu") -> Callable[[], AbstractContextManager[Any]]:
    """The context that a run's loss is made in, by its spec's `numerics` (``dtype``, ``matmul``).

    Raises `StudyError` for float16 on a CPU, and for oneDNN elsewhere than on a CPU or beside bfloat16.
    """
    dtype, library = numerics.get("dtype", "float32"), numerics.get("matmul", "default")
    kind = torch.device(device).type
    if dtype == "float16":
        raise StudyError("numerics.dtype", "float16 is 80 to 160 times slower than float32 on a CPU", "use bfloat16")
    if library == "onednn" and (dtype != "float32" or kind != "cpu"):
        raise StudyError("numerics.matmul", f"'onednn' is for float32 on a CPU, not {dtype} on {kind}", "leave it out")
    if dtype == "bfloat16":
        return BFloat16Products if kind == "cpu" else lambda: torch.autocast(kind, torch.bfloat16)
    return OneDNNProducts if library == "onednn" else nullcontext


def within(context: Callable[[], AbstractContextManager[Any]], loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`loss` made inside a new `context` each time."""
    if context is nullcontext:
        return loss

    def inside(batch: Any) -> Any:
        with context():
            return loss(batch)

    return inside


@cache
def product_rates(width: int = 512, rows: int = 1024, threads: int | None = None) -> dict[str, float]:
    """FLOP/s of a product of (rows x width) and (width x 4 width) on this CPU, best of interleaved repeats: ``float32``
    (PyTorch's default), ``onednn`` (float32) and ``bfloat16`` (operands given in it)."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    x, weight = torch.randn(rows, width), torch.randn(4 * width, width)
    x16, weight16 = x.bfloat16(), weight.bfloat16()
    ways: dict[str, Callable[[], Any]] = {
        "float32": lambda: F.linear(x, weight),
        "onednn": lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""),
        "bfloat16": lambda: F.linear(x16, weight16),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(12):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return {name: 8 * rows * width * width / _typical(seconds) for name, seconds in taken.items()}


def _typical(seconds: Iterable[float]) -> float:
    return statistics.median(sorted(seconds)[:5])  # the rest were disturbed


def slow_bfloat16() -> str | None:
    """One sentence where bfloat16 products gain less than `WORTH_IT` over float32 on this CPU; None where they pay."""
    rates = product_rates()
    ratio = rates["bfloat16"] / rates["float32"]
    if ratio >= WORTH_IT:
        return None
    return f"bfloat16 products run at {ratio:.2f} times the rate of float32 here: this CPU has no fast bfloat16."

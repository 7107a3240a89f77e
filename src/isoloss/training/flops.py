"""Counting training FLOPs by watching every operator that runs.

Convention (one multiply-accumulate = 2 FLOPs): matrix products, convolutions, recurrent cells and attention by
formula; pointwise operators 1 per output element (a complex product 6); reductions 1 per input element; softmax,
log-softmax and normalisations 5 per element forward and backward; fused AdamW 14 per parameter; an embedding's
gradient 1 per element added up; decompositions of a matrix by the textbook's leading terms (`eigh_flops`, `qr_flops`,
`svd_flops`). Views, copies, indexing and random numbers count 0. PyTorch's own counter has no formula for recurrent
kernels, decompositions, in-place products and products with a vector and counts nothing pointwise, which undercounts
an LSTM language model by its whole recurrent cell; hence this one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
ADAMW_FLOPS_PER_PARAMETER = 14
NORMALISE_FLOPS_PER_ELEMENT = 5
COMPLEX_PRODUCT_FLOPS = 6


def eigh_flops(n: int) -> int:
    """All eigenvalues and vectors of a symmetric matrix: 9 n^3 (Golub & Van Loan 2013, s 8.3, symmetric QR)."""
    return 9 * n**3


def qr_flops(m: int, n: int) -> int:
    """Reduced QR of m x n by Householder reflections, Q formed (LAPACK's geqrf and orgqr): 8/3 n^3 if square.

    >>> qr_flops(30, 30), 8 * 30**3 // 3
    (72000, 72000)
    """
    m, n = max(m, n), min(m, n)
    return round(2 * (2 * m * n * n - 2 * n**3 / 3))


def svd_flops(m: int, n: int) -> int:
    """Reduced SVD of m x n with both sides: 14 m n^2 + 8 n^3, n the shorter (Golub & Van Loan 2013, s 8.6)."""
    m, n = max(m, n), min(m, n)
    return 14 * m * n * n + 8 * n**3


def _numel(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, (list, tuple)):
        return sum(_numel(v) for v in value)
    return 0


def _lstm_forward(args: tuple[Any, ...], out: Any) -> int:
    # args: input (T, B, I), w_ih (4H, I), w_hh (4H, H), ...; 4H gates, two products, then ~9 pointwise a unit
    x, w_ih, w_hh = args[0], args[1], args[2]
    tokens = math.prod(x.shape[:-1])
    return tokens * (2 * w_ih.numel() + 2 * w_hh.numel() + 9 * w_hh.shape[1])


def _lstm_backward(args: tuple[Any, ...], out: Any) -> int:
    return 2 * _lstm_forward((args[0], args[1], args[2]), out)


def _attention_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> int:
    b, h, t, d = q.shape
    s, e = k.shape[2], v.shape[3]
    # a causal kernel may skip half; counted in full, as the field does
    return b * h * t * s * (2 * d + 2 * e + NORMALISE_FLOPS_PER_ELEMENT)


def _sdpa(args: tuple[Any, ...], out: Any) -> int:
    return _attention_forward(*args[:3])


def _sdpa_backward(args: tuple[Any, ...], out: Any) -> int:
    _, q, k, v = args[:4]
    b, h, t, d = q.shape
    s, e = k.shape[2], v.shape[3]
    # recompute scores, then dV, dP, dQ, dK
    return b * h * t * s * (6 * d + 4 * e + 2 * NORMALISE_FLOPS_PER_ELEMENT)


def _normalise(args: tuple[Any, ...], out: Any) -> int:
    return NORMALISE_FLOPS_PER_ELEMENT * _numel(args[0])


def _adamw(args: tuple[Any, ...], out: Any) -> int:
    return ADAMW_FLOPS_PER_PARAMETER * _numel(args[0])


def _triangular(args: tuple[Any, ...], out: Any) -> int:
    # substitution: a row's multiply-accumulates with those before it, half of a square, for each column
    return _numel(args[0]) * _numel(out) // (math.prod(out.shape[:-1]) or 1)


def _rows(args: tuple[Any, ...], out: Any) -> int:
    return _numel(args[1])  # one log-probability a target is read and added up


def _embedding_backward(args: tuple[Any, ...], out: Any) -> int:
    return _numel(args[0])  # every row's gradient is added to its table entry


def _in_place_product(args: tuple[Any, ...], out: Any) -> int:
    return 2 * _numel(args[1]) * args[2].shape[-1]  # args: what is added to, left, right


def _vector_product(args: tuple[Any, ...], out: Any) -> int:
    return 2 * _numel(args[0])


def _each(decomposition: Callable[[torch.Size], int]) -> Callable[[tuple[Any, ...], Any], int]:
    def flops(args: tuple[Any, ...], out: Any) -> int:
        shape = args[0].shape  # (..., m, n)
        return math.prod(shape[:-2]) * decomposition(shape)

    return flops


def _ops(*names: str) -> list[Any]:
    return [getattr(aten, n) for n in names if hasattr(aten, n)]


_FORMULAS: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    **dict.fromkeys(_ops("mkldnn_rnn_layer"), _lstm_forward),
    **dict.fromkeys(_ops("mkldnn_rnn_layer_backward"), _lstm_backward),
    **dict.fromkeys(_ops("_scaled_dot_product_flash_attention_for_cpu"), _sdpa),
    **dict.fromkeys(_ops("_scaled_dot_product_flash_attention_for_cpu_backward"), _sdpa_backward),
    **dict.fromkeys(
        _ops(
            "_softmax",
            "_log_softmax",
            "_softmax_backward_data",
            "_log_softmax_backward_data",
            "native_layer_norm",
            "native_layer_norm_backward",
            "_fused_rms_norm",
            "_fused_rms_norm_backward",
            "native_batch_norm",
            "native_batch_norm_backward",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_functional",
            "native_group_norm",
            "native_group_norm_backward",
        ),
        _normalise,
    ),
    **dict.fromkeys(_ops("linalg_solve_triangular"), _triangular),
    **dict.fromkeys(_ops("nll_loss_forward", "nll_loss2d_forward"), _rows),
    **dict.fromkeys(_ops("embedding_dense_backward"), _embedding_backward),
    **dict.fromkeys(_ops("_fused_adamw_", "_fused_adam_"), _adamw),
    **dict.fromkeys(_ops("addmm_", "baddbmm_"), _in_place_product),
    **dict.fromkeys(_ops("mv", "dot"), _vector_product),
    **dict.fromkeys(_ops("_linalg_eigh"), _each(lambda shape: eigh_flops(shape[-1]))),
    **dict.fromkeys(_ops("linalg_qr"), _each(lambda shape: qr_flops(shape[-2], shape[-1]))),
    **dict.fromkeys(_ops("_linalg_svd"), _each(lambda shape: svd_flops(shape[-2], shape[-1]))),
}
_REDUCTIONS = frozenset(
    _ops(
        "sum",
        "mean",
        "amax",
        "amin",
        "max",
        "min",
        "prod",
        "norm",
        "linalg_vector_norm",
        "_foreach_norm",
        "var",
        "std",
        "avg_pool2d",
        "max_pool2d_with_indices",
        "_adaptive_avg_pool2d",
    )
)
# pointwise by tag, but they move or compare data rather than compute
_FREE = frozenset(_ops("copy_", "clone", "_to_copy", "fill_", "zero_", "where", "masked_fill", "masked_fill_"))


class FlopCounter(TorchDispatchMode):
    """Context manager; after it, `total` is the FLOPs of everything that ran inside and `by_operator` the parts.

    >>> with FlopCounter() as counter:
    ...     _ = torch.ones(4, 8) @ torch.ones(8, 2)
    >>> counter.total
    128
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_operator: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would wrap the counter for its compiler, which takes a second to import and is not used here
        return False

    @property
    def total(self) -> int:
        """FLOPs counted so far."""
        return sum(self.by_operator.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and add what it costs."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        flops = 0
        if packet in _FORMULAS:
            flops = _FORMULAS[packet](args, out)
        elif packet in flop_registry:
            flops = flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        elif packet in _FREE:
            flops = 0
        elif packet in _REDUCTIONS:
            flops = _numel(args[0])
        elif torch.Tag.pointwise in func.tags or func.__name__.startswith("_foreach_"):
            flops = _numel(out) or _numel(args[0])  # in-place list operators return nothing
            if packet is aten.mul and isinstance(out, torch.Tensor) and out.is_complex():
                flops *= COMPLEX_PRODUCT_FLOPS
        if flops:
            self.by_operator[str(packet)] += int(flops)
        return out


class PeriodicMeter:
    """FLOPs of a run whose work repeats every `period` steps after the first, from its first 1 + `period` steps.

    The first step is apart since it may set things up (SOAP's first eigenbasis). Exact where the work does repeat.

    >>> meter = PeriodicMeter(period=2)
    >>> for size in (1, 2, 3, 2, 3, 2):
    ...     with meter.step():
    ...         _ = torch.ones(size) + 1
    >>> meter.counted, meter.total(6)
    ([1, 2, 3], 13)
    """

    def __init__(self, period: int) -> None:
        self.period = period
        self.counted: list[int] = []

    def step(self) -> AbstractContextManager[Any]:
        """Put around a step: counts it while steps are still needed, else does nothing."""
        return _Recorded(self.counted) if len(self.counted) <= self.period else nullcontext()

    def total(self, steps: int) -> int:
        """FLOPs of the first `steps` steps (at least 1), all done."""
        periods, rest = divmod(steps - 1, self.period)
        return self.counted[0] + periods * sum(self.counted[1:]) + sum(self.counted[1 : 1 + rest])


class _Recorded(FlopCounter):
    """A counter that leaves its total in a list."""

    def __init__(self, totals: list[int]) -> None:
        super().__init__()
        self.totals = totals

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self.totals.append(self.total)

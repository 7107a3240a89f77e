"""What every operator costs in FLOPs: the one table behind `isoloss.training.flops`.

Convention (one multiply-accumulate = 2 FLOPs): matrix products, convolutions, recurrent cells and attention by
formula; pointwise operators 1 per output element (a complex product 6); reductions 1 per input element; softmax,
log-softmax and normalisations 5 per element forward and backward; fused AdamW 14 per parameter; an embedding's
gradient 1 per element added up; decompositions of a matrix by the textbook's leading terms (`eigh_flops`, `qr_flops`,
`svd_flops`), Fourier transforms 5 n log2 n. Views, copies, indexing, sorting and random numbers count 0. PyTorch's own
counter has no formula for recurrent kernels, decompositions, in-place products and products with a vector and counts
nothing pointwise, which undercounts an LSTM language model by its whole recurrent cell; hence this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
ADAMW_FLOPS_PER_PARAMETER = 14
NORMALISE_FLOPS_PER_ELEMENT = 5
COMPLEX_PRODUCT_FLOPS = 6
#: pointwise FLOPs of one recurrent unit for one token, by cuDNN's number of the cell: ReLU, tanh, LSTM, GRU
CELL_FLOPS = {0: 2, 1: 2, 2: 9, 3: 10}

Arguments = tuple[Any, ...]
Options = Mapping[str, Any]
Formula = Callable[[Arguments, Options, Any], int]


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


def flops_of(operator: Any, args: Arguments, options: Options, out: Any) -> int | None:
    """FLOPs of one call that gave `out`; None for an operator that no rule here covers.

    >>> a, b = torch.ones(4, 8), torch.ones(8, 2)
    >>> flops_of(aten.mm.default, (a, b), {}, a @ b)
    128
    """
    packet = getattr(operator, "_overloadpacket", operator)
    if packet in _FORMULAS:
        return _FORMULAS[packet](args, options, out)
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **options, out_val=out))
    if packet in _FREE or getattr(operator, "namespace", "aten") in _FREE_NAMESPACES or is_view(operator):
        return 0
    if packet in _REDUCTIONS:
        return _numel(args[0])
    if packet in _POINTWISE or torch.Tag.pointwise in operator.tags or operator.__name__.startswith("_foreach_"):
        flops = pointwise(args, out)
        if packet is aten.mul and isinstance(out, torch.Tensor) and out.is_complex():
            flops *= COMPLEX_PRODUCT_FLOPS
        return flops
    return None


def pointwise(args: Arguments, out: Any) -> int:
    """One FLOP an element of what comes out, or of the first argument where nothing does (in-place list operators)."""
    return _numel(out) or _numel(args[:1])


def is_view(operator: Any) -> bool:
    """Whether the operator gives another look at its input's own memory."""
    schema = getattr(operator, "_schema", None)
    aliases = [] if schema is None else [r.alias_info for r in schema.returns if r.alias_info is not None]
    return bool(aliases) and not any(alias.is_write for alias in aliases)


def _numel(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, (list, tuple)):
        return sum(_numel(v) for v in value)
    return 0


def _lstm_forward(args: Arguments, options: Options, out: Any) -> int:
    # args: input (T, B, I), w_ih (4H, I), w_hh (4H, H), ...; 4H gates, two products, then ~9 pointwise a unit
    x, w_ih, w_hh = args[0], args[1], args[2]
    tokens = math.prod(x.shape[:-1])
    return tokens * (2 * w_ih.numel() + 2 * w_hh.numel() + CELL_FLOPS[2] * w_hh.shape[1])


def _lstm_backward(args: Arguments, options: Options, out: Any) -> int:
    return 2 * _lstm_forward(args, options, out)


def _cudnn_cell(args: Arguments, at: int) -> int:
    # args: input (..., I), all layers' and directions' weights and biases; `at` and on: mode, hidden, projected, layers
    x, weights = args[0], args[1]
    mode, hidden, layers, both = args[at], args[at + 1], args[at + 3], args[at + 7]
    products = 2 * sum(w.numel() for w in weights if w.dim() == 2)
    units = hidden * layers * (2 if both else 1)
    return math.prod(x.shape[:-1]) * (products + CELL_FLOPS[mode] * units)


def _cudnn_forward(args: Arguments, options: Options, out: Any) -> int:
    return _cudnn_cell(args, 6)


def _cudnn_backward(args: Arguments, options: Options, out: Any) -> int:
    return 2 * _cudnn_cell(args, 10)


def _lstm_cell(args: Arguments, options: Options, out: Any) -> int:
    return CELL_FLOPS[2] * _numel(args[2])  # its products are operators of their own


def _lstm_cell_backward(args: Arguments, options: Options, out: Any) -> int:
    return 2 * CELL_FLOPS[2] * _numel(args[2])


def _gru_cell(args: Arguments, options: Options, out: Any) -> int:
    return CELL_FLOPS[3] * _numel(args[2])


def _gru_cell_backward(args: Arguments, options: Options, out: Any) -> int:
    return 2 * CELL_FLOPS[3] * _numel(args[0])


def _sdpa(args: Arguments, options: Options, out: Any) -> int:
    q, k, v = args[:3]
    b, h, t, d = q.shape
    s, e = k.shape[2], v.shape[3]
    # a causal kernel may skip half; counted in full, as the field does
    return int(b * h * t * s * (2 * d + 2 * e + NORMALISE_FLOPS_PER_ELEMENT))


def _sdpa_backward(args: Arguments, options: Options, out: Any) -> int:
    _, q, k, v = args[:4]
    b, h, t, d = q.shape
    s, e = k.shape[2], v.shape[3]
    # recompute scores, then dV, dP, dQ, dK
    return int(b * h * t * s * (6 * d + 4 * e + 2 * NORMALISE_FLOPS_PER_ELEMENT))


def _normalise(args: Arguments, options: Options, out: Any) -> int:
    return NORMALISE_FLOPS_PER_ELEMENT * _numel(args[0])


def _adamw(args: Arguments, options: Options, out: Any) -> int:
    return ADAMW_FLOPS_PER_PARAMETER * _numel(args[0])


def _sgd(args: Arguments, options: Options, out: Any) -> int:
    # as the separate operators: scale and add for the velocity, add for weight decay, add to the parameter
    each = 1 + 2 * bool(options.get("momentum")) + bool(options.get("weight_decay"))
    return each * _numel(args[0])


def _adagrad(args: Arguments, options: Options, out: Any) -> int:
    return (6 + bool(options.get("weight_decay"))) * _numel(args[0])  # square, add, root, epsilon, quotient, add


def _dropout(args: Arguments, options: Options, out: Any) -> int:
    return 2 * _numel(args[0])  # the mask scaled and applied, as where they are two operators


def _triangular(args: Arguments, options: Options, out: Any) -> int:
    # substitution: a row's multiply-accumulates with those before it, half of a square, for each column
    return _numel(args[0]) * _numel(out) // (math.prod(out.shape[:-1]) or 1)


def _rows(args: Arguments, options: Options, out: Any) -> int:
    return _numel(args[1])  # one log-probability a target is read and added up


def _embedding_backward(args: Arguments, options: Options, out: Any) -> int:
    return _numel(args[0])  # every row's gradient is added to its table entry


def _in_place_product(args: Arguments, options: Options, out: Any) -> int:
    return int(2 * _numel(args[1]) * args[2].shape[-1])  # args: what is added to, left, right


def _vector_product(args: Arguments, options: Options, out: Any) -> int:
    return 2 * _numel(args[0])


def _grouped_product(args: Arguments, options: Options, out: Any) -> int:
    # rows (M, K) by group, columns (K, N) by group, the summed side by group, or a batch: see torch's _grouped_mm
    left, right = args[0], args[1]
    if left.dim() == 3 and right.dim() == 2:
        return int(2 * left.shape[1] * right.numel())
    return int(2 * left.numel() * right.shape[-1])


def _fourier(args: Arguments, options: Options, out: Any) -> int:
    # complex radix-2 transform, 5 n log2 n (Cooley & Tukey 1965); a real side halves the work
    whole = out if out.numel() > args[0].numel() else args[0]
    n = math.prod(whole.shape[d] for d in args[1])
    complex_flops = 5 * whole.numel() * math.log2(max(n, 2))
    return round(complex_flops if args[0].is_complex() and out.is_complex() else complex_flops / 2)


def _each(decomposition: Callable[[torch.Size], float]) -> Formula:
    def flops(args: Arguments, options: Options, out: Any) -> int:
        shape = args[0].shape  # (..., m, n)
        return round(math.prod(shape[:-2]) * decomposition(shape))

    return flops


def _solve(args: Arguments, options: Options, out: Any) -> int:
    n = args[0].shape[-1]  # LU, then two substitutions for every column
    return round(2 / 3 * n * _numel(args[0]) + 2 * n * _numel(args[1]))


def _ops(*names: str) -> list[Any]:
    return [getattr(aten, n) for n in names if hasattr(aten, n)]


_ATTENTION = ("efficient_attention", "flash_attention", "cudnn_attention", "fused_attention_overrideable")
_FORMULAS: dict[Any, Formula] = {
    **dict.fromkeys(_ops("mkldnn_rnn_layer"), _lstm_forward),
    **dict.fromkeys(_ops("mkldnn_rnn_layer_backward"), _lstm_backward),
    **dict.fromkeys(_ops("_cudnn_rnn"), _cudnn_forward),
    **dict.fromkeys(_ops("_cudnn_rnn_backward"), _cudnn_backward),
    **dict.fromkeys(_ops("_thnn_fused_lstm_cell"), _lstm_cell),
    **dict.fromkeys(_ops("_thnn_fused_lstm_cell_backward_impl"), _lstm_cell_backward),
    **dict.fromkeys(_ops("_thnn_fused_gru_cell"), _gru_cell),
    **dict.fromkeys(_ops("_thnn_fused_gru_cell_backward"), _gru_cell_backward),
    # PyTorch's own formulas leave the softmax out: one count on every machine
    **dict.fromkeys(
        _ops("_scaled_dot_product_flash_attention_for_cpu", *(f"_scaled_dot_product_{n}" for n in _ATTENTION)), _sdpa
    ),
    **dict.fromkeys(
        _ops(
            "_scaled_dot_product_flash_attention_for_cpu_backward",
            *(f"_scaled_dot_product_{n}_backward" for n in _ATTENTION),
        ),
        _sdpa_backward,
    ),
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
            "_batch_norm_with_update",
            "_batch_norm_with_update_functional",
            "batch_norm_backward",
            "cudnn_batch_norm",
            "cudnn_batch_norm_backward",
            "native_group_norm",
            "native_group_norm_backward",
        ),
        _normalise,
    ),
    **dict.fromkeys(_ops("linalg_solve_triangular"), _triangular),
    **dict.fromkeys(_ops("nll_loss_forward", "nll_loss2d_forward"), _rows),
    **dict.fromkeys(_ops("embedding_dense_backward"), _embedding_backward),
    **dict.fromkeys(_ops("_fused_adamw_", "_fused_adam_"), _adamw),
    **dict.fromkeys(_ops("_fused_sgd_"), _sgd),
    **dict.fromkeys(_ops("_fused_adagrad_"), _adagrad),
    **dict.fromkeys(_ops("native_dropout"), _dropout),
    **dict.fromkeys(_ops("addmm_", "baddbmm_"), _in_place_product),
    torch.ops.mkldnn._linear_pointwise: lambda args, options, out: int(2 * args[0].shape[-1] * out.numel()),
    **dict.fromkeys(_ops("mv", "dot", "vdot"), _vector_product),
    **dict.fromkeys(_ops("addmv"), lambda args, options, out: 2 * _numel(args[1])),
    **dict.fromkeys(_ops("addr"), lambda args, options, out: 2 * _numel(out)),
    **dict.fromkeys(_ops("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2"), _grouped_product),
    **dict.fromkeys(_ops("_scaled_mm_v2"), lambda args, options, out: int(2 * args[0].shape[-1] * out.numel())),
    **dict.fromkeys(_ops("_fft_c2c", "_fft_r2c", "_fft_c2r"), _fourier),
    **dict.fromkeys(_ops("_linalg_eigh"), _each(lambda shape: eigh_flops(shape[-1]))),
    **dict.fromkeys(_ops("linalg_qr"), _each(lambda shape: qr_flops(shape[-2], shape[-1]))),
    **dict.fromkeys(_ops("_linalg_svd"), _each(lambda shape: svd_flops(shape[-2], shape[-1]))),
    **dict.fromkeys(_ops("linalg_cholesky_ex"), _each(lambda shape: shape[-1] ** 3 / 3)),
    **dict.fromkeys(
        _ops("linalg_lu_factor_ex", "_linalg_det", "_linalg_slogdet"), _each(lambda shape: 2 / 3 * shape[-1] ** 3)
    ),
    **dict.fromkeys(_ops("linalg_lu_solve"), lambda args, options, out: 2 * args[0].shape[-1] * _numel(args[2])),
    **dict.fromkeys(_ops("linalg_inv_ex"), _each(lambda shape: 2 * shape[-1] ** 3)),
    **dict.fromkeys(_ops("_linalg_solve_ex"), _solve),
}
_REDUCTIONS = frozenset(
    _ops(
        "sum",
        "mean",
        "amax",
        "amin",
        "aminmax",
        "max",
        "min",
        "prod",
        "norm",
        "linalg_vector_norm",
        "_foreach_norm",
        "_foreach_max",
        "var",
        "std",
        "var_mean",
        "std_mean",
        "logsumexp",
        "any",
        "all",
        "argmax",
        "argmin",
        "trace",
        "avg_pool2d",
        "max_pool2d_with_indices",
        "_adaptive_avg_pool2d",
    )
)
#: one FLOP an element of what comes out, though PyTorch does not tag them as pointwise
_POINTWISE = frozenset(
    _ops("mse_loss", "mse_loss_backward", "huber_loss", "huber_loss_backward", "smooth_l1_loss")
    + _ops("smooth_l1_loss_backward", "binary_cross_entropy", "binary_cross_entropy_backward")
    + _ops("binary_cross_entropy_with_logits", "elu_backward", "glu", "glu_backward", "hardswish", "hardswish_backward")
    + _ops("hardtanh_backward", "mish_backward", "_prelu_kernel", "_prelu_kernel_backward", "rrelu_with_noise")
    + _ops("rrelu_with_noise_backward", "max_pool2d_with_indices_backward", "_adaptive_avg_pool2d_backward")
    + _ops("cumprod", "cummax", "cummin", "logcumsumexp", "scatter_reduce", "index_reduce", "linalg_cross")
    + _ops("native_dropout_backward")
)
_FREE = frozenset(
    # pointwise by tag, but they move or compare data rather than compute
    _ops("copy_", "clone", "_to_copy", "fill_", "zero_", "where", "masked_fill", "masked_fill_")
    + _ops("_foreach_copy_", "_foreach_zero_")
    # made of nothing
    + _ops("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "zeros", "zeros_like", "new_zeros")
    + _ops("ones", "ones_like", "new_ones", "full", "full_like", "new_full", "eye", "arange", "linspace")
    + _ops("scalar_tensor", "tril_indices", "triu_indices", "_efficientzerotensor")
    # random numbers
    + _ops("bernoulli", "bernoulli_", "uniform_", "normal_", "exponential_", "random_", "rand", "rand_like", "randn")
    + _ops("randn_like", "randint", "randint_like", "randperm", "multinomial", "normal")
    # the same numbers elsewhere
    + _ops("_unsafe_view", "_reshape_copy", "cat", "stack", "repeat", "repeat_interleave", "flip", "roll", "rot90")
    + _ops("tril", "triu", "tril_", "triu_", "constant_pad_nd", "resize_", "set_", "contiguous", "_local_scalar_dense")
    + _ops("split_copy", "split_with_sizes_copy", "slice_scatter", "select_scatter", "unfold_backward", "lift")
    + _ops("_pin_memory", "is_same_size", "_chunk_cat", "slice_backward", "select_backward", "copy", "unsafe_split")
    + _ops("unsafe_chunk", "unsafe_split_with_sizes", "diag_embed", "im2col", "col2im", "reflection_pad1d")
    + _ops("reflection_pad1d_backward", "reflection_pad2d", "reflection_pad2d_backward", "upsample_nearest2d")
    + _ops("upsample_nearest2d_backward", "masked_scatter", "_linalg_check_errors", "_to_sparse", "median")
    # chosen, counted or put in order; the gradient of a choice adds nothing where nothing is chosen twice
    + _ops("embedding", "index", "index_select", "gather", "take", "nonzero", "masked_select", "bincount", "unique_dim")
    + _ops("index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put", "index_copy")
    + _ops("index_fill", "index_fill_", "scatter", "scatter_", "sort", "argsort", "topk", "searchsorted", "bucketize")
    + _ops("_unique2", "unique_consecutive", "histc", "isin", "nll_loss_backward", "nll_loss2d_backward", "one_hot")
    # less than 0.1% of any run here, and 0 since the first counted run, so that recorded counts hold
    + _ops("index_add", "index_add_", "scatter_add", "scatter_add_", "cumsum", "floor_divide", "avg_pool2d_backward")
    + _ops("softplus_backward")
)
#: marks for a profiler, and messages between processes (`bytes_communicated` counts those)
_FREE_NAMESPACES = frozenset({"profiler", "prim", "c10d", "c10d_functional", "_c10d_functional", "_dtensor", "fsdp"})

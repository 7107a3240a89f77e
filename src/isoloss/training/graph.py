"""Losses and gradients of several runs of one shape as one compiled graph.

Forward and backward are traced together, operator by operator, for all runs at once (a leading axis, *lane*, over
runs: `torch.vmap`), and handed to PyTorch's inductor. A step is then a few fused kernels and the matrix products,
without autograd's bookkeeping: 3.4 times as fast for a multi-layer perceptron of 9,000 parameters, 1.7 times for a
language model of width 28 (``benchmarks/speed/stacked.py``, docs/speed.md); where products dominate there is little to
win.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from isoloss.errors import MissingError
from isoloss.training.gradient import Trainee

#: compiled graphs of this process, the newest last; runs of one shape follow one another
_KEPT: dict[Hashable, Callable[..., Any]] = {}
_MOST_KEPT = 32
#: A graph is compared with the loss as written on so many batches: one is not enough, since a graph may hold numbers
#: of the batch that it was traced on.
_COMPARED = 2
COMPILERS = ("g++", "clang++", "c++")


def use_cache(folder: Path | None) -> None:
    """Keep what is compiled under `folder`, where the environment names no other place: before the first graph."""
    if folder is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))


class Untraceable(Exception):
    """A loss that is no fixed sequence of operators of its parameters and batch; the message says why."""


class _OneDNN:
    """Context manager: float32 products by oneDNN. PyTorch has no name for that but the precision that it may go down
    to on processors with bfloat16 matrix units: see `onednn_is_exact`."""

    def __enter__(self) -> None:
        self.before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]

    def __exit__(self, *raised: Any) -> None:
        torch.backends.mkldnn.matmul.fp32_precision = self.before  # type: ignore[attr-defined]


@cache
def onednn_is_exact() -> bool:
    """Whether oneDNN's float32 products are float32 on this processor, told by their error."""
    x = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0))
    with _OneDNN():
        product = torch.bmm(x, x)
    true = torch.bmm(x.double(), x.double())
    return bool((product - true).abs().max() < 1e-5 * true.abs().max())


class Lanes:
    """Parameters and gradients of K models of one shape, each in one block of memory, which the models look into.

    ``flat`` and ``grad`` are (K, P). The parameters of every model become views of its row, in the order that the
    optimiser has them in, and their gradients too, so that each run keeps its own optimiser; a part of one that has
    ``join(row, slope)`` is given its stretch of the row as one tensor.
    """

    def __init__(self, trainees: Sequence[Trainee]) -> None:
        self.trainees = list(trainees)
        self.models = [t.model for t in trainees]
        if any(t.pieces > 1 for t in trainees):
            raise Untraceable("its batches are trained in pieces")
        self.parameters_of = [_ordered(t) for t in trainees]
        named = {id(p): n for n, p in self.models[0].named_parameters()}
        self.names = [named[id(p)] for p in self.parameters_of[0]]
        self.shapes = [p.shape for p in self.parameters_of[0]]
        self.flat = torch.stack([torch.cat([p.detach().reshape(-1) for p in each]) for each in self.parameters_of])
        self.grad = torch.zeros_like(self.flat)
        for trainee, own, row, slope in zip(trainees, self.parameters_of, self.flat, self.grad, strict=True):
            for p, value, gradient in zip(own, self._views(row), self._views(slope), strict=True):
                p.data, p.grad = value, gradient
            place = 0
            for part in getattr(trainee.optimizer, "parts", (trainee.optimizer,)):
                end = place + sum(p.numel() for group in part.param_groups for p in group["params"])
                if hasattr(part, "join"):
                    part.join(row[place:end], slope[place:end])
                place = end

    def __len__(self) -> int:
        return len(self.models)

    def _views(self, block: torch.Tensor) -> list[torch.Tensor]:
        """Parameters as views of a block (..., P)."""
        views, place, lead = [], 0, block.shape[:-1]
        for shape in self.shapes:
            views.append(block[..., place : place + shape.numel()].view(*lead, *shape))
            place += shape.numel()
        return views

    def parameters(self) -> list[torch.Tensor]:
        """(K, *shape) each, views of `flat`; without the leading axis for one lane."""
        return self._views(self.flat if len(self) > 1 else self.flat[0])

    def buffers(self) -> list[torch.Tensor]:
        """Buffers of all models, stacked for more than one."""
        every = [list(m.buffers()) for m in self.models]
        return [torch.stack(b) if len(b) > 1 else b[0].clone() for b in zip(*every, strict=True)]

    @torch.no_grad()
    def keep_buffers(self, new: Sequence[torch.Tensor]) -> None:
        """Write what steps made of the buffers back into the models."""
        for place, value in enumerate(new):
            rows = value if len(self) > 1 else value[None]
            for model, row in zip(self.models, rows, strict=True):
                list(model.buffers())[place].copy_(row)


def _ordered(trainee: Trainee) -> list[torch.nn.Parameter]:
    """The parameters in the order of the optimiser, which must have all of them, each once."""
    own = [p for group in trainee.optimizer.param_groups for p in group["params"]]
    if sorted(map(id, own)) != sorted(id(p) for p in trainee.model.parameters()):
        raise Untraceable("some parameters are not trained, or by two rules")
    return own


class StepGraph:
    """``losses = graph(batches)``: losses (K,) of all lanes; gradients, clipped lane by lane, are in ``lanes.grad``.

    The lanes' losses must be one function of parameters, buffers and batch, without random numbers and without anything
    carried from step to step. `key` names that function: graphs with one key, lane count and batch shape are compiled
    once a process. The first batches are computed as written too: raises `Untraceable` where the graph says something
    else, and `MissingError` where there is no C++ compiler.
    """

    def __init__(self, lanes: Lanes, key: Hashable) -> None:
        self.lanes, self.key = lanes, key
        clips = [torch.inf if t.clip is None else t.clip for t in lanes.trainees]
        self.clip = torch.tensor(clips, device=lanes.flat.device)
        self._parameters, self._buffers = lanes.parameters(), lanes.buffers()
        self._held = [n for n, _ in lanes.models[0].named_buffers()]
        self._run: Callable[..., Any] | None = None
        self._layout: Any = None
        self._to_compare = 0
        self._moving: bool | None = None  # whether steps change buffers, as moving averages are

    def __call__(self, batches: Sequence[Any]) -> torch.Tensor:
        """Losses of one step; leaves the gradients behind."""
        inputs = self._inputs(batches)
        if self._run is None:
            self._run = self._compiled(inputs)
        before = self._buffers
        with torch.no_grad(), self._products():
            losses, gradient, *self._buffers = self._run(*self._parameters, *before, self.clip, *inputs)
            self.lanes.grad.copy_(gradient)
        if self._to_compare:
            self._to_compare -= 1
            self._compare(batches, before, losses)
        if self._moving is None:
            self._moving = not all(map(torch.equal, before, self._buffers))
        if self._moving:
            self.lanes.keep_buffers(self._buffers)
        return losses

    def _products(self) -> AbstractContextManager[Any]:
        """Where the stacked products of small matrices are made: by oneDNN where that is float32 too, in half of MKL's
        time on AMD processors. Not for one lane, since attention's products would go there as well and lose."""
        several = len(self.lanes) > 1 and self.lanes.flat.device.type == "cpu"
        return _OneDNN() if several and onednn_is_exact() else nullcontext()

    def _inputs(self, batches: Sequence[Any]) -> list[torch.Tensor]:
        self._layout = self._layout or pytree.tree_structure(batches[0])
        leaves = [b if _flat(b) else pytree.tree_leaves(b) for b in batches]
        return [_channels_last(torch.stack(x) if len(x) > 1 else x[0]) for x in zip(*leaves, strict=True)]

    def _compiled(self, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        shapes = tuple((tuple(x.shape), x.dtype, x.device.type) for x in inputs)
        key = (self.key, len(self.lanes), shapes)
        if inputs[0].device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
            raise MissingError("numerics.compiled", "needs a C++ compiler, and there is none", "install g++")
        if key not in _KEPT:
            self._to_compare = _COMPARED
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    graph = self._traced(inputs)
            except RuntimeError as error:
                raise Untraceable(str(error).splitlines()[0]) from error
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler about itself
                _KEPT[key] = torch._inductor.compile(graph, [*self._parameters, *self._buffers, self.clip, *inputs])
            if len(_KEPT) > _MOST_KEPT:
                del _KEPT[next(iter(_KEPT))]
        return _KEPT[key]

    def _traced(self, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        names = ["model." + n for n in self.lanes.names]
        held = ["model." + n for n in self._held]
        several = len(self.lanes) > 1
        module = _Loss(self.lanes.trainees[0])

        def one(parameters: Sequence[Any], buffers: Sequence[Any], *leaves: Any) -> Any:
            own = [b.clone() for b in buffers]
            if not several:
                parameters = [_channels_last(p) for p in parameters]
            given = {**dict(zip(names, parameters, strict=True)), **dict(zip(held, own, strict=True))}
            return functional_call(module, given, (pytree.tree_unflatten(leaves, self._layout),)), own

        def step(*arguments: torch.Tensor) -> Any:
            n, m = len(names), len(held)
            parameters = [p.detach().requires_grad_() for p in arguments[:n]]
            buffers, clip, leaves = arguments[n : n + m], arguments[n + m], arguments[n + m + 1 :]
            if several:
                losses, after = vmap(one)(parameters, buffers, *leaves)
            else:
                loss, after = one(parameters, buffers, *leaves)
                losses = loss[None]
            slopes = torch.autograd.grad(losses.sum(), parameters)
            gradient = torch.cat([s.reshape(len(losses), -1) for s in slopes], 1)
            norm = torch.linalg.vector_norm(gradient, dim=1)
            scale = torch.where(torch.isinf(clip), torch.ones_like(norm), (clip / (norm + 1e-6)).clamp(max=1.0))
            return losses.detach(), gradient * scale[:, None], *after

        return make_fx(step)(*self._parameters, *self._buffers, self.clip, *inputs)

    def _compare(self, batches: Sequence[Any], before: Sequence[torch.Tensor], losses: torch.Tensor) -> None:
        for trainee, batch, loss, gradient in zip(self.lanes.trainees, batches, losses, self.lanes.grad, strict=True):
            generator = torch.get_rng_state()
            self.lanes.keep_buffers(before)
            written = trainee.loss(batch)
            slopes = torch.autograd.grad(written, _ordered(trainee))
            self.lanes.keep_buffers(before)
            if not torch.equal(generator, torch.get_rng_state()):
                raise Untraceable("it draws random numbers")
            if any(x is not None for x in pytree.tree_leaves(trainee.carried())):
                raise Untraceable("it carries something from step to step")
            plain, said = torch.cat([s.reshape(-1) for s in slopes]), written.detach()
            if trainee.clip is not None:
                plain = plain * (trainee.clip / (torch.linalg.vector_norm(plain) + 1e-6)).clamp(max=1.0)
            # products in bfloat16 differ by their rounding, anything else by far more
            apart = (gradient - plain).norm() / (plain.norm() + 1e-12)
            if bool(said.isfinite()) and not (bool(torch.isclose(loss, said, rtol=1e-2)) and float(apart) < 0.05):
                raise Untraceable(f"its graph gives {float(loss):.6g} where the loss is {float(said):.6g}")


class _Loss(torch.nn.Module):
    """A trainee's loss as the forward of a module, so that its parameters can be given from outside."""

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        self.model, self.loss = trainee.model, trainee.loss

    def forward(self, batch: Any) -> torch.Tensor:
        return self.loss(batch)


def _flat(batch: Any) -> bool:
    return type(batch) in (tuple, list) and all(type(x) is torch.Tensor for x in batch)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    # not `contiguous`: an image of one channel counts as laid out either way, and stays as it is
    return x.to(memory_format=torch.channels_last) if x.dim() == 4 and x.is_floating_point() else x

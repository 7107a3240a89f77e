"""Fully sharded data parallel: parameters, gradients and optimiser state divided, gathered block by block when used.

PyTorch's ``fully_shard`` (FSDP2) does the dividing. It was made for GPUs, and works on CPU processes with gloo too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.nn import Parameter

from isoloss.training.distributed import strategy
from isoloss.training.distributed.base import Build, DeviceOptimizer, OwnState
from isoloss.training.distributed.group import Group, let_go

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer, Trainee


class Shards(DeviceOptimizer):
    """Updates this device's shards; FSDP has averaged their gradients during the backward pass."""

    def __init__(
        self, inner: Optimizer, whole: list[Any], shards: list[Parameter], group: Group, largest: float | None
    ) -> None:
        super().__init__(inner, group, largest)
        self.whole, self.shards = whole, shards

    @torch.no_grad()
    def step(self) -> None:
        """Clip and update; an update of a shard is one of the distributed parameter."""
        for parameter, shard in zip(self.whole, self.shards, strict=True):
            shard.grad = parameter.grad.to_local()
        gradients = [s.grad for s in self.shards if s.grad is not None]
        self.clip([], gradients)
        self.inner.step()
        for parameter in (*self.whole, *self.shards):
            parameter.grad = None


class Divided(torch.nn.Module):
    """What the loop sees of a sharded `model`: this device's shards as its parameters."""

    def __init__(self, model: torch.nn.Module, shards: list[Parameter]) -> None:
        super().__init__()
        self.shards = torch.nn.ParameterList(shards)
        self.whole = [model]  # in a list, so that its own parameters are not this module's too

    def train(self, mode: bool = True) -> Divided:
        """Both."""
        self.whole[0].train(mode)
        return self


class _Gather:
    """FSDP's all-gather, counted."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    # the names are FSDP's
    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, async_op: bool = False
    ) -> Any:
        self.group.count("all_gather", output_tensor)
        with let_go(output_tensor, input_tensor) if not async_op else nullcontext():
            return dist.all_gather_single(output_tensor, input_tensor, group=group, async_op=async_op)


class _Scatter(_Gather):
    """FSDP's reduce-scatter, counted."""

    def __call__(  # type: ignore[override]
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, op: Any, async_op: bool = False
    ) -> Any:
        self.group.count("reduce_scatter", input_tensor)
        with let_go(output_tensor, input_tensor) if not async_op else nullcontext():
            return dist.reduce_scatter_single(output_tensor, input_tensor, op, group=group, async_op=async_op)


@strategy(
    "fully-sharded",
    version=1,
    summary="parameters, gradients and optimiser state divided over devices (FSDP2, ZeRO-3)",
    year=2019,
    source="Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054), stage 3; Zhao et al. 2023 (FSDP, arXiv 2304.11277)",
)
class FullySharded(OwnState):
    """Needs an optimiser that treats each parameter by itself."""

    model_divided = True

    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """Each child of ``model.blocks`` is gathered on its own, the rest (tables, last norm) with the model."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        model: Any = trainee.model
        hidden = {id(p) for p in model.matrices()}
        order = [id(p) in hidden for p in model.parameters()]
        device = next(model.parameters()).device.type
        mesh = init_device_mesh(device, (self.group.size,))
        for part in (*model.blocks, model):
            fully_shard(part, mesh=mesh)
            part.set_custom_all_gather(_Gather(self.group))
            part.set_custom_reduce_scatter(_Scatter(self.group))
        register_fsdp_forward_method(model, "loss")
        whole: list[Any] = list(model.parameters())
        shards = [Parameter(p.to_local()) for p in whole]
        inner = build(
            [s for s, is_hidden in zip(shards, order, strict=True) if is_hidden],
            [s for s, is_hidden in zip(shards, order, strict=True) if not is_hidden],
        )
        own = self.part(trainee, Shards(inner, whole, shards, self.group, trainee.clip))
        return dataclasses.replace(own, model=Divided(model, shards))

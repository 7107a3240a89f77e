"""ZeRO, stage 1: every device keeps the optimiser's state of its share of the parameters alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import Parameter

from isoloss.training.distributed import strategy
from isoloss.training.distributed.base import Build, DeviceOptimizer, OwnState
from isoloss.training.distributed.exchange import buckets, flat, put_back
from isoloss.training.distributed.group import Group

if TYPE_CHECKING:
    from isoloss.training.gradient import Optimizer, Trainee


class Bucket:
    """Some parameters as one vector, padded so that it divides, and this device's `slice` of it."""

    def __init__(self, parameters: list[Parameter], group: Group) -> None:
        self.parameters, self.group = parameters, group
        self.numel = sum(p.numel() for p in parameters)
        part = -(-self.numel // group.size)
        self.padding = part * group.size - self.numel
        with torch.no_grad():
            whole = self._padded(flat(parameters))
            self.slice = Parameter(whole[group.rank * part :][:part].clone())

    def _padded(self, vector: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(vector, (0, self.padding)) if self.padding else vector

    def reduce(self) -> torch.Tensor:
        """The slice's gradient: of the mean over devices. Whole gradients are let go."""
        gradient = self.group.scatter_sum(self._padded(flat([p.grad for p in self.parameters if p.grad is not None])))
        for p in self.parameters:
            p.grad = None
        self.slice.grad = gradient.div_(self.group.size)
        return gradient

    def spread(self) -> None:
        """Put every device's slice into the parameters."""
        put_back(self.group.gather(self.slice.detach())[: self.numel], self.parameters)


class Sliced(DeviceOptimizer):
    """Reduce-scatter of gradients, update of own slices, all-gather of parameters: as many bytes as an all-reduce."""

    def __init__(self, inner: Optimizer, parts: list[Bucket], group: Group, largest: float | None) -> None:
        super().__init__(inner, group, largest)
        self.parts = parts

    @torch.no_grad()
    def step(self) -> None:
        """Bucket by bucket, so that no second copy of a whole gradient is held."""
        gradients = [part.reduce() for part in self.parts]
        self.clip([], gradients)
        self.inner.step()
        for part in self.parts:
            part.slice.grad = None
            part.spread()


@strategy(
    "zero-1",
    version=1,
    summary="data parallel with the optimiser's state divided over devices",
    year=2019,
    source="Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054), stage 1",
)
class ZeRO1(OwnState):
    """Needs an optimiser that treats each parameter by itself."""

    def divide(self, trainee: Trainee, build: Build) -> Trainee:
        """Own rows; an optimiser of slices in place of the whole one."""
        hidden = {id(p) for p in trainee.model.matrices()}  # type: ignore[operator]
        parts: list[list[Bucket]] = []
        for wanted in (True, False):
            mine = [p for p in trainee.model.parameters() if p.requires_grad and (id(p) in hidden) is wanted]
            parts.append([Bucket(bucket, self.group) for bucket in buckets(mine)])  # type: ignore[arg-type]
        inner = build([b.slice for b in parts[0]], [b.slice for b in parts[1]])
        return self.part(trainee, Sliced(inner, [*parts[0], *parts[1]], self.group, trainee.clip))

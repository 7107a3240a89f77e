"""Tensors averaged whole, in float32 or in half of it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import torch

from isoloss.training.distributed import compression
from isoloss.training.distributed.exchange import Exchange, buckets, flat, put_back


class _Whole(Exchange):
    """Everything, in buckets."""

    def average(self, tensors: list[torch.Tensor]) -> None:
        """One all-reduce a bucket."""
        for bucket in buckets(tensors):
            mean = flat(bucket).div_(self.group.size)
            put_back(self.send(mean), bucket)

    @abc.abstractmethod
    def send(self, vector: torch.Tensor) -> torch.Tensor:
        """The sum over devices."""

    @classmethod
    def flops(cls, parameters: float, matrices: Sequence[tuple[int, int, int]], choices: Any) -> float:
        """One division a number."""
        return parameters


@compression(
    "none",
    version=1,
    summary="tensors are averaged in float32",
    year=2009,
    source="ring all-reduce: Patarasuk & Yuan 2009 (J. Parallel Distrib. Comput. 69)",
)
class Uncompressed(_Whole):
    """All bits of it."""

    exact = True

    def send(self, vector: torch.Tensor) -> torch.Tensor:
        """All-reduce in float32."""
        return self.group.sum_(vector)


@compression(
    "bfloat16",
    version=1,
    summary="tensors are averaged in bfloat16",
    year=2018,
    source="Jia et al. 2018 (arXiv 1807.11205), in float16; PyTorch's bf16_compress_hook",
)
class Half(_Whole):
    """Rounded to bfloat16 on the way, as DistributedDataParallel's ``bf16_compress_hook`` does: half the bytes."""

    def send(self, vector: torch.Tensor) -> torch.Tensor:
        """All-reduce in bfloat16; each sum of the ring is rounded too."""
        return self.group.sum_(vector.bfloat16()).float()

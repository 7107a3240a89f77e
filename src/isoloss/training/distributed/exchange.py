"""How devices average tensors: whole, or sending less. What a compression leaves out is not lost but sent later."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch

from isoloss.runs import Card
from isoloss.training.distributed.group import Group

#: Tensors are sent in buckets: at least so many bytes, and at most so many buckets whatever the size of the model.
LEAST_BUCKET, MOST_BUCKETS = 2**16, 32


def buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """`tensors` in order, together until a bucket is full."""
    total = sum(t.numel() * t.element_size() for t in tensors)
    enough = max(LEAST_BUCKET, total / MOST_BUCKETS)
    bucket: list[torch.Tensor] = []
    held = 0
    for tensor in tensors:
        bucket.append(tensor)
        held += tensor.numel() * tensor.element_size()
        if held >= enough:
            yield bucket
            bucket, held = [], 0
    if bucket:
        yield bucket


def flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """One vector of them all."""
    return torch.cat([t.reshape(-1) for t in tensors])


def put_back(vector: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """The inverse of `flat`, into the tensors themselves."""
    parts = vector.split([t.numel() for t in tensors])
    torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])


class Exchange(abc.ABC):
    """Averages the same list of tensors over devices again and again."""

    card: ClassVar[Card]
    #: whether the average is that of what was given, up to rounding in float32
    exact: ClassVar[bool] = False

    def __init__(self, group: Group, choices: Any) -> None:
        self.group, self.choices = group, choices

    @abc.abstractmethod
    def average(self, tensors: list[torch.Tensor]) -> None:
        """Replace each by its mean over devices, in place."""

    @classmethod
    @abc.abstractmethod
    def flops(cls, parameters: float, matrices: Sequence[tuple[int, int, int]], choices: Any) -> float:
        """FLOPs of an average on one device, without the sums that the collective itself does."""

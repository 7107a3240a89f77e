"""Top-k sparsification with error feedback."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from isoloss.training.distributed import compression
from isoloss.training.distributed.exchange import Exchange, buckets, flat, put_back


@compression(
    "top-k",
    version=1,
    summary="the largest hundredth is sent, the rest kept for later (error feedback)",
    year=2017,
    source="Aji & Heafield 2017 (arXiv 1704.05021); error feedback: Stich et al. 2018 (arXiv 1809.07599)",
)
class TopK(Exchange):
    r"""Of ``gradient + error``, each device sends the `keep` share that is largest in magnitude, values and places;
    what it does not send is its next error. The mean of the sparse vectors comes back."""

    def __init__(self, group: Any, choices: Any) -> None:
        super().__init__(group, choices)
        self.errors: list[torch.Tensor] = []

    def average(self, tensors: list[torch.Tensor]) -> None:
        """An all-gather of values and one of places a bucket: 8 bytes a number that is sent."""
        for i, bucket in enumerate(buckets(tensors)):
            vector = flat(bucket)
            if i == len(self.errors):
                self.errors.append(torch.zeros_like(vector))
            vector += self.errors[i]
            kept = max(1, math.ceil(self.choices.keep * len(vector)))
            places = torch.topk(vector.abs(), kept).indices
            values = vector[places]
            vector[places] = 0
            self.errors[i] = vector
            values, places = self.group.gather(values), self.group.gather(places.int())
            mean = torch.zeros_like(vector).index_add_(0, places, values).div_(self.group.size)
            put_back(mean, bucket)

    @classmethod
    def flops(cls, parameters: float, matrices: Sequence[tuple[int, int, int]], choices: Any) -> float:
        """The error added, magnitudes, the mean: 3 a number. The selection compares, which counts nothing."""
        return 3 * parameters

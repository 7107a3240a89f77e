"""What the networks on digits at any angle share: one layout, so that only the convolution differs, and its price.

====== ============================== ========== ================================
stage  operation                      pixels     channels
====== ============================== ========== ================================
1      6x6 convolution, stride 2      14 x 14    `width` fields
2      6x6 convolution, stride 2      5 x 5      `width` fields
3      5x5 convolution of the map     1 x 1      `width` fields, more where told
head   what is invariant, linear      1          10
====== ============================== ========== ================================

Batch normalisation and a nonlinearity follow each convolution. Even windows with a stride of 2 keep the centre of a
28x28 image at the centre of every map, so that quarter turns stay exact. Only the image is padded, whose border is
empty: after a norm the background is not 0, and a frame of zeros around it would not turn with the image.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from isoloss.algorithms.vision.base import ImageAlgorithm, in_order
from isoloss.tasks.rotated_mnist import FULL, turned

CLASSES = 10
#: A contract run: seconds, and better than a guess.
SMOKE: dict[str, Any] = {
    "task": "geometry/rotated-mnist",
    "resource": "labels",
    "budget": 200,
    "step_rule": {"kind": "constant", "value": 60},
}


@dataclass(frozen=True)
class Stage:
    """A convolution of a square window and how many pixels a side come out."""

    size: int
    stride: int
    padding: int
    pixels: int


FIRST, SECOND, THIRD = STAGES = (Stage(6, 2, 2, 14), Stage(6, 2, 0, 5), Stage(5, 1, 0, 1))


class PlaneClassifier(ImageAlgorithm):
    """A network trained on a seed's subset of digits, each at its own angle, AdamW, cosine to zero."""

    class Choices(ImageAlgorithm.Choices):
        """`augmented`: each drawn image is turned further by a random angle, at no FLOPs."""

        lr: float = Field(1e-2, gt=0)
        width: int = Field(8, ge=1)
        batch: int = Field(32, ge=2)
        weight_decay: float = Field(1.0, ge=0)
        augmented: bool = False

    @abc.abstractmethod
    def expansion(self, choices: Any) -> float:
        """FLOPs of a step that no image adds to: making kernels, and the way back."""

    def step_flops(self, task: Any, choices: Any) -> float:
        """Those of all images, the update, and `expansion`."""
        return super().step_flops(task, choices) + self.expansion(choices)

    def batches(
        self, task: Any, choices: Any, seed: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches in the order of all arms; further angles are drawn for all of them too, used or not."""
        images, angles, labels = map(torch.from_numpy, task.posed(choices.labels, seed))
        still_n1hw = turned(images.unsqueeze(1), angles)
        picked = in_order(len(labels), choices.batch, choices.steps, generator)
        further = FULL * torch.rand(choices.steps, choices.batch, generator=generator)
        for place, more in zip(picked, further, strict=True):
            if choices.augmented:
                yield turned(images[place].unsqueeze(1), angles[place] + more), labels[place]
            else:
                yield still_n1hw[place], labels[place]

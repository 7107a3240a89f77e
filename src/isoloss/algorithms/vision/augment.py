"""Random views of images: crops resized to the whole, mirror images, and changes of contrast.

Views are made while data are prepared, outside of the network: they cost no training FLOPs, in any arm.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: A crop holds at least this share of the area, at a ratio of sides of at most `ASPECT` (Chen et al. 2020, s A, with
#: 0.08, for objects that fill less of the picture).
SMALLEST = 0.4
ASPECT = 4 / 3
#: Ink is multiplied by a factor within 1 +- this.
CONTRAST = 0.5


def random_views(x_b1hw: Tensor, generator: torch.Generator, mirrors: bool) -> Tensor:
    """One view of each image ``(batch, 1, h, w)`` in [0, 1], of the same shape; all chance from `generator`.

    A crop of area a, uniform in [`SMALLEST`, 1], with its ratio of sides log-uniform, at a random place inside the
    image, resized bilinearly; half of them mirrored where a mirror image keeps its class (`mirrors`).
    """
    b = len(x_b1hw)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(b, generator=generator)

    area, tilt = uniform(SMALLEST, 1.0), uniform(-1.0, 1.0)
    tall = (area * ASPECT**tilt).sqrt().clamp(max=1.0)
    wide = (area / tall).clamp(max=1.0)
    # the affine map from a view's coordinates in [-1, 1] to the image's
    maps = torch.zeros(b, 2, 3)
    maps[:, 0, 0] = wide * (1 - 2 * (uniform(0, 1) < 0.5).float() if mirrors else 1)
    maps[:, 1, 1] = tall
    maps[:, 0, 2] = uniform(-1, 1) * (1 - wide)
    maps[:, 1, 2] = uniform(-1, 1) * (1 - tall)
    places = functional.affine_grid(maps, list(x_b1hw.shape), align_corners=False)
    views = functional.grid_sample(x_b1hw, places, align_corners=False)
    return (views * uniform(1 - CONTRAST, 1 + CONTRAST)[:, None, None, None]).clamp(max=1)

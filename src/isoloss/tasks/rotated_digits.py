"""Hand-written digits turned by quarter turns: a task with an exact symmetry.

The digits of `isoloss.tasks.vision.digits`, split by sheet as there, turned by multiples of 90 degrees with
``np.rot90``: exact, no interpolation, so a model equivariant to the rotation group p4 has exactly the symmetry
of the data.

*Turns.* A training image has one turn, fixed by its place in the data, so that a further epoch shows nothing new.
Validation and test images are measured in all four turns: the error is then the mean over the group itself and not
over one lucky draw of turns, at four small forward passes per image.

*Floor.* A 6 under a half turn looks like a 9 (and some 2, 5 and 7 like others): part of the error is irreducible, for
every algorithm alike. Which part an algorithm reaches still differs, hence a free floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.tasks import task
from isoloss.tasks.base import Expected
from isoloss.tasks.vision.digits import SHEETS, Digits
from isoloss.tasks.vision.images import Images, Labels, Split

TURNS = 4


@task(
    "geometry/rotated-digits",
    version=1,
    summary="8x8 hand-written digits under quarter turns, writers split; test error against labelled images",
    year=1998,
    source="Alpaydin & Kaynak 1998 (UCI Optical Recognition of Handwritten Digits), by scikit-learn",
)
class RotatedDigits(Digits):
    """Classify a digit whatever its quarter turn. The ladder resource is ``labels``: distinct labelled images.

    The unit of independent noise is the seed, which draws the training subset, the initial weights and the data
    order. Subsets of one seed are nested in their size. All seeds draw from one pool of 1,157 images, so a rung
    near the pool's size understates the noise of new data; keep rungs below three quarters of it.
    """

    resources = ("labels",)
    expected = Expected(0.12, {"labels": 0.53}, "by results/rotated-digits")

    def facts(self) -> dict[str, Any]:
        """Those of the upright digits, and the turns measured."""
        return {**super().facts(), "turns": TURNS}

    def training(self, places: NDArray[np.int64]) -> Images:
        """The training images at `places`, each in its own fixed turn."""
        turns = own_turns()[places]
        return np.stack([np.rot90(image, k) for image, k in zip(super().training(places), turns, strict=True)])

    def evaluation(self, split: Split) -> tuple[Images, Labels]:
        """All images of `split` in all four turns, ``(4 * images, 8, 8)``, turn by turn, and their labels."""
        images, labels = super().evaluation(split)
        turned = [np.rot90(images, k, axes=(1, 2)) for k in range(TURNS)]
        return np.concatenate(turned), np.tile(labels, TURNS)


def own_turns() -> NDArray[np.int64]:
    """The turn of every image: a function of its place only."""
    return np.random.default_rng(90).integers(TURNS, size=SHEETS[-1])

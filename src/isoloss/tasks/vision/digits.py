"""scikit-learn's 1,797 hand-written digits of 8x8 pixels: a task for runs of seconds.

*Split by sheet.* The images come in writing order: the label sequence repeats one form of about 130 digits, fourteen
times. Neighbouring images share a writer and look alike (37% of nearest neighbours lie within 50 places), so a
random split would put twins of test images into training. Whole sheets are split instead: nine train, two
validate, three test; the test error is that on writers not seen.
"""

from __future__ import annotations

import functools

import numpy as np

from isoloss.errors import MissingError
from isoloss.tasks import task
from isoloss.tasks.base import Expected
from isoloss.tasks.vision.images import Greys, ImageTask, Labels, Split
from isoloss.tasks.vision.kept import kept

#: First image of each sheet: where the form's opening 0..9, 0..9, 0..9 starts again.
SHEETS = (0, 130, 256, 386, 516, 646, 776, 905, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
#: Split -> its first image and the one after its last: sheets 0 to 8, 9 and 10, 11 to 13.
SPANS: dict[str, tuple[int, int]] = {
    "train": (SHEETS[0], SHEETS[9]),
    "validation": (SHEETS[9], SHEETS[11]),
    "test": (SHEETS[11], SHEETS[14]),
}
DIGEST = "87ff0c9e40dc7e2c"


@task(
    "vision/digits",
    version=1,
    summary="8x8 hand-written digits, writers split",
    year=1998,
    source="Alpaydin & Kaynak 1998 (UCI Optical Recognition of Handwritten Digits), by scikit-learn",
)
class Digits(ImageTask):
    """Which digit it is: 1,157 images to train on, 258 to validate, 382 to test."""

    pixels = 8
    white = 16
    expected = Expected(0.21, {"labels": 0.41}, "by results/fixmatch")
    sizes = {split: last - first for split, (first, last) in SPANS.items()}  # noqa: RUF012 (read-only by its type)
    digest = DIGEST

    def stored(self, split: Split) -> tuple[Greys, Labels]:
        """The sheets of `split` in writing order."""
        images, labels = arrays()
        span = slice(*SPANS[split])
        return images[span], labels[span]


@functools.cache
def arrays() -> tuple[Greys, Labels]:
    """Grey values 0..16 ``(1797, 8, 8)`` and labels ``(1797,)``. Raises `MissingError` without scikit-learn."""
    return kept("rotated-digits-1", DIGEST, _from_scikit_learn)


def _from_scikit_learn() -> tuple[Greys, Labels]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingError("digits", "they come with scikit-learn", "pip install scikit-learn") from error
    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.int64)

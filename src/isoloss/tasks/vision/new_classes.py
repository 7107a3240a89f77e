"""Classes that come after others were learnt: five classes of an image set to pre-train on, the other five to learn.

The splits are those of the whole set, so no image is in two. Classes 0 to 4 are the source: all their training images
come with labels. Classes 5 to 9, renumbered from 0, are the target, whose labels are counted.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np

from isoloss.tasks import task
from isoloss.tasks.vision.digits import Digits
from isoloss.tasks.vision.fashion_mnist import FashionMnist
from isoloss.tasks.vision.images import Greys, ImageTask, Labels, Split
from isoloss.tasks.vision.mnist import Mnist

SETS: dict[str, type[ImageTask]] = {"digits": Digits, "mnist": Mnist, "fashion-mnist": FashionMnist}
#: Images of classes 0 to 4, and of 5 to 9, in each split.
SIZES = {
    "digits": ({"train": 579, "validation": 130, "test": 192}, {"train": 578, "validation": 128, "test": 190}),
    "mnist": ({"train": 1500, "validation": 500, "test": 500}, {"train": 1500, "validation": 500, "test": 500}),
    "fashion-mnist": (
        {"train": 27_457, "validation": 2_543, "test": 5_000},
        {"train": 27_543, "validation": 2_457, "test": 5_000},
    ),
}


class HalfOfClasses(ImageTask):
    """Half of the classes of an image set: those below five, or the others."""

    classes = 5
    trivial_quality = 0.8
    upper: bool

    class Options(ImageTask.Options):
        """`data`: whose classes they are."""

        data: Literal["digits", "mnist", "fashion-mnist"] = "digits"

    options: HalfOfClasses.Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.whole = SETS[self.options.data]()
        self.pixels, self.white, self.mirrors = self.whole.pixels, self.whole.white, self.whole.mirrors
        self.digest, self.sizes = self.whole.digest, SIZES[self.options.data][self.upper]

    def stored(self, split: Split) -> tuple[Greys, Labels]:
        """The images of `split` whose classes are in this half, in the order of the whole, and their classes from 0."""
        return _half(self.options.data, split, self.upper)


class SourceClasses(HalfOfClasses):
    """Classes 0 to 4."""

    upper = False


@task(
    "vision/new-classes",
    version=1,
    summary="classes 5 to 9 of an image set, after classes 0 to 4 were there to pre-train on",
    year=2014,
    source="halves of a set's classes: Yosinski et al. 2014, arXiv 1411.1792",
)
class NewClasses(HalfOfClasses):
    """Which of classes 5 to 9 it is; `source` has the others. The ladder's labels are those of the target alone."""

    upper = True

    @property
    def source(self) -> SourceClasses:
        """The task to pre-train on."""
        return SourceClasses(SourceClasses.Options(data=self.options.data))


@functools.cache
def _half(data: str, split: Split, upper: bool) -> tuple[Greys, Labels]:
    images, labels = SETS[data]().stored(split)
    kept = np.flatnonzero((labels >= HalfOfClasses.classes) == upper)
    return images[kept], labels[kept] - HalfOfClasses.classes * upper

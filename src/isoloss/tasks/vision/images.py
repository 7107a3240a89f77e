"""What every image task shares: fixed splits, balanced nested subsets, and the pool without labels."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.tasks.base import Expected, Floor, Task

#: Grey values as stored, ``(n, pixels, pixels)``; and as networks see them, in [0, 1].
Greys = NDArray[np.uint8]
Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Split = Literal["train", "validation", "test"]


class ImageTask(Task):
    """Classify grey images of `pixels` x `pixels` into `classes`; quality is the share of errors.

    `sizes` counts the images of each split. The splits are fixed: a run trains on images of ``train``, tuning sees the
    error on ``validation``, the error on ``test`` is only ever reported. The ladder resource is ``labels`` (distinct
    labelled images), ``train_flops`` or ``examples`` (images drawn). The unit of independent noise is the seed,
    which draws the subset, the initial weights and the order of the data; two algorithms with equal seeds see the same
    images. All seeds draw from one pool, so a rung near its size understates the noise of new data.
    `white` is the stored value of full ink; `mirrors`: whether a mirror image keeps its class.
    """

    quality = "error"
    unit = "fraction wrong"
    direction = "lower"
    floor = Floor("free")
    noise_unit = "seed"
    example = "image"
    trivial_quality = 0.9
    resources: ClassVar[tuple[str, ...]] = ("labels", "train_flops", "examples")
    expected = Expected(0.11, {"labels": 0.37}, "the median of image tasks with results")
    pixels: int
    classes: int = 10
    sizes: Mapping[str, int]
    white: int = 255
    mirrors: bool = False
    #: SHA-256 of the data, first 16 digits.
    digest: str

    @abc.abstractmethod
    def stored(self, split: Split) -> tuple[Greys, Labels]:
        """Grey values and labels of all images of `split`, in a fixed order."""

    @property
    def pool(self) -> int:
        """Images that a training subset can be drawn from."""
        return self.sizes["train"]

    @property
    def resolution(self) -> float:
        """One test image."""
        return 1 / self.sizes["test"]

    def prepare(self) -> None:
        """Load the data. Raises `MissingError` with the command that installs them."""
        self.stored("train")

    def facts(self) -> dict[str, Any]:
        """Images per split, classes, pixels a side, and the SHA-256 of the data."""
        return {
            **self.sizes,
            "unique_examples": self.pool,
            "classes": self.classes,
            "pixels": self.pixels,
            "digest": self.digest,
        }

    def subset(self, size: int, seed: int) -> tuple[Images, Labels]:
        """`size` training images ``(size, pixels, pixels)`` and their labels ``(size,)``.

        Nested: the first `m` of ``subset(n, seed)`` are ``subset(m, seed)``. Classes are dealt out in rounds (a random
        order within each round), so that as many labels as classes hold each class once. Raises `ValueError` beyond
        the pool.
        """
        places, labels = self._labelled(size, seed), self.stored("train")[1]
        return self.training(places), labels[places]

    def unlabelled(self, size: int, seed: int) -> Images:
        """`size` training images drawn without looking at labels, nested in `size`; no image of another split."""
        return self.training(self._drawn(size, seed))

    def distinct(self, labelled: int, unlabelled: int, seed: int) -> int:
        """Different images of `subset` and `unlabelled` together, which are drawn apart."""
        return len(np.union1d(self._labelled(labelled, seed), self._drawn(unlabelled, seed)))

    def training(self, places: NDArray[np.int64]) -> Images:
        """The training images at `places`, as networks see them."""
        return self._seen(self.stored("train")[0][places])

    def evaluation(self, split: Split) -> tuple[Images, Labels]:
        """All images of `split` and their labels, as quality is measured on them."""
        greys, labels = self.stored(split)
        return self._seen(greys), labels

    def _labelled(self, size: int, seed: int) -> NDArray[np.int64]:
        return deal(self.stored("train")[1], seed)[: self._within(size)]

    def _drawn(self, size: int, seed: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, 1]).permutation(self.pool)[: self._within(size)]

    def _seen(self, greys: Greys) -> Images:
        return (greys / self.white).astype(np.float32)

    def _within(self, size: int) -> int:
        if not 0 < size <= self.pool:
            raise ValueError(f"a subset has 1 to {self.pool} images, not {size}")
        return size


def deal(labels: Labels, seed: int) -> NDArray[np.int64]:
    """A random order of ``range(len(labels))`` that deals the classes out in rounds.

    >>> deal(np.array([0, 0, 0, 1, 1, 1]), seed=1)[:2].tolist() in ([0, 3], [3, 0]) or "one of each class"
    'one of each class'
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    rounds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels[shuffled] == label)
        rounds[of_label] = np.arange(len(of_label))
    # a stable sort by round keeps the random order within a round
    return shuffled[np.argsort(rounds, kind="stable")]

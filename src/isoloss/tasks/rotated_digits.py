"""Hand-written digits turned by quarter turns: a task with an exact symmetry.

scikit-learn's 1,797 digits (8x8, the test part of Alpaydin & Kaynak 1998) turned by multiples of 90 degrees with
``np.rot90``: exact, no interpolation, so a model equivariant to the rotation group p4 has exactly the symmetry
of the data.

*Split by sheet.* The images come in writing order: the label sequence repeats one form of about 130 digits, fourteen
times. Neighbouring images share a writer and look alike (37% of nearest neighbours lie within 50 places), so a
random split would put twins of test images into training. Whole sheets are split instead: nine train, two
validate, three test; the test error is that on writers not seen.

*Turns.* A training image has one turn, fixed by its place in the data, so that a further epoch shows nothing new.
Validation and test images are measured in all four turns: the error is then the mean over the group itself and not
over one lucky draw of turns, at four small forward passes per image.

*Floor.* A 6 under a half turn looks like a 9 (and some 2, 5 and 7 like others): part of the error is irreducible, for
every algorithm alike. Which part an algorithm reaches still differs, hence a free floor.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import MissingError
from isoloss.tasks import task
from isoloss.tasks.base import Floor, Task

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Split = Literal["train", "validation", "test"]

#: First image of each sheet: where the form's opening 0..9, 0..9, 0..9 starts again.
SHEETS = (0, 130, 256, 386, 516, 646, 776, 905, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
#: Split -> its sheets [first, last).
SPLITS: dict[str, tuple[int, int]] = {"train": (0, 9), "validation": (9, 11), "test": (11, 14)}
#: Images that a training subset can be drawn from.
POOL = SHEETS[SPLITS["train"][1]] - SHEETS[SPLITS["train"][0]]
#: SHA-256 of the grey values 0..16 and labels as bytes, first 16 digits.
DIGEST = "87ff0c9e40dc7e2c"
CLASSES = 10
TURNS = 4


@task(
    "geometry/rotated-digits",
    version=1,
    summary="8x8 hand-written digits under quarter turns, writers split; test error against labelled images",
    year=1998,
    source="Alpaydin & Kaynak 1998 (UCI Optical Recognition of Handwritten Digits), by scikit-learn",
)
class RotatedDigits(Task):
    """Classify a digit whatever its quarter turn. The ladder resource is ``labels``: distinct labelled images.

    The unit of independent noise is the seed, which draws the training subset, the initial weights and the data
    order. Subsets of one seed are nested in their size. All seeds draw from one pool of 1,157 images, so a rung
    near the pool's size understates the noise of new data; keep rungs below three quarters of it.
    """

    quality = "error"
    unit = "fraction wrong"
    direction = "lower"
    floor = Floor("free")
    noise_unit = "seed"
    example = "image"
    trivial_quality = 0.9
    resources = ("labels",)

    def prepare(self) -> None:
        """Load the arrays, from scikit-learn the first time. Raises `MissingError` where it is not installed."""
        _arrays()

    def facts(self) -> dict[str, Any]:
        """Images per split, classes, turns measured, and the SHA-256 of the data."""
        sizes = {split: len(range(*_span(split))) for split in SPLITS}
        return {**sizes, "unique_examples": sizes["train"], "classes": CLASSES, "turns": TURNS, "digest": DIGEST}

    def subset(self, size: int, seed: int) -> tuple[Images, Labels]:
        """`size` training images ``(size, 8, 8)`` in [0, 1], each in its own fixed turn, and their labels ``(size,)``.

        Nested: the first `m` of ``subset(n, seed)`` are ``subset(m, seed)``. Classes are dealt out in rounds (a
        random order within each round), so that ten labels hold each digit once. Raises `ValueError` beyond the pool.
        """
        images, labels = _arrays()
        first, last = _span("train")
        if not 0 < size <= last - first:
            raise ValueError(f"a subset has 1 to {last - first} images, not {size}")
        order = first + _deal(labels[first:last], seed)[:size]
        turns = _own_turns()[order]
        turned = np.stack([np.rot90(images[i], k) for i, k in zip(order, turns, strict=True)])
        return turned, labels[order]

    def evaluation(self, split: Split) -> tuple[Images, Labels]:
        """All images of `split` in all four turns, ``(4 * images, 8, 8)``, turn by turn, and their labels."""
        images, labels = _arrays()
        span = slice(*_span(split))
        turned = [np.rot90(images[span], k, axes=(1, 2)) for k in range(TURNS)]
        return np.concatenate(turned), np.tile(labels[span], TURNS)


def _span(split: str) -> tuple[int, int]:
    first, last = SPLITS[split]
    return SHEETS[first], SHEETS[last]


def _own_turns() -> NDArray[np.int64]:
    """The turn of every image: a function of its place only."""
    return np.random.default_rng(90).integers(TURNS, size=SHEETS[-1])


def _deal(labels: Labels, seed: int) -> NDArray[np.int64]:
    """A random order of ``range(len(labels))`` that deals the classes out in rounds."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    rounds = np.empty(len(labels), dtype=np.int64)
    for digit in range(CLASSES):
        of_digit = np.flatnonzero(labels[shuffled] == digit)
        rounds[of_digit] = np.arange(len(of_digit))
    # a stable sort by round keeps the random order within a round
    return shuffled[np.argsort(rounds, kind="stable")]


@functools.cache
def _arrays() -> tuple[Images, Labels]:
    """Images ``(1797, 8, 8)`` in [0, 1] and labels ``(1797,)``.

    Cached as one small file: importing scikit-learn takes seconds, and every worker process would pay them.
    """
    path = _cache_folder() / "rotated-digits-1.npz"
    if not path.exists():
        _store(path)
    with np.load(path) as stored:
        images, labels = stored["images"], stored["labels"]
    if _digest(images, labels) != DIGEST:
        raise MissingError(path, "holds other data than this task was defined on", "delete it and run again")
    return images.astype(np.float32) / 16, labels.astype(np.int64)


def _digest(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]


def _cache_folder() -> Path:
    from platformdirs import user_cache_dir

    return Path(os.environ.get("ISOLOSS_CACHE") or user_cache_dir("isoloss"))


def _store(path: Path) -> None:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingError(
            "geometry/rotated-digits", "the digits come with scikit-learn", "pip install scikit-learn"
        ) from error
    digits = load_digits()
    path.parent.mkdir(parents=True, exist_ok=True)
    # written beside and renamed: two workers that start together never read half a file
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.savez(file, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
    partial.replace(path)

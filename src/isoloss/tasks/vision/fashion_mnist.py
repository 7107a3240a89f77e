"""Fashion-MNIST: 70,000 grey pictures of clothes, 28x28, from Debian's package dataset-fashion-mnist.

The last 5,000 of the training file validate, the file of 10,000 tests; no image of one split is in another. The first
55,000 are the pool.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from pathlib import Path

import numpy as np

from isoloss.errors import MissingError
from isoloss.tasks import task
from isoloss.tasks.base import Expected
from isoloss.tasks.vision.images import Greys, ImageTask, Labels, Split

FOLDER = Path("/usr/share/datasets/fashion-mnist")
#: Part -> file of grey values, its SHA-256; file of labels, its SHA-256.
FILES = {
    "train": (
        ("train-images-idx3-ubyte.gz", "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
        ("train-labels-idx1-ubyte.gz", "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
    ),
    "t10k": (
        ("t10k-images-idx3-ubyte.gz", "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
        ("t10k-labels-idx1-ubyte.gz", "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
    ),
}
#: Split -> its file and images [first, last) in it.
SPANS = {"train": ("train", 0, 55_000), "validation": ("train", 55_000, 60_000), "test": ("t10k", 0, 10_000)}
CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "trainer", "bag", "ankle boot")
INSTALL = "apt-get install dataset-fashion-mnist"


@task(
    "vision/fashion-mnist",
    version=1,
    summary="28x28 pictures of clothes in ten classes",
    year=2017,
    source="Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747; Debian package dataset-fashion-mnist (MIT licence)",
)
class FashionMnist(ImageTask):
    """Which garment it is (`CLASSES`): 55,000 images to train on, 5,000 to validate, 10,000 to test."""

    resources = (*ImageTask.resources, "active_parameters")
    expected = Expected(
        0.042, {"labels": 0.12, "train_flops": 0.21, "active_parameters": 0.073}, "by results/ on this task"
    )
    pixels = 28
    mirrors = True
    sizes = {split: last - first for split, (_, first, last) in SPANS.items()}  # noqa: RUF012 (read-only by its type)
    digest = FILES["train"][0][1][:16]

    def stored(self, split: Split) -> tuple[Greys, Labels]:
        """Its stretch of Debian's files, in their order."""
        part, first, last = SPANS[split]
        images, labels = _read(FOLDER, part)
        return images[first:last], labels[first:last]


@functools.cache
def _read(folder: Path, part: str) -> tuple[Greys, Labels]:
    pictures, classes = (_unpacked(folder / name, sha256) for name, sha256 in FILES[part])
    # idx: a header of 4 bytes and 4 for each axis, then the numbers (LeCun, yann.lecun.com/exdb/mnist)
    return (
        np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28),
        np.frombuffer(classes, np.uint8, offset=8).astype(np.int64),
    )


def _unpacked(path: Path, sha256: str) -> bytes:
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise MissingError(path, f"Fashion-MNIST is not there ({error.strerror})", INSTALL) from error
    if hashlib.sha256(packed).hexdigest() != sha256:
        remedy = INSTALL.replace("install", "install --reinstall")
        raise MissingError(path, "is not the file that this task was defined on", remedy)
    return gzip.decompress(packed)

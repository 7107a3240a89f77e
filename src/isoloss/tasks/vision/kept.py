"""Images and labels that another package parses slowly, kept as one small file and checked against their SHA-256."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np

from isoloss.cache import cache_folder, write_whole
from isoloss.errors import MissingError
from isoloss.tasks.vision.images import Greys, Labels


def kept(name: str, digest: str, build: Callable[[], tuple[Greys, Labels]]) -> tuple[Greys, Labels]:
    """Grey values and labels in the cache folder's file `name`, from `build` the first time.

    Importing scikit-learn or parsing a CSV takes seconds, and every worker process would pay them. Raises
    `MissingError` where the file holds other data than those of `digest`.
    """
    path = cache_folder() / f"{name}.npz"
    if not path.exists():
        images, labels = build()
        file = io.BytesIO()
        np.savez(file, images=images.astype(np.uint8), labels=labels.astype(np.uint8))
        write_whole(path, [file.getvalue()])
    with np.load(path) as stored:
        images, labels = stored["images"], stored["labels"]
    if digest_of(images, labels) != digest:
        raise MissingError(path, "holds other data than this task was defined on", "delete it and run again")
    return images, labels.astype(np.int64)


def digest_of(images: Greys, labels: Greys) -> str:
    """SHA-256 of grey values and labels as bytes, first 16 digits."""
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]

"""A corpus on disk: one file a corpus, its three splits memory-mapped, checked against their SHA-256 when opened."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isoloss.cache import write_whole
from isoloss.errors import StudyError
from isoloss.tasks.text.blocks import BLOCK, SPLITS

_HEADER = 4096


@dataclass(frozen=True)
class Corpus:
    """Three splits as bytes of shape (blocks, BLOCK); how they came about; their SHA-256; the byte values that occur.

    `alphabet`: int, the byte values that occur in any split, ascending; `path`: where the splits are cached.
    """

    splits: dict[str, np.ndarray]
    counts: dict[str, Any]
    digest: str
    alphabet: tuple[int, ...]
    path: Path


def digest(splits: dict[str, np.ndarray]) -> str:
    """SHA-256 of the splits, in order."""
    sha = hashlib.sha256()
    for split in SPLITS:
        sha.update(np.ascontiguousarray(splits[split]).data)
    return sha.hexdigest()


def write(path: Path, splits: dict[str, np.ndarray], counts: dict[str, Any]) -> Corpus:
    """Write a corpus to `path` and map it. Raises `StudyError` where the cache can't be written."""
    own = digest(splits)
    occurs = np.zeros(256, dtype=bool)
    for split in SPLITS:
        for first in range(0, len(splits[split]), 1024):
            occurs[splits[split][first : first + 1024]] = True
    alphabet = np.flatnonzero(occurs).tolist()
    rows = {s: len(splits[s]) for s in SPLITS}
    header = json.dumps({"counts": counts, "blocks": rows, "digest": own, "alphabet": alphabet}).encode()
    if len(header) > _HEADER:
        raise ValueError("the counts of a corpus fit its header")
    write_whole(path, [header.ljust(_HEADER), *(np.ascontiguousarray(splits[s]).data for s in SPLITS)])
    corpus = read(path)
    if corpus is None or corpus.digest != own:
        raise StudyError(path, "the cache was written but does not read back", "check the disk, or set ISOLOSS_CACHE")
    return corpus


def read(path: Path) -> Corpus | None:
    """The corpus cached at `path`; nothing where there is none or its bytes are not those that were written."""
    try:
        stamp = path.stat()
    except OSError:
        return None
    return _read(path, stamp.st_ino, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, *stamp: int) -> Corpus | None:
    # checked once a process; the stamp tells a rewritten file from the one that was checked
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER))
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=_HEADER).reshape(-1, BLOCK)
        ends = np.cumsum([header["blocks"][s] for s in SPLITS])
        splits = dict(zip(SPLITS, np.split(data, ends[:-1]), strict=True))
        corpus = Corpus(splits, header["counts"], header["digest"], tuple(header["alphabet"]), path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return corpus if digest(splits) == corpus.digest and ends[-1] == len(data) else None


def load(path: Path, build: Callable[[], tuple[dict[str, np.ndarray], dict[str, Any]]]) -> Corpus:
    """The corpus cached at `path`, made by `build` where it is absent or damaged."""
    return read(path) or write(path, *build())

"""Tokenisers by name, and a corpus in their tokens: one file, memory-mapped by every worker.

``bytes``: the byte values that occur. ``bpe-N``: byte-level byte-pair encoding with N tokens in all, learnt from the
training split only (Sennrich et al. 2016; on bytes: Radford et al. 2019). ``file:PATH``: a ``tokenizers`` JSON file of
one's own; a run's choices hold it as ``file:PATH@DIGEST``, so that another file is another run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from isoloss.cache import write_whole
from isoloss.errors import StudyError
from isoloss.tasks.text.blocks import SPLITS
from isoloss.tasks.text.cache import Corpus

LARGEST = 65536  # of a learnt vocabulary
_SCHEME = 1  # of learning and storing; raise it when either changes
_HEADER = 4096
_BPE = re.compile(r"bpe-([1-9][0-9]{0,6})")
_DIGITS = 16  # of a file's SHA-256


@dataclass(frozen=True)
class Name:
    """A tokeniser's name, taken apart: `learnt` tokens, or the `path` of a file with its `sha`; neither for bytes."""

    full: str
    learnt: int | None = None
    path: Path | None = None
    sha: str = ""

    @property
    def key(self) -> str:
        """What a cached file is called after it."""
        return f"bpe-{self.learnt}" if self.learnt else f"file-{self.sha}"


def parse(name: str) -> Name:
    """`name` taken apart, with the file's digest filled in. Raises `StudyError` for anything that is no tokeniser.

    >>> parse("bpe-512").learnt
    512
    """
    if name == "bytes":
        return Name(name)
    if found := _BPE.fullmatch(name):
        size = int(found[1])
        if not 2 <= size <= LARGEST:
            raise StudyError("tokenizer", f"'{name}' has {size} tokens", f"bpe-N takes N from 2 to {LARGEST}")
        return Name(name, learnt=size)
    if name.startswith("file:"):
        return _file(name)
    raise StudyError("tokenizer", f"'{name[:60]}' is unknown", "known: bytes, bpe-N (bpe-1024), file:TOKENIZER.json")


def _file(name: str) -> Name:
    given, at, sha = name.removeprefix("file:").rpartition("@")
    if not at or not re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", sha):
        given, sha = name.removeprefix("file:"), ""
    path = Path(given)
    if not path.is_file():
        raise StudyError("tokenizer", f"there is no file '{given[:200]}'", "name a tokenizers JSON file")
    try:
        own = hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]
    except OSError as error:
        raise StudyError("tokenizer", f"'{given}' can't be read ({error.strerror})", "mend the file") from error
    if sha not in ("", own):
        raise StudyError("tokenizer", f"'{given}' has changed ({sha} then, {own} now)", "bring the old file back")
    return Name(f"file:{given}@{own}", path=path, sha=own)


@dataclass(frozen=True)
class Tokenised:
    """A corpus in tokens, block by block.

    `ids`: split -> tokens of all blocks, one after the other; `starts`: split -> int64 of shape (blocks + 1,), where
    each block begins in `ids`; `width`: the bytes that each token stands for, shape (vocabulary,).
    """

    ids: dict[str, np.ndarray]
    starts: dict[str, np.ndarray]
    width: np.ndarray

    def block(self, split: str, number: int) -> np.ndarray:
        """The tokens of one block, int64."""
        first, last = self.starts[split][number : number + 2]
        return self.ids[split][first:last].astype(np.int64)

    def streams(self, order: np.ndarray, rows: int, window: int) -> Iterator[np.ndarray]:
        """Endless int64 arrays (rows, window + 1) from the training blocks laid out in `order`.

        The laid-out text is cut into as many equal stretches as there are rows; row b reads its own stretch window by
        window, the last token of one array being the first of the next, and goes on in the next row's stretch only
        when every token has been read once (up to the remainder of the division).
        """
        starts, ids = self.starts["train"], self.ids["train"]
        ends = np.cumsum(np.diff(starts)[order])  # of each block in the laid-out text
        total = int(ends[-1])
        place = np.arange(rows) * max(total // rows, 1)
        while True:
            at = (place[:, None] + np.arange(window + 1)) % total
            rank = np.searchsorted(ends, at, side="right")
            block = order[rank]
            length = starts[block + 1] - starts[block]
            yield ids[starts[block] + at - (ends[rank] - length)].astype(np.int64)
            place = (place + window) % total


def tokenised(corpus: Corpus, name: Name) -> Tokenised:
    """`corpus` in the tokens of `name`; learnt and written beside the corpus the first time.

    Raises `StudyError` where the tokeniser does not give the text back byte for byte, or can't be learnt from it.
    """
    path = corpus.path.with_name(f"{corpus.path.stem}-{corpus.digest[:12]}-{name.key}-v{_SCHEME}.tokens")
    found = _read(path, corpus.digest)
    if found is None:
        # the others wait for the first: learning and encoding take every core there is
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            found = _read(path, corpus.digest)
            if found is None:
                _write(path, corpus, name)
                found = _read(path, corpus.digest)
    if found is None:
        raise StudyError(path, "was written but does not read back", "check the disk, or set ISOLOSS_CACHE")
    return found


def _write(path: Path, corpus: Corpus, name: Name) -> None:
    from isoloss.tasks.text import encoding  # needs the `tokenizers` library

    tokenizer = encoding.learn(corpus, name.learnt) if name.learnt else encoding.open_file(name)
    lengths, ids = {}, {}
    for split in SPLITS:
        encoded = list(tokenizer.encode(split, corpus.splits[split]))
        lengths[split] = np.array([len(e) for e in encoded], dtype=np.uint16)
        ids[split] = np.concatenate(encoded)
    width = np.array([len(t) for t in tokenizer.table], dtype=np.uint16)
    body = [*(ids[s] for s in SPLITS), *(lengths[s] for s in SPLITS), width]
    sha = hashlib.sha256()
    for array in body:
        sha.update(array.data)
    header = {
        "corpus": corpus.digest,
        "dtype": tokenizer.kind.name,
        "tokens": [len(ids[s]) for s in SPLITS],
        "blocks": [len(lengths[s]) for s in SPLITS],
        "vocabulary": len(width),
        "library": encoding.VERSION,
        "sha256": sha.hexdigest(),
    }
    write_whole(path, [json.dumps(header).encode().ljust(_HEADER), *(array.data for array in body)])
    if name.learnt:
        write_whole(path.with_suffix(".json"), [tokenizer.to_json()])


def _read(path: Path, corpus: str) -> Tokenised | None:
    try:
        stamp = path.stat()
    except OSError:
        return None
    return _mapped(path, corpus, stamp.st_ino, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=8)
def _mapped(path: Path, corpus: str, *stamp: int) -> Tokenised | None:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER))
        body = np.memmap(path, dtype=np.uint8, mode="r", offset=_HEADER)
        kind = np.dtype(header["dtype"])
        split_at = np.cumsum([kind.itemsize * n for n in header["tokens"]] + [2 * n for n in header["blocks"]])
        *parts, width = np.split(body, split_at)
        ids = dict(zip(SPLITS, (p.view(kind) for p in parts[:3]), strict=True))
        lengths = dict(zip(SPLITS, (p.view(np.uint16) for p in parts[3:]), strict=True))
        whole = header["corpus"] == corpus and hashlib.sha256(body.data).hexdigest() == header["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    starts = {s: np.concatenate([[0], np.cumsum(lengths[s], dtype=np.int64)]) for s in SPLITS}
    return Tokenised(ids, starts, np.array(width.view(np.uint16), dtype=np.int64)) if whole else None

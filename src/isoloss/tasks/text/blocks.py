"""From documents to splits: cut into blocks, split by hash, drop held-out blocks that training gives away.

Documents are cut into blocks of 2,048 bytes; a hash of (document, block number) sends a share of them to validation and
as many to test, so that a block's split never depends on what else there is. A held-out block is dropped when more than
a fifth of its 32-byte shingles (letters folded to lower case) also occur in training: authors quote themselves and each
other. A test block is held against validation as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

BLOCK = 2048
SPLITS = ("train", "validation", "test")
HELD_OUT = 0.025  # of all blocks, for validation and again for test
SHINGLE = 32  # bytes, a power of two
SHINGLE_SAMPLE = 8  # one shingle in so many is compared, chosen by its hash and hence alike on both sides
DUPLICATE = 0.2  # a held-out block with a larger share of known shingles is dropped
DUPLICATE_RULE = f"over {DUPLICATE:.0%} of {SHINGLE}-byte shingles seen in training"
PIECE = 32 * BLOCK  # short documents are joined up to this size

#: Name and text of one document
Document = tuple[str, bytes]


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


def known_share(blocks: np.ndarray, *references: np.ndarray) -> np.ndarray:
    """For each block, the share of its sampled shingles that occur anywhere in the `references`.

    The blocks' own shingles are sorted once and the references stream past them: memory follows the few held-out
    blocks and not the training text.
    """
    own, compared = (np.concatenate(parts) for parts in zip(*_sampled(blocks), strict=True))
    asked, place = np.unique(own[compared], return_inverse=True)
    found = np.zeros(len(asked) + 1, dtype=bool)
    for reference in references:
        for hashes, chosen in _sampled(reference):
            known = hashes[chosen]
            at = np.searchsorted(asked, known)
            hit = at < len(asked)
            hit[hit] = asked[at[hit]] == known[hit]
            found[at[hit]] = True
    hits = np.zeros(own.shape, dtype=bool)
    hits[compared] = found[:-1][place]
    return hits.sum(1) / np.maximum(compared.sum(1), 1)


def pieces(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents joined by an empty line until each piece has `PIECE` bytes, named after its first document.

    A document's last, incomplete block is left out, so short documents would be lost on their own; joined, at most one
    block in 32 is.
    """
    name, size = "", 0
    parts: list[bytes] = []
    for own_name, text in documents:
        if not parts:
            name = own_name
        parts.append(text)
        size += len(text)
        if size >= PIECE:
            yield name, b"\n\n".join(parts)
            parts, size = [], 0
    if parts:
        yield name, b"\n\n".join(parts)


def split_of(name: str, number: int, held_out: float) -> str:
    """The split of block `number` of the document called `name`: a hash of both, hence the same on every machine."""
    u = int.from_bytes(hashlib.sha256(f"{name}:{number}".encode()).digest()[:8], "big") / 2**64
    return "validation" if u < held_out else "test" if u < 2 * held_out else "train"


def cut(documents: Iterable[Document], held_out: float = HELD_OUT) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The splits, each uint8 of shape (blocks, BLOCK), and how they came about.

    `documents` are cut as they come; line ends become ``\\n``. Counts: ``documents``, ``bytes_left_over`` (incomplete
    last blocks), ``near_duplicates_dropped`` by split. A split may come out empty: the caller says what that means.
    """
    parts = {split: bytearray() for split in SPLITS}
    read = left_over = 0
    for name, raw in documents:
        read += 1
        text = raw.replace(b"\r\n", b"\n")
        whole = len(text) // BLOCK
        left_over += len(text) - whole * BLOCK
        for number in range(whole):
            parts[split_of(name, number, held_out)] += text[number * BLOCK : (number + 1) * BLOCK]
    splits = {split: np.frombuffer(part, dtype=np.uint8).reshape(-1, BLOCK) for split, part in parts.items()}
    dropped = {}
    for split, seen in (("validation", ["train"]), ("test", ["train", "validation"])):
        dropped[split] = 0
        if len(splits[split]):
            duplicate = known_share(splits[split], *(splits[s] for s in seen)) > DUPLICATE
            dropped[split] = int(duplicate.sum())
            splits[split] = splits[split][~duplicate]
    return splits, {"documents": read, "bytes_left_over": left_over, "near_duplicates_dropped": dropped}

"""Bytes to tokens and back by the ``tokenizers`` library, held to giving every byte back.

A block is cut anywhere, also inside a character of several bytes: what is not valid UTF-8 at its edges is encoded byte
by byte, by the tokens that stand for single bytes. Every block is then put together again from the bytes that its
tokens stand for; a tokeniser that changes as much as one byte would make bits per byte a number of another text.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator

import numpy as np

from isoloss.errors import MissingError, StudyError
from isoloss.tasks.text.blocks import BLOCK
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.tokens import Name

try:
    import tokenizers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
except ModuleNotFoundError as error:
    remedy = "pip install 'isoloss[lab]', or tokenizer = \"bytes\""
    raise MissingError("tokenizer", "the package 'tokenizers' is not installed", remedy) from error

VERSION = f"tokenizers {tokenizers.__version__}"
LEARNT_FROM = 64 * 2**20  # bytes at most: more text hardly changes the merges, and their counts fill the memory
_AT_ONCE = 512  # blocks encoded together


@functools.cache
def byte_characters() -> tuple[str, ...]:
    """The printable character that stands for each byte value in a byte-level vocabulary (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256))
    return tuple(chr(b) if b in printable else chr(256 + next(others)) for b in range(256))


class Encoder:
    """A tokeniser with the bytes of each of its tokens: `table`, by token number."""

    def __init__(self, name: str, tokenizer: Tokenizer, byte_level: bool) -> None:
        self.name, self._tokenizer = name, tokenizer
        of_byte = {character: bytes([b]) for b, character in enumerate(byte_characters())}
        added = {t.content for t in tokenizer.get_added_tokens_decoder().values()}
        size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

        def bytes_of(token: str | None) -> bytes:
            if token is None or token in added:
                return (token or "").encode()
            if byte_level:
                return b"".join(of_byte.get(c, c.encode()) for c in token)
            if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                return bytes.fromhex(token[3:5])
            return token.replace("\u2581", " ").encode()

        self.table = tuple(bytes_of(tokenizer.id_to_token(i)) for i in range(size))
        self.kind: np.dtype = np.dtype(np.uint16 if size <= 65536 else np.uint32)
        self._single = {token: i for i, token in reversed(list(enumerate(self.table))) if len(token) == 1}

    def to_json(self) -> bytes:
        """The tokeniser as a ``tokenizers`` JSON file."""
        return self._tokenizer.to_str(pretty=True).encode()

    def encode(self, split: str, blocks: np.ndarray) -> Iterator[np.ndarray]:
        """The tokens of each block, of dtype `kind`. Raises `StudyError` naming the first byte that gets lost."""
        for first in range(0, len(blocks), _AT_ONCE):
            texts = [block.tobytes() for block in blocks[first : first + _AT_ONCE]]
            cut = [list(_spans(text)) for text in texts]
            valid = [span for spans in cut for span in spans if isinstance(span, str)]
            encoded = iter(self._tokenizer.encode_batch_fast(valid, add_special_tokens=False))
            for number, (text, spans) in enumerate(zip(texts, cut, strict=True), first):
                ids: list[int] = []
                for span in spans:
                    if isinstance(span, str):
                        ids += next(encoded).ids
                    elif span in self._single:
                        ids.append(self._single[span])
                back = b"".join([self.table[i] for i in ids])
                if back != text:
                    raise self._refusal(split, number, text, back)
                yield np.array(ids, dtype=self.kind)

    def _refusal(self, split: str, number: int, text: bytes, back: bytes) -> StudyError:
        same = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
        there, here = text[same : same + 8], back[same : same + 8]
        what = f"'{self.name[:120]}' changes the text at byte {number * BLOCK + same} of {split}: {there!r} -> {here!r}"
        return StudyError("tokenizer", what, "take a byte-level tokeniser without normaliser, e.g. bpe-1024")


def _spans(block: bytes) -> Iterator[str | bytes]:
    """A block as valid text and, one by one, the bytes that are none."""
    while block:
        try:
            yield block.decode()
            return
        except UnicodeDecodeError as error:
            if error.start:
                yield block[: error.start].decode()
            for byte in block[error.start : error.end]:
                yield bytes([byte])
            block = block[error.end :]


def learn(corpus: Corpus, size: int) -> Encoder:
    """Byte-pair encoding with `size` tokens: the bytes that occur, and merges learnt from the training split alone."""
    if size <= len(corpus.alphabet):
        what = f"bpe-{size} leaves no merge: {len(corpus.alphabet)} byte values occur"
        raise StudyError("tokenizer", what, f"raise N above {len(corpus.alphabet)}")
    characters = byte_characters()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=[characters[b] for b in corpus.alphabet],
        special_tokens=[],
        show_progress=False,
    )
    train = corpus.splits["train"]
    spread = train[:: max(1, -(-train.size // LEARNT_FROM))]
    spans = (span for block in spread for span in _spans(block.tobytes()) if isinstance(span, str))
    tokenizer.train_from_iterator(spans, trainer)
    learnt = tokenizer.get_vocab_size()
    if learnt != size:
        raise StudyError("tokenizer", f"the text gives {learnt} tokens, not {size}", f"bpe-{learnt} is the largest")
    return Encoder(f"bpe-{size}", tokenizer, byte_level=True)


def open_file(name: Name) -> Encoder:
    """The tokeniser of a user's JSON file. Raises `StudyError` where the library can't read it."""
    assert name.path is not None
    try:
        tokenizer = Tokenizer.from_str(name.path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing narrower
        said = " ".join(str(error).split())[:200]
        raise StudyError("tokenizer", f"'{name.path}' is no tokenizers JSON file ({said})", "mend the file") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    form = json.loads(tokenizer.to_str())
    if form["model"].get("dropout"):
        raise StudyError("tokenizer", f"'{name.path}' drops merges at random", "set model.dropout to null")
    return Encoder(name.full, tokenizer, byte_level="ByteLevel" in json.dumps(form["decoder"]))

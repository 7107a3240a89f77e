"""What every language task shares: batches in a seeded order, and bits per byte on held-out text."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from isoloss.errors import StudyError
from isoloss.tasks.base import Floor, Options, Task
from isoloss.tasks.text.blocks import BLOCK, DUPLICATE_RULE, SPLITS
from isoloss.tasks.text.cache import Corpus

EVALUATION_ROWS = 32
_ORDER = 1  # of the seeded order of blocks; another one would make every run another run

Predictor = Callable[[torch.Tensor, Any], tuple[torch.Tensor, Any]]
Batch = tuple[torch.Tensor, torch.Tensor]


class TextOptions(Options):
    """`evaluation_bytes`: length of the held-out stream that a quality is measured on, whole blocks."""

    evaluation_bytes: int = Field(65536, ge=BLOCK, multiple_of=BLOCK)


class TextTask(Task):
    """Predict the next token of a text; quality is bits per byte on a fixed held-out stream.

    A subclass gives `corpus`. Bits per byte compare models whatever their tokens: nats of the predicted tokens over
    the bytes that these stand for, over ln 2.
    """

    quality = "loss"
    unit = "bits per byte"
    direction = "lower"
    floor = Floor("shared")
    example = "token"
    trivial_quality: ClassVar[float] = 8.0
    resources = ("train_flops",)

    class Options(TextOptions):
        """See `TextOptions`."""

    options: TextOptions

    @property
    @abc.abstractmethod
    def corpus(self) -> Corpus:
        """The data; loaded on first use."""

    def prepare(self) -> None:
        """Build the cache where it is missing and map it. Raises `StudyError` where too little text is held out."""
        held_out = min(self.corpus.splits[s].size for s in ("validation", "test"))
        if self.options.evaluation_bytes > held_out:
            asked = self.options.evaluation_bytes
            raise StudyError("task.options.evaluation_bytes", f"{asked} exceeds the {held_out} held-out bytes", "lower")

    def facts(self) -> dict[str, Any]:
        """Bytes of each split, what was left out and why, and the digest of the data."""
        corpus = self.corpus
        return {
            **{f"{split}_bytes": corpus.splits[split].size for split in SPLITS},
            "evaluation_bytes": self.options.evaluation_bytes,
            "near_duplicate_rule": DUPLICATE_RULE,
            **corpus.counts,
            "digest": corpus.digest,
        }

    def check_tokenizer(self, name: str) -> str:
        """The tokeniser's full name, as a run's choices should hold it. Raises `StudyError` for an unknown one."""
        if name != "bytes":
            raise StudyError("tokenizer", f"'{name[:60]}' is unknown", "known: bytes")
        return name

    def vocabulary(self, tokenizer: str = "bytes") -> int:
        """How many tokens there are: the byte values that occur for ``bytes``."""
        self.check_tokenizer(tokenizer)
        return len(self.corpus.alphabet)

    def check_window(self, window: int) -> None:
        """Raise `StudyError` for a window that would straddle blocks."""
        if window < 1 or BLOCK % window:
            raise StudyError("context", f"{window} does not divide {BLOCK}", "choose a power of two, e.g. 64")

    def unique_examples(self, drawn: float, tokenizer: str = "bytes") -> float:
        """Distinct training tokens among the first `drawn` of `batches`: none repeats before all have been read."""
        self.check_tokenizer(tokenizer)
        return min(drawn, float(self.corpus.splits["train"].size))

    def batches(self, rows: int, window: int, seed: int, tokenizer: str = "bytes") -> Iterator[Batch]:
        """Endless pairs (input, target), each int64 of shape (rows, window), target one token ahead.

        Blocks are shuffled by `seed`; row b reads consecutive windows of its own stretch of the shuffled text, so
        the next batch continues where this one stopped and a recurrent state may be carried.
        """
        self.check_window(window)
        self.check_tokenizer(tokenizer)
        return self._byte_batches(rows, window, seed)

    def _byte_batches(self, rows: int, window: int, seed: int) -> Iterator[Batch]:
        train, tokens = self.corpus.splits["train"], self._byte_tokens()
        order = self._order(seed)
        starts = np.arange(rows) * max(len(train) // rows, 1)
        turn = 0
        while True:
            here, after = order[(starts + turn) % len(train)], order[(starts + turn + 1) % len(train)]
            text_bt = torch.from_numpy(tokens[np.concatenate([train[here], train[after, :1]], axis=1)])
            yield from zip(text_bt[:, :-1].split(window, 1), text_bt[:, 1:].split(window, 1), strict=True)
            turn += 1

    def _order(self, seed: int) -> np.ndarray:
        return np.random.default_rng((_ORDER, seed)).permutation(len(self.corpus.splits["train"]))

    def _byte_tokens(self) -> np.ndarray:
        """The token of each byte value that occurs, int64 of shape (256,): its rank among them."""
        occurs = np.zeros(256, dtype=np.int64)
        occurs[list(self.corpus.alphabet)] = 1
        return np.cumsum(occurs) - 1

    def evaluate(self, predict: Predictor, split: str, window: int, tokenizer: str = "bytes") -> float:
        """Mean bits per byte on the first `evaluation_bytes` of `split`.

        `predict(tokens_bt, state) -> (logits_btv, state)`; the state is None at the start of a block and handed
        back for its next window, so both streaming and fixed-context models are scored on the same bytes.
        """
        self.check_tokenizer(tokenizer)
        text, tokens = self.corpus.splits[split][: self.options.evaluation_bytes // BLOCK], self._byte_tokens()
        nats, predicted = 0.0, 0
        for first in range(0, len(text), EVALUATION_ROWS):
            rows_bt = torch.from_numpy(tokens[text[first : first + EVALUATION_ROWS]])
            state = None
            for i in range(0, BLOCK - 1, window):
                target_bt = rows_bt[:, i + 1 : i + window + 1]
                logits_btv, state = predict(rows_bt[:, i : i + target_bt.shape[1]], state)
                loss = F.cross_entropy(logits_btv.flatten(0, 1), target_bt.flatten(), reduction="sum")
                nats += float(loss)
                predicted += target_bt.numel()
        return nats / predicted / math.log(2)

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
from isoloss.tasks.base import Expected, Floor, Options, Task
from isoloss.tasks.text.blocks import BLOCK, DUPLICATE_RULE, SPLITS
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.tokens import Tokenised, parse, tokenised

EVALUATION_ROWS = 32
_ORDER = 1  # of the seeded order of blocks; another one would make every run another run

Predictor = Callable[[torch.Tensor, Any], tuple[torch.Tensor, Any]]
Batch = tuple[torch.Tensor, torch.Tensor]
#: input, target, and the bytes that the targets stand for
Rows = tuple[torch.Tensor, torch.Tensor, int]


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
    expected = Expected(0.011, {"train_flops": 0.087}, "by 16 results on language/sotu")

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
            what = f"{self.options.evaluation_bytes} exceeds the {held_out} held-out bytes"
            more = ", or raise held_out" if "held_out" in type(self.options).model_fields else ""
            raise StudyError("task.options.evaluation_bytes", what, f"lower it to {held_out}{more}")

    def facts(self) -> dict[str, Any]:
        """Bytes of each split (those of training are what there is to see once), what was left out, and the digest."""
        corpus = self.corpus
        return {
            **{f"{split}_bytes": corpus.splits[split].size for split in SPLITS},
            "unique_examples": corpus.splits["train"].size,
            "evaluation_bytes": self.options.evaluation_bytes,
            "near_duplicate_rule": DUPLICATE_RULE,
            **corpus.counts,
            "digest": corpus.digest,
        }

    def check_tokenizer(self, name: str) -> str:
        """The tokeniser's full name, as a run's choices should hold it: that of a file has its digest.

        Raises `StudyError` for an unknown one.
        """
        return parse(name).full

    def vocabulary(self, tokenizer: str = "bytes") -> int:
        """How many tokens there are: N for ``bpe-N``, the byte values that occur for ``bytes``."""
        if tokenizer == "bytes":
            return len(self.corpus.alphabet)
        learnt = parse(tokenizer).learnt
        if learnt is not None and learnt <= self.vocabulary():
            what = f"{tokenizer} leaves no merge: {self.vocabulary()} byte values occur"
            raise StudyError("tokenizer", what, f"raise N above {self.vocabulary()}")
        return learnt or len(self._tokenised(tokenizer).width)

    def _tokenised(self, tokenizer: str) -> Tokenised:
        return tokenised(self.corpus, parse(tokenizer))

    def check_window(self, window: int) -> None:
        """Raise `StudyError` for a window that would straddle blocks."""
        if window < 1 or BLOCK % window:
            raise StudyError("context", f"{window} does not divide {BLOCK}", "choose a power of two, e.g. 64")

    def unique_examples(self, drawn: float, tokenizer: str = "bytes") -> float:
        """Distinct training tokens among the first `drawn` of `batches`: none repeats before all have been read."""
        text = self.corpus.splits["train"] if tokenizer == "bytes" else self._tokenised(tokenizer).ids["train"]
        return min(drawn, float(text.size))

    def batches(self, rows: int, window: int, seed: int, tokenizer: str = "bytes") -> Iterator[Batch]:
        """Endless pairs (input, target), each int64 of shape (rows, window), target one token ahead.

        Blocks are shuffled by `seed`; row b reads consecutive windows of its own stretch of the shuffled text, so
        the next batch continues where this one stopped and a recurrent state may be carried.
        """
        self.check_window(window)
        if tokenizer == "bytes":
            return self._byte_batches(rows, window, seed)
        arrays = self._tokenised(tokenizer).streams(self._order(seed), rows, window)
        return ((text_bt[:, :-1], text_bt[:, 1:]) for text_bt in map(torch.from_numpy, arrays))

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

        ``sum of -ln p(token) / sum of the tokens' bytes / ln 2`` over all tokens but each block's first, which nothing
        precedes. `predict(tokens_bt, state) -> (logits_btv, state)`; the state is None at the start of a block and
        handed back for its next window, so both streaming and fixed-context models are scored on the same bytes.
        """
        blocks = self.options.evaluation_bytes // BLOCK
        groups = self._byte_rows(split, blocks) if tokenizer == "bytes" else self._token_rows(tokenizer, split, blocks)
        nats, predicted = 0.0, 0
        for input_bt, target_bt, stood_for in groups:
            state = None
            for i in range(0, input_bt.shape[1], window):
                logits_btv, state = predict(input_bt[:, i : i + window], state)
                here_bt = target_bt[:, i : i + window].to(logits_btv.device)
                nats += float(F.cross_entropy(logits_btv.flatten(0, 1), here_bt.flatten(), reduction="sum"))
            predicted += stood_for
        return nats / predicted / math.log(2)

    def _byte_rows(self, split: str, blocks: int) -> Iterator[Rows]:
        text, tokens = self.corpus.splits[split][:blocks], self._byte_tokens()
        for first in range(0, len(text), EVALUATION_ROWS):
            rows_bt = torch.from_numpy(tokens[text[first : first + EVALUATION_ROWS]])
            yield rows_bt[:, :-1], rows_bt[:, 1:], rows_bt[:, 1:].numel()

    def _token_rows(self, tokenizer: str, split: str, blocks: int) -> Iterator[Rows]:
        text = self._tokenised(tokenizer)
        for first in range(0, blocks, EVALUATION_ROWS):
            rows = [text.block(split, number) for number in range(first, min(first + EVALUATION_ROWS, blocks))]
            longest = max(map(len, rows))
            # shorter blocks are filled up with their own text, which is read after all that counts and never scored
            input_bt = torch.from_numpy(np.stack([np.resize(row, longest) for row in rows]))[:, :-1]
            target_bt = torch.full_like(input_bt, -100)  # cross_entropy's "not scored"
            for target_t, row in zip(target_bt, rows, strict=True):
                target_t[: len(row) - 1] = torch.from_numpy(row[1:])
            yield input_bt, target_bt, len(rows) * BLOCK - int(text.width[[row[0] for row in rows]].sum())

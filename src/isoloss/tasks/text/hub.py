"""A text of the Hugging Face hub, streamed by the ``datasets`` library: its first megabytes, kept on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from pydantic import Field

from isoloss.cache import cache_folder
from isoloss.errors import IsolossError, MissingError, StudyError
from isoloss.tasks import task
from isoloss.tasks.text import cache
from isoloss.tasks.text.blocks import Document, cut, pieces
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.pinned import OwnOptions, PinnedTask, need_all_splits
from isoloss.tasks.text.sources import first_bytes, text_of

VERSION = 1


@task(
    "language/hub",
    version=VERSION,
    summary="next token of a dataset of the Hugging Face hub, by name, config, split and column",
    year=2021,
    source="Lhoest et al. 2021 (arXiv 2109.02846); the dataset that the study names in task.options.name",
)
class HubText(PinnedTask):
    """Predict the next token of a hub dataset: its first `max_bytes` of text, fetched once.

    The rows of a streamed dataset come in a fixed order, so the same revision gives the same text.
    """

    class Options(OwnOptions):
        """`name`, `config`, `split`, `revision`, `data_files`: as in ``datasets.load_dataset``; `column`: of text.

        With `name` one of ``parquet``, ``json``, ``text`` or ``csv``, `data_files` may be files of one's own.
        """

        name: str = Field(min_length=1)
        config: str | None = None
        split: str = Field("train", min_length=1)
        column: str = "text"
        revision: str | None = None
        data_files: tuple[str, ...] = ()
        max_bytes: int = Field(100_000_000, gt=0)

    options: HubText.Options

    def load(self) -> Corpus:
        """The cached text, fetched the first time. Raises one line where hub or dataset can't be reached."""
        asked = self.options.model_dump(mode="json", exclude={"evaluation_bytes", "digest"})
        key = hashlib.sha256(json.dumps([VERSION, asked], sort_keys=True).encode()).hexdigest()
        path = cache_folder() / f"hub-{key[:16]}.bin"
        if corpus := cache.read(path):
            return corpus
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            return cache.read(path) or self._fetch(path)

    def _fetch(self, path: Path) -> Corpus:
        splits, counts = cut(pieces(first_bytes(self._documents(path), self.options.max_bytes)), self.options.held_out)
        need_all_splits(f"hub dataset '{self.options.name}'", splits)
        return cache.write(path, splits, counts)

    def _documents(self, path: Path) -> Iterator[Document]:
        options, where = self.options, f"hub dataset '{self.options.name}'"
        try:
            import datasets
        except ModuleNotFoundError as error:
            remedy = "pip install 'isoloss[hub]'"
            raise MissingError(where, "the package 'datasets' is not installed", remedy) from error
        try:
            rows = datasets.load_dataset(
                options.name,
                options.config,
                split=options.split,
                revision=options.revision,
                data_files=list(options.data_files) or None,
                streaming=True,
            )
            for number, row in enumerate(rows, 1):
                if options.column not in row:
                    what = f"has no column '{options.column}' (it has: {', '.join(map(str, row))[:200]})"
                    raise StudyError(where, what, "set task.options.column")
                yield f"{number}", text_of(row[options.column], f"{where} row {number}", options.column)
        except IsolossError:
            raise
        except Exception as error:  # the library, its file systems and its network client each raise their own
            said = " ".join(f"{type(error).__name__}: {error}".split())[:240]
            remedy = f"check name, config and split; offline, bring {path.name} from another machine's cache"
            raise MissingError(where, f"can't be read ({said})", remedy) from None

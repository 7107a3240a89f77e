"""A text of one's own: a file or a folder."""

from __future__ import annotations

import codecs
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, field_validator

from isoloss.cache import cache_folder
from isoloss.tasks import task
from isoloss.tasks.text import cache
from isoloss.tasks.text.blocks import Document, cut, pieces
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.pinned import OwnOptions, PinnedTask, need_all_splits
from isoloss.tasks.text.sources import documents_of, files_of, first_bytes

VERSION = 1


@task(
    "language/text",
    version=VERSION,
    summary="next token of a text of your own: a file, JSON lines, Parquet, or a folder of files",
    year=2026,
    source="the file or folder that the study names in task.options.path",
)
class OwnText(PinnedTask):
    """Predict the next token of any text. Its digest is pinned when a study is planned; a run refuses another text."""

    class Options(OwnOptions):
        """`path`: a file, or a folder of which the files matching `pattern` are read, relative to where isoloss runs.

        `column`: of JSON lines and Parquet; `encoding`: of plain text; `max_bytes`: read so much and no more.
        """

        path: str = Field(min_length=1)
        pattern: str = Field("*.txt", min_length=1)
        column: str = "text"
        encoding: str = "utf-8"
        max_bytes: int | None = Field(None, gt=0)

        @field_validator("encoding")
        @classmethod
        def _known(cls, encoding: str) -> str:
            try:
                return codecs.lookup(encoding).name
            except LookupError:
                raise ValueError("no such encoding; try utf-8 or latin-1") from None

    options: OwnText.Options

    def load(self) -> Corpus:
        """The text as it is now, read and hashed; cut only where the cache lacks it."""
        files = files_of(Path(self.options.path), self.options.pattern)
        stamps = tuple((f, s.st_ino, s.st_mtime_ns, s.st_size) for f in files for s in [f.stat()])
        asked = self.options.model_copy(update={"evaluation_bytes": 65536, "digest": ""})
        return _load(asked.model_dump_json(), cache_folder(), stamps)


@functools.lru_cache(maxsize=4)
def _load(options_json: str, folder: Path, stamps: tuple[tuple[Path, int, int, int], ...]) -> Corpus:
    # a planner asks for one text again and again; the stamps tell when it has to be read anew
    options = OwnText.Options.model_validate_json(options_json)

    def documents() -> Iterator[Document]:
        read = documents_of([s[0] for s in stamps], Path(options.path), options.column, options.encoding)
        return first_bytes(read, options.max_bytes)

    sha = hashlib.sha256(json.dumps([VERSION, options.held_out]).encode())
    for name, text in documents():
        sha.update(f"\0{name}\0{len(text)}\0".encode())
        sha.update(text)
    path = folder / f"text-{sha.hexdigest()[:16]}.bin"
    corpus = cache.read(path)
    if corpus is None:
        splits, counts = cut(pieces(documents()), options.held_out)
        need_all_splits(options.path, splits)
        corpus = cache.write(path, splits, counts)
    return corpus

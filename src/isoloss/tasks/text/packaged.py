"""The corpora that ``isoloss corpus`` builds: Debian's documentation, the source of Linux. Never built by a run."""

from __future__ import annotations

from typing import ClassVar

from isoloss.cache import cache_folder
from isoloss.errors import MissingError
from isoloss.tasks import task
from isoloss.tasks.text import cache
from isoloss.tasks.text.cache import Corpus
from isoloss.tasks.text.pinned import PinnedOptions, PinnedTask
from isoloss.tasks.text.recipes import RECIPES


class PackagedTask(PinnedTask):
    """A text built beforehand from the Debian packages of the recipe `corpus_name`; its digest is pinned."""

    corpus_name: ClassVar[str]

    class Options(PinnedOptions):
        """See `PinnedOptions`."""

    def load(self) -> Corpus:
        """The built text. Raises `MissingError` with the command that builds it."""
        path, _ = RECIPES[self.corpus_name].files(cache_folder())
        corpus = cache.read(path)
        if corpus is None:
            what = "its file is damaged" if path.exists() else "its text has not been built on this machine"
            raise MissingError(self.card.name, what, f"isoloss corpus {self.corpus_name}")
        return corpus


@task(
    "language/debian",
    version=RECIPES["debian"].version,
    summary="next token of technical and literary English: twelve documentation packages of Debian 12",
    year=2023,
    source="Debian 12 packages linux-doc, dict-gcide, anarchism, python3.11-doc and eight more; licences: their own",
)
class Debian(PackagedTask):
    """Predict the next token of Debian's documentation. Build it once with ``isoloss corpus debian``."""

    corpus_name = "debian"


@task(
    "language/linux",
    version=RECIPES["linux"].version,
    summary="next token of C: the source of Linux 6.1, generated register tables left out",
    year=2022,
    source="Debian 12 package linux-source-6.1 (GPL-2)",
)
class Linux(PackagedTask):
    """Predict the next token of the Linux kernel's source. Build it once with ``isoloss corpus linux``."""

    corpus_name = "linux"

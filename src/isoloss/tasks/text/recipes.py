"""The corpora that are built from Debian packages: which ones, what is read from them, and what came out here.

Debian holds large, freely licensed texts that any machine with ``apt-get`` can fetch, unprivileged and without
installing them. Their licences are several, so a built corpus stays on the machine that built it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from isoloss.tasks.text.prose import paragraphs_of_html, paragraphs_of_pod, paragraphs_of_text

#: Paragraphs of one file's text
Reader = Callable[[str], Iterator[str]]


def _whole(text: str) -> Iterator[str]:
    yield text


READERS: Mapping[str, Reader] = {
    "html": paragraphs_of_html,
    "pod": paragraphs_of_pod,
    "text": paragraphs_of_text,
    "whole": _whole,
}


@dataclass(frozen=True)
class Package:
    """One Debian package: files that end in `endings` are read by `reader` (a key of `READERS`).

    `archive`: pattern of a tar file inside the package that holds the files; `version`, `sha256`: of the .deb file that
    the recipe's digest was built with; `licence` as in the package's ``debian/copyright``.
    """

    name: str
    licence: str
    version: str
    sha256: str
    reader: str = "html"
    endings: tuple[str, ...] = (".html",)
    archive: str = ""


@dataclass(frozen=True)
class Recipe:
    """A corpus: its packages in order, and the digest of the splits that the versions named there gave.

    `repeats`: whether a paragraph that was seen before is kept (in code it is; in prose it is somebody's footer).
    `skipped`: folders of generated text. Raise `version` whenever a change here changes the text.
    """

    name: str
    version: int
    packages: tuple[Package, ...]
    digest: str
    repeats: bool = False
    skipped: tuple[str, ...] = ()

    def files(self, folder: Path) -> tuple[Path, Path]:
        """The corpus and its manifest within the cache `folder`."""
        stem = f"{self.name}-v{self.version}"
        return folder / f"{stem}.bin", folder / f"{stem}.json"


_DEBIAN = (
    Package("linux-doc-6.1", "GPL-2", "6.1.192-2", "d1d1b5a602f0d439ecc39e713e044bf2df30d839fb4bf8a7b859ba3273c47993"),
    Package(
        "dict-gcide",
        "GPL",
        "0.48.5+nmu2",
        "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
        "text",
        (".dict.dz",),
    ),
    Package("anarchism", "GPL-2+", "15.3-3", "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948"),
    Package(
        "python3.11-doc",
        "PSF-2",
        "3.11.2-6+deb12u9",
        "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be",
    ),
    Package(
        "openjdk-17-doc",
        "GPL-2 with classpath exception",
        "17.0.21.1+2-1~deb12u1",
        "3e04db24dbcb31d598774973998f1d8212e3424e288befbfef235077325f841d",
    ),
    Package(
        "sagemath-doc",
        "GPL-2+, CC-BY-SA-3.0",
        "9.5-6",
        "dae42f803878fe655dd4627b3ddaa74de82a737a6076527d3441e80018ab2b12",
    ),
    Package(
        "erlang-doc",
        "Apache-2.0",
        "1:25.2.3+dfsg-1+deb12u4",
        "7d172cecfdd9c2930b27c776ad226ffcc84670375cf830c79ee41c6944e8a1c8",
    ),
    Package(
        "qtbase5-doc-html",
        "GFDL-NIV-1.3",
        "5.15.8+dfsg-11+deb12u3",
        "e052497a7db970f002807e3543043c11e46135641b8284b0a419086ba64f5f47",
    ),
    Package(
        "perl-doc",
        "Artistic or GPL-1+",
        "5.36.0-7+deb12u4",
        "f4269cff4576d6f02a6756df842988e58451c7e945b08517dd235531b24e48f8",
        "pod",
        (".pod",),
    ),
    Package(
        "racket-doc",
        "MIT or Apache-2.0, LGPL-3+",
        "8.7+dfsg1-1",
        "d50139b4bf806cd280bd18146ca2e7579cede5da23cc7f5c663044596af4e00f",
    ),
    Package(
        "postgresql-doc-15",
        "PostgreSQL",
        "15.20-0+deb12u1",
        "4c44bf2c599f208b3f46454a6cf7a72e25ec46ff74d37b59dd31ad76b00eebb7",
    ),
    Package(
        "llvm-22-doc",
        "Apache-2.0 with LLVM exception",
        "1:22.1.8-1~deb12u1",
        "73e21a35fe1829d8b9c1d79921b920f4cb244fca867d2916385b32685692fc6a",
    ),
)

RECIPES: Mapping[str, Recipe] = {
    "debian": Recipe("debian", 1, _DEBIAN, "b6e924f48aba54583b80d2cbece0c54f8cb62b0a8148d3c35ea4760a6db6d533"),
    "linux": Recipe(
        "linux",
        1,
        (
            Package(
                "linux-source-6.1",
                "GPL-2",
                "6.1.192-2",
                "ae95fe63d4c553f8d0e6c86cb1ab566f3894a43743eb19ab585cd97d82f26514",
                "whole",
                (".c", ".h", ".S", ".rst"),
                "usr/src/*.tar.xz",
            ),
        ),
        "62e8342cc43619b63ca656f7863c3c68f28600e3948e7c821a1281545a8fc57f",
        repeats=True,
        # register tables written by a program: a fifth of the tree and next to no information
        skipped=("drivers/gpu/drm/amd/include/",),
    ),
}

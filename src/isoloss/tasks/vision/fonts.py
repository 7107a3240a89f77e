"""Letters drawn in installed fonts: which ones, where they lie, and the drawings, kept in the cache folder."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.cache import cache_folder, write_whole
from isoloss.errors import MissingError

PIXELS = 28
#: Height of the em square, and the row of the baseline: room for a mark above a capital and for one below.
EM, BASELINE = 19, 21
#: Code points that are looked through, and the form of the names that are kept: letters of three scripts.
CODES = range(0x41, 0x2000)
NAME = re.compile(r"(?:LATIN|GREEK|CYRILLIC) (?:SMALL|CAPITAL) LETTER [A-Z]+(?: [A-Z]+)?(?: WITH .+)?")
#: An unassigned code point: what a font draws for it, it draws for every letter that it lacks.
UNASSIGNED = 0x0378


@dataclass(frozen=True)
class FontSet:
    """Fonts by split, by the names of their files; the `folder` they lie in (found when asked), and how to get them."""

    splits: Mapping[str, tuple[str, ...]]
    folder: Callable[[], Path]
    install: str


def _debian() -> Path:
    return Path(os.environ.get("ISOLOSS_FONTS") or "/usr/share/fonts")


def _matplotlib() -> Path:
    found = find_spec("matplotlib")  # its files, not its code: importing it takes a second
    places = (found and found.submodule_search_locations) or ["."]
    return Path(places[0]) / "mpl-data" / "fonts" / "ttf"


SETS = {
    "debian": FontSet(
        {
            "train": (
                *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold"),
                *("FreeSans", "FreeSansBold", "FreeSansOblique", "FreeMono", "FreeMonoBold", "FreeMonoOblique"),
                *("FreeSerif", "FreeSerifBold", "FreeSerifItalic", "FreeSerifBoldItalic"),
            ),
            "validation": ("CharisSIL-Regular", "CharisSIL-Italic"),
            "test": (
                *("LinLibertine_R", "LinLibertine_RI", "LinLibertine_RB"),
                *("LinBiolinum_R", "LinBiolinum_RI", "LinBiolinum_RB"),
            ),
        },
        _debian,
        "apt-get install fonts-dejavu-core fonts-freefont-ttf fonts-sil-charis fonts-linuxlibertine",
    ),
    "matplotlib": FontSet(
        {
            "train": (
                *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique"),
                *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
            ),
            "validation": ("DejaVuSansMono", "DejaVuSansMono-Oblique"),
            "test": ("STIXGeneral", "STIXGeneralBol"),
        },
        _matplotlib,
        "pip install matplotlib",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """Every letter that all fonts of a set have, in each of them: ``images`` uint8 of shape (fonts, letters, 28, 28).

    `codes`: the letters' code points, ascending; `digest`: SHA-256 of the images. Fonts move inside a distribution, and
    so does what turns outlines into pixels.
    """

    images: NDArray[np.uint8]
    fonts: tuple[str, ...]
    codes: tuple[int, ...]
    digest: str


@functools.cache
def names() -> dict[int, str]:
    """Code point -> its official name, for every letter whose name has the form `NAME`."""
    named = ((code, unicodedata.name(chr(code), "")) for code in CODES)
    return {code: name for code, name in named if NAME.fullmatch(name)}


@functools.cache
def drawn(fonts: str) -> Drawn:
    """The letters in the fonts of the set `fonts`, from the cache folder where they lie in it.

    Raises `MissingError` with the command that installs the fonts.
    """
    path = cache_folder() / f"glyphs-{fonts}-1.npz"
    if not path.exists():
        write_whole(path, [_draw_all(SETS[fonts])])
    with np.load(path) as stored:
        images, files, codes = stored["images"], stored["fonts"], stored["codes"]
    return Drawn(images, tuple(files.tolist()), tuple(codes.tolist()), hashlib.sha256(images.tobytes()).hexdigest())


def _draw_all(chosen: FontSet) -> bytes:
    files = {path.stem: path for path in sorted(chosen.folder().rglob("*.[ot]tf"))}
    wanted = [font for fonts in chosen.splits.values() for font in fonts]
    missing = [font for font in wanted if font not in files]
    if missing:
        raise MissingError("vision/glyphs", f"the font {missing[0]} is not installed", chosen.install)
    images, present = zip(*(_draw(files[font]) for font in wanted), strict=True)
    everywhere = np.logical_and.reduce(present)
    file = io.BytesIO()
    codes = np.array(list(names()))[everywhere]
    np.savez(file, images=np.stack(images)[:, everywhere], fonts=np.array(wanted), codes=codes)
    return file.getvalue()


def _draw(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Every letter of `names` in one font, ``(letters, 28, 28)``, and whether the font has it."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise MissingError("vision/glyphs", "letters are drawn by Pillow", "pip install pillow") from error
    font = ImageFont.truetype(str(path), EM)
    lacking = font.getmask(chr(UNASSIGNED))
    images, present = [], []
    for code in names():
        canvas = Image.new("L", (PIXELS, PIXELS))
        ImageDraw.Draw(canvas).text((PIXELS / 2, BASELINE), chr(code), font=font, fill=255, anchor="ms")
        mask = font.getmask(chr(code))
        images.append(np.asarray(canvas))
        present.append(mask.getbbox() is not None and (mask.size, bytes(mask)) != (lacking.size, bytes(lacking)))
    return np.stack(images), np.array(present)

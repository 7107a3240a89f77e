"""Letters and their Unicode names: real pairs of an image and a text, without a download.

The image is a letter drawn in one of several fonts, 28x28; the text is the official name of its code point, such as
``LATIN SMALL LETTER A WITH ACUTE``. Names are compositional (script, case, letter, mark), so that some *combinations*
of letter and mark can be held out although every part of them is seen.

*Held out by combination.* A combination is script, letter and mark; both its cases are held out together, or the
capital would give the small letter away. One may be held out only if at least two others with its letter and two with
its mark are left for training. A fixed hash of it decides where it goes.

*Held out by font.* Whole families, not styles: fonts of one family look alike. The fonts of validation and of test are
drawn by other hands than those of training.

*Floor.* Some letters of different scripts are drawn alike, and some marks differ by a pixel: part of the error is
irreducible, for every objective alike. Which part one reaches still differs, hence a free floor.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import StudyError
from isoloss.tasks import task
from isoloss.tasks.base import Expected, Floor, Task
from isoloss.tasks.vision.fonts import PIXELS, SETS, drawn, names
from isoloss.tasks.vision.images import Images, Split

Words = NDArray[np.int64]

#: Of a hundred combinations that may be held out, so many are for validation, and so many for test.
HELD_OUT = 25


@task(
    "vision/glyphs",
    version=1,
    summary="letters in many fonts with their Unicode names; zero-shot error on held-out combinations and fonts",
    year=2021,
    source="Unicode names (Python's unicodedata); protocol: Radford et al. 2021 (CLIP), arXiv 2103.00020, section 3.1",
)
class Glyphs(Task):
    """Find a letter's name among all names of its split, whose pairs of letter and mark were never seen.

    The ladder resource is ``examples``: pairs seen, repeats included. An epoch shows every training name once, in a
    font drawn for it, so a batch holds a name twice only across the border of two epochs. The unit of independent noise
    is the seed: initial weights, order and fonts.
    """

    quality = "zero-shot error"
    unit = "fraction wrong"
    direction = "lower"
    floor = Floor("free")
    noise_unit = "seed"
    example = "pair"
    trivial_quality = 0.98
    resources = ("examples",)
    expected = Expected(0.058, {"examples": 0.33}, "by results/clip")

    class Options(Task.Options):
        """`fonts`: those of the Debian packages, or those that come with matplotlib, fewer and of two families.

        `held_out`: what zero-shot quality is measured on: held-out ``combinations`` in the fonts of training,
        training's names in held-out ``fonts``, or ``both`` held out. `digest`: SHA-256 of the drawn images, filled in
        where left out.
        """

        fonts: Literal["debian", "matplotlib"] = "debian"
        held_out: Literal["combinations", "fonts", "both"] = "both"
        digest: str | None = None

    options: Glyphs.Options

    def prepare(self) -> None:
        """Draw the letters, the first time. Raises `MissingError` with the command that installs the fonts, and
        `StudyError` where the options name the digest of other drawings."""
        found, wanted = drawn(self.options.fonts).digest, self.options.digest
        if wanted not in (None, found):
            what = f"is {wanted[:12]}..., but the letters drawn here have {found[:12]}..."
            raise StudyError("task.options.digest", what, "leave it out, or install the fonts that it was drawn from")

    def pinned(self) -> Glyphs.Options:
        """The options with the digest of the drawn images."""
        return self.options.model_copy(update={"digest": drawn(self.options.fonts).digest})

    def facts(self) -> dict[str, Any]:
        """Names and fonts of each split, different training pairs, words, and the digest."""
        fonts = SETS[self.options.fonts].splits
        counts = {split: len(codes) for split, codes in splits(self.options.fonts).items()}
        return {
            **{f"{split}_names": count for split, count in counts.items()},
            **{f"{split}_fonts": ", ".join(styles) for split, styles in fonts.items()},
            "unique_examples": counts["train"] * len(fonts["train"]),
            "words": len(self.words),
            "digest": drawn(self.options.fonts).digest,
        }

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary: "" for the end of a caption, then every word of the training names, sorted."""
        return _words(self.options.fonts)

    def captions(self, split: Split) -> Words:
        """The names of `split`, ``(names, longest + 1)``: places in `words`, zeros after the end."""
        place = {word: i for i, word in enumerate(self.words)}
        said = [names()[code].split(" ") for code in splits(self.options.fonts)[split]]
        longest = max(len(name.split(" ")) for name in names().values())
        return np.array([[place[word] for word in name] + [0] * (longest + 1 - len(name)) for name in said])

    def drawings(self, split: Split, fonts: Split) -> Images:
        """The names of `split` in the fonts of another, ``(fonts, names, 28, 28)`` in [0, 1]."""
        whole = drawn(self.options.fonts)
        rows = [whole.fonts.index(font) for font in SETS[self.options.fonts].splits[fonts]]
        columns = [whole.codes.index(code) for code in splits(self.options.fonts)[split]]
        return whole.images[np.ix_(rows, columns)].astype(np.float32) / np.float32(255)

    def evaluation(self, split: Split) -> tuple[Images, Words, Words]:
        """Images ``(n, 28, 28)`` of `split`, the candidate captions ``(names, longest + 1)``, and which each image is.

        Candidates are the names that are measured: those of the split, or training's where only fonts are held out.
        """
        which = self.options.held_out
        named: Split = "train" if which == "fonts" else split
        images = self.drawings(named, "train" if which == "combinations" else split)
        return (
            images.reshape(-1, PIXELS, PIXELS),
            self.captions(named),
            np.tile(np.arange(images.shape[1]), len(images)),
        )


def combination(name: str) -> tuple[str, str]:
    """The letter with its script, whatever its case, and the mark (empty for none).

    >>> combination("LATIN SMALL LETTER A WITH ACUTE")
    ('LATIN A', 'ACUTE')
    """
    letter, _, mark = name.partition(" WITH ")
    script, _, _, *rest = letter.split(" ")
    return " ".join((script, *rest)), mark


@functools.cache
def splits(fonts: str) -> dict[str, tuple[int, ...]]:
    """Split -> its code points, ascending, of the letters that every font of the set has."""
    of = {code: combination(names()[code]) for code in drawn(fonts).codes}
    every = sorted(set(of.values()), key=_hash)  # an order that has nothing to do with the alphabet
    letters, marks = Counter(letter for letter, _ in every), Counter(mark for _, mark in every)
    where = dict.fromkeys(every, "train")
    for letter, mark in every:
        chance = _hash((letter, mark))
        if mark and letters[letter] > 2 and marks[mark] > 2 and chance % 100 < 2 * HELD_OUT:
            where[letter, mark] = "validation" if chance % 2 else "test"
            letters[letter] -= 1
            marks[mark] -= 1
    return {split: tuple(code for code in of if where[of[code]] == split) for split in SETS[fonts].splits}


def _hash(pair: tuple[str, str]) -> int:
    return int.from_bytes(hashlib.sha256("|".join(pair).encode()).digest()[:8], "big")


@functools.cache
def _words(fonts: str) -> tuple[str, ...]:
    return ("", *sorted({word for code in splits(fonts)["train"] for word in names()[code].split(" ")}))

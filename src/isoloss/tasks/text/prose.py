"""Paragraphs of English prose out of documentation: HTML pages, POD manuals, dictionaries.

A page is cut wherever a block-level tag (or an empty line) says so; what reads like prose is kept. The rule is of the
paragraph and not of the site: navigation, tables of symbols and code fall out on their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

SHORTEST = 80  # characters of a paragraph
PROSE = 0.92  # least share of letters, spaces and the commonest marks
ENGLISH = 0.12  # least share of words that are among the commonest English ones
_COMMON_WORDS = (
    "a all an and are as at be but by can each for from has have if in into is it its may more must no not of on one "
    "only or other same set should so such than that the their then there these they this to use used was when where "
    "which will with would you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_MARKS = str.maketrans("", "", " .,;:'\"()-’“”")
_WORD = re.compile(r"[a-z]+")

#: Tags that don't end a paragraph.
_INLINE_TAGS = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark q s samp small span strike "
    "strong sub sup time tt u var wbr"
)
_INLINE = frozenset(_INLINE_TAGS.split())
#: Tags whose content is never prose.
_SKIPPED = frozenset(("head", "nav", "pre", "script", "style", "svg", "template", "textarea", "title"))


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph is long enough, mostly words, and English.

    >>> is_prose("The quick brown fox jumps over the lazy dog, and then it does so again for all that we know of it.")
    True
    >>> is_prose("static inline int foo(struct bar *b) { return b->x + b->y * 42; } /* and so on until the end */ {}")
    False
    """
    if len(paragraph) < SHORTEST:
        return False
    rest = paragraph.translate(_MARKS)
    if sum(map(str.isalpha, rest)) + len(paragraph) - len(rest) < PROSE * len(paragraph):
        return False
    words = _WORD.findall(paragraph.lower())
    return sum(word in _COMMON for word in words) >= ENGLISH * len(words) > 0


def paragraphs_of_html(text: str) -> Iterator[str]:
    """Prose paragraphs of an HTML page, white space folded."""
    page = _Page()
    page.feed(text)
    page.close()
    page.end_paragraph()
    yield from filter(is_prose, page.paragraphs)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[str] = []
        self._words: list[str] = []
        self._skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping.append(tag)
        if tag == "body":
            self._skipping.clear()  # a head that was never closed
        if tag not in _INLINE:
            self.end_paragraph()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._skipping:
            del self._skipping[self._skipping.index(tag) :]
        if tag not in _INLINE:
            self.end_paragraph()

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._words.append(data)

    def end_paragraph(self) -> None:
        """What was gathered so far is a paragraph."""
        text = " ".join("".join(self._words).split())
        self._words.clear()
        if text:
            self.paragraphs.append(text)


def paragraphs_of_text(text: str) -> Iterator[str]:
    """Prose paragraphs of plain text: runs of lines between empty ones, white space folded."""
    for part in re.split(r"\n\s*\n", text):
        paragraph = " ".join(part.split())
        if is_prose(paragraph):
            yield paragraph


_POD_CODE = re.compile(r"[A-Z]<[^<>]*>")


def paragraphs_of_pod(text: str) -> Iterator[str]:
    """Prose paragraphs of Perl's POD: neither commands (``=head1``) nor verbatim (indented) ones; codes are opened.

    >>> list(paragraphs_of_pod("=head1 NAME\\n\\n" + "This is the I<only> text of C<a> manual that says it. " * 2))
    ['This is the only text of a manual that says it. This is the only text of a manual that says it.']
    """
    for part in re.split(r"\n\s*\n", text):
        if part[:1] in ("=", " ", "\t", "\n"):
            continue
        while (opened := _POD_CODE.sub(_opened, part)) != part:
            part = opened
        paragraph = " ".join(part.split())
        if is_prose(paragraph):
            yield paragraph


def _opened(code: re.Match[str]) -> str:
    # L<text|target> reads as its text, E<lt> as nothing that prose needs
    if code[0].startswith("E<"):
        return ""
    return code[0][2:-1].split("|")[0]

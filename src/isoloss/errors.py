"""The few exceptions that isoloss raises at its border.

Each carries one line that a person can act on: where the fault is, what it is, and what to do about it.
The command line prints exactly that line and exits with code 2. Anything else that escapes is a bug.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

#: Characters of the longest message; of a longer one the middle is left out.
LONGEST = 1000
#: User and password of a URL, however mistyped: all up to the last `@` of what starts as one of PostgreSQL's. Bounded
#: so that a long text costs no more than its length: schemes are short.
_CREDENTIALS = re.compile(
    r"(?i)\b(?:(postgres[\w+]{0,20}:/{0,2}+)PLACES\S*@|([a-z][a-z0-9+.-]{0,30}:/{1,2}+)PLACES[^\s/@:]*:[^\s/]*@)"
    # what our own messages say of the form of a URL
    .replace("PLACES", "(?-i:(?!USER(?::PASSWORD)?@))")
)
_WORD = re.compile(r"\S+")


def printable(text: str, longest: int = LONGEST) -> str:
    """`text` in one line that any terminal shows as it is: folded, control and invisible characters as escapes.

    A stranger's name may hold terminal codes, marks that turn the direction of writing, or a megabyte.

    >>> printable("a\\x1b[2Jb\\n c\\u202e")
    'a\\\\x1b[2Jb c\\\\u202e'
    """
    if len(text) > 8 * longest:  # escapes make it longer, never shorter: the rest would be cut all the same
        text = text[: 4 * longest] + text[-4 * longest :]
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(line) > longest:
        line = f"{line[: longest * 2 // 3]} ... {line[-(longest // 3 - 5) :]}"
    return line


def without_credentials(text: str) -> str:
    """`text` without the user and the password of any URL in it, also where they stand in the wrong place.

    >>> without_credentials("unknown study 'postgresql://ada:s3/cr@t@db.example/runs'")
    "unknown study 'postgresql://...@db.example/runs'"
    >>> without_credentials("give postgresql://USER:PASSWORD@HOST/NAME, not http:/USER:s3cret@host")
    'give postgresql://USER:PASSWORD@HOST/NAME, not http:/...@host'
    """
    return _WORD.sub(_hidden, text)


def _hidden(word: re.Match[str]) -> str:
    # only up to the last @: behind it, and in words without one, every start would look for one in vain to the end
    before, at, after = word[0].rpartition("@")
    return _CREDENTIALS.sub(lambda found: f"{found[1] or found[2]}...@", before + at) + after


class IsolossError(Exception):
    """A fault of input or surroundings, said in one line: ``where: what; remedy``.

    `where` names the file, table, field or URL at fault; `remedy` says what to do next. What a stranger's file put
    into either is folded, escaped and shortened, so the message always stays one line (see `printable`).
    """

    def __init__(self, where: object, what: str, remedy: str = "") -> None:
        self.where, self.what, self.remedy = map(without_credentials, (str(where), what, remedy))
        line = f"{self.where}: {self.what}" + (f"; {self.remedy}" if remedy else "")
        super().__init__(printable(line))

    def __reduce__(self) -> tuple[Any, ...]:
        # the default rebuilds from the one line, which __init__ can't take; a worker process must be able to send it
        return _rebuild, (type(self), self.__dict__, self.args)


def _rebuild(cls: type[IsolossError], state: dict[str, Any], arguments: tuple[Any, ...]) -> IsolossError:
    error = cls.__new__(cls)
    error.args = arguments
    error.__dict__.update(state)
    return error


@contextmanager
def located(path: object) -> Iterator[None]:
    """Faults of a table that were found in its numbers name the file too: ``arm 'a'`` becomes ``runs.csv: arm 'a'``."""
    try:
        yield
    except TableError as error:
        if error.where.startswith(("--", str(path))):
            raise
        raise TableError(f"{path}: {error.where}", error.what, error.remedy) from None


class StudyError(IsolossError):
    """A study file that can't be read or asks for something impossible."""


def and_more(faults: int) -> str:
    """What follows the first of so many faults, the only one that a line has room for.

    >>> and_more(1), and_more(2), and_more(3)
    ('', ' (and 1 more fault)', ' (and 2 more faults)')
    """
    return "" if faults < 2 else f" (and {faults - 1} more fault{'s' if faults > 2 else ''})"


class TableError(IsolossError):
    """A run table (CSV, Parquet, ledger) that can't be read or can't support what was asked of it."""


class LedgerError(IsolossError):
    """The run database can't be opened, read or written."""


class MissingError(IsolossError):
    """An optional package or a dataset that is needed is not installed; the remedy is the command to install it."""


class UnknownNameError(IsolossError):
    """A name that no registry holds; suggests the nearest ones, and what else may be the matter (`hint`)."""

    def __init__(self, where: object, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        short = name if len(name) <= 80 else name[:77] + "..."
        remedy = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
        super().__init__(where, f"unknown {kind} '{short}'", f"{remedy} {hint}".strip())

"""The verb figure: any figure of a report as a file for a paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from isoloss.errors import IsolossError, StudyError

if TYPE_CHECKING:
    from isoloss.gains.analysis import StudyResult
    from isoloss.report.catalogue import Entry


def figures(source: str | os.PathLike[str], *, ledger: str | None = None) -> list[Entry]:
    """The figures that `source` has: a study file (read through its ledger), a report folder or its result.json."""
    from isoloss.report.catalogue import catalogue

    return catalogue(_result(Path(source), ledger))


def figure(
    source: str | os.PathLike[str],
    name: str = "gain",
    out: str | os.PathLike[str] | None = None,
    *,
    comparison: int = 1,
    index: Literal["old", "new"] = "old",
    arm: str | None = None,
    choice: str | None = None,
    width: str = "single",
    font: str | None = None,
    mode: Literal["light", "dark"] = "light",
    ledger: str | None = None,
) -> Path:
    """Write one figure of `source` as PDF, SVG or PNG, by the ending of `out` (``NAME.pdf``); the file's path.

    The definition is the page's; `width` is that of the whole figure (`isoloss.report.figures.paper.width_inches`).
    Raises `StudyError` or `UnknownNameError` naming the flag at fault.
    """
    from isoloss.report.catalogue import find_figure
    from isoloss.report.figures.paper import FORMATS, width_inches, written

    path = Path(out) if out is not None else Path(f"{name}.pdf")
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise StudyError(f"--out {path}", "is no kind of figure", f"end it in {', '.join('.' + f for f in FORMATS)}")
    for flag, value, known in (("--index", index, ("old", "new")), ("--mode", mode, ("light", "dark"))):
        if value not in known:
            raise StudyError(f"{flag} {value}", "unknown", f"known: {', '.join(known)}")
    inches = width_inches(width)
    result = _result(Path(source), ledger)
    found = find_figure(result, name, comparison=comparison, index=index, arm=arm, choice=choice)
    drawn = written(found, kind, inches, mode, font)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn)
    except OSError as error:
        raise IsolossError(path, f"can't be written ({error.strerror})", "see --out") from error
    return path


def _result(source: Path, ledger: str | None) -> StudyResult:
    from isoloss.report.stored import read_result

    if source.suffix.lower() != ".toml":
        return read_result(source)
    from isoloss.ledger.store import Ledger
    from isoloss.verbs.studies import ledger_url, open_study, result_of

    opened = open_study(source)
    store = Ledger(ledger_url(ledger), create=False)
    try:
        return result_of(opened, store, {})
    finally:
        store.close()

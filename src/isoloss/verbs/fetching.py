"""The verbs that bring runs here: fetch (public tables) and import (anybody's runs as one plain table)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoloss.errors import IsolossError

if TYPE_CHECKING:
    from isoloss.evidence.fetch import Fetched


def fetch(name: str, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Fetched:
    """The public run table `name` on this machine: from ``$ISOLOSS_DATA`` or the user's cache, else from GitHub.

    Every file's SHA-256 is checked. Raises `MissingError` in one line (see `isoloss.evidence.fetch.fetch`).
    """
    from isoloss.evidence import fetch as evidence

    return evidence.fetch(name, progress=progress)


def fetchable() -> list[dict[str, Any]]:
    """What `fetch` knows: name, title, licence, paper, origin and number of files of each table."""
    from isoloss.evidence.fetch import public_tables

    return [
        {
            "name": t.name,
            "title": t.title,
            "about": t.about,
            "licence": t.licence,
            "paper": t.paper,
            "origin": f"github.com/{t.repo} @ {t.commit}",
            "files": len(t.checksums),
            "derived": sorted(t.derived),
        }
        for t in public_tables().values()
    ]


def fetched_json(found: Fetched) -> dict[str, Any]:
    """The answer of ``isoloss fetch NAME --json``."""
    t = found.table
    return {
        "name": t.name,
        "folder": str(found.folder),
        "files": sorted([*found.cached, *found.downloaded]),
        "downloaded": len(found.downloaded),
        "absent": {file: t.derived[file] for file in found.absent},
        "title": t.title,
        "about": t.about,
        "licence": t.licence,
        "paper": t.paper,
        "origin": f"github.com/{t.repo} @ {t.commit}",
        "columns": {file: dict(roles) for file, roles in t.columns.items()},
    }


def import_runs(
    runs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    where: Sequence[str] = (),
    curves: Literal["end", "all"] | None = None,
    arm_column: str | None = None,
    resource: str | None = None,
    quality: str | None = None,
) -> dict[str, Any]:
    """Write anybody's runs (a table, JSON lines, a folder of curves or of a tracker) to one CSV or Parquet table.

    `where` keeps the rows that meet every ``column=value``; `curves` reduces logged points to each run's ``end`` or
    keeps ``all``; the column names are as in `gain`, and needed only to tell the runs of a table of logged
    points apart. Returns the path, the counts, the columns and the notes. Raises `TableError` in one line.
    """
    from isoloss.gains.result import to_json
    from isoloss.ledger.conditions import where as rows_where
    from isoloss.ledger.external import read_runs
    from isoloss.ledger.importers import load

    source, target = Path(runs), Path(out)
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise IsolossError("--out", f"'{target.name}' is neither .csv nor .parquet", "give it one of these endings")
    if target.exists() and source.exists() and target.samefile(source):
        raise IsolossError("--out", f"'{target.name}' is the table that is read", "name another file")
    imported = load(source, curves or "end", chosen=where)
    frame, notes = imported.frame, imported.notes
    if curves == "end" and imported.key is None:
        told = {"arm": arm_column, "resource": resource, "quality": quality}
        table = read_runs(source, where=where, curves=curves, arms=(), **told)
        frame, notes = table.frame, table.notes
    elif where:
        frame = frame.filter(rows_where(frame, source, where))
    try:
        frame.write_csv(target) if target.suffix.lower() == ".csv" else frame.write_parquet(target)
    except OSError as error:
        raise IsolossError(target, f"can't be written ({error.strerror or error})", "name another --out") from None
    return {"out": str(target), "rows": frame.height, "columns": frame.columns, "notes": to_json(notes)}

"""The verb ``reproduce``: third-party tables, what was published about them beside what we get."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import MissingError

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.reproduce.table import Reproduction


def reproduce(name: str, *, table: str | os.PathLike[str] | None = None) -> Reproduction:
    """Fit or measure the public table `name` and set every published number beside ours.

    `table` is the folder of its files, or one file in it; by default the folder into which `isoloss fetch` brings it.
    The same files give the same numbers. Raises `UnknownNameError` for an unknown name and `MissingError`, naming the
    command that fetches it, for a table that is not there.
    """
    from isoloss.evidence.fetch import cache_folder, public_tables
    from isoloss.reproduce.registry import find_reproduction

    entry = find_reproduction(name)
    if table is not None:
        folder = Path(table)
        folder = folder.parent if folder.is_file() else folder
    else:
        folder = cache_folder() / public_tables()[entry.tables[0]].folder
    if not folder.is_dir():
        commands = " and ".join(f"`isoloss fetch {t}`" for t in entry.tables)
        raise MissingError(folder, "is not there", f"bring the table with {commands}, or name its folder with --table")
    return entry.run(folder)


def reproducible() -> list[dict[str, Any]]:
    """What `reproduce` knows: name, title, paper and the tables it reads."""
    from isoloss.reproduce.registry import REPRODUCTIONS
    from isoloss.reproduce.table import published

    return [
        {
            "name": e.name,
            "title": published(e.name)["title"],
            "paper": published(e.name)["paper"],
            "tables": list(e.tables),
        }
        for e in REPRODUCTIONS.values()
    ]


def reproduction_json(found: Reproduction) -> dict[str, Any]:
    """The answer of ``isoloss reproduce NAME --json``."""
    from isoloss.gains.result import to_json

    answer: dict[str, Any] = to_json(found)
    return answer

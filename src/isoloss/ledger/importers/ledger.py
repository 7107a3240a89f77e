"""Runs of a study out of a ledger: those on fresh seeds, unless its trials are asked for."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from isoloss.errors import TableError
from isoloss.ledger.connection import is_sealed, shown_name
from isoloss.ledger.importers import choices
from isoloss.ledger.run_frame import run_frame
from isoloss.ledger.store import Ledger

_SERVER = re.compile(r"^(postgres(?:ql)?(?:\+psycopg)?):/+")


def is_server(path: Path) -> bool:
    """Whether `path` is the URL of a PostgreSQL ledger, of which a path keeps one slash."""
    return _SERVER.match(str(path)) is not None


def shown(path: Path) -> Path:
    """`path` as anybody may read it: of a server, without who and with what word."""
    return Path(shown_name(_url(path))) if is_server(path) else path


def _url(path: Path) -> str:
    return _SERVER.sub(r"\1://", str(path))


def read(path: Path, chosen: Sequence[str]) -> tuple[pl.DataFrame, dict[str, str]]:
    """The run table of one study in the ledger at `path`, and which column plays which role.

    ``study=NAME`` (or the first digits of its id) in `chosen` says which study, where there are several. A run that
    diverged has the quality inf, one that failed is left out. Runs that chose the settings are left out too, unless a
    condition is about their ``purpose``; then the settings are columns. Raises `TableError`, `LedgerError`.
    """
    if not is_server(path):
        _refuse_others(path)
    ledger = Ledger(_url(path), create=False)
    try:
        filed = _study(ledger, chosen)
        purpose = None if any(c.startswith("purpose=") for c in chosen) else "report"
        name, study_id = filed["name"], filed["study_id"]
        frame = ledger.database.read(lambda db: run_frame(db, study_id, name, purpose))
    finally:
        ledger.close()
    if (frame["status"] == "failed").any():
        frame = frame.filter(pl.col("status") != "failed")
    if frame.is_empty():
        what = "no finished run" if purpose is None else "no finished run on fresh seeds"
        raise TableError(
            f"{ledger.name}: study '{name}'", f"has {what}", "run it to its end first, or see isoloss status"
        )
    frame = choices.spread(frame) if purpose is None else frame.drop("choices")
    missed = pl.col("status") == "diverged"
    frame = frame.with_columns(pl.when(missed).then(float("inf")).otherwise(pl.col(q)).alias(q) for q in _QUALITIES)
    frame = frame.with_columns(pl.lit(study_id).alias("study_id"))
    empty = [c for c in frame.columns if frame[c].null_count() == frame.height]
    return frame.drop(empty), _roles(filed["text"], purpose)


_QUALITIES = ("validation", "test")


def _refuse_others(path: Path) -> None:
    # looked at without a trace: opening a ledger changes how its file is written
    try:
        asked = "mode=ro&immutable=1" if is_sealed(path) else "mode=ro"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{asked}", uri=True)) as db:
            db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    except sqlite3.Error as error:
        what = f"is an SQLite database that can't be read as a ledger ({error})"
        raise TableError(path, what, "export its runs to CSV first; of a damaged ledger see isoloss rescue") from None


def _study(ledger: Ledger, chosen: Sequence[str]) -> dict[str, Any]:
    filed = ledger.studies()
    wanted = [c.partition("=")[2] for c in chosen if c.startswith(("study=", "study_id="))]
    found = [f for f in filed if not wanted or any(f["name"] == w or f["study_id"] == w for w in wanted)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(dict.fromkeys(f["name"] for f in filed[:12])) + (", ..." if len(filed) > 12 else "")
    if not filed:
        raise TableError(ledger.name, "holds no study yet", "isoloss run STUDY")
    if not found:
        raise TableError("--where", f"{ledger.name} has no study '{wanted[0][:60]}'", f"it holds {names}")
    same = len({f["name"] for f in found}) == 1
    remedy = f"--where study_id={found[0]['study_id']} (the last opened)" if same else f"--where study=NAME, of {names}"
    raise TableError(ledger.name, f"holds {len(found)} studies" + (" of that name" if same else ""), remedy)


def _roles(text: str, purpose: str | None) -> dict[str, str]:
    quality = "test" if purpose == "report" else "validation"
    known = {"arm": "arm", "seed": "seed", "rung": "rung", "cluster": "cluster", "run_id": "run_id"}
    resource = tomllib.loads(text)["ladder"]["resource"]
    return {**known, "quality": quality, "resource": str(resource)}

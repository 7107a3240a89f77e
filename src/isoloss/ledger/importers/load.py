"""Which importer reads a path: decided by what is there (magic bytes, first character, files in a folder)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic
from isoloss.ledger.importers import choices, curves, jsonlines, ledger, mlflow, table, tensorboard, wandb
from isoloss.ledger.importers.finished import drop_unfinished

_EVENTS = "events.out.tfevents"
_READS = "CSV, TSV, Parquet, Arrow, JSON lines, a ledger; a folder of curve CSVs, W&B, MLflow or TensorBoard runs"


@dataclass(frozen=True, eq=False)
class Imported:
    """A frame of runs, what it was read from (`kind`), and what was left out or assumed on the way (`notes`).

    `rows` numbers each row of the frame by its place in the file, from 1; `kind` is one of csv, parquet, arrow, json,
    curves, wandb, mlflow, tensorboard, ledger. `key` names the column that tells runs apart where a row is a logged
    point; `roles` the columns of the roles that are known and need no guess.
    """

    frame: pl.DataFrame
    rows: pl.Series
    kind: str
    notes: tuple[Diagnostic, ...] = ()
    key: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


def load(path: Path, points: str = "end", chosen: Sequence[str] = ()) -> Imported:
    """The runs at `path`, a file or a folder; `points` is ``end`` (a row a run) or ``all`` (a row a logged point).

    Runs that a tracker calls crashed, failed, killed or still running are left out, with a note, unless a condition in
    `chosen` (``column=value``) is about that very column. `points` matters where the path holds curves (a folder of
    curve CSVs, TensorBoard); a file of logged rows is the caller's to reduce. Raises `TableError` for a path that is
    missing, empty, corrupt or of no known kind, and `MissingError` where a format needs a package that is absent.
    """
    if ledger.is_server(path):
        return _of_ledger(path, chosen)
    if not path.exists():
        raise TableError(path, "no such file", "check the path")
    kind = _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    if kind == "ledger":
        return _of_ledger(path, chosen)
    key, notes = None, []
    if kind == "json":
        frame = jsonlines.read(path)
    elif kind == "curves":
        frame, empty = curves.read(path, points)
        key, notes = "run", [] if empty is None else [empty]
    elif kind == "wandb":
        frame = wandb.read(path)
    elif kind == "mlflow":
        frame = mlflow.read(path)
    elif kind == "tensorboard":
        frame, key = tensorboard.read(path, points), "run"
    else:
        frame = choices.spread(table.read(path, kind))
    if frame.is_empty():
        raise TableError(path, "the table is empty", "a run table has a header and one row a run")
    rows = pl.int_range(1, frame.height + 1, eager=True, dtype=pl.UInt32)
    keep, note = drop_unfinished(path, frame, chosen)
    if note is not None:
        frame, rows = frame.filter(keep), rows.filter(keep)
        notes.append(note)
    return Imported(frame, rows, kind, tuple(notes), key)


def _of_ledger(path: Path, chosen: Sequence[str]) -> Imported:
    frame, roles = ledger.read(path, chosen)
    rows = pl.int_range(1, frame.height + 1, eager=True, dtype=pl.UInt32)
    return Imported(frame, rows, "ledger", roles=roles)


def _kind_of_file(path: Path) -> str:
    if path.name.startswith(_EVENTS):
        return "tensorboard"
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise TableError(path, f"can't be read ({error.strerror})", "check its permissions") from None
    if head.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        return "parquet"
    if head.startswith(b"ARROW1") or path.suffix.lower() in (".arrow", ".feather", ".ipc"):
        return "arrow"
    if head.startswith(b":W&B"):
        return "wandb"
    if head.startswith(b"SQLite format 3"):
        return "ledger"
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return "json" if first in (b"{", b"[") else "csv"


def _kind_of_folder(path: Path) -> str:
    found: set[str] = set()
    for _, folders, files in os.walk(path):
        folders.sort()
        names = set(files)
        if any(f.startswith(_EVENTS) for f in files):
            found.add("tensorboard")
        if "wandb-summary.json" in names or any(f.endswith(".wandb") for f in files):
            found.add("wandb")
        if "meta.yaml" in names and {"metrics", "params"} & set(folders):
            found.add("mlflow")
            folders.clear()
        elif any(f.lower().endswith((".csv", ".tsv")) for f in files):
            found.add("curves")
        if {"wandb", "mlflow"} & found:
            break
    for kind in ("wandb", "mlflow", "tensorboard", "curves"):
        if kind in found:
            return kind
    raise TableError(path, "is a folder that holds no runs of a known kind", f"readable: {_READS}")

"""What can still be read of a damaged ledger file, checked row by row and written to a new ledger."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from isoloss.errors import LedgerError
from isoloss.ledger import schema
from isoloss.ledger.bundle.merge import Page, member_fault, merge_environments, merge_members, merge_runs, merge_studies
from isoloss.ledger.digest import record_digest
from isoloss.ledger.record_check import DIGESTED, environment_faults, run_faults, study_of
from isoloss.ledger.sqlite_pages import Pages, Row
from isoloss.ledger.status import ENDED, OPEN
from isoloss.ledger.store import Ledger

_RUN = re.compile(r"[0-9a-f]{20}")
_NEW = tuple(c.name for c in schema.runs.columns)
#: The order of columns in a file that was upgraded from version 1.
_UPGRADED = (*(n for n in _NEW[: _NEW.index("seconds") + 1]), "curve", "environment_id", "error", "ended", "digest")
_NUMBERS = frozenset({"price", "ended", "opened", "rung"})
_PAGE = 500


@dataclass(frozen=True)
class Rescued:
    """How much of a ledger was saved: `runs` of the `known` run ids that occur anywhere in the file, `ended` of them
    with a record whose digest holds; `refused` rows looked like runs and fail their checks."""

    runs: int
    known: int
    ended: int
    refused: int
    studies: int
    members: int
    backup: str
    out: str


def rescue(ledger: Path, out: Path, told: Callable[[str], None] = lambda said: None) -> Rescued:
    """Copy the damaged SQLite file aside (``NAME.damaged``), read what can be read, write it to the new ledger `out`.

    A record is taken only where its digest holds, a run that waits where its id is the hash of its spec. Raises
    `LedgerError` where there is nothing to read, where `out` is there, or where no run is left.
    """
    if not ledger.is_file():
        raise LedgerError(ledger, "no such file", "name the damaged ledger's file")
    if out.exists():
        raise LedgerError(out, "is there already", "name a new file with --out")
    backup = _back_up(ledger)
    told(f"copied to {backup}; reading its pages")
    pages = Pages(ledger)
    found = _Found()
    for row in pages.rows():
        found.take(row)
    for row in pages.index_rows():
        if row and isinstance(row[0], str) and _RUN.fullmatch(row[0]):
            found.ids.add(row[0])
    runs, refused = found.runs()
    if not runs:
        raise LedgerError(ledger, "holds no run that can be read", f"its copy is {backup}; is there an older one?")
    told(f"{len(runs):,} of {len(found.ids):,} runs can be read; writing {out}")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    store = Ledger(str(part))
    try:
        members = _write(store, found, runs)
    finally:
        store.close()
        for name in ("-wal", "-shm"):
            with suppress(OSError):
                part.with_name(part.name + name).unlink()
    os.replace(part, out)
    ended = sum(row["status"] in ENDED for row, _ in runs.values())
    return Rescued(len(runs), len(found.ids), ended, refused, len(found.studies), members, str(backup), str(out))


def _back_up(ledger: Path) -> Path:
    taken = (ledger.with_name(f"{ledger.name}.damaged{k}") for k in ("", *(f"-{i}" for i in range(2, 1000))))
    backup = next(path for path in taken if not path.exists())
    copies = {ledger.with_name(ledger.name + end): backup.with_name(backup.name + end) for end in ("", "-wal")}
    try:
        for source, copy in copies.items():
            if source.exists():
                shutil.copy2(source, copy)
    except OSError as error:
        for copy in copies.values():
            with suppress(OSError):
                copy.unlink()
        raise LedgerError(
            backup, f"the copy can't be made ({error.strerror})", "free space, or copy the ledger where there is some"
        ) from None
    return backup


class _Found:
    """Rows by their table, told apart by the number and kind of their columns."""

    def __init__(self) -> None:
        self.studies: dict[str, dict[str, Any]] = {}
        self.environments: dict[str, str] = {}
        self.members: list[dict[str, Any]] = []
        self.ids: set[str] = set()
        self._notes: dict[str, dict[int, str]] = {}
        self._rows: list[Row] = []
        self._read: dict[str, Any] = {}

    def take(self, row: Row) -> None:
        """Keep `row` where it may be one of ours."""
        if len(row) in (len(_NEW), len(_NEW) - 1) and _is(row, (str, str, str)):
            self.ids.add(row[0])
            self._rows.append(row)
        elif len(row) == len(schema.members.columns) and _is(row, (str, str, str, int, int)):
            self.ids.add(row[2])
            self.members.append(_named(schema.members, row))
        elif len(row) == len(schema.studies.columns) and _is(row, (str, str, str, str)):
            study = _named(schema.studies, row)
            read = study_of(study["study_id"], study["name"], study["text"])
            if read is not None and isinstance(study["opened"], float):
                self._read[study["study_id"]] = read
                self.studies[study["study_id"]] = study
        elif len(row) == 3 and _is(row, (str, int, str)):
            self._notes.setdefault(row[0], {})[row[1]] = row[2]
        elif len(row) == 2 and _is(row, (str, str)) and not environment_faults(row[0], row[1]):
            self.environments[row[0]] = row[1]

    def runs(self) -> tuple[dict[str, tuple[dict[str, Any], list[str]]], int]:
        """run id -> the best row of it that passes every check and its notes; how many ids have none."""
        good: dict[str, tuple[dict[str, Any], list[str]]] = {}
        seen = set()
        for row in self._rows:
            seen.add(row[0])
            for columns in (_NEW, _UPGRADED):
                run = _floats(dict(zip(columns, [*row, None][: len(columns)], strict=True)))
                noted = self._notes.get(row[0], {})
                notes = [noted[k] for k in sorted(noted)] if run["status"] in ENDED else []
                if run["status"] in OPEN:
                    run |= {"status": "queued"}
                if not self._holds(run, notes):
                    continue
                if run["environment_id"] not in (None, *self.environments):
                    run, notes = _without_environment(run, notes)
                if row[0] not in good or good[row[0]][0]["status"] in OPEN:
                    good[row[0]] = (run, notes)
                break
        return good, len(seen - good.keys())

    def _holds(self, run: Mapping[str, Any], notes: list[str]) -> bool:
        try:
            return not run_faults(run, notes)
        except (TypeError, AttributeError):  # a value of another kind than its column's
            return False

    def places(self, run_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Members of runs and studies that were saved, each once."""
        held, ids = {}, set(run_ids)
        for row in self.members:
            with suppress(TypeError, AttributeError):
                if not member_fault(row, self._read, ids):
                    held[row["study_id"], row["arm"], row["run_id"]] = row
        return list(held.values())


def _without_environment(run: dict[str, Any], notes: list[str]) -> tuple[dict[str, Any], list[str]]:
    """A record whose digest held, but whose environment is lost: the rest of it, a note of that, and a new digest."""
    notes = [*notes, f"its environment {run['environment_id']} was lost in a damaged ledger"]
    run = run | {"environment_id": None}
    return run | {"digest": record_digest(**{k: run[k] for k in DIGESTED}, notes=notes)}, notes


def _write(store: Ledger, found: _Found, runs: Mapping[str, tuple[dict[str, Any], list[str]]]) -> int:
    database, studies = store.database, list(found.studies.values())
    environments = [{"environment_id": i, "data": data} for i, data in found.environments.items()]
    database.write(partial(merge_environments, page=environments))
    names = [c.name for c in schema.studies.columns if c.name != "path"]
    database.write(partial(merge_studies, page=[{k: s[k] for k in names} for s in studies]))
    kept = [{k: v for k, v in row.items() if k not in ("owner", "attempts")} for row, _ in runs.values()]
    for page in _split(sorted(kept, key=lambda row: str(row["run_id"]))):
        notes = {row["run_id"]: runs[row["run_id"]][1] for row in page}
        database.write(partial(merge_runs, page=Page(page, notes)))
    members = found.places(runs)
    for page in _split(members):
        bare = [{k: v for k, v in row.items() if k not in ("status", "price")} for row in page]
        database.write(partial(merge_members, page=bare))
    return len(members)


def _split(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for at in range(0, len(rows), _PAGE):
        yield rows[at : at + _PAGE]


def _is(row: Row, kinds: tuple[type, ...]) -> bool:
    fits = all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=False))
    return fits and (len(row) not in (3, len(_NEW), len(_NEW) - 1) or bool(_RUN.fullmatch(row[0])))


def _named(table: Any, row: Row) -> dict[str, Any]:
    return _floats(dict(zip((c.name for c in table.columns), row, strict=True)))


def _floats(row: dict[str, Any]) -> dict[str, Any]:
    """SQLite stores a whole number as an integer in a column of floats too."""
    return {k: float(v) if k in _NUMBERS and isinstance(v, int) else v for k, v in row.items()}

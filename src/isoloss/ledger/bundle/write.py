"""A ledger, or some of its studies, written as a bundle: a page of runs at a time, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem
from sqlalchemy import Connection, func, select

from isoloss import __version__
from isoloss.errors import IsolossError, LedgerError
from isoloss.ledger import schema
from isoloss.ledger.bundle.layout import FORMAT, MANIFEST, ROWS, SCHEMAS, VERSION, file_of
from isoloss.ledger.connection import Database
from isoloss.ledger.record_check import digest_holds
from isoloss.ledger.status import ENDED, OPEN


@dataclass(frozen=True)
class Written:
    """The `rows` of each table of a bundle, and ids of its runs that were `altered`: import will refuse it."""

    rows: dict[str, int]
    altered: tuple[str, ...]


def write(
    database: Database,
    out: Path,
    studies: Collection[str] | None = None,
    told: Callable[[int, int], None] = lambda done, whole: None,
) -> Written:
    """Write the bundle `out`: everything, or the `studies` (ids) with their runs.

    `told` gets how many runs of how many are written. Raises `IsolossError` where `out` is there or can't be written.
    """
    if out.exists() or out.is_symlink():
        raise IsolossError(out, "is there already", "name another --out, or remove it")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        with database.reading() as db:
            written = _write(db, part, studies, told)
        _manifest(part, written.rows)
        os.rename(part, out)
    except (pa.ArrowException, TypeError):  # values of another kind than their column's, which SQLite keeps
        remedy = f"isoloss verify {database.name} names it"
        raise LedgerError(database.name, "holds a record that no bundle can hold", remedy) from None
    except OSError as error:
        raise IsolossError(out, f"can't be written ({error.strerror or error})", "free space, or see --out") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(part)
    return written


def _write(db: Connection, folder: Path, studies: Collection[str] | None, told: Callable[[int, int], None]) -> Written:
    s, e = schema.studies, schema.environments
    rows, altered = dict.fromkeys(SCHEMAS, 0), list[str]()
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(
                pq.ParquetWriter(
                    str(folder / file_of(table)),
                    columns,
                    filesystem=LocalFileSystem(),  # left to guess, it takes a folder `a:b` for a URI
                    compression="zstd",
                    use_dictionary=False,
                    write_statistics=False,
                )
            )
            for table, columns in SCHEMAS.items()
        }

        def put(table: str, found: list[dict[str, Any]]) -> None:
            rows[table] += len(found)
            if found:
                writers[table].write_table(pa.Table.from_pylist(found, schema=SCHEMAS[table]))

        filed = [dict(r) for r in db.execute(select(s).order_by(s.c.study_id)).mappings()]
        for study in filed:
            if studies is None or study["study_id"] in studies:
                put("studies", [study])
        environments: set[str] = set()
        for runs, notes, members in pages(db, studies, told):
            altered += _altered(runs, notes)
            for run in runs:  # who works on it is a matter of this ledger
                run["status"] = "queued" if run["status"] in OPEN else run["status"]
            put("runs", runs)
            put("notes", notes)
            put("members", members)
            environments |= {run["environment_id"] for run in runs if run["environment_id"]}
        for one in sorted(environments):
            put("environments", [dict(r) for r in db.execute(select(e).where(e.c.environment_id == one)).mappings()])
    return Written(rows, tuple(altered))


def _altered(runs: list[dict[str, Any]], notes: list[dict[str, Any]]) -> list[str]:
    said: dict[str, list[str]] = {}
    for note in notes:
        said.setdefault(note["run_id"], []).append(note["text"])
    ended = [run for run in runs if run["status"] in ENDED]
    return [run["run_id"] for run in ended if not digest_holds(run, said.get(run["run_id"], ()))]


def pages(
    db: Connection, studies: Collection[str] | None, told: Callable[[int, int], None]
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]]:
    """All runs, or those of `studies`, in the order of their ids, a page at a time, with their notes and members."""
    r, n, m = schema.runs, schema.notes, schema.members
    wanted = select(*(r.c[name] for name in SCHEMAS["runs"].names)).order_by(r.c.run_id).limit(ROWS)
    count = select(func.count()).select_from(r)
    mine = select(m)
    if studies is not None:
        those = r.c.run_id.in_(select(m.c.run_id).where(m.c.study_id.in_(sorted(studies))))
        wanted, count, mine = wanted.where(those), count.where(those), mine.where(m.c.study_id.in_(sorted(studies)))
    whole, done = int(db.scalar(count) or 0), 0
    page = [dict(row) for row in db.execute(wanted).mappings()]
    while page:
        ids = [run["run_id"] for run in page]
        notes = [dict(row) for row in db.execute(select(n).where(n.c.run_id.in_(ids))).mappings()]
        members = [dict(row) for row in db.execute(mine.where(m.c.run_id.in_(ids))).mappings()]
        # sorted here: databases differ in how they order text
        notes.sort(key=lambda row: (row["run_id"], row["position"]))
        members.sort(key=lambda row: (row["run_id"], row["study_id"], row["arm"]))
        yield page, notes, members
        done += len(page)
        told(done, whole)
        page = [dict(row) for row in db.execute(wanted.where(r.c.run_id > ids[-1])).mappings()]


def _manifest(folder: Path, rows: dict[str, int]) -> None:
    files = {}
    for table in SCHEMAS:
        path = folder / file_of(table)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.name] = {"rows": rows[table], "bytes": path.stat().st_size, "sha256": digest}
    said = {
        "format": FORMAT,
        "version": VERSION,
        "isoloss": __version__,
        "schema": schema.SCHEMA_VERSION,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")

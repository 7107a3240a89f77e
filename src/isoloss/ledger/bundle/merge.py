"""A bundle taken into a ledger. Any order of taking in the same bundles, once or twice, gives the same ledger.

Of two records of one run the better status stays (finished, diverged, dropped, failed), of equal ones that which ended
first, then that of the smaller digest: a total order, so the record that stays is that of the whole set, whoever came
first. A run that waits gives way to any record. Of one study the text that was opened last stays, of one member the
earliest place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update

from isoloss.ledger import schema
from isoloss.ledger.bundle.read import Bundle, BundleError
from isoloss.ledger.claims import insert_new
from isoloss.ledger.connection import Database
from isoloss.ledger.record_check import environment_faults, run_faults, study_of
from isoloss.ledger.status import ENDED, NO_RECORD, OPEN, move_each

_PLACE = ("round", "position", "rung", "purpose")


@dataclass
class Merged:
    """What a bundle brought: counts of runs, and of unequal records the `conflicts`: run id, what stayed, and
    whether the qualities agree or differ."""

    new: int = 0
    ended: int = 0
    known: int = 0
    studies: int = 0
    conflicts: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """Runs in the order of their ids, and the notes of each."""

    runs: list[dict[str, Any]]
    notes: dict[str, list[str]]


def faults(bundle: Bundle, told: Callable[[int, int], None] = lambda done, whole: None) -> Iterator[dict[str, str]]:
    """What is wrong with the bundle's rows: ``kind`` and ``id`` of the row, ``fault``. Nothing: it may be taken in."""
    studies: dict[str, Any] = {}
    for row in _each(bundle, "studies"):
        study = study_of(row["study_id"], row["name"], row["text"])
        if study is None:
            yield _fault("study", row["study_id"], "its text is not that of the study it is filed as")
        studies[row["study_id"]] = study
    environments = set()
    for row in _each(bundle, "environments"):
        environments.add(row["environment_id"])
        for said in environment_faults(row["environment_id"], row["data"]):
            yield _fault("environment", row["environment_id"], said)
    before, done = "", 0
    ids: set[str] = set()
    for page in _run_pages(bundle):
        for row in page.runs:
            if row["run_id"] <= before:
                yield _fault("run", row["run_id"], "stands twice or out of order")
            before = row["run_id"]
            ids.add(before)
            if row["status"] == "running":
                yield _fault("run", row["run_id"], "is being trained, which none in a bundle is")
            for said in run_faults(row, page.notes.get(row["run_id"], [])):
                yield _fault("run", row["run_id"], said)
            if row["environment_id"] is not None and row["environment_id"] not in environments:
                yield _fault("run", row["run_id"], f"its environment {row['environment_id'][:40]} is missing")
        done += len(page.runs)
        told(done, bundle.rows["runs"])
    for row in _each(bundle, "members"):
        said = member_fault(row, studies, ids)
        if said:
            yield _fault("member", row["run_id"], said)


def merge(database: Database, bundle: Bundle, told: Callable[[int, int], None] = lambda done, whole: None) -> Merged:
    """Take `bundle`, in which `faults` found nothing, into the ledger: a page of runs a transaction.

    Broken off and begun again it goes on: what is there is passed over. `told` gets how many runs are in.
    """
    merged, done = Merged(), 0
    for page in bundle.pages("environments"):
        database.write(partial(merge_environments, page=page))
    for page in bundle.pages("studies"):
        merged.studies += database.write(partial(merge_studies, page=page))
    for runs in _run_pages(bundle):
        found = database.write(partial(merge_runs, page=runs))
        merged.new, merged.ended = merged.new + found.new, merged.ended + found.ended
        merged.known += found.known
        merged.conflicts += found.conflicts
        done += len(runs.runs)
        told(done, bundle.rows["runs"])
    for page in bundle.pages("members"):
        database.write(partial(merge_members, page=page))
    return merged


def merge_environments(db: Connection, page: list[dict[str, Any]]) -> None:
    """File environments that are not there; one of an id is as good as another."""
    if page:
        db.execute(insert_new(db, schema.environments), page)


def merge_studies(db: Connection, page: Iterable[Mapping[str, Any]]) -> int:
    """File studies that are not there; how many."""
    s, new = schema.studies, 0
    for row in page:
        held = db.execute(select(s.c.opened, s.c.text).where(s.c.study_id == row["study_id"])).first()
        if held is None:
            # where the file lay elsewhere means nothing here, and a stranger's path is not opened
            db.execute(insert_new(db, s).values(**row, path=f"{row['name']}.toml"))
            new += 1
        elif (row["opened"], row["text"]) > (held.opened, held.text):
            told = {"opened": row["opened"], "text": row["text"]}
            db.execute(update(s).where(s.c.study_id == row["study_id"]).values(**told))
    return new


def merge_runs(db: Connection, page: Page) -> Merged:
    """Take runs in by the rule above."""
    r, n, merged = schema.runs, schema.notes, Merged()
    of = select(r.c.run_id, r.c.status, r.c.ended, r.c.digest, r.c.price, r.c.qualities)
    of = of.where(r.c.run_id.in_([row["run_id"] for row in page.runs])).order_by(r.c.run_id).with_for_update()
    held = {row.run_id: row for row in db.execute(of)}
    new, better, dearer = [], {}, []
    for row in page.runs:
        here = held.get(row["run_id"])
        if here is None:
            new.append({**row, "attempts": 0})
            continue
        if row["price"] > here.price:
            dearer.append(row)
        if row["status"] in OPEN or row["digest"] == here.digest:
            merged.known += 1
        elif here.status in OPEN:
            better[row["run_id"]] = row
        else:
            wins = _rank(row) < _rank(here._asdict())
            stayed = "the bundle's record replaced this ledger's" if wins else "this ledger's record stayed"
            agree = "agree" if row["qualities"] == here.qualities else "differ"
            merged.conflicts.append({"run_id": row["run_id"], "stayed": stayed, "qualities": agree})
            if wins:
                better[row["run_id"]] = row
    if new:
        db.execute(insert_new(db, r), new)
    if better:
        record = ("status", *NO_RECORD)
        db.execute(n.delete().where(n.c.run_id.in_(sorted(better))))
        move_each(db, {i: {**{k: row[k] for k in record}, "owner": None} for i, row in better.items()})
    for row in dearer:
        db.execute(update(r).where(r.c.run_id == row["run_id"]).values(price=row["price"]))
        m = schema.members
        mine = update(m).where(m.c.run_id == row["run_id"], m.c.price.is_not(None))
        db.execute(mine.values(price=row["price"]))
    fresh = {row["run_id"] for row in new} | better.keys()
    notes = [
        {"run_id": i, "position": k, "text": text}
        for i in sorted(fresh)
        for k, text in enumerate(page.notes.get(i, []))
    ]
    if notes:
        db.execute(insert_new(db, n), notes)
    merged.new, merged.ended = len(new), sum(row["status"] in ENDED for row in new) + len(better)
    return merged


def _rank(row: Mapping[str, Any]) -> tuple[int, float, str]:
    return ENDED.index(row["status"]), row["ended"], row["digest"]


def merge_members(db: Connection, page: Iterable[Mapping[str, Any]]) -> None:
    """Make runs that are there members of studies that are there."""
    page = list(page)
    if not page:
        return
    m, r = schema.members, schema.runs
    ids = sorted({row["run_id"] for row in page})
    of = select(r.c.run_id, r.c.status, r.c.price).where(r.c.run_id.in_(ids)).order_by(r.c.run_id)
    runs = {row.run_id: row for row in db.execute(of.with_for_update(read=True))}
    there = [dict(row) for row in db.execute(select(m).where(m.c.run_id.in_(ids))).mappings()]
    held = {_key(row): row for row in there}
    wanted = {key: dict(row) for key, row in held.items()}
    for row in page:
        one = wanted.setdefault(_key(row), dict(row))
        if _place(row) < _place(one):
            one.update({k: row[k] for k in _PLACE})
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in wanted.values():
        groups.setdefault((row["study_id"], row["run_id"]), []).append(row)
    for rows in groups.values():
        rows.sort(key=lambda row: (row["position"], row["arm"]))
        for at, row in enumerate(rows):  # where two arms of a study have one run, the first has its price
            run = runs[row["run_id"]]
            row |= {"status": run.status, "price": run.price if at == 0 else None}
    new = [row for key, row in wanted.items() if key not in held]
    if new:
        db.execute(insert_new(db, m), new)
    for key, row in held.items():
        if wanted[key] != row:
            mine = (m.c.study_id == key[0], m.c.arm == key[1], m.c.run_id == key[2])
            db.execute(update(m).where(*mine).values({k: wanted[key][k] for k in (*_PLACE, "price")}))


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["study_id"], row["arm"], row["run_id"]


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[k] for k in _PLACE)


def member_fault(row: Mapping[str, Any], studies: Mapping[str, Any], ids: set[str]) -> str:
    """What is wrong with a member, given the studies (by id, as read) and run ids that there are; empty if nothing."""
    study = studies.get(row["study_id"])
    if row["run_id"] not in ids:
        return "its run is missing"
    if study is None:
        return f"its study {row['study_id'][:40]} is missing"
    if (
        row["arm"] not in study.arms
        or row["rung"] not in study.ladder.rungs
        or row["purpose"] not in ("tune", "report")
    ):
        return f"is no run of the study '{study.name}'"
    return (
        "" if min(row["position"], row["round"]) >= 0 and max(row["position"], row["round"]) < 2**31 else "has no place"
    )


def _fault(kind: str, of: str, said: str) -> dict[str, str]:
    return {"kind": kind, "id": of[:80], "fault": said}


def _each(bundle: Bundle, table: str) -> Iterator[dict[str, Any]]:
    for page in bundle.pages(table):
        yield from page


def _run_pages(bundle: Bundle) -> Iterator[Page]:
    """Pages of runs, each with the notes of its runs: both tables lie in the order of run ids."""
    notes = _each(bundle, "notes")
    note = next(notes, None)
    for runs in bundle.pages("runs"):
        found: dict[str, list[str]] = {}
        last = runs[-1]["run_id"] if runs else ""
        while note is not None and note["run_id"] <= last:
            mine = found.setdefault(note["run_id"], [])
            if note["position"] != len(mine):
                raise BundleError(bundle.path / "notes.parquet", f"the notes of {note['run_id'][:40]} are out of order")
            mine.append(note["text"])
            note = next(notes, None)
        yield Page(runs, found)
    if note is not None:
        raise BundleError(bundle.path / "notes.parquet", f"has notes of {note['run_id'][:40]}, which is no run of it")

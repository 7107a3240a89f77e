"""The verbs over whole ledgers: export, import of bundles, verify, rescue, prune."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isoloss.cache import cache_folder
from isoloss.errors import LedgerError, UnknownNameError, and_more
from isoloss.verbs.studies import ledger_url

Told = Callable[[str, int, int], None]


def _silent(what: str, done: int, whole: int) -> None:
    pass


def export_bundle(
    out: str | os.PathLike[str], studies: Sequence[str] = (), *, ledger: str | None = None, told: Told = _silent
) -> dict[str, Any]:
    """Write the ledger, or the `studies` of it (names, ids or files) with their runs, to the bundle `out`.

    A bundle is a folder of Parquet files and a manifest with the SHA-256 of each; `import_bundles` takes it into any
    other ledger. Returns its path, the rows of each table, and ``altered``, ids of runs whose records don't match their
    digest: import refuses a bundle of such. `told(what, done, whole)` is called as it goes.
    """
    from isoloss.ledger import bundle
    from isoloss.ledger.store import Ledger

    store = Ledger(ledger_url(ledger), create=False)
    try:
        wanted = _ids(store, studies) if studies else None
        done = bundle.write(store.database, Path(out), wanted, lambda done, whole: told("writing runs", done, whole))
    finally:
        store.close()
    return {"bundle": str(out), "ledger": store.name, "rows": done.rows, "altered": list(done.altered)}


def import_bundles(
    bundles: Sequence[str | os.PathLike[str]], *, ledger: str | None = None, told: Told = _silent
) -> list[dict[str, Any]]:
    """Take `bundles` into the ledger, in any order; taken in twice, a bundle changes nothing the second time.

    All of them are checked whole before anything is written. Of each: runs that are new, runs that got a record, runs
    that were known, and `conflicts`, run ids of which there are two records, whether their qualities agree, and which
    one stayed (see `isoloss.ledger.bundle.merge`). Raises `BundleError` that names what is wrong.
    """
    from isoloss.ledger import bundle
    from isoloss.ledger.bundle.merge import faults
    from isoloss.ledger.bundle.read import BundleError
    from isoloss.ledger.store import Ledger

    opened = [bundle.Bundle(Path(b), lambda d, w: told("checking files", d, w)) for b in bundles]
    for one in opened:
        found = list(faults(one, lambda d, w: told("checking runs", d, w)))
        if found:
            more = and_more(len(found))
            said = f"{found[0]['kind']} {found[0]['id']}: {found[0]['fault']}{more}"
            raise BundleError(one.path, said, f"nothing was taken in; all of them: isoloss verify {one.path}")
    store = Ledger(ledger_url(ledger))
    try:
        merged = [bundle.merge(store.database, b, lambda d, w: told("taking in runs", d, w)) for b in opened]
    finally:
        store.close()
    return [
        {
            "bundle": str(b.path), "ledger": store.name, "rows": b.rows, "new": m.new, "records": m.ended,
            "known": m.known, "studies": m.studies, "conflicts": m.conflicts,
        }
        for b, m in zip(opened, merged, strict=True)
    ]  # fmt: skip


def verify(what: str | None = None, *, told: Told = _silent) -> dict[str, Any]:
    """Every altered record of a ledger (a file or URL) or of a bundle: ``faults``, each with kind, id and fault.

    Raises `LedgerError` where a file can't be read as a ledger at all; `rescue` then saves what is left.
    """
    from isoloss.ledger import bundle
    from isoloss.ledger import verify as ledger_check
    from isoloss.ledger.bundle.merge import faults
    from isoloss.ledger.store import Ledger

    def tell(done: int, whole: int) -> None:
        told("checking runs", done, whole)

    if what is not None and "://" not in what and Path(what).is_dir():
        opened = bundle.Bundle(Path(what))
        return {"name": what, "runs": opened.rows["runs"], "faults": list(faults(opened, tell))}
    from sqlalchemy import func, select

    from isoloss.ledger import schema

    store = Ledger(ledger_url(what), create=False)
    try:
        found = list(ledger_check.faults(store.database, tell))
        counted = select(func.count()).select_from(schema.runs)
        runs = store.database.read(lambda db: int(db.scalar(counted) or 0))
    finally:
        store.close()
    return {"name": store.name, "runs": runs, "faults": found}


def rescue(
    ledger: str | os.PathLike[str], out: str | os.PathLike[str], *, told: Callable[[str], None] = lambda said: None
) -> dict[str, Any]:
    """Save what can be read of a damaged SQLite ledger to the new ledger `out`; a copy of the damaged file is kept.

    Returns how many runs of how many known ones were saved, how many with a record whose digest holds.
    """
    from dataclasses import asdict

    from isoloss.ledger.rescue import rescue as save

    return asdict(save(Path(ledger), Path(out), told))


def prune(
    studies: Sequence[str] = (), *, ledger: str | None = None, cache: Path | None = None, yes: bool = False
) -> dict[str, Any]:
    """What no study needs, and with `yes` its removal: runs without a study, the `studies` named (names, ids or files)
    with runs that no other has, checkpoints of ended runs, old backups. A finished run of a kept study always stays.
    """
    from dataclasses import asdict

    from isoloss.ledger import prune as pruning
    from isoloss.ledger.store import Ledger

    store = Ledger(ledger_url(ledger), create=False)
    try:
        wanted = _ids(store, studies) if studies else []
        found = pruning.waste(store.database, cache or cache_folder(), wanted)
        freed = pruning.remove(store.database, found) if yes and found.removals else None
    finally:
        store.close()
    return {"ledger": store.name, "removals": [asdict(r) for r in found.removals], "removed": yes, "freed": freed}


def _ids(store: Any, wanted: Sequence[str]) -> list[str]:
    """Ids of the studies in the ledger that are named by name, id or file; raises `UnknownNameError`."""
    from isoloss.study import read_study

    filed, found = store.studies(), list[str]()
    for name in wanted:
        asked = read_study(Path(name))[0].study_id if name.endswith(".toml") else name
        mine = [s["study_id"] for s in filed if asked in (s["study_id"], s["name"])]
        if not mine and name.endswith(".toml"):
            raise LedgerError(store.name, f"holds no runs of {name} as it is now", "see isoloss status")
        if not mine:
            raise UnknownNameError(store.name, "study", name, {s["name"] for s in filed})
        found += mine
    return list(dict.fromkeys(found))

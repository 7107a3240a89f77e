"""The verbs that look at a ledger from outside: status, and its repetition until a study is finished."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import StudyError, UnknownNameError
from isoloss.verbs.studies import ledger_url, open_study

if TYPE_CHECKING:
    from isoloss.ledger.pace import Rate
    from isoloss.ledger.progress import Progress
    from isoloss.ledger.store import Ledger


@dataclass(frozen=True)
class Look:
    """A study at one moment, and how fast it goes (None while too few runs have been seen to end)."""

    progress: Progress
    rate: Rate | None


def filed_study(ledger: Ledger, study: str | os.PathLike[str] | None) -> dict[str, Any]:
    """The study of `ledger` that is meant: by its file, its name or the first digits of its id; None: the last opened.

    Raises `StudyError` where the ledger has no runs of it, `UnknownNameError` for a name.
    """
    filed = ledger.studies()
    if study is None:
        if not filed:
            raise StudyError(ledger.name, "holds no study yet", "isoloss run STUDY")
        return filed[0]
    if Path(study).is_file():
        wanted = open_study(study).study.study_id
        found = [f for f in filed if f["study_id"] == wanted]
        if not found:
            raise StudyError(study, f"has no runs in the ledger {ledger.name}", f"isoloss run {study}")
        return found[0]
    name = str(study)
    found = [f for f in filed if f["name"] == name or (len(name) >= 4 and f["study_id"].startswith(name))]
    if not found:
        raise UnknownNameError(ledger.name, "study", name, {f["name"] for f in filed})
    return found[0]


def status(study: str | os.PathLike[str] | None = None, *, ledger: str | None = None) -> list[dict[str, Any]]:
    """Of each study in the ledger: name, path, runs and FLOPs by status, errors, notes. Of the one that `study` names
    also the state, cells by arm and rung, drivers and last failures (`look_json`).
    """
    from isoloss.ledger.store import Ledger

    store = Ledger(ledger_url(ledger), create=False)
    try:
        filed = store.studies() if study is None else [filed_study(store, study)]
        only = None if study is None else filed[0]["study_id"]
        more = {} if study is None else look_json(look(study, ledger=ledger))
        progress, errors, notes = store.progress(only), store.errors(only), store.notes(only)
        return [
            {
                "study": f["name"],
                "study_id": f["study_id"],
                "path": f["path"],
                "opened": f["opened"],
                "runs": {s: n for s, (n, _) in progress.get(f["study_id"], {}).items()},
                "flops": {s: flops for s, (_, flops) in progress.get(f["study_id"], {}).items()},
                "errors": errors.get(f["study_id"], []),
                "notes": notes.get(f["study_id"], []),
                **more,
            }
            for f in filed
        ]
    finally:
        store.close()


def look(study: str | os.PathLike[str] | None = None, *, ledger: str | None = None) -> Look:
    """A study (its file, name or id; None: the last one opened) at this moment."""
    return next(watch(study, ledger=ledger))


def watch(
    study: str | os.PathLike[str] | None = None, *, ledger: str | None = None, every: float = 2.0
) -> Iterator[Look]:
    """Look at a study every `every` seconds until it is finished, through its ledger alone; the last look is of the
    finished study. Raises as `filed_study`, and `LedgerError`."""
    from isoloss.ledger.claims import Vigil
    from isoloss.ledger.pace import Pace
    from isoloss.ledger.progress import progress
    from isoloss.ledger.store import Ledger

    store = Ledger(ledger_url(ledger), create=False)
    try:
        filed, vigil, pace = filed_study(store, study), Vigil(), Pace()
        while True:
            found = progress(store, filed["study_id"], filed["name"], vigil)
            yield Look(found, pace.see(found, time.monotonic()))
            if found.state == "finished":
                return
            time.sleep(every)
    finally:
        store.close()


def look_json(look: Look) -> dict[str, Any]:
    """A look in JSON's own types."""
    from isoloss.ledger.progress import progress_json

    return progress_json(look.progress) | {"rate": None if look.rate is None else asdict(look.rate)}

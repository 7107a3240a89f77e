"""How far a study is, read from its ledger alone: by arm and rung, who works on it, what failed last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from isoloss.ledger import schema
from isoloss.ledger.claims import Vigil
from isoloss.ledger.status import ENDED, OPEN
from isoloss.ledger.store import Ledger

#: Failures that are told, the latest first.
TOLD = 5

State = Literal["empty", "running", "stopped", "finished"]


@dataclass(frozen=True)
class Count:
    """Runs of one status at one arm and rung, and their price. A run that two arms share is priced once."""

    arm: str
    rung: float
    purpose: str
    status: str
    runs: int
    flops: float


@dataclass(frozen=True)
class Driver:
    """Who claims runs of the study: `machine` and `process` name it, `claims` counts, `alive` as far as is known."""

    machine: str
    process: str
    claims: int
    alive: bool


@dataclass(frozen=True)
class Progress:
    """How far a study is at one moment.

    `drivers` hold claims of it; `awake` says that somebody lives who works on this ledger; `failures`: arm, rung and
    error of the last, one line each.
    """

    study: str
    study_id: str
    counts: tuple[Count, ...]
    drivers: tuple[Driver, ...]
    awake: bool
    failures: tuple[tuple[str, float, str], ...]

    def runs(self, statuses: Iterable[str]) -> int:
        """Members of these statuses."""
        return sum(c.runs for c in self.counts if c.status in tuple(statuses))

    def flops(self, statuses: Iterable[str]) -> float:
        """Price of the runs of these statuses."""
        return sum(c.flops for c in self.counts if c.status in tuple(statuses))

    @property
    def last_round(self) -> bool:
        """Whether the runs on fresh seeds are queued: no round comes after theirs."""
        return any(c.purpose == "report" for c in self.counts)

    @property
    def state(self) -> State:
        """``finished`` once all runs of the last round have ended; ``stopped`` where something is left to do and nobody
        who lives does it."""
        if not self.counts:
            return "empty"
        if self.last_round and not self.runs(OPEN):
            return "finished"
        # between two rounds a driver has no claims
        busy = any(d.alive for d in self.drivers) if self.runs(OPEN) else self.awake
        return "running" if busy else "stopped"


def progress(ledger: Ledger, study_id: str, name: str, vigil: Vigil) -> Progress:
    """How far the study is. `vigil` tells dead drivers from living ones by what it saw before."""
    return ledger.database.read(lambda db: _read(db, study_id, name, vigil))


def _read(db: Connection, study_id: str, name: str, vigil: Vigil) -> Progress:
    m, r, o = schema.members, schema.runs, schema.owners
    mine = m.c.study_id == study_id
    cell = (m.c.arm, m.c.rung, m.c.purpose, m.c.status)
    counts = db.execute(
        select(*cell, func.count(), func.coalesce(func.sum(m.c.price), 0.0))
        .where(mine)
        .group_by(*cell)
        .order_by(m.c.rung, func.min(m.c.position))
    )
    claims = db.execute(
        select(r.c.owner, func.count())
        .join(m, m.c.run_id == r.c.run_id)
        .where(r.c.owner.is_not(None), mine, m.c.status == "running", m.c.price.is_not(None))
        .group_by(r.c.owner)
        .order_by(r.c.owner)
    ).all()
    alive = {owner for owner, beat in db.execute(select(o.c.owner, o.c.beat)) if not vigil.dead(owner, beat)}
    failed = db.execute(
        select(m.c.arm, m.c.rung, r.c.error)
        .join(r, r.c.run_id == m.c.run_id)
        .where(mine, m.c.status == "failed")
        .order_by(r.c.ended.desc(), m.c.position)
        .limit(TOLD)
    )
    return Progress(
        name,
        study_id,
        tuple(Count(arm, rung, purpose, status, n, float(price)) for arm, rung, purpose, status, n, price in counts),
        tuple(_driver(owner, n, owner in alive) for owner, n in claims),
        bool(alive),
        tuple((arm, rung, " ".join(str(error or "no reason given").split())) for arm, rung, error in failed),
    )


def _driver(owner: str, claims: int, alive: bool) -> Driver:
    machine, _, rest = owner.partition("|")
    return Driver(machine, rest.partition("|")[0], claims, alive)


def progress_json(found: Progress) -> dict[str, Any]:
    """`found` in JSON's own types, a cell for each arm and rung."""
    cells: dict[tuple[str, float], dict[str, Any]] = {}
    for c in found.counts:
        cell = cells.setdefault((c.arm, c.rung), {"arm": c.arm, "rung": c.rung, "runs": {}, "flops": {}})
        for what, value in (("runs", c.runs), ("flops", c.flops)):
            cell[what][c.status] = cell[what].get(c.status, 0) + value
    return {
        "study": found.study,
        "study_id": found.study_id,
        "state": found.state,
        "ended": found.runs(ENDED),
        "open": found.runs(OPEN),
        "last_round": found.last_round,
        "cells": list(cells.values()),
        "drivers": [asdict(driver) for driver in found.drivers],
        "failures": [{"arm": arm, "rung": rung, "error": error} for arm, rung, error in found.failures],
    }

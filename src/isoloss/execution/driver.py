"""The driver of rounds: propose, queue, claim, carry out, record, until nothing is left to run."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoloss.errors import LedgerError
from isoloss.execution.checkout import checkout
from isoloss.execution.engine import Ended, Job, RunEngine
from isoloss.execution.packing import Peaks
from isoloss.execution.timing import price_ratio
from isoloss.ledger.store import LEASE, Ledger, new_owner
from isoloss.ledger.table import RunTable
from isoloss.planning.plan import Plan
from isoloss.planning.price import is_off, price_caution
from isoloss.planning.propose import members, propose, unreported
from isoloss.runs import RunSpec
from isoloss.study import Study

#: A run whose worker dies this often is recorded as failed.
ATTEMPTS = 3
#: Jobs in hand for each worker at most, beyond the one that it has.
AHEAD = 64
#: Results that are there within `AT_ONCE` seconds lay ready; at most `LINGER` seconds are waited for more of them.
AT_ONCE, LINGER = 0.001, 0.02


class Observer:
    """Told what happens, to show it; this one shows nothing."""

    def begin(self, study: Study, ledger: Ledger) -> None:
        """The study is about to be driven; `ledger` may be read from another thread."""

    def round(self, plan: Plan, total_flops: float) -> None:
        """A round begins: `plan` holds what is missing, `total_flops` the price of the whole study so far."""

    def ended(self, ended: Ended, price: float) -> None:
        """A run came back."""

    def waiting(self, others: int) -> None:
        """`others` runs are being trained by another driver on this ledger."""

    def notice(self, text: str) -> None:
        """The engine, the ledger or a tracker has something to say, in a line."""


def drive(
    study: Study,
    ledger: Ledger,
    engine: RunEngine,
    plugins: Sequence[Path] = (),
    observer: Observer | None = None,
    folder: Path | None = None,
) -> RunTable:
    """Run every round of `study`; returns the final table. Finished runs are never trained again.

    `folder`: where the study's file lies; the state of its git checkout is recorded with each run.

    Interrupted at any moment (an exception, Ctrl-C, kill -9), nothing finished is lost; claims go back to the queue,
    and what trained for long goes on from its checkpoint the next time.
    """
    observer = observer or Observer()
    observer.begin(study, ledger)
    ledger.database.tell = observer.notice
    owner = new_owner()
    heart = _Heartbeat(ledger, owner)
    recorder = _Recorder(ledger, engine, None if folder is None else checkout(folder))
    peaks = Peaks()
    started, told, mispriced = False, list[str](), set[str]()
    try:
        while True:
            table = ledger.table(study)
            plan = propose(study, table)
            wanted = members(study, table)
            ledger.enqueue(study, wanted)
            if plan.phase in ("reporting", "done"):
                for line in _left_out(study, table):
                    if line not in told:
                        observer.notice(line)
                        told.append(line)
            if not plan.runs:
                return ledger.table(study)
            if not started:
                engine.start(plugins)
                heart.start()
                started = True
            # at first, what other studies left here of the same runs
            peaks.learn_table(table if table.frame.height else ledger.table(study))
            observer.round(plan, sum(r.flops for _, r in wanted))
            _round(study, plan, recorder, owner, observer, peaks, mispriced)
            heart.check()
    finally:
        heart.stop()
        if started:
            _end(recorder, owner)


def _round(
    study: Study,
    plan: Plan,
    recorder: _Recorder,
    owner: str,
    observer: Observer,
    peaks: Peaks,
    mispriced: set[str],
) -> None:
    """One round of `drive`. `mispriced`: arms whose price was said to be wrong, added to."""
    ledger, engine = recorder.ledger, recorder.engine
    prices = {r.spec.run_id: r.flops for r in plan.runs}
    arm_of = {r.spec.run_id: r.arm for r in plan.runs}
    open_ids = set(prices)
    stacks = [frozenset(spec.run_id for spec in stack) for stack in plan.stacks]
    ids_of = {run_id: ids for ids in stacks for run_id in ids}
    stack_of = {spec.run_id: stack for stack in plan.stacks for spec in stack}
    claimed: set[str] = set()
    lost: Counter[str] = Counter()
    running, ahead = 0, 1
    while open_ids:
        # one job beyond the workers, so that none waits while a result is written; more where runs are shorter
        free = engine.slots + ahead - running
        for ids in ledger.claim(study, owner, free, ids_of) if free > 0 else []:
            specs = stack_of[min(ids)]
            engine.submit(Job(specs, tuple(_reference(spec, ledger) for spec in specs), peaks.of(specs)))
            claimed |= ids
            running += 1
        if running == 0:
            open_ids &= ledger.open_runs(study)
            if open_ids:
                observer.waiting(len(open_ids))
                engine.collect(0.5)
            continue
        began = time.monotonic()
        back = engine.collect(1.0)
        # where results lay ready this process is behind: it writes more of them at once, and has more in hand for it
        behind = bool(back) and time.monotonic() - began < AT_ONCE
        ahead = min(2 * ahead, AHEAD * engine.slots) if behind else max(1, ahead // 2)
        while len(back) < min(ahead // 2, running) and (left := began + LINGER - time.monotonic()) > 0:
            back += engine.collect(left)
        for line in engine.notices():
            observer.notice(line)
        running -= len(back)
        done: list[Ended] = []
        for job in back:
            peaks.learn(job)
            mine = [e for e in job if e.spec.run_id in claimed]  # a stack is trained whole, whoever had some of it
            claimed -= {e.spec.run_id for e in mine}
            lost.update(e.spec.run_id for e in mine if e.lost)
            again = {e.spec.run_id for e in mine if e.lost and lost[e.spec.run_id] < ATTEMPTS}
            if again:
                ledger.release(owner, again)
            done += [e for e in mine if e.spec.run_id not in again]
        recorder.record(done)
        for ended in done:
            open_ids.discard(ended.spec.run_id)
            observer.ended(ended, prices.get(ended.spec.run_id, 0.0))
            arm = arm_of.get(ended.spec.run_id)  # None: had before, trained again with its stack
            ratio = None if arm is None else price_ratio(ended.outcome, prices[ended.spec.run_id])
            if arm is not None and ratio is not None and is_off(ratio) and arm not in mispriced:
                observer.notice(price_caution(arm, ratio))
                mispriced.add(arm)


def _left_out(study: Study, table: RunTable) -> list[str]:
    """What is not reported because its tuning failed, an arm a line."""
    return [
        f"{arm}: every tuning trial failed at {', '.join(f'{r:g}' for r in rungs)} {study.ladder.resource}, so it gets "
        "no fresh seeds there; mend what failed and run the study again."
        for arm, rungs in unreported(study, table).items()
    ]


def _reference(spec: RunSpec, ledger: Ledger) -> dict[str, list[float]] | None:
    return None if spec.drop is None else ledger.curve(spec.drop.reference)


def _end(recorder: _Recorder, owner: str) -> None:
    try:
        # what came back since, where the study was stopped
        recorder.record([e for job in recorder.engine.collect(0) for e in job if not e.lost])
    finally:
        recorder.engine.stop()
        recorder.ledger.release(owner)


@dataclass(frozen=True)
class _Recorder:
    """Writes what came back. `study_git`: the state of the checkout that the study's file lies in."""

    ledger: Ledger
    engine: RunEngine
    study_git: Mapping[str, Any] | None

    def record(self, back: Sequence[Ended]) -> None:
        """All of `back` or, where this process dies, nothing of it."""
        if back:
            self.ledger.finish_all([(e.spec.run_id, e.outcome, self._environment(e)) for e in back])
        for ended in back:
            if ended.outcome.status != "failed":  # a failed run is queued again when the study is run again
                self.engine.recorded(ended.spec)

    def _environment(self, ended: Ended) -> dict[str, Any]:
        return {**ended.environment, "git": {**ended.environment.get("git", {}), "study": self.study_git}}


class _Heartbeat:
    """Renews the driver's claims from a thread of its own."""

    def __init__(self, ledger: Ledger, owner: str) -> None:
        self._ledger, self._owner = ledger, owner
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._error: LedgerError | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)  # a beat after the claims are given back would leave the owner's name behind

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def _beat(self) -> None:
        while not self._stop.wait(LEASE / 4):
            try:
                self._ledger.renew(self._owner)
            except LedgerError as error:  # shown by the driver, which will meet the same fault
                self._error = error

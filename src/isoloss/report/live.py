"""What a person sees while a study runs: a table that is redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner

from isoloss.errors import LedgerError, printable
from isoloss.report.words import duration, plural

if TYPE_CHECKING:  # the first thing on the screen waits for no database
    from isoloss.ledger.pace import Rate
    from isoloss.ledger.progress import Progress

#: Seconds between lines where there is no terminal to draw on.
QUIET_SECONDS = 20.0
#: Runs that an estimate of the time left rests on, at least.
FEWEST = 3
#: Seconds between looks at the ledger, at least, and as a multiple of what a look takes: a large one costs little too.
EVERY, SPARING = 0.5, 20.0

PHASES = {
    "tuning": "tuning",
    "widening": "widening sweeps",
    "checking": "checking the law",
    "finalists": "second look",
    "reporting": "fresh seeds",
}


class LiveProgress:
    """An observer of the driver. On a terminal it shows what `isoloss status --watch` shows, read from the ledger.

    Use as a context manager; what it shows goes to `console` (standard error, so that ``--json`` stays clean).
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner = Spinner("dots", "starting")
        self._look: tuple[Progress, Rate | None] | None = None
        self._stop = threading.Event()
        self._phase = self._said = ""
        self._done = self._runs = 0
        self._flops = self._done_flops = 0.0
        self._failures: Counter[str] = Counter()
        self._first = 0.0, 0.0
        self._started = self._last = time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._live.stop()
        self._tell_failures()

    def begin(self, study: Any, ledger: Any) -> None:
        """The ledger is open: look at it now and then, from a thread of its own."""
        if self._console.is_terminal:
            threading.Thread(target=self._watch, args=(study, ledger), name="watch", daemon=True).start()

    def round(self, plan: Any, total_flops: float) -> None:
        """A round begins."""
        self._tell_failures()
        self._phase, self._said = PHASES.get(plan.phase, plan.phase), ""
        self._done, self._runs = 0, len(plan.runs)
        self._flops, self._done_flops = plan.flops, 0.0
        self._last = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"{self._phase}: {plural(self._runs, 'run')}", highlight=False)

    def ended(self, ended: Any, price: float) -> None:
        """A run came back."""
        self._done, self._done_flops, self._said = self._done + 1, self._done_flops + price, ""
        if ended.outcome.error and not self._console.is_terminal:  # the table tells of the last
            said = f"[red]failed[/] {ended.spec.algorithm}: {escape(printable(ended.outcome.error))}"
            self._failures[said] += 1
            if self._failures[said] == 1:
                self._console.print(said, highlight=False, soft_wrap=True)
        for note in ended.outcome.notes:
            self._console.print(f"{ended.spec.algorithm}: {escape(printable(note))}", highlight=False, soft_wrap=True)
        now = time.monotonic()
        if self._done == 1:
            self._first = now, self._done_flops
        if not self._console.is_terminal and now - self._last > QUIET_SECONDS:
            left = self._left(now)
            about = "" if left is None else f", about {duration(max(left, 0.0))} left of this round (estimate by FLOPs)"
            self._console.print(f"{self._phase}: {self._done}/{self._runs} runs{about}", highlight=False)
            self._last = now

    def waiting(self, others: int) -> None:
        """Other drivers on this ledger hold what is left."""
        self._said = f"waiting for {others} runs of another isoloss run"

    def notice(self, line: str) -> None:
        """A line that stays, of the engine, the ledger or a tracker."""
        self._console.print(escape(printable(line)), highlight=False, soft_wrap=True)

    def _left(self, now: float) -> float | None:
        """Seconds left of this round, by the runs that ended after the first, which also bore starting and compiling;
        None while they are too few."""
        since, before = self._first
        flops = self._done_flops - before
        return (now - since) * (self._flops - self._done_flops) / flops if self._done > FEWEST and flops > 0 else None

    def _tell_failures(self) -> None:
        """How often what was said once happened in the round that ended."""
        for said, times in self._failures.items():
            if times > 1:
                self._console.print(f"{said}, {times} times", highlight=False, soft_wrap=True)
        self._failures.clear()

    def _watch(self, study: Any, ledger: Any) -> None:
        from isoloss.ledger.claims import Vigil
        from isoloss.ledger.pace import Pace
        from isoloss.ledger.progress import progress

        vigil, pace, wait = Vigil(), Pace(), 0.0
        while not self._stop.wait(wait):
            began = time.monotonic()
            try:
                found = progress(ledger, study.study_id, study.name, vigil)
            except LedgerError:  # the driver meets the same fault and says it
                return
            now = time.monotonic()
            self._look = found, pace.see(found, now)
            wait = max(EVERY, SPARING * (now - began))

    def _render(self) -> RenderableType:
        from isoloss.report.progress import view

        elapsed = duration(round(time.monotonic() - self._started))
        if self._look is None:
            self._spinner.update(text=f"starting, {elapsed}")
            return self._spinner
        found, rate = self._look
        doing = "analysing, writing the page" if found.state == "finished" else self._said or self._phase
        self._spinner.update(text=f"{doing}, {elapsed}")
        size = self._console.size
        return Group(view(found, rate, size.width, size.height - 2), self._spinner)

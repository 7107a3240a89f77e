"""What a person sees while a study runs: progress bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

#: Seconds between lines where there is no terminal to draw bars on.
QUIET_SECONDS = 20.0

PHASES = {
    "tuning": "tuning",
    "widening": "widening sweeps",
    "checking": "checking the law",
    "finalists": "second look",
    "reporting": "fresh seeds",
}


class LiveProgress:
    """An observer of the driver: a bar a round, weighted by FLOPs so that the time left is honest.

    Use as a context manager; what it shows goes to `console` (standard error, so that ``--json`` stays clean).
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[runs]} runs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            TextColumn("[red]{task.fields[trouble]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._phase = ""
        self._done = self._runs = self._failed = self._diverged = 0
        self._last = 0.0

    def __enter__(self) -> LiveProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def round(self, plan: Any, total_flops: float) -> None:
        """A round begins."""
        self._close()
        self._phase = PHASES.get(plan.phase, plan.phase)
        self._done, self._runs = 0, len(plan.runs)
        self._task = self._progress.add_task(self._phase, total=plan.flops, runs=f"0/{self._runs}", trouble="")
        if not self._console.is_terminal:
            self._console.print(f"{self._phase}: {self._runs} runs", highlight=False)
            self._last = time.monotonic()

    def ended(self, ended: Any, price: float) -> None:
        """A run came back."""
        self._done += 1
        self._failed += ended.outcome.status == "failed"
        self._diverged += ended.outcome.status == "diverged"
        if ended.outcome.error:
            self._console.print(
                f"[red]failed[/] {ended.spec.algorithm}: {escape(ended.outcome.error)}", highlight=False
            )
        for note in ended.outcome.notes:
            self._console.print(f"{ended.spec.algorithm}: {escape(note)}", highlight=False, soft_wrap=True)
        counts = ((self._diverged, "diverged"), (self._failed, "failed"))
        trouble = ", ".join(f"{n} {word}" for n, word in counts if n)
        if self._task is not None:
            self._progress.update(self._task, advance=price, runs=f"{self._done}/{self._runs}", trouble=trouble)
        if not self._console.is_terminal and time.monotonic() - self._last > QUIET_SECONDS:
            self._console.print(f"{self._phase}: {self._done}/{self._runs} runs", highlight=False)
            self._last = time.monotonic()

    def waiting(self, others: int) -> None:
        """Other drivers on this ledger hold what is left."""
        if self._task is not None:
            self._progress.update(self._task, trouble=f"waiting for {others} runs of another isoloss run")

    def notice(self, text: str) -> None:
        """The engine has something to say."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _close(self) -> None:
        if self._task is not None:
            task = next(t for t in self._progress.tasks if t.id == self._task)
            self._progress.update(self._task, completed=task.total, runs=f"{self._runs}/{self._runs}")

"""A study's progress on a terminal: a table by rung and arm that fits it, and the same in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from isoloss.ledger.pace import Rate
from isoloss.ledger.progress import Count, Progress
from isoloss.ledger.status import ENDED, OPEN
from isoloss.report.words import amount, duration, number, plain, plural, tick

#: Columns of the table, and the statuses that each counts; those that are empty everywhere are left out.
COLUMNS = {
    "done": ("finished",),
    "running": ("running",),
    "queued": ("queued",),
    "diverged": ("diverged",),
    "dropped": ("dropped",),
    "failed": ("failed",),
}
ALWAYS = ("done", "running", "queued")
STYLES = {"running": "cyan", "failed": "red", "diverged": "yellow"}
#: Lines of the table that are no cells: its head, and the line that says what is folded.
FRAME = 2


@dataclass(frozen=True)
class Line:
    """A row of the table: one cell, or several folded into one."""

    rung: str
    arm: str
    counts: tuple[Count, ...]

    def runs(self, column: str) -> int:
        """What the row shows in a column."""
        return sum(c.runs for c in self.counts if c.status in COLUMNS[column])

    @property
    def lively(self) -> int:
        """How much there is to see."""
        return 4 * bool(self.runs("failed")) + 2 * bool(self.runs("running")) + bool(self.runs("diverged"))


def lines(counts: Sequence[Count], room: int) -> list[Line]:
    """A row for each rung and arm where `room` rows hold them; else a row a rung, and what is running or failed."""
    by_rung: dict[float, dict[str, list[Count]]] = {}
    for c in counts:
        by_rung.setdefault(c.rung, {}).setdefault(c.arm, []).append(c)
    rungs = sorted(by_rung)
    cells = {r: [Line(tick(r), plain(arm, 40), tuple(held)) for arm, held in by_rung[r].items()] for r in rungs}
    if sum(map(len, cells.values())) <= room:
        return [line for r in rungs for line in cells[r]]
    whole = {
        r: Line(tick(r), plural(len(cells[r]), "arm"), tuple(c for x in cells[r] for c in x.counts)) for r in rungs
    }
    if len(rungs) > room:
        return [Line(plural(len(rungs), "rung"), "all arms", tuple(counts))][:room]
    found: list[Line] = []
    left = room - len(rungs)
    for r in rungs:
        found.append(whole[r])
        shown = sorted((line for line in cells[r] if line.lively), key=lambda line: -line.lively)[:left]
        found += [Line("", f"  {line.arm}", line.counts) for line in shown] if len(cells[r]) > 1 else []
        left -= len(shown) if len(cells[r]) > 1 else 0
    return found


def view(found: Progress, rate: Rate | None, width: int, height: int, said: str = "") -> RenderableType:
    """Everything of a study that fits `width` columns and `height` lines; `said` joins the line on who works."""
    failures = failure_lines(found)[: max(0, min(3, height - 9))]
    head: list[RenderableType] = [_line((plain(found.study), "bold"), f"  {_state(found)}")]
    share = found.flops(ENDED) / max(found.flops((*ENDED, *OPEN)), 1e-9)
    bar = Table.grid(padding=(0, 1, 0, 0))
    bar.add_row(ProgressBar(total=1.0, completed=share, width=max(10, min(width, 80) - 16)), f"{share:.0%} of FLOPs")
    head.append(bar)
    head += [_line(text) for text in (pace_line(found, rate), _who(found, said)) if text]
    rows = lines(found.counts, max(1, height - len(head) - FRAME - len(failures) - bool(failures)))
    shown = [c for c in COLUMNS if c in ALWAYS or any(line.runs(c) for line in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("rung", no_wrap=True)
    table.add_column("arm", no_wrap=True, overflow="ellipsis", max_width=max(8, width - 14 - 10 * len(shown)))
    for column in shown:
        table.add_column(column, justify="right", no_wrap=True)
    for line in rows:
        values = [line.runs(c) for c in shown]
        styles = [STYLES.get(c, "") if n else "dim" for c, n in zip(shown, values, strict=True)]
        numbers = [Text(f"{n:,}" if n else "·", style) for n, style in zip(values, styles, strict=True)]
        table.add_row(line.rung, Text(line.arm), *numbers)
    told = [_line("Failed last:"), *(_line((failure, "red")) for failure in failures)]
    return Group(*head, table, *(told if failures else ()))


def pace_line(found: Progress, rate: Rate | None) -> str:
    """Rate and time left, called the estimate that it is."""
    if not found.runs(OPEN):
        return ""
    if rate is None:
        return "rate: not known before a few runs have ended"
    speed = f"{number(rate.runs_per_minute, 2)} runs/min, {amount(rate.flops_per_second, 'FLOP')}/s"
    then = "" if found.last_round else ", then later rounds"
    return f"{speed}; estimate by FLOPs: {duration(rate.seconds_left)} left{then}"


def progress_line(found: Progress, rate: Rate | None) -> str:
    """The same as a line, where there is no terminal to draw on."""
    parts = [f"{plain(found.study)}: {_state(found)}", pace_line(found, rate), _who(found, "")]
    return "; ".join(part for part in parts if part)


def failure_lines(found: Progress) -> list[str]:
    """The last failures, a line for each arm and error: with the rung of the last."""
    last = {(arm, error): rung for arm, rung, error in reversed(found.failures)}
    return [f"{plain(arm)} {tick(rung)}: {plain(error)}" for (arm, error), rung in reversed(last.items())]


def _state(found: Progress) -> str:
    ended, total = found.runs(ENDED), found.runs((*ENDED, *OPEN))
    failed = found.runs(("failed",))
    count = f"{ended:,} of {plural(total, 'run')}"
    if found.state == "empty":
        return "no run is queued yet"
    if found.state == "finished":
        return f"finished: {count}" + (f", {failed:,} failed (isoloss run tries them again)" if failed else "")
    if found.state == "stopped":
        return f"stopped, nobody works on it: {count} (isoloss run goes on)"
    return f"{'fresh seeds' if found.last_round else 'tuning'}: {count}"


def _who(found: Progress, said: str) -> str:
    alive, gone = [d for d in found.drivers if d.alive], [d for d in found.drivers if not d.alive]
    parts = []
    if alive:
        machines = len({d.machine for d in alive})
        on = "" if machines == 1 else f" on {machines} machines"
        hold = "holds" if len(alive) == 1 else "hold"
        runs = plural(sum(d.claims for d in alive), "run")
        parts.append(f"{plural(len(alive), 'driver')}{on} {hold} {runs}, in training or next in line")
    if gone:
        left = plural(sum(d.claims for d in gone), "run")
        parts.append(f"{plural(len(gone), 'driver')} gone, which held {left}")
    return "; ".join([*parts, said] if said else parts)


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")

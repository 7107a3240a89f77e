"""Plans, status and lists on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from isoloss.errors import printable
from isoloss.ledger.progress import Progress
from isoloss.report.progress import view
from isoloss.report.words import duration, number, times

if TYPE_CHECKING:  # `status` waits for no statistics
    from isoloss.planning.price import PlanSummary

WHOLE = 10**9  # lines of a terminal that scrolls, columns of one that holds any table
WIDE_LIST = 120  # columns of a terminal that has room for sources


def print_plan(plan: PlanSummary, console: Console) -> None:
    """What a study would run and what it can find."""
    console.print(f"[bold]{escape(plan.question)}[/]")
    rungs = ", ".join(number(r) for r in plan.rungs)
    console.print(f"Ladder: {rungs} {plan.resource.replace('_', ' ')}", highlight=False)
    table = Table("round", "runs", "training FLOPs", box=None, pad_edge=False, header_style="bold")
    for r in plan.rounds:
        table.add_row(r.phase, str(r.runs), number(r.flops))
    if plan.rounds:
        console.print(table)
    else:
        console.print("Nothing left to run: the ledger holds every run of this study.")
    arms = Table("arm", "algorithm", "trials a rung", box=None, pad_edge=False, header_style="bold")
    for name, arm in plan.arms.items():
        arms.add_row(escape(name), escape(arm["algorithm"]), str(arm["trials"] or "not tuned"))
    console.print(arms)
    if plan.done_runs:
        console.print(f"{plan.done_runs} runs are in the ledger already and are not trained again.", highlight=False)
    if plan.rounds:
        if plan.minutes is None:
            said = "not known: an algorithm has no run here (leave --no-timing away, give its card a smoke run)"
        else:
            said = f"about {duration(plan.minutes * 60)} with {plan.workers} workers"
        console.print(f"Time: {said}; widening, where a best value lies at an edge, comes on top.", highlight=False)
    smallest = "none" if plan.smallest_gain is None else times(plan.smallest_gain)
    console.print(
        f"Smallest gain it can tell from 1 at one rung (80% power): {smallest}, {escape(plan.smallest_gain_from)}.",
        highlight=False,
    )
    for caution in plan.cautions:
        console.print(f"[yellow]{escape(caution)}[/]", highlight=False)


def print_status(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Each study's runs by status."""
    if not rows:
        console.print("The ledger holds no study yet.")
        return
    kinds = ("finished", "diverged", "dropped", "failed", "running", "queued")
    lines = [
        (printable(row["study"]), row["study_id"][:8], *(str(row["runs"].get(kind, 0)) for kind in kinds))
        for row in rows
    ]
    # a thousand studies as eight cells of many lines take a third of the time of eight thousand cells
    whole = _table(("study", "id", *kinds), [["\n".join(column) for column in zip(*lines, strict=True)]])
    fits = console.measure(whole, options=console.options.update(width=WHOLE)).maximum <= console.width
    console.print(whole if fits else _table(("study", "id", *kinds), lines))
    for row in rows:
        for error in row["errors"]:
            console.print(f"[red]{escape(row['study'])}[/]: {escape(printable(error))}", highlight=False)
        for note in row["notes"]:
            console.print(f"{escape(row['study'])}: {escape(printable(note))}", highlight=False)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def print_look(found: Progress, console: Console) -> None:
    """One study by rung and arm, whole."""
    console.print(view(found, None, console.width, WHOLE))


def _cell(value: object) -> str:
    """A value as a study file spells it; empty for none."""
    return "" if value is None else escape(str(value).lower() if isinstance(value, bool) else str(value))


def print_list(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Rows of `isoloss list` as a table."""
    if not rows:
        console.print("None found.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    wide = console.width >= WIDE_LIST
    columns = [c for c in rows[0] if wide or c != "source"]  # a source is what a narrow terminal can do without
    for column in columns:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for row in ({c: r[c] for c in columns} for r in rows):
        table.add_row(*(_cell(v) for v in row.values()))
    console.print(table)

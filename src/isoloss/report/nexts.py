"""What to run next, on a terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.gains.wording import budget
from isoloss.planning.shop import NextRun
from isoloss.report import words
from isoloss.verbs.nexts import NextReport

_WIDEST = 100


def print_next(report: NextReport, console: Console) -> None:
    """For each comparison: one line an arm and budget, in the order of first purchase; choices; the sentence."""
    for found in report.proposals:
        console.print()
        pair = f"{words.plain(found.candidate, 40)} against {words.plain(found.baseline, 40)}"
        console.print(Text(pair, style="bold"))
        console.print(Text(f"level: {found.level}; trend: {found.trend}", style="dim"))
        cells: dict[tuple[str, float], list[NextRun]] = {}
        for run in found.runs:
            cells.setdefault((run.arm, run.budget), []).append(run)
        if cells:
            console.print(_table(list(cells.values())))
            console.print(
                Text(f"Budgets in {words.plain(report.resource, 40)}, costs in {words.plain(report.cost_in, 40)}.")
            )
        for runs in cells.values():
            said = _choices(runs[0])
            if said:
                console.print(Text(said, style="dim"), width=min(console.width, _WIDEST))
        console.print(Text(found.sentence), width=min(console.width, _WIDEST))


def _table(cells: list[list[NextRun]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("runs", "arm", "at", "seeds", "cost", "teaches about", "shorter by"):
        numeric = name in ("runs", "at", "cost", "shorter by")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for runs in cells:
        table.add_row(*map(Text, _row(runs)))
    return table


def _row(runs: list[NextRun]) -> tuple[str, ...]:
    first = runs[0]
    seeds = [r.seed for r in runs]
    about = list(dict.fromkeys(r.about for r in runs))
    kept = [math.prod(1 - (r.shrinkage or 0.0) for r in runs if r.about == a) for a in about]
    return (
        str(len(runs)),
        words.plain(first.arm, 40),
        budget(first.budget) + (" (new)" if first.new_rung else ""),
        "fresh" if None in seeds else _spans(sorted(s for s in seeds if s is not None)),
        budget(sum(r.cost for r in runs)),
        ", ".join(about),
        "" if first.shrinkage is None else ", ".join(f"{1 - k:.0%}" for k in kept),
    )


def _choices(run: NextRun) -> str:
    """The choices of an arm at a budget in one line, and where they come from; empty where none is known."""
    if not run.choices or run.choices_from is None:
        return ""
    said = ", ".join(f"{words.plain(k, 30)} {words.plain(v, 30)}" for k, v in run.choices.items())
    carried = f" (as at {budget(run.choices_from)})" if run.new_rung else ""
    return f"{words.plain(run.arm, 40)} at {budget(run.budget)}: {said}{carried}"


def _spans(seeds: list[int]) -> str:
    """Seeds as people write them: ``3-5, 8``."""
    out: list[list[int]] = []
    for seed in seeds:
        if out and seed == out[-1][-1] + 1:
            out[-1] = [out[-1][0], seed]
        else:
            out.append([seed])
    return ", ".join("-".join(map(str, dict.fromkeys(ends))) for ends in out)

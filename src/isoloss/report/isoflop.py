"""Compute-optimal exponents on a terminal: the answer, the budgets behind it, the ways side by side, the doubts."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.laws.allocation_line import interval
from isoloss.laws.cross_check import CrossCheck
from isoloss.laws.envelope import EnvelopeFit
from isoloss.laws.isoflop import IsoflopFit
from isoloss.report import words

_WIDEST = 100


def print_isoflop(check: CrossCheck, console: Console) -> None:
    """Everything that `isoloss.api.isoflop` found."""
    n, d = check.fitted.n_line, check.fitted.d_line
    _say(console, f"N* ∝ C^{words.number(n.exponent)} ({_ends(n.interval())}),  D* ∝ C^{words.number(d.exponent)} "
         f"({_ends(d.interval())})", "bold")  # fmt: skip
    if isinstance(check.fitted, IsoflopFit):
        _profiles(check.fitted, console)
    else:
        _crossings(check.fitted, console)
    table = _table("way", "exponent of N", "exponent of D")
    for way in check.ways:
        mark = "*" if way.said else ""
        n_said, d_said = _known(way.n_exponent, way.n_interval), _known(way.d_exponent, way.d_interval)
        table.add_row(way.name + mark, n_said, d_said)
    _show(console, "Side by side, with 95% intervals", table)
    for way in check.ways:
        if way.said:
            _say(console, f"* {way.name}: {words.plain(way.said, 400)}", "dim")
    if check.allocations:
        table = _table("compute", "", "optimum", "decades out")
        for a in check.allocations:
            cells = (words.scientific(a.at, 3), words.number(a.decades_out, 2))
            table.add_row(cells[0], "N*", _known(a.n, a.n_interval), cells[1])
            table.add_row("", "D*", _known(a.d, a.d_interval), "")
        _show(console, "At the budgets asked for, with 95% intervals", table)
    console.print()
    for caution in check.fitted.cautions:
        line = Text()
        line.append("warning ", "yellow")
        line.append(caution.code, "bold")
        line.append(f"  {words.plain(caution.message, 1000)}")
        console.print(line, width=min(console.width, _WIDEST))


def _profiles(fitted: IsoflopFit, console: Console) -> None:
    table = _table("compute", "sizes", "N*", "D*", "loss")
    used = 0
    for p in fitted.profiles:
        budget = words.scientific(p.budget, 3)
        if p.status == "used":
            n_said = _known(p.n, interval(fitted.draws["N"][:, used]))
            table.add_row(budget, str(p.sizes), n_said, words.number(p.d), words.number(p.loss, 4))
            used += 1
        else:
            table.add_row(budget, str(p.sizes), p.status, words.NOTHING, words.NOTHING, style="dim")
    _show(console, f"Budgets ({fitted.shape})", table)
    for p in fitted.left_out:
        _say(console, f"{words.scientific(p.budget, 3)} is left out, {p.status}: {words.plain(p.said, 200)}", "dim")
    noise = fitted.noise
    if noise.source in ("replicates", "residuals"):
        low, high = words.number(min(noise.sd), 2), words.number(max(noise.sd), 2)
        behind = f"{noise.source}, {min(noise.dof):.0f} degrees of freedom"
        _say(console, f"A run's loss scatters by {low if low == high else f'{low} to {high}'} ({behind}).", "dim")


def _crossings(fitted: EnvelopeFit, console: Console) -> None:
    table = _table("compute", "N*", "D*", "loss", "the lead passes from", "to")
    for c in fitted.crossings:
        numbers = (words.scientific(c.budget, 3), words.number(c.n), words.number(c.d), words.number(c.loss, 4))
        table.add_row(*numbers, words.plain(c.runs[0], 30), words.plain(c.runs[1], 30))
    _show(console, "Crossings of the envelope", table)
    if fitted.noise > 0:
        said = (
            f"Runs scatter by {100 * fitted.noise:.2g}% of the loss about their neighbours in size; "
            f"the envelope of the luckiest lies too low by {100 * fitted.curse:.2g}% at most."
        )
        _say(console, said, "dim")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        words_only = name in ("way", "the lead passes from", "to")
        table.add_column(Text(name), justify="left" if words_only else "right", no_wrap=not words_only, overflow="fold")
    return table


def _show(console: Console, title: str, table: Table) -> None:
    console.print()
    _say(console, title, "bold")
    console.print(table)


def _known(value: float, ends: tuple[float, float]) -> str:
    return words.number(value) + ("" if math.isnan(ends[0]) else f" ({_ends(ends)})")


def _ends(ends: tuple[float, float]) -> str:
    low, high = ends
    if math.isnan(low) or math.isnan(high):
        return words.NOTHING
    return f"{words.number(low)} to {words.number(high)}"


def _say(console: Console, said: str, style: str = "") -> None:
    console.print(Text(said, style=style), width=min(console.width, _WIDEST))

"""A fitted law on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isoloss.laws import FittedLaw
from isoloss.report.words import limits, number


def print_law(fitted: FittedLaw, console: Console) -> None:
    """Parameters with 95% intervals, then the facts of the fit."""
    console.print(f"[bold]{escape(fitted.name)}[/]")
    table = Table("parameter", "value", "95% interval", box=None, pad_edge=False, header_style="bold")
    for name, value in fitted.params.items():
        low, high = fitted.interval(name)
        known = low == low and high == high
        table.add_row(escape(name), number(value, 5), limits((low, high), None) if known else "–")
    console.print(table)
    console.print(f"objective {fitted.objective:.6e}")
    for name, value in fitted.diagnostics.items():
        console.print(f"{escape(str(name)).replace('_', ' ')}: {escape(str(value))}")

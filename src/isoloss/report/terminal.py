"""Results on a terminal: the verdict first, then the evidence, then what should make one doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isoloss.gains.analysis import StudyResult
from isoloss.gains.result import Diagnostic, GainCurve
from isoloss.report import tables, words
from isoloss.report.qualities import Quality
from isoloss.report.tables import Sheet

_LEVEL_STYLE = {"gain": "bold green", "loss": "bold red", "none": "bold", "unknown": "bold yellow"}
_SEVERITY_STYLE = {"error": "bold red", "warning": "yellow", "info": "dim"}
_TONE_STYLE = {"measured": "", "chosen": "bold", "more": "yellow", "": ""}
_WIDEST = 100


def print_result(result: StudyResult, console: Console) -> None:
    """A study's whole result: every verdict, then one block a comparison, then what concerns the study as a whole."""
    _say(console, words.plain(result.question, 1000), "bold")
    for curve in result.comparisons:
        _print_verdict(curve, console, result.resource)
    _print_missing(result, console)
    for curve in result.comparisons:
        if len(result.comparisons) > 1:
            console.print()
            console.rule(_text(_pair(curve, result.resource), "bold"), align="left", style="dim")
        _print_evidence(curve, console, Quality.of(result))
        mine = [c for c in result.costs if c.belongs_to(curve)]
        if mine:
            latest = max(c.at for c in mine)
            _print_sheet(tables.cost_table([c for c in mine if c.at == latest]), console)
        _print_diagnostics(curve.diagnostics, console)
    if result.diagnostics:
        console.print()
        _say(console, "The study as a whole", "bold")
        _print_diagnostics(result.diagnostics, console)
    counts = ", ".join(f"{n:,} {words.plain(status)}" for status, n in result.counts.items() if n)
    console.print()
    _say(console, f"Runs: {counts or 'none yet'}.", "dim")


def print_gain(curve: GainCurve, console: Console) -> None:
    """One comparison: verdict, gain per rung in both indexes, laws, floors, slopes, crossover, diagnostics."""
    _print_verdict(curve, console, curve.resource)
    _print_evidence(curve, console, Quality())
    if curve.elsewhere:
        latest = max(c.at for c in curve.elsewhere)
        _print_sheet(tables.cost_table([c for c in curve.elsewhere if c.at == latest]), console)
    _print_diagnostics(curve.diagnostics, console)


def _print_verdict(curve: GainCurve, console: Console, ladder: str) -> None:
    verdict = curve.verdict
    said = Text()
    said.append(words.plain(verdict.sentence, 1000), _LEVEL_STYLE.get(verdict.level, "bold"))
    console.print()
    console.print(said, width=min(console.width, _WIDEST))
    _say(console, f"{_pair(curve, ladder)}; level: {verdict.level}; trend: {verdict.trend}", "dim")


def _print_evidence(curve: GainCurve, console: Console, read: Quality) -> None:
    for index in ("old", "new"):
        _print_sheet(tables.gain_table(curve, index), console, f"Gain {{}} ({index} index)")
    if curve.asked:
        _print_sheet(tables.asked_table(curve), console, "Gain {}")
    if curve.laws:
        _print_sheet(tables.law_table(curve, read), console)
    if curve.floors:
        _print_sheet(tables.floor_table(curve, read), console)
    _print_sheet(tables.slope_table(curve), console)
    for note in tables.slope_notes(curve):
        _say(console, note, "dim")
    console.print()
    _say(console, f"Where the gain is one: {tables.crossover_sentence(curve.crossover, curve.resource)}")


def _print_missing(result: StudyResult, console: Console) -> None:
    missing = [words.plain(m, 600) for m in result.missing]
    if not missing and not result.comparisons:
        missing = ["no comparison could be made"]
    if missing:
        console.print()
        _say(console, "What is missing", "bold yellow")
    for sentence in missing:
        console.print(Padding(_text(f"- {sentence}"), (0, 0, 0, 2)), width=min(console.width, _WIDEST))


def _print_diagnostics(diagnostics: Sequence[Diagnostic], console: Console) -> None:
    order = {"error": 0, "warning": 1, "info": 2}
    if diagnostics:
        console.print()
    ranked = sorted(diagnostics, key=lambda d: order.get(d.severity, 3))
    for severity, group in groupby(ranked, key=lambda d: d.severity):
        for d in group:
            line = Text()
            line.append(f"{severity} ", _SEVERITY_STYLE.get(severity, ""))
            line.append(words.plain(d.code, 60), "bold")
            line.append(f"  {words.plain(d.message, 1000)}")
            console.print(line, width=min(console.width, _WIDEST))


def _print_sheet(sheet: Sheet, console: Console, title: str = "{}") -> None:
    """A table that keeps numbers whole and lets only words wrap."""
    heading = title.format(sheet.title)
    table = Table(
        title=_text(heading[:1].upper() + heading[1:], "bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for name, numeric in zip(sheet.columns, sheet.numeric, strict=True):
        table.add_column(_text(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for k, row in enumerate(sheet.rows):
        table.add_row(*map(_text, row), style=_TONE_STYLE.get(sheet.tone(k), "dim"))
    console.print()
    console.print(table)


def _pair(curve: GainCurve, ladder: str) -> str:
    measure = tables.measure(curve, ladder)
    return f"{words.plain(curve.candidate, 40)} against {words.plain(curve.baseline, 40)}" + (
        f" ({measure})" if measure else ""
    )


def _text(said: str, style: str = "") -> Text:
    """Text that rich never reads as markup."""
    return Text(said, style=style)


def _say(console: Console, said: str, style: str = "") -> None:
    console.print(_text(said, style), width=min(console.width, _WIDEST))

"""Results on a terminal: the verdict first, then the evidence, then what should make one doubt it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isoloss.gains.analysis import Cost, StudyResult
from isoloss.gains.result import Crossover, Diagnostic, GainCurve, GainPoint, Slope
from isoloss.report import words

_LEVEL_STYLE = {"gain": "bold green", "loss": "bold red", "none": "bold", "unknown": "bold yellow"}
_SEVERITY_STYLE = {"error": "bold red", "warning": "yellow", "info": "dim"}


def print_result(result: StudyResult, console: Console) -> None:
    """A study's whole result: one block a comparison, then costs and diagnostics of the study."""
    console.print(f"[bold]{escape(words.plain(result.question, 1000))}[/]")
    for curve in result.comparisons:
        console.print()
        print_gain(curve, console)
        mine = [c for c in result.costs if (c.baseline, c.candidate) == (curve.baseline, curve.candidate)]
        _print_costs(mine, console)
    for sentence in result.missing:
        console.print(f"\n[bold yellow]missing[/] {escape(words.plain(sentence, 500))}")
    if result.diagnostics:
        console.print("\n[bold]The study as a whole[/]")
        _print_diagnostics(result.diagnostics, console)
    counts = ", ".join(f"{n} {status}" for status, n in sorted(result.counts.items(), key=lambda i: -i[1]))
    if counts:
        console.print(f"\nRuns: {counts}.")


def print_gain(curve: GainCurve, console: Console) -> None:
    """One comparison: verdict, gain per rung in both indexes, exponents, floors, slopes, crossover, diagnostics."""
    verdict = curve.verdict
    pair = f"{escape(words.plain(curve.candidate))} against {escape(words.plain(curve.baseline))}"
    style = _LEVEL_STYLE.get(verdict.level, "bold")
    console.print(f"[bold]{pair}[/]: [{style}]{verdict.level}[/], trend {verdict.trend}")
    console.print(escape(verdict.sentence))
    console.print()
    console.print(_gain_table(curve))
    if curve.asked:
        console.print(_points_table("asked for", curve.asked, words.resource_unit(curve.resource)))
    if curve.laws:
        console.print(_law_table(curve))
    if curve.floors:
        console.print(_floor_table(curve))
    for slope in curve.slopes or (curve.slope,):
        console.print(f"slope d ln G / d ln C: {_slope(slope)}")
    console.print(f"crossover (G = 1): {_crossover(curve.crossover, curve.resource)}")
    _print_diagnostics(curve.diagnostics, console)


def _gain_table(curve: GainCurve) -> Table:
    unit = words.resource_unit(curve.resource)
    table = _table(
        "gain at each rung", ("budget", "right"), ("index", "left"), ("gain", "right"), ("95% interval", "left")
    )
    for index, owner in (("old", curve.baseline), ("new", curve.candidate)):
        for k, point in enumerate(p for p in curve.points if p.index == index):
            label = f"{index}: {words.plain(owner, 24)}’s budget" if k == 0 else ""
            table.add_row(words.amount(point.at, unit), escape(label), *_gain(point))
        if index == "old":
            table.add_section()
    return table


def _points_table(title: str, points: Iterable[GainPoint], unit: str) -> Table:
    table = _table(title, ("budget", "right"), ("index", "left"), ("gain", "right"), ("95% interval", "left"))
    for point in points:
        at = words.quality(point.at) if point.index == "quality" else words.amount(point.at, unit)
        table.add_row(at, point.index, *_gain(point))
    return table


def _gain(point: GainPoint) -> tuple[str, str]:
    if point.region == "measured":
        return words.times(point.gain), words.span(point.interval)
    if point.region == "withheld":
        return "withheld", f"{words.span(point.interval)} ({point.decades_out:.1f} decades out)"
    if point.region == "extrapolated":
        return f"[dim]{words.times(point.gain)}[/]", f"{words.span(point.interval)} [dim](extrapolated)[/]"
    if point.region == "censored":
        return words.gain(point), "[dim]the other arm has no run so good or so bad[/]"
    return "–", f"[dim]{escape(words.plain(point.note, 60)) or 'undefined'}[/]"


def _law_table(curve: GainCurve) -> Table:
    table = _table(
        "laws L = E + A C^-α", ("arm", "left"), ("exponent α", "right"), ("95% interval", "left"), ("floor E", "right")
    )
    for law in curve.laws:
        bound = " [yellow]at bound[/]" if law.at_bound else ""
        table.add_row(
            escape(words.plain(law.arm, 24)),
            words.number(law.exponent),
            words.limits(law.exponent_interval) + bound,
            f"{words.quality(law.floor)} ({law.floor_kind})",
        )
    return table


def _floor_table(curve: GainCurve) -> Table:
    table = _table(
        "what each floor would say",
        ("floor", "left"),
        ("E", "right"),
        ("slope", "right"),
        ("95% interval", "left"),
        ("AICc", "right"),
        ("misfit p", "right"),
    )
    for f in curve.floors:
        values = " / ".join(dict.fromkeys(words.quality(v) for v in f.floors.values()))
        table.add_row(
            f"{f.kind} [bold]*[/]" if f.chosen else f.kind,
            values,
            words.signed(f.slope),
            words.limits(f.slope_interval, sign=True),
            words.number(f.aicc),
            words.number(f.lack_of_fit_p, 2),
        )
    return table


def _slope(slope: Slope) -> str:
    if slope.value is None:
        return f"not identified{': ' + escape(slope.note) if slope.note else ''} ({escape(slope.basis)})"
    return f"{words.signed(slope.value)} (95% {words.limits(slope.interval, sign=True)}; {escape(slope.basis)})"


def _crossover(crossover: Crossover, resource: str) -> str:
    if crossover.value is None:
        return f"not identified: {escape(crossover.reason)}"
    unit = words.resource_unit(resource)
    ends = crossover.interval or (float("nan"), float("nan"))
    span = f"{words.amount(ends[0], unit)} to {words.amount(ends[1], unit)}"
    return f"{words.amount(crossover.value, unit)} (95% {span}; {crossover.region})"


def _print_costs(costs: Sequence[Cost], console: Console) -> None:
    if not costs:
        return
    top = max(c.at for c in costs)
    shown = [c for c in costs if c.at == top]
    table = _table("at equal quality, the top measured rung", ("other resource", "left"), ("candidate needs", "left"))
    for cost in shown:
        less = cost.ratio >= 1
        said = f"{words.times(cost.ratio)} less" if less else f"[yellow]{words.times(1 / cost.ratio)} more[/]"
        if 0.995 < cost.ratio < 1.005:
            said = "as much"
        table.add_row(words.resource_title(cost.resource), said)
    console.print(table)


def _print_diagnostics(diagnostics: Sequence[Diagnostic], console: Console) -> None:
    order = {"error": 0, "warning": 1, "info": 2}
    for d in sorted(diagnostics, key=lambda d: order.get(d.severity, 3)):
        style = _SEVERITY_STYLE.get(d.severity, "")
        console.print(f"[{style}]{d.severity}[/] [bold]{escape(d.code)}[/] {escape(words.plain(d.message, 600))}")


def _table(title: str, *columns: tuple[str, str]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold dim", box=None, pad_edge=False, header_style="dim"
    )
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table

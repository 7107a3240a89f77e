"""Fitted laws on a terminal: parameters side by side, and the facts of the fit as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isoloss.laws import FittedLaw
from isoloss.laws.ensemble import Ensemble
from isoloss.laws.joint import Sharing
from isoloss.report.words import amount, limits, number
from isoloss.verbs.fits import LawReport
from isoloss.verbs.predictions import Prediction


def print_law(report: LawReport, console: Console) -> None:
    """Parameters with 95% intervals, one column an arm, then how the fit was made and what speaks against it."""
    formula = f"  L = {escape(report.formula)}" if report.formula else ""
    console.print(f"[bold]{escape(report.law)}[/]{formula}", soft_wrap=True)
    columns = ", ".join(f"{'x' if role == '*' else role}={name}" for role, name in report.columns.items())
    console.print(f"[dim]columns: {escape(columns)}[/]", soft_wrap=True)
    if report.arms:
        console.print(_parameters(report.arms))
    for name, ensemble in report.ensembles.items():
        console.print(_weights(name, ensemble))
        console.print(escape(str(ensemble.diagnostics["weighting"])), soft_wrap=True)
        for law, why in ensemble.left_out.items():
            console.print(f"[yellow]{escape(law)} left out: {escape(why)}[/]", soft_wrap=True)
    if report.ways:
        console.print(_ways(report.ways, report.joint.shared if report.joint else ()))
    if report.arms:
        first = next(iter(report.arms.values()))
        facts = report.joint.diagnostics if report.joint is not None else first.diagnostics
        for sentence in _facts(facts, first.objective):
            console.print(sentence, soft_wrap=True)
    for name, profile in report.profiles.items():
        console.print(f"{escape(name) + ': ' if name else ''}{escape(profile.sentence())}", soft_wrap=True)
    if report.predictions:
        console.print(_predictions(report.predictions))
    for reason, rows in report.left_out.items():
        console.print(f"[yellow]{rows} row(s) left out: {escape(reason)}.[/]", soft_wrap=True)
    for note in report.notes:
        console.print(f"[yellow]{escape(note.message)}[/]", soft_wrap=True)
    for name, fitted in report.arms.items():
        if fitted.degenerate:
            said = "no intervals: resamples don't differ, since no run scatters about the law or all are one cluster."
            console.print(f"[yellow]{escape(name) + ': ' if name else ''}{said}[/]", soft_wrap=True)
        for warning in _warnings(fitted.diagnostics):
            console.print(f"[yellow]{escape(name) + ': ' if name else ''}{escape(warning)}[/]", soft_wrap=True)


def _parameters(arms: Mapping[str, FittedLaw]) -> Table:
    table = Table("", box=None, pad_edge=False, header_style="bold")
    for name in arms:
        table.add_column(escape(name) or "value", overflow="fold")
        table.add_column("95% interval", overflow="fold")
    for parameter in next(iter(arms.values())).params:
        row = [escape(parameter)]
        for fitted in arms.values():
            row += [number(fitted.params[parameter], 4), _ends(fitted, parameter)]
        table.add_row(*row)
    return table


def _weights(arm: str, ensemble: Ensemble) -> Table:
    table = Table(escape(arm) or "law", "weight", "log score of held-out rungs", box=None, pad_edge=False)
    for name, weight in sorted(ensemble.weights.items(), key=lambda item: -item[1]):
        table.add_row(escape(name), f"{weight:.2f}", number(ensemble.scores.get(name), 3))
    return table


def _predictions(predictions: Sequence[Prediction]) -> Table:
    """Where, the law's loss with its interval, and the interval of one more run; farther than two decades, no point."""
    arms = any(p.arm for p in predictions)
    head = [*(["arm"] if arms else []), "at", "loss", "95% of the law", "95% of one more run", "how far"]
    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for p in predictions:
        place = ", ".join(("" if c == "*" else f"{c}=") + amount(v, "") for c, v in p.at.items())
        how = f"{p.decades_out:.1f} decades out" if p.decades_out > 0 else "among the runs"
        shown = "withheld" if p.loss is None else number(p.loss, 4)
        ends = [limits(e, None) if e is not None else "–" for e in (p.interval, p.run_interval)]
        table.add_row(*([escape(p.arm)] if arms else []), escape(place), shown, *ends, how)
        for law, interval in p.fan.items():
            of_law = ("", f"[dim]{escape(law)}[/]", f"[dim]{limits(interval, None)}[/]", "", "")
            table.add_row(*([""] if arms else []), *of_law)
    return table


def _ends(fitted: FittedLaw, parameter: str) -> str:
    low, high = fitted.interval(parameter)
    return limits((low, high), None) if low == low and high == high else "–"


def _ways(ways: tuple[Sharing, ...], chosen: tuple[str, ...]) -> Table:
    table = Table("in common", "parameters", "AICc above best", "p against nothing in common", box=None, pad_edge=False)
    best = ways[0].aicc
    for way in ways:
        name = ", ".join(way.shared) or "nothing"
        mark = " (shown)" if set(way.shared) == set(chosen) else ""
        p = "–" if way.p is None else number(way.p, 2)
        table.add_row(escape(name) + mark, str(way.parameters), number(way.aicc - best, 3), p)
    return table


def _facts(facts: Mapping[str, Any], objective: float) -> Iterator[str]:
    delta = f", delta {facts['delta']:g}" if facts.get("delta") else ""
    yield f"{facts['rows']} runs; objective {escape(str(facts['objective']))}{delta}: {objective:.6e}."
    per_arm = facts.get("starts_agreeing_per_arm")
    if per_arm is not None:
        shares = ", ".join(f"{share:.0%}" for share in per_arm)
        yield f"Starts that agree on each arm's own minimum: {shares}."
    else:
        tried = f"{facts['starts_polished']} starts followed to their minimum agree ({facts['starts']} tried)"
        yield f"{facts['starts_agreeing']} of {tried}."
    if facts["resampling"] != "none":
        yield f"Intervals: {escape(str(facts['resampling']))}, {facts['clusters']} clusters."
    if facts.get("rms_residual") is not None:
        yield f"Root mean square residual {number(facts['rms_residual'], 2)}."
    held = facts.get("held_out")
    if isinstance(held, str):
        yield held


def _warnings(facts: Mapping[str, Any]) -> Iterator[str]:
    for name in facts.get("parameters_at_bound", ()):
        yield f"{name} lies at the edge of its range: the table does not determine it."
    if facts.get("converged") is False:
        yield "the optimum did not converge: the table hardly determines the law."
    if facts.get("starts_polished", 0) and facts["starts_agreeing"] < 0.25 * facts["starts_polished"]:
        yield "few starts agree on the optimum: other minima may be as good."

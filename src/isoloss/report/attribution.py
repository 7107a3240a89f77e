"""Chains, factorial designs and rankings on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.gains.chain import Chain
from isoloss.gains.factorial import Attribution, Effect
from isoloss.gains.ranking import Ranked, Ranking
from isoloss.gains.result import Diagnostic, GainPoint, Interval
from isoloss.gains.sequence import ArmSequence
from isoloss.report import words

_LEVEL_STYLE = {"gain": "bold green", "loss": "bold red", "none": "bold", "unknown": "bold yellow"}
_SEVERITY_STYLE = {"error": "bold red", "warning": "yellow", "info": "dim"}
_ORDER = {"error": 0, "warning": 1, "info": 2}
_WIDEST = 100


def print_sequence(found: ArmSequence, console: Console) -> None:
    """The verdict on the two ends, then for each budget and index the steps, the whole and the references."""
    _say(console, found.verdict.sentence, _LEVEL_STYLE.get(found.verdict.level, "bold"))
    _say(console, f"{' → '.join(words.plain(n, 30) for n in found.names)}; laws with floor {found.floor}", "dim")
    unit = words.resource_unit(found.resource)
    for chain in found.chains:
        _print_chain(chain, console, unit)
    _print_diagnostics(found.diagnostics, console)


def print_attribution(found: Attribution, console: Console) -> None:
    """The joint gain against the product of singles, each factor three ways, then the interactions."""
    where = f"quality {words.quality(found.at)}" if found.basis == "quality" else f"budget {words.amount(found.at)}"
    switches = "switch" if len(found.factors) == 1 else "switches"
    design = f"{found.arms} of {2 ** len(found.factors)} settings of {len(found.factors)} {switches}"
    _say(console, f"All switches together: {_told(found.joint)}, at {where}", "bold")
    _say(console, f"{design}; interactions up to order {found.order}", "dim")
    table = _table("Each switch", "switch", "alone", "last", "Shapley", "95% interval", "share of log gain")
    for i, name in enumerate(found.factors):
        share = found.shares[i]
        value = found.shapley[i]
        table.add_row(
            _text(words.plain(name, 30)),
            _gain(found.first_in[i]),
            _gain(found.last_in[i]),
            _gain(value),
            _span(value.interval),
            f"{share[0]:.0%} ({_percent(share[1])})" if share else words.NOTHING,
        )
    _show(table, console, "alone", "last")
    _notes(found.shapley, console)
    product = found.product
    if product.gain is not None:
        console.print()
        _say(console, f"Product of the single gains {_told(product)}; all together {_told(found.joint)}.")
    joined = [e for e in found.terms if "+" in e.name and (e.gain is not None or e.interval is not None)]
    if joined:
        table = _table(
            "Interactions (1: none; above: they help each other)", "switches", "factor", "95% interval", "note"
        )
        for effect in joined:
            table.add_row(_text(words.plain(effect.name, 40)), _gain(effect), _span(effect.interval), effect.note)
        _show(table, console)
    if found.left_out_p is not None:
        console.print()
        _say(console, f"Interactions of higher order left out: p = {found.left_out_p:.2g}", "dim")
    _print_diagnostics(found.diagnostics, console)


def print_ranking(found: Ranking, console: Console) -> None:
    """The sentence, then every candidate with its own and its corrected figures."""
    settled = any(r.level == "gain" for r in found.rows)
    _say(console, found.sentence, "bold green" if settled else "bold")
    percent = f"{found.confidence:.0%}"
    where = f"against {words.plain(found.baseline, 40)} where it spends {words.amount(found.at)}"
    _say(console, f"{where}; {percent} intervals", "dim")
    table = _table(
        "Candidates", "candidate", "gain", "alone", "all at once", "Holm p", "FDR", "expected",
        f"{percent}", "verdict",
    )  # fmt: skip
    for row in found.rows:
        table.add_row(*_ranked(row))
    if not any(row.shrunk is not None for row in found.rows):  # too few candidates to say what to expect
        _drop(table, "expected", percent)
    _show(table, console, "FDR", "alone", "Holm p", percent)
    if found.common_gain is not None and found.spread is not None:
        said = f"candidates scatter about {words.times(found.common_gain)} by {found.spread:.2g} in log gain"
        _say(console, f"Expected: what to count on when trying again ({said}).", "dim")
    _print_diagnostics(found.diagnostics, console)


def _print_chain(chain: Chain, console: Console, unit: str) -> None:
    owner = chain.names[0] if chain.index == "old" else chain.names[-1]
    title = f"At {words.amount(chain.at, unit)} of {words.plain(owner, 30)} ({chain.index} index)"
    table = _table(title, "step", "read at", "gain", "95% interval", "share", "at one budget", "how known")
    for step in chain.steps:
        table.add_row(
            _text(f"{words.plain(step.old, 24)} → {words.plain(step.new, 24)}"),
            words.amount(step.at) if step.at is not None else words.NOTHING,
            *_point(step.point),
            words.NOTHING if step.share is None else f"{step.share:.0%} ({_percent(step.share_interval)})",
            _point(step.same_budget)[0],
            _known(step.point),
        )
    whole = ["composed", words.amount(chain.at), *_point(chain.whole), "", "", _known(chain.whole)]
    table.add_row(*map(_text, whole), style="bold")
    table.add_row(*map(_text, ("product, as published", "", *_point(chain.product), "", "", "")), style="dim")
    _show(table, console, "at one budget", "share")
    last = words.plain(chain.names[-1], 30)
    rated = any(r.per_year is not None for r in chain.references)
    columns = ["seen from", "gain", "95% interval", "growth with budget", "95%"]
    columns += ["log rate a year", "95%"] if rated else []
    table = _table(f"{last} against each, {'at its own budget' if chain.index == 'old' else 'at one budget'}", *columns)
    for ref in chain.references:
        cells = [*_point(ref.point), words.signed(ref.growth), words.limits(ref.growth_interval, sign=True)]
        cells += [words.signed(ref.per_year), words.limits(ref.per_year_interval, sign=True)] if rated else []
        table.add_row(_text(words.plain(ref.reference, 30)), *map(_text, cells))
    _show(table, console, "95%", "growth with budget")


def _ranked(row: Ranked) -> list[Text]:
    p = [words.NOTHING if v is None else f"{v:.1g}" for v in (row.holm, row.fdr)]
    shrunk = words.NOTHING if row.shrunk is None else words.times(row.shrunk)
    cells = [words.plain(row.candidate, 30), *_point(row.point), _span(row.together), *p, shrunk]
    cells.append(_span(row.shrunk_interval))
    return [*map(_text, cells), _text(row.level, _LEVEL_STYLE.get(row.level, ""))]


def _point(point: GainPoint) -> tuple[str, str]:
    value = words.NOTHING if point.gain is None else words.times(point.gain)
    return value, _span(point.interval)


def _known(point: GainPoint) -> str:
    if point.region in ("extrapolated", "withheld") and point.decades_out > 0.05:
        return f"{point.region}, {point.decades_out:.1f} decades out"
    return words.plain(point.note, 60) or point.region


def _gain(effect: Effect) -> str:
    return words.NOTHING if effect.gain is None else words.times(effect.gain)


def _told(effect: Effect) -> str:
    if effect.gain is None:
        return f"not known ({effect.note})" if effect.interval is None else _span(effect.interval)
    return f"{words.times(effect.gain)} ({_span(effect.interval)})"


def _notes(effects: Sequence[Effect], console: Console) -> None:
    """What keeps a value from being estimated, and what is folded into it."""
    for e in effects:
        if e.confounded:
            _say(console, f"{e.name}: can't be told apart from {', '.join(e.confounded)} with these settings", "yellow")
        elif e.gain is None:
            _say(console, f"{e.name}: {e.note}", "yellow")
        elif e.folded:
            _say(console, f"{e.name}: contains {', '.join(e.folded)}, should they interact", "dim")


def _span(interval: Interval | None) -> str:
    return words.NOTHING if interval is None else words.span_times(interval)


def _percent(interval: Interval | None) -> str:
    if interval is None or not abs(interval[0]) + abs(interval[1]) < float("inf"):
        return "no interval"
    return f"{interval[0]:.0%}–{interval[1]:.0%}".replace("-", "−")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=_text(title, "bold"), title_justify="left", box=None, pad_edge=False, header_style="dim", padding=(0, 1)
    )
    for i, name in enumerate(columns):
        word = i == 0 or name in ("how known", "note", "verdict")
        table.add_column(
            _text(name),
            justify="left" if word else "right",
            no_wrap=not word,
            overflow="fold",
            min_width=9 if i == 0 else 12 if word and name != "verdict" else None,
        )
    return table


def _drop(table: Table, *names: str) -> None:
    table.columns = [c for c in table.columns if str(c.header) not in names]


def _show(table: Table, console: Console, *spare: str) -> None:
    """Print a table; where it is too wide, without as many of the columns in `spare` as it takes, and say so."""
    left_out = []
    for name in spare:
        if _narrowest(table) <= console.width:
            break
        _drop(table, name)
        left_out.append(name)
    console.print()
    console.print(table)
    if left_out:
        _say(console, f"Left out for want of width: {', '.join(left_out)}.", "dim")


def _narrowest(table: Table) -> int:
    """Width at which no number is cut and no word of a column of words is."""
    total = 2 * len(table.columns)  # rich reserves the padding of the edges too
    for column in table.columns:
        cells = [str(c) for c in (column.header, *column.cells)]
        parts = cells if column.no_wrap else [w for c in cells for w in c.split()]
        total += max(column.min_width or 0, *(cell_len(p) for p in parts or [""]))
    return total


def _print_diagnostics(diagnostics: Sequence[Diagnostic], console: Console) -> None:
    if diagnostics:
        console.print()
    for d in sorted(diagnostics, key=lambda d: _ORDER.get(d.severity, 3)):
        line = Text()
        line.append(f"{d.severity} ", _SEVERITY_STYLE.get(d.severity, ""))
        line.append(words.plain(d.code, 60), "bold")
        line.append(f"  {words.plain(d.message, 1000)}")
        console.print(line, width=min(console.width, _WIDEST))


def _text(said: str, style: str = "") -> Text:
    """Text that rich never reads as markup."""
    return Text(said, style=style)


def _say(console: Console, said: str, style: str = "") -> None:
    console.print(_text(words.plain(said, 1000), style), width=min(console.width, _WIDEST))

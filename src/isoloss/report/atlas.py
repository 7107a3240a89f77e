"""The atlas of innovations on a terminal: one row each, what is published beside what was measured."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.report import words
from isoloss.verbs.atlas import Atlas, Measured, Row

_WIDEST = 100
_TONES = {"gain": "green", "loss": "red", "none": "", "unknown": "yellow"}
UNMEASURED = "not measured"


def print_atlas(found: Atlas, console: Console) -> None:
    """The table, what it rests on, and how to measure what is not measured."""
    width = min(console.width, _WIDEST)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1), show_edge=False)
    table.add_column("innovation", overflow="fold", min_width=min(width // 4, 22))
    for name in ("claimed", "later"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ours (95%)", justify="right", no_wrap=True)
    units = {words.resource_unit(one.resource) for row in found.rows for one in row.ours}
    one_unit = units.pop() if len(units) == 1 else ""
    table.add_column(f"at ({one_unit})" if one_unit else "at", justify="right")
    table.add_column("verdict", overflow="fold")
    table.add_column("study", overflow="fold")
    table.add_column("runs", justify="right", no_wrap=True)
    for row in found.rows:
        _rows(table, row, one_unit)
    console.print(table, width=width)
    for twin in found.twins:
        holds = twin.interval is not None and twin.interval[0] <= 1 <= twin.interval[1]
        said = f"A/A in {words.plain(twin.study, 40)}: {measured_gain(twin)}, the interval "
        _say(console, said + ("holds 1, as it should." if holds else "does not hold 1."), "green" if holds else "red")
    for note in (*summary(found), *found.notes):
        _say(console, note)
    if any(r.claimed or r.later for r in found.rows if is_apart(r)):
        _say(console, "* published in another resource than training compute; --json says which.", "dim")


def _rows(table: Table, row: Row, unit: str) -> None:
    name = Text(words.plain(row.name, 40))
    quoted = [published(row, part) for part in ("claimed", "later")]
    if not row.ours:
        lacking = UNMEASURED if row.registered else "not in this laboratory"
        table.add_row(name, *quoted, Text(lacking, style="dim"), "", "", "", "")
        return
    for k, one in enumerate(row.ours):
        cells: list[str | Text] = [
            measured_gain(one),
            scale(one).removesuffix(f" {unit}"),
            Text(verdict(one), style=_TONES[one.level]),
        ]
        cells += [words.plain(one.study, 24), f"{one.runs}"]
        table.add_row(name if k == 0 else "", *(quoted if k == 0 else ("", "")), *cells)


def is_apart(row: Row) -> bool:
    """Whether its published gains are of anything but training compute."""
    return row.resource != "training FLOP"


def published(row: Row, part: str) -> str:
    """A published gain, marked where it is of another resource."""
    quoted = row.claimed if part == "claimed" else row.later
    return words.NOTHING if quoted is None else f"{words.times(quoted.gain)}{'*' if is_apart(row) else ''}"


def measured_gain(one: Measured) -> str:
    """A measured gain with its interval, or the bound that is known."""
    if one.interval is None and one.gain is None:
        return words.NOTHING
    if one.gain is None:
        return words.span_times(one.interval)
    return f"{words.times(one.gain)} ({words.span(one.interval)})"


def scale(one: Measured) -> str:
    """The budget that a gain was read at."""
    return words.amount(one.at, words.resource_unit(one.resource))


def verdict(one: Measured) -> str:
    """Level and trend in a word or two."""
    level = {"gain": "gain", "loss": "loss", "none": "no gain", "unknown": "unknown"}[one.level]
    if one.trend == "unknown":
        return level
    return f"{level}, {'gap ' if one.level == 'loss' else ''}{_trend(one)}"


def _trend(one: Measured) -> str:
    if one.level == "loss":  # a gain below one that grows is a gap that narrows
        return {"grows": "narrows", "shrinks": "widens", "constant": "holds"}.get(one.trend, one.trend)
    return {"constant": "holds"}.get(one.trend, one.trend)


def summary(found: Atlas) -> list[str]:
    """How many innovations there are, how many were measured, and with what verdicts."""
    here = [r for r in found.rows if r.registered]
    levels = [r.headline.level for r in found.rows if r.headline is not None]
    said = f"{len(here)} innovations, {len(levels)} measured here"
    names = {"gain": "a gain", "loss": "a loss", "none": "no gain", "unknown": "unknown"}
    counts = [f"{levels.count(level)} {name}" for level, name in names.items() if level in levels]
    claims = [r for r in found.rows if not r.registered]
    more = f"; {words.plural(len(claims), 'claim')} that nothing here implements" if claims else ""
    return [said + (f" ({', '.join(counts)})" if counts else "") + more + "."]


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), width=min(console.width, _WIDEST))

"""Published beside ours: the tables of a reproduction on a terminal and as a section of a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.report import words
from isoloss.reproduce.table import Cell, Interval, Reproduction, Row

_DIGITS = 4
_NUMBERS = ("published", "theirs", "ours", "95%")


def print_reproduction(found: Reproduction, console: Console) -> None:
    """Everything that `isoloss.api.reproduce` found."""
    _say(console, f"{found.title} ({found.paper})", "bold")
    _say(console, f"Published: {found.claim}.")
    _say(console, f"Here: {found.procedure}", "dim")
    head, body, notes = _answers(found)
    _show(console, "", head, body)
    for number, note in enumerate(notes, 1):
        _say(console, f"{number}  {note}", "dim")
    for sheet in found.sheets:
        _show(console, sheet.title, sheet.columns, [[_cell(c) for c in r] for r in sheet.rows])
    console.print()
    for finding in found.findings:
        _say(console, f"- {finding}")
    for command in found.commands:
        _say(console, f"$ {command}", "dim")


def markdown(found: Reproduction) -> str:
    """One section of the page: claim, procedure, the table, what the answer turns on, why we differ, how to run it."""
    lines = [
        f"## {found.title}",
        "",
        f"*{found.paper}.* Published: {found.claim}.",
        "",
        f"**Here.** {found.procedure}",
        "",
    ]
    head, body, notes = _answers(found)
    lines += [*_grid(head, body), "", *(f"{k}. {note}" for k, note in enumerate(notes, 1))]
    for sheet in found.sheets:
        lines += ["", f"**{sheet.title}**", "", *_grid(sheet.columns, [[_cell(c) for c in r] for r in sheet.rows])]
    lines += [
        "",
        *(f"- {f}" for f in found.findings),
        "",
        "```",
        f"isoloss reproduce {found.name}",
        *found.commands,
        "```",
        "",
    ]
    return "\n".join(lines)


def interval(ends: Interval | None) -> str:
    """``low to high``, or nothing."""
    return "" if ends is None else f"{words.number(ends[0])} to {words.number(ends[1])}"


def _answers(found: Reproduction) -> tuple[tuple[str, ...], list[list[str]], list[str]]:
    """Head and cells of the main table, a column that no row fills left out, and the notes that it numbers."""
    head = ("quantity", "published", "theirs", "ours", "95%", "agrees", "note")
    notes = list(dict.fromkeys(note for row in found.rows if (note := _note(row))))
    body = [_answer(row, notes) for row in found.rows]
    kept = [i for i in range(len(head)) if any(cells[i] for cells in body)]
    return tuple(head[i] for i in kept), [[cells[i] for i in kept] for cells in body], notes


def _note(row: Row) -> str:
    why = "" if row.agrees == "to the digit" else row.why
    return "; ".join(part for part in (row.where and f"published: {row.where}", why) if part)


def _answer(row: Row, notes: list[str]) -> list[str]:
    theirs = "" if row.published is None else words.number(row.published, 6)
    ours = "" if row.ours is None else words.number(row.ours, _DIGITS)
    note = _note(row)
    number = str(notes.index(note) + 1) if note else ""
    return [row.quantity, theirs, interval(row.theirs), ours, interval(row.interval), row.agrees, number]


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else words.number(float(cell), _DIGITS)


def _grid(head: Sequence[str], body: list[list[str]]) -> list[str]:
    rows = ["| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in (list(head), *body)]
    return [rows[0], "|" + "---|" * len(head), *rows[1:]]


def _show(console: Console, title: str, head: Sequence[str], body: list[list[str]]) -> None:
    console.print()
    if title:
        _say(console, title, "bold")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in head:
        table.add_column(Text(name), justify="right" if name in _NUMBERS else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(c) for c in row))
    console.print(table)


def _say(console: Console, said: str, style: str = "") -> None:
    console.print(Text(said, style=style), width=min(console.width, 100))

"""The atlas of innovations on a terminal: one row each, what is published beside what was measured."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoloss.gains.standings import REGIONS
from isoloss.report import words
from isoloss.verbs.atlas import Atlas, Measured, Row

_WIDEST = 120
_TONES = {"gain": "green", "loss": "red", "none": "", "unknown": "yellow"}
UNMEASURED = "not measured"
_NAME = 22  # columns of the longest name of an innovation that ships
_NARROW = 90  # below it a budget's unit and a verdict's trend stand on a line of their own
_ROOM = {7: _NARROW, 6: _NARROW, 4: 80}  # the terminal that a column needs, by its number


def print_atlas(found: Atlas, console: Console) -> None:
    """The table, what it rests on, and how to measure what is not measured; narrow terminals get fewer columns."""
    width = min(console.width, _WIDEST)
    narrow = width < _NARROW
    units = {words.resource_unit(one.resource) for row in found.rows for one in row.ours}
    unit = units.pop() if len(units) == 1 else ""
    columns = {
        "innovation": {"overflow": "fold", "min_width": 0 if narrow else _NAME},
        "claimed": {"justify": "right", "no_wrap": True},
        "later": {"justify": "right", "no_wrap": True},
        "ours (95%)": {"justify": "right", "no_wrap": True},
        f"at ({unit})" if unit else "at": {"justify": "right", "no_wrap": narrow},
        "verdict": {"overflow": "fold", "no_wrap": narrow},
        "runs": {"justify": "right", "no_wrap": True},
        "study": {"overflow": "fold"},
    }  # fmt: skip
    shown = [k for k in range(len(columns)) if width >= _ROOM.get(k, 0)]
    if found.setting is not None:
        print_standings(found, console)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    for k, (name, look) in enumerate(columns.items()):
        if k in shown:
            table.add_column(name, **look)  # type: ignore[arg-type]
    for row in found.rows:
        for cells in _lines(row, unit, narrow):
            table.add_row(*(cells[k] for k in shown))
    console.print(table, width=width)
    for twin in found.twins:
        holds = twin.interval is not None and twin.interval[0] <= 1 <= twin.interval[1]
        said = f"A/A in {words.plain(twin.study, 40)}: {measured_gain(twin)}, the interval "
        _say(console, said + ("holds 1, as it should." if holds else "does not hold 1."), "green" if holds else "red")
    for note in (*summary(found), *found.notes):
        _say(console, note)
    if any(r.claimed or r.later for r in found.rows if is_apart(r)):
        _say(console, "* published in another resource than training compute; --json says which.", "dim")


def print_standings(found: Atlas, console: Console) -> None:
    """Every innovation with a measurement at the budget that was asked for, the largest gain first."""
    setting = found.setting
    assert setting is not None
    unit = words.resource_unit(setting.resource)
    whose = {"old": "each old algorithm", "new": "each new algorithm"}.get(setting.reference, setting.reference)
    rows = [(r, r.standing) for r in found.rows if r.standing is not None]
    rows.sort(key=lambda pair: (pair[1].rank or len(rows) + REGIONS.index(pair[1].region), pair[0].name))
    title = words.resource_title(setting.resource)
    of = "" if title == unit else f" of {title}"
    named = f"{words.amount(setting.budget, unit)}{of}, spent by {whose}"
    _say(console, f"At {words.plain(named)}:" if rows else f"At {words.plain(named)}, nothing is known.")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    for name in ("#", "innovation", "gain", "95%", "share", "known"):
        right = name in ("#", "gain", "95%", "share")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row, one in rows:
        share = "" if one.share is None else f"{one.share:.1%}"
        gain = words.NOTHING if one.gain is None else words.times(one.gain)
        known = (
            one.region if one.region in ("measured", "undefined") else f"{one.region}, {one.decades_out:.1f} decades"
        )
        cells = (f"{one.rank or ''}", words.plain(row.name, 40), gain, words.span(one.interval), share, known)
        table.add_row(*map(Text, cells))
    console.print(table, width=min(console.width, _WIDEST))
    _say(console, "A share is the gain's part of the sum of all logarithms above zero; single gains overlap.", "dim")
    over = Counter(one.resource for row in found.rows for one in row.ours if one.resource != setting.resource)
    if over and all(one.gain is None for _, one in rows):
        others = [resource for resource, _ in over.most_common()]
        said = f"No gain is known at that budget of {title}; some are measured over {', '.join(others)}: --resource "
        _say(console, said + others[0])


def _lines(row: Row, unit: str, narrow: bool) -> list[list[str | Text]]:
    """The lines of one innovation: one for each measurement, or one that says there is none."""
    first: list[str | Text] = [Text(words.plain(row.name, 40)), published(row, "claimed"), published(row, "later")]
    if not row.ours:
        return [[*first, Text(lacking(row), style="dim"), "", "", "", ""]]
    out: list[list[str | Text]] = []
    for one in row.ours:
        at, said = scale(one).removesuffix(f" {unit}"), verdict(one)
        if narrow:
            at, said = at.replace(" ", "\n"), said.replace(", ", ",\n")
        cells: list[str | Text] = [measured_gain(one), at, Text(said, style=_TONES[one.level])]
        cells += [f"{one.runs}", words.plain(one.study, 24)]
        out.append([*(["", "", ""] if out else first), *cells])
    return out


def lacking(row: Row) -> str:
    """What stands where a gain of ours would."""
    return UNMEASURED if row.registered else "not implemented"


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

"""The runs of a study as rows of the page, and their training curves thinned to what a small picture needs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.report import words

#: More rows than this make a page slow; the rest is in ``runs.csv``.
MOST_ROWS = 1000
_CURVE_NUMBERS = 60_000
_MOST_POINTS = 60
#: What every run's row says that it took, where recorded, beside the ladder's resource.
_SHOWN = ("train_flops", "six_nd_flops", "parameters", "peak_memory_bytes", "seconds", "utilisation")


@dataclass(frozen=True)
class Cell:
    """One cell: its text and, where that does not sort by itself, the key to sort by."""

    text: str
    numeric: bool = False
    key: float | str | None = None


@dataclass(frozen=True)
class Row:
    """One run."""

    run_id: str
    purpose: str
    status: str
    curve: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class RunRows:
    """The table of runs: headings (name, whether numeric), rows, purposes that occur, and a sentence about it."""

    columns: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]
    purposes: tuple[str, ...]
    said: str


def run_rows(runs: Sequence[Mapping[str, Any]], resource: str, curves: Mapping[str, Any]) -> RunRows:
    """The first `MOST_ROWS` runs, reported ones before tuning ones."""
    ordered = sorted(runs, key=lambda r: r.get("purpose") != "report")[:MOST_ROWS]
    extra = [c for c in dict.fromkeys((resource, *_SHOWN)) if any(r.get(c) for r in ordered)]
    columns = [("run", False), ("arm", False), ("purpose", False), ("rung", True), ("seed", True), ("status", False)]
    columns += [
        ("validation", True),
        ("test", True),
        *((words.resource_title(c), True) for c in extra),
        ("choices", False),
    ]
    rows = tuple(_row(r, extra, curves) for r in ordered)
    said = f"{words.plural(len(runs), 'run')} in all"
    said += f"; the first {len(rows):,} are listed, the others are in runs.csv." if len(rows) < len(runs) else "."
    return RunRows(tuple(columns), rows, tuple(sorted({r.purpose for r in rows})), said)


def _row(run: Mapping[str, Any], extra: Sequence[str], curves: Mapping[str, Any]) -> Row:
    run_id, status = words.plain(run.get("run_id", "")), words.plain(run.get("status", ""))
    purpose = words.plain(run.get("purpose", ""))
    cells = [Cell(run_id[:8]), Cell(words.plain(run.get("arm", ""), 40)), Cell(purpose)]
    cells += [_number(run.get("rung"), words.tick), _number(run.get("seed"), str), Cell(status)]
    cells += [_number(run.get(split), words.quality) for split in ("validation", "test")]
    cells += [_number(run.get(c), lambda v, c=c: _amount(c, v)) for c in extra]
    cells.append(Cell(choices_words(run.get("choices"))))
    return Row(run_id, purpose, status, run_id in curves, tuple(cells))


def _amount(resource: str, value: float) -> str:
    """An amount as a cell shows it, without the unit that its heading implies."""
    unit = words.resource_unit(resource)
    return f"{value:.0%}" if unit == "share" else words.amount(value, unit if unit in ("s", "B", "J") else "")


def _number(value: Any, say: Any) -> Cell:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return Cell(words.NOTHING, True, "")
    return Cell(say(value), True, value)


def choices_words(choices: Any, limit: int = 160) -> str:
    """Hyper-parameters (a mapping or its JSON) as ``learning rate 0.003, width 64``."""
    try:
        pairs = json.loads(choices) if isinstance(choices, str) else dict(choices or {})
        said = ", ".join(f"{words.choice_title(k)} {setting(v)}" for k, v in pairs.items())
    except (TypeError, ValueError, AttributeError):
        said = str(choices)
    return words.plain(said, limit)


def setting(value: Any) -> str:
    """A setting's value in words: numbers as people read them, containers as their items."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: words.NOTHING}[value]
    if isinstance(value, int) and abs(value) < 1e6:
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, int | float):
        return words.number(float(value), 4)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {setting(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    return words.plain(value, 2000)


def thin_curves(curves: Mapping[str, tuple[list[float], list[float]]], kept: Sequence[str]) -> dict[str, Any]:
    """Curves of the runs in `kept`, evenly thinned so that all together stay small; broken values left out."""
    each = max(8, min(_MOST_POINTS, _CURVE_NUMBERS // max(1, 2 * len(kept))))
    out = {}
    for run_id in kept:
        pairs = [
            (x, y) for x, y in zip(*curves[run_id], strict=False) if math.isfinite(y) and math.isfinite(x) and x > 0
        ]
        if len(pairs) > 1:
            picked = (
                [pairs[round(k * (len(pairs) - 1) / (each - 1))] for k in range(each)] if len(pairs) > each else pairs
            )
            out[run_id] = [[float(f"{v:.4g}") for v in axis] for axis in zip(*picked, strict=True)]
    return out

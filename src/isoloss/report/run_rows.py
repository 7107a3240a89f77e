"""The runs of a study as columns of the page's table, and their training curves thinned to a small picture's needs."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.report import words

#: More rows than this make a page large; the rest is in ``runs.csv``.
MOST_ROWS = 5000
_CURVE_NUMBERS = 60_000
_MOST_POINTS = 48
#: What every run's row says that it took, where recorded, beside the ladder's resource.
_SHOWN = ("train_flops", "six_nd_flops", "parameters", "peak_memory_bytes", "seconds", "utilisation")
_MOST_CHOICES = 6


@dataclass(frozen=True)
class Column:
    """One column: its heading, the text of each cell and, where numeric, the number that it sorts by."""

    name: str
    text: list[str]
    key: list[float | None] | None = None


@dataclass(frozen=True)
class RunRows:
    """The table of runs by column, their ids, the purposes that occur, and a sentence about it."""

    ids: list[str]
    columns: list[Column]
    purposes: tuple[str, ...]
    said: str


def run_rows(runs: Sequence[Mapping[str, Any]], resource: str) -> RunRows:
    """The first `MOST_ROWS` runs, reported ones before tuning ones."""
    ordered = sorted(runs, key=lambda r: r.get("purpose") != "report")[:MOST_ROWS]
    extra = [c for c in dict.fromkeys((resource, *_SHOWN)) if any(r.get(c) for r in ordered)]
    ids = [words.plain(r.get("run_id", "")) for r in ordered]
    told = varying(ordered)
    columns = [
        Column("run", [i[:8] for i in ids]),
        Column("arm", [words.plain(r.get("arm", ""), 40) for r in ordered]),
        Column("purpose", [words.plain(r.get("purpose", "")) for r in ordered]),
        _numbers("rung", ordered, "rung", words.tick),
        _numbers("seed", ordered, "seed", lambda v: f"{v:.0f}"),
        Column("status", [words.plain(r.get("status", "")) for r in ordered]),
        *(_numbers(split, ordered, split, words.quality) for split in ("validation", "test")),
        *(_numbers(words.resource_title(c), ordered, c, functools.partial(_amount, c)) for c in extra),
        Column("choices that differ", [choices_words(r.get("choices"), told) for r in ordered]),
    ]
    said = f"{words.plural(len(runs), 'run')} in all"
    said += f"; the first {len(ids):,} are listed, the others are in runs.csv." if len(ids) < len(runs) else "."
    return RunRows(ids, columns, tuple(sorted(set(columns[2].text))), said)


def _amount(resource: str, value: float) -> str:
    """An amount as a cell shows it, without the unit that its heading implies."""
    unit = words.resource_unit(resource)
    return f"{value:.0%}" if unit == "share" else words.amount(value, unit if unit in ("s", "B", "J") else "")


def _numbers(name: str, runs: Sequence[Mapping[str, Any]], field: str, say: Callable[[float], str]) -> Column:
    values = [_finite(r.get(field)) for r in runs]
    text = [words.NOTHING if v is None else say(v) for v in values]
    return Column(name, text, [None if v is None else float(f"{v:.8g}") for v in values])


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def varying(runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The choices that differ between `runs`, learning rates first: what a row must say, as the others are alike."""
    seen: dict[str, set[str]] = {}
    for choices in (_choices(r.get("choices")) for r in runs):
        for name, value in choices.items():
            seen.setdefault(name, set()).add(json.dumps(value, sort_keys=True, default=str))
    differ = [name for name, values in seen.items() if len(values) > 1]
    return tuple(sorted(differ, key=lambda name: ("learning_rate" not in name and name != "lr", name)))


def _choices(choices: Any) -> dict[str, Any]:
    try:
        found = json.loads(choices) if isinstance(choices, str) else dict(choices or {})
    except (TypeError, ValueError):
        return {}
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}


def choices_words(choices: Any, names: Sequence[str]) -> str:
    """Those of a run's choices (a mapping or its JSON) that are among `names`: ``learning rate 0.003, width 64``."""
    mine = _choices(choices)
    if choices and not mine:
        return words.plain(choices, 160)
    said = [f"{words.choice_title(k)} {setting(mine[k])}" for k in names if k in mine]
    return words.plain(", ".join(said[:_MOST_CHOICES]) + (", …" if len(said) > _MOST_CHOICES else ""), 200)


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
    there = [run_id for run_id in kept if run_id in curves]
    each = max(8, min(_MOST_POINTS, _CURVE_NUMBERS // max(1, 2 * len(there))))
    out = {}
    for run_id in there:
        pairs = [
            (x, y) for x, y in zip(*curves[run_id], strict=False) if math.isfinite(y) and math.isfinite(x) and x > 0
        ]
        if len(pairs) > 1:
            picked = (
                [pairs[round(k * (len(pairs) - 1) / (each - 1))] for k in range(each)] if len(pairs) > each else pairs
            )
            out[run_id] = [[float(f"{v:.3g}") for v in axis] for axis in zip(*picked, strict=True)]
    return out

"""Tuning: validation quality against a swept choice, one panel an arm, one line a rung, the chosen value marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoloss.gains.analysis import Trial
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import Axis, Plane, Rows, palette_order

if TYPE_CHECKING:
    import altair as alt


def swept_choices(trials: Sequence[Trial]) -> list[str]:
    """Choices that took more than one value, a learning rate first."""
    seen: dict[str, set[float]] = {}
    for t in trials:
        for name, value in t.values.items():
            seen.setdefault(name, set()).add(value)
    swept = [name for name, values in seen.items() if len(values) > 1]
    return sorted(swept, key=lambda name: "learning_rate" not in name and "lr" not in name.split("_"))


def figure_tuning(
    trials: Sequence[Trial], arm: str, choice: str, arms: Sequence[str] = (), higher: bool = False
) -> Figure:
    """One arm's sweep of `choice`. Where other choices were swept too, a line joins the best trial at each value."""
    import altair as alt

    mine = [t for t in trials if t.arm == arm and choice in t.values]
    values = axes.finite(t.values[choice] for t in mine)
    qualities = axes.finite(t.quality for t in trials) or [0.0, 1.0]
    low, high = min(qualities), max(qualities)
    up = (low - 0.06 * (high - low or 1.0), high + 0.08 * (high - low or 1.0))
    log = bool(values) and min(values) > 0
    across = _across(values, log)
    ticks = axes.log_axis(across, 6) if log else axes.linear_axis(across, 6)
    shown = words.plain(arm)
    title = words.choice_title(choice)
    plane = Plane(
        Axis(across, ticks, title, log),
        Axis(up, axes.linear_axis(up, 6), log=False),
        palette_order(arms, *(t.arm for t in trials)),
    )
    dots, lines, ends, missed, rows = _tried(mine, choice, higher, plane, shown)
    layers = _layers(plane, dots, lines, ends, missed)
    if not layers:
        layers = [alt.Chart(alt.InlineData(values=[{}])).mark_text(style="note", text="no finished trial")]
    chart = alt.layer(*layers, height=260, title=words.plain(arm, 40))
    picks = [
        f"{words.number(t.values[choice])} at {words.tick(t.rung)}{' (edge of the sweep)' if choice in t.edges else ''}"
        for t in mine
        if t.chosen
    ]
    return Figure(
        name="tuning",
        title=f"Tuning of {shown}: validation quality against {title}",
        alt=f"Validation quality of {shown} against {title}, one line a rung. Chosen: {'; '.join(picks) or 'none'}.",
        body=lean(chart.to_dict(validate=False)),
        rows=rows,
    )


def _across(values: list[float], log: bool) -> axes.Domain:
    """A domain with room at the left for the names of the rungs."""
    shown = [math.log10(v) for v in values] if log else values
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    width = high - low or 1.0
    ends = (low - 0.26 * width, high + 0.08 * width)
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


def _tried(
    mine: list[Trial], choice: str, higher: bool, plane: Plane, shown: str
) -> tuple[Rows, Rows, Rows, Rows, Rows]:
    dots: Rows = []
    lines: Rows = []
    ends: Rows = []
    missed: Rows = []
    rows: Rows = []
    worst = plane.up.domain[0 if higher else 1]
    for rung in sorted({t.rung for t in mine}):
        best: dict[float, float] = {}
        for t in (t for t in mine if t.rung == rung):
            value = t.values[choice]
            quality = axes.finite([t.quality])
            rows.append(
                {
                    "arm": t.arm,
                    "rung": rung,
                    **t.values,
                    "quality": quality[0] if quality else None,
                    "seeds": t.seeds,
                    "chosen": t.chosen,
                    "edges": " ".join(t.edges),
                    "added": t.added,
                }
            )
            row = {
                "arm": shown,
                "at": value,
                "rung": words.tick(rung),
                "tried": ", ".join(f"{words.choice_title(k)} {words.number(v)}" for k, v in t.values.items()),
            }
            if not quality:
                missed.append({**row, "value": worst, "said": "given up early" if t.dropped else "diverged"})
                continue
            row |= {"value": quality[0], "said": words.quality(quality[0]), "chosen": t.chosen}
            row["text"] = "edge" if choice in t.edges else ""
            dots.append(row)
            best[value] = (max if higher else min)(best.get(value, quality[0]), quality[0])
        path = [{"arm": shown, "at": v, "value": q, "rung": words.tick(rung)} for v, q in sorted(best.items())]
        lines += path
        if path:
            ends.append({**path[0], "text": words.tick(rung)})
    return dots, lines, ends, missed, rows


def _layers(plane: Plane, dots: Rows, lines: Rows, ends: Rows, missed: Rows) -> list[alt.Chart]:
    import altair as alt

    tips = [alt.Tooltip(f"{c}:N", title=t) for c, t in (("tried", "tried"), ("said", "quality"), ("rung", "rung"))]
    place = {"x": plane.x(), "y": plane.y(), **plane.colour(), "tooltip": tips}
    joined = {"x": plane.x(), "y": plane.y(), **plane.colour(), "detail": alt.Detail("rung:N")}
    flagged = [d for d in dots if d["chosen"] and d["text"]]
    return [
        *plane.marks(lines, "line", joined, strokeWidth=1.5, opacity=0.75),
        *plane.hollow([d for d in dots if not d["chosen"]], size=30, tooltip=tips),
        *plane.marks([d for d in dots if d["chosen"]], "point", place, filled=True, size=110, opacity=1),
        *plane.marks(missed, "text", place, text="×", fontSize=16, fontWeight=700),
        *plane.texts(ends, {"align": "right", "baseline": "middle", "dx": -7}, style="note"),
        *plane.texts(flagged, {"align": "center", "baseline": "top", "dy": 9}, style="label"),
    ]

"""All comparisons of a study at a glance: each verdict's gain with its interval on one logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from isoloss.gains.result import GainCurve
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.gain import EQUIVALENCE
from isoloss.report.figures.plane import Axis, Plane

#: A row's height; the page holds this much room for each before the figure is drawn.
ROW = 36
_ROOM = 0.42  # of the axis, free at the right for what each row says
_LONG = 18  # characters of a row's name that fit on one line of a telephone
_SHAPES = {"gain": "triangle-up", "loss": "triangle-down", "none": "square", "unknown": "circle"}
_TRENDS = {"grows": "↗ grows", "shrinks": "↘ shrinks", "constant": "→ constant", "unknown": ""}


def by_size(curves: Sequence[GainCurve]) -> list[int]:
    """The comparisons as the figure and the page list them: the largest gain first, an arm's own copy last."""
    return sorted(range(len(curves)), key=lambda k: (curves[k].twin, -_middle(curves[k])))


def figure_overview(curves: Sequence[GainCurve], measures: Sequence[str] = ()) -> Figure:
    """One row a comparison, sign and colour by its verdict; `measures` says of each what it is in, where needed."""
    import altair as alt

    measures = list(measures) or [""] * len(curves)
    order = by_size(curves)
    seen = [v for c in curves for v in axes.positive([c.verdict.gain])]
    ends = [e for c in curves for e in axes.positive(c.verdict.interval or ())]
    low, high = axes.reach([0.8, 1.25, *seen], ends)
    across = (low, high * (high / low) ** _ROOM)
    rows = [{**_row(curves[k], k, measures[k], (low, high)), "end": across[1]} for k in order]
    names = [str(r["title"]) for r in rows]
    ticks = axes.labelled(axes.log_ticks((low, high), 7, anchor=1.0), lambda v: f"{words.tick(v)}×")
    plane = Plane(Axis(across, ticks, "gain: times less, at equal quality"), Axis((0.0, 1.0), log=False), ())
    y = alt.Y(
        "title:N",
        sort=names,
        scale=alt.Scale(domain=names),
        title=None,
        axis=alt.Axis(labelLimit=165, labelFontSize=12, grid=False, **_in_two_lines(names)),
    )
    tips = [alt.Tooltip(f"{c}:N") for c in ("comparison", "gain", "interval", "at", "level", "trend")]
    ranged = {"x": plane.x("low"), "x2": "high:Q", "y": y}
    place = {"x": plane.x("value"), "y": y}
    layers = [
        *plane.marks([dict(zip(("low", "high"), EQUIVALENCE, strict=True))], "rect",
                     {"x": plane.x("low"), "x2": "high:Q"}, style="rope"),
        *plane.marks([{"value": 1.0}], "rule", {"x": plane.x("value")}, style="unity"),
    ]  # fmt: skip
    for level, shape in _SHAPES.items():
        mine = [r for r in rows if r["sign"] == level]
        layers += plane.marks([r for r in mine if "low" in r], "rule", ranged, style=level, strokeWidth=2.5)
        open_ends = [{**r, "value": r[end]} for r in mine for end in ("low", "high") if r.get(f"open_{end}")]
        layers += plane.marks(open_ends, "point", place, style=level, shape="diamond", size=50, filled=True, opacity=1)
        look = {"size": 120, "shape": shape, "opacity": 1, "strokeWidth": 2.5, "tooltip": True}
        drawn = [r for r in mine if "value" in r]
        if level == "unknown":
            layers += plane.marks(drawn, "point", place, style="surface", filled=True, size=120, shape=shape, opacity=1)
        layers += plane.marks(
            drawn, "point", {**place, "tooltip": tips}, style=level, filled=level != "unknown", **look
        )
    # a column of its own, from the right edge inwards: it is cut at no width
    said = {"x": plane.x("end"), "y": y, "text": "text:N"}
    beside = {"align": "right"}
    layers += plane.marks(rows, "text", {**said}, style=["label", "halo"], **beside)
    layers += plane.marks(rows, "text", {**said, "tooltip": tips}, style="label", **beside)
    # the whole row can be pointed at and clicked
    layers += plane.marks(rows, "rect", {"y": y, "tooltip": tips}, opacity=0, cursor="pointer")
    chart = alt.layer(*layers, height=ROW * len(rows))
    title = f"{words.plural(len(curves), 'comparison')}: gains with 95% intervals"
    told = "; ".join(f"{r['comparison']}: {r['gain']} ({r['level']}, {r['trend']})" for r in rows)
    return Figure("overview", title, f"{title}. {told}.", lean(chart.to_dict(validate=False)), _data(curves, order))


def _in_two_lines(names: Sequence[str]) -> dict[str, Any]:
    """An axis whose labels break before "vs" where one would be too long: a telephone has no room beside them."""
    if max(map(len, names), default=0) <= _LONG:
        return {}
    return {
        "labelExpr": "split(replace(datum.label, ' vs ', '\\nvs '), '\\n')",
        "labelLineHeight": 14,
        "labelOffset": -7,
    }


def _middle(curve: GainCurve) -> float:
    verdict = curve.verdict
    if verdict.gain is not None and verdict.gain > 0:
        return math.log(verdict.gain)
    ends = [math.log(e) for e in axes.positive(verdict.interval or ())]
    return sum(ends) / len(ends) if ends else 0.0


def _row(curve: GainCurve, number: int, measure: str, inside: axes.Domain) -> dict[str, Any]:
    verdict = curve.verdict
    pair = f"{words.plain(curve.candidate, 40)} vs {words.plain(curve.baseline, 40)}"
    known = words.headline(verdict.gain, verdict.interval)
    row: dict[str, Any] = {
        "title": f"{pair}{measure and ', ' + measure}",
        "comparison": pair,
        "anchor": f"comparison-{number + 1}",
        "sign": verdict.level if verdict.level in _SHAPES else "unknown",
        "gain": known,
        "interval": words.span_times(verdict.interval),
        "at": words.tick(verdict.at) if verdict.at is not None else words.NOTHING,
        "level": {"gain": "a gain", "loss": "a loss", "none": "no gain"}.get(verdict.level, "not settled"),
        "trend": _TRENDS.get(verdict.trend) or "trend not settled",
    }
    row["text"] = "not known" if known == words.NOTHING else f"{known} {_TRENDS.get(verdict.trend, '')[:1]}".strip()
    if verdict.gain is not None and verdict.gain > 0 and known == words.times(verdict.gain):
        row["value"] = axes.clamp(verdict.gain, inside)
    if verdict.interval is not None and not any(map(math.isnan, verdict.interval)):
        low, high = (axes.clamp(end, inside) for end in verdict.interval)
        row |= {"low": low, "high": high}
        row |= {"open_low": verdict.interval[0] < inside[0], "open_high": verdict.interval[1] > inside[1]}
    return row


def _data(curves: Sequence[GainCurve], order: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for c in (curves[k] for k in order):
        low, high = c.verdict.interval or (None, None)
        row: dict[str, Any] = {
            "candidate": c.candidate,
            "baseline": c.baseline,
            "resource": c.resource,
        }
        row |= {"index": c.verdict.index, "at": c.verdict.at, "gain": c.verdict.gain, "low": low, "high": high}
        rows.append(row | {"region": c.verdict.region, "level": c.verdict.level, "trend": c.verdict.trend})
    return rows

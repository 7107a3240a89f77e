"""The gain curve: how many times less of a resource, at every budget, with what was measured and what was not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from isoloss.gains.result import Band, GainCurve, GainPoint
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.bands import Stretch, band_layers, stretches
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import Axis, Plane, Rows, palette_order

if TYPE_CHECKING:
    import altair as alt

#: Gains between these are practically equal to one (DESIGN, decision 7).
EQUIVALENCE = (0.95, 1.05)
_MOST_LABELS = 7


def figure_gain(curve: GainCurve, index: Literal["old", "new"] = "old", arms: Sequence[str] = ()) -> Figure:
    """The gain under one index. `arms` fixes the colours (the study's arms in order)."""
    import altair as alt

    owner = words.plain(curve.baseline if index == "old" else curve.candidate, 24)
    resource = words.resource_title(curve.resource)
    band = curve.old if index == "old" else curve.new
    points = [p for p in curve.points if p.index == index]
    asked = [p for p in curve.asked if p.index == index]
    x_domain = axes.padded(axes.positive([*band.at, *(p.at for p in points)]), share=0.03)
    inside = [p for p in asked if x_domain[0] <= p.at <= x_domain[1]]
    y_domain = _gain_domain(band, [*points, *inside])
    plane = Plane(
        Axis(x_domain, axes.log_axis(x_domain, 8), f"{owner}’s {words.resource_axis(curve.resource)}"),
        Axis(y_domain, axes.labelled(axes.log_ticks(y_domain, 7, anchor=1.0), _tick)),
        palette_order(arms, curve.baseline, curve.candidate),
    )
    parts = stretches(band, plane)
    arm = words.plain(curve.candidate)
    layers = [
        *_backdrop(plane, parts),
        *band_layers(parts, arm, plane),
        *_point_layers(points, arm, plane),
        *_point_layers(inside, arm, plane, "diamond"),
    ]
    chart = alt.layer(*layers, height=330, title=f"Gain: times less {resource}")
    pair = f"{words.plain(curve.candidate)} over {words.plain(curve.baseline)}"
    unit = words.resource_unit(curve.resource)
    said = "; ".join(f"{words.gain(p)} at {words.amount(p.at, unit)} ({p.region})" for p in points) or "no points"
    return Figure(
        name=f"gain-curve-{index}",
        title=f"Gain of {pair}, by {owner}’s {resource}",
        alt=f"Gain of {pair} as a function of {owner}’s {resource}: {said}.",
        body=lean(chart.to_dict(validate=False)),
        rows=_rows(band, index, points, asked),
    )


def _tick(value: float) -> str:
    return f"{words.tick(value)}×"


def _gain_domain(band: Band, points: list[GainPoint]) -> axes.Domain:
    """All that was measured in full, and as much of the extrapolation as leaves that readable."""
    core: list[float | None] = [0.85, 1.18]
    wide: list[float | None] = []
    for p in points:
        (core if p.region in ("measured", "censored") else wide).extend(p.interval or ())
        core.append(p.gain)
    for value, low, high, region in zip(band.value, band.low, band.high, band.region, strict=True):
        (core if region == "measured" else wide).extend([value, low, high])
    centre = [math.log10(g) for g in axes.positive(p.gain for p in points)] or [0.0]
    near, far = min(*centre, 0.0) - 1.5, max(*centre, 0.0) + 1.5
    return axes.reach([v for v in axes.positive(core) if near <= math.log10(v) <= far], axes.positive(wide))


def _backdrop(plane: Plane, parts: list[Stretch]) -> list[alt.Chart]:
    """What lies behind the data: regions by name, the line of no gain and what is practically equal to it."""
    (left, right), (bottom, top) = plane.across.domain, plane.up.domain
    beyond: Rows = []
    labels: Rows = []
    edges: Rows = []
    for k, part in enumerate(parts):
        a = left if k == 0 else part.points[0]["at"]
        b = right if k == len(parts) - 1 else part.points[-1]["at"]
        if part.region != "measured":
            beyond.append({"a": a, "b": b, "low": bottom, "high": top})
        if k:
            edges.append({"at": a})
        share = math.log(b / a) / math.log(right / left)
        if share > 0.13 and part.region != "undefined":
            labels.append({"at": math.sqrt(a * b), "value": top, "text": part.region, "share": share})
    box = {"x": plane.x("a"), "x2": "b:Q", "y": plane.y("low"), "y2": "high:Q"}
    note = {"x": plane.x(), "y": plane.y(), "text": "text:N"}
    equal = [{"a": left, "b": right, "low": EQUIVALENCE[0], "high": EQUIVALENCE[1]}]
    none = [{"at": right, "value": EQUIVALENCE[0], "text": "no gain (within 5%)"}]
    wide = [r for r in labels if r["share"] > 0.25]
    narrow = [r for r in labels if r["share"] <= 0.25]
    return [
        *plane.marks(beyond, "rect", box, style="beyond", clip=True),
        *plane.marks(equal, "rect", box, style="rope", clip=True),
        *plane.marks(edges, "rule", {"x": plane.x()}, style="boundary"),
        *plane.marks([{"value": 1.0}], "rule", {"y": plane.y()}, style="unity"),
        *plane.marks(wide, "text", note, style="note", baseline="top", dy=4),
        *plane.marks(narrow, "text", note, style="note", baseline="top", dy=4, opacity=plane.shown_from(520)),
        *plane.marks(none, "text", note, style="note", baseline="top", align="right", dx=-4, dy=4),
    ]


def _point_layers(points: list[GainPoint], arm: str, plane: Plane, shape: str = "circle") -> list[alt.Chart]:
    import altair as alt

    rows = [_drawn(p, arm, plane.up.domain, shape) for p in points]
    every = max(1, math.ceil(len(rows) / _MOST_LABELS))
    named = [r for k, r in enumerate(reversed(rows)) if k % every == 0 and "value" in r]
    label = {"align": "center", "baseline": "bottom", "dy": -8}
    titles = {"gain": "gain", "interval": "95% interval", "budget": "at", "region": "how known", "note": "note"}
    tips = [alt.Tooltip(f"{column}:N", title=title) for column, title in titles.items()]
    ranged = {"x": plane.x(), "y": plane.y("low"), "y2": "high:Q", **plane.colour()}
    place = {"x": plane.x(), "y": plane.y(), "tooltip": tips}
    solid = [r for r in rows if r["region"] == "measured"]
    dashed = [r for r in rows if r["region"] in ("extrapolated", "withheld")]
    hollow = [r for r in dashed if "value" in r]
    ends = [
        {**r, "value": plane.up.domain[k], "shape": sign}
        for r in rows
        for k, sign in enumerate(("triangle-down", "triangle-up"))
        if r.get(("open_low", "open_high")[k])
    ]
    gone = [{**r, "value": plane.up.domain[0]} for r in rows if "value" not in r and "low" not in r]
    return [
        *plane.marks([r for r in solid if "low" in r], "rule", ranged, strokeWidth=2),
        *plane.marks([r for r in dashed if "low" in r], "rule", ranged, strokeWidth=1.75, strokeDash=[3, 3]),
        *plane.dots(ends, size=60),
        *plane.dots([r for r in solid if "value" in r], size=90, tooltip=tips),
        *plane.hollow(hollow, size=80, shape=shape, tooltip=tips),
        *plane.dots([r for r in rows if r["region"] == "censored" and "value" in r], size=150, tooltip=tips),
        *plane.marks(gone, "text", place, style="ink", text="×", fontSize=18, dy=-8),
        *plane.texts(named[::2], label, y="label_at"),
        *plane.texts(named[1::2], {**label, "opacity": plane.shown_from(450)}, y="label_at"),
    ]


def _drawn(point: GainPoint, arm: str, up: axes.Domain, shape: str) -> dict[str, Any]:
    """One point as the marks need it: clamped numbers, ready words, arrows where it leaves the axes."""
    low, high = point.interval or (math.nan, math.nan)
    row: dict[str, Any] = {
        "arm": arm,
        "at": point.at,
        "region": point.region,
        "gain": words.gain(point),
        "interval": words.span_times(point.interval),
        "budget": words.tick(point.at),
        "note": words.plain(point.note, 90) or words.NOTHING,
        "text": words.gain(point),
        "shape": shape,
    }
    if point.region == "censored":
        bound = low if math.isinf(high) else high
        if math.isfinite(bound) and bound > 0:
            sign = "triangle-up" if math.isinf(high) else "triangle-down"
            row |= {"value": axes.clamp(bound, up), "label_at": axes.clamp(bound, up), "shape": sign}
        return row
    if point.gain is not None and math.isfinite(point.gain) and point.gain > 0:
        row["value"] = row["label_at"] = axes.clamp(point.gain, up)
    if not (math.isnan(low) or math.isnan(high)):
        row |= {"low": axes.clamp(low, up), "high": axes.clamp(high, up)}
        row |= {"open_low": low < up[0], "open_high": high > up[1]}
        if "value" in row and math.log(row["high"] / row["value"]) < 0.3 * math.log(up[1] / up[0]):
            row["label_at"] = row["high"]
    return row


def _rows(band: Band, index: str, points: list[GainPoint], asked: list[GainPoint]) -> Rows:
    named = ("what", "index", "at", "gain", "low", "high", "region", "decades_out")
    rows: list[tuple[Any, ...]] = []
    for what, chosen in (("rung", points), ("asked", asked)):
        for p in chosen:
            low, high = p.interval or (None, None)
            rows.append((what, index, p.at, p.gain, low, high, p.region, p.decades_out))
    for at, value, low, high, region in zip(band.at, band.value, band.low, band.high, band.region, strict=True):
        rows.append(("curve", index, at, value, low, high, region, None))
    return [dict(zip(named, row, strict=True)) for row in rows]

"""A curve with its band, so drawn that what was measured and what a law extrapolates can't be confused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from isoloss.gains.result import Band
from isoloss.report.figures.axes import Domain, clamp
from isoloss.report.figures.plane import Plane, Rows
from isoloss.report.qualities import Quality

if TYPE_CHECKING:
    import altair as alt

_HATCHES = 90


@dataclass(frozen=True)
class Stretch:
    """A run of neighbouring points of one region. So that lines join, what is not measured borrows the next point.

    What is measured borrows none: where a law and the measured curve differ, the step between them is the law's.
    """

    region: str
    points: Rows


def stretches(band: Band, plane: Plane, quality: Quality | None = None) -> list[Stretch]:
    """`band` cut at changes of region and held inside the axes; a band of qualities is turned to what people read."""
    out: list[Stretch] = []
    left, right = plane.across.domain
    for at, value, low, high, region in zip(band.at, band.value, band.low, band.high, band.region, strict=True):
        if not left <= at <= right:
            continue
        point = _held(at, value, low, high, plane.up.domain, quality or Quality())
        if not out or out[-1].region != region:
            before = out[-1] if out else None
            out.append(Stretch(region, []))
            if before is not None and before.region == "measured":
                out[-1].points.append({k: v for k, v in before.points[-1].items() if k in point})
            elif before is not None:
                before.points.append({k: v for k, v in point.items() if k in before.points[-1]})
        out[-1].points.append(point)
    return out


def _held(
    at: float, value: float | None, low: float | None, high: float | None, up: Domain, quality: Quality
) -> dict[str, Any]:
    point: dict[str, Any] = {"at": at}
    if value is not None and up[0] <= quality.shown(value) <= up[1]:
        point["value"] = quality.shown(value)
    if low is not None and high is not None and not (math.isnan(low) or math.isnan(high)):
        below, above = quality.ends(low, high)
        point |= {"low": clamp(below, up), "high": clamp(above, up)}
    return point


def band_layers(parts: list[Stretch], arm: str, plane: Plane, hatch: bool = True) -> list[alt.Chart]:
    """Layers of a band: filled and solid where measured; hatched and dashed where extrapolated."""
    layers: list[alt.Chart] = []
    ranged = {"x": plane.x(), "y": plane.y("low"), "y2": "high:Q", **plane.colour()}
    line = {"x": plane.x(), "y": plane.y(), **plane.colour()}
    for part in parts:
        measured = part.region == "measured"
        area = [{**p, "arm": arm} for p in part.points if "low" in p]
        centre = [{**p, "arm": arm} for p in part.points if "value" in p]
        if len(area) > 1:
            layers += plane.marks(area, "area", ranged, opacity=0.24 if measured else 0.07, clip=True)
            if not measured and hatch:
                layers += plane.marks(_hatched(area, plane), "rule", ranged, strokeWidth=1, opacity=0.3, clip=True)
        if len(centre) > 1 and part.region != "withheld":
            look = {"strokeWidth": 2.5} if measured else {"strokeWidth": 1.75, "strokeDash": [6, 4]}
            layers += plane.marks(centre, "line", line, clip=True, **look)
    return layers


def _hatched(area: Rows, plane: Plane) -> Rows:
    """Evenly spaced upright strokes across an extrapolated area, interpolated on its logarithmic axis."""
    left, right = plane.across.domain
    step = math.log10(right / left) / _HATCHES
    out: Rows = []
    for p, q in pairwise(area):
        a, b = math.log10(p["at"]), math.log10(q["at"])
        for k in range(math.ceil(a / step), math.ceil(b / step)):
            t = (k * step - a) / (b - a)
            ends = {end: _between(p[end], q[end], t, plane.up.log) for end in ("low", "high")}
            out.append({"at": 10 ** (k * step), "arm": p["arm"], **ends})
    return out


def _between(left: float, right: float, t: float, log: bool) -> float:
    return float(left ** (1 - t) * right**t) if log else left + t * (right - left)

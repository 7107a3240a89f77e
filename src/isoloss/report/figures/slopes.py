"""How the gain changes with scale: every estimate of its slope beside what is practically constant."""

from __future__ import annotations

import math

from isoloss.gains.result import GainCurve, Interval
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import Axis, Plane, Rows

#: Slopes between these are practically constant (docs/verdicts.md).
CONSTANT = (-0.02, 0.02)
ROW = 34
_LEAST, _MOST = 0.15, 2.0


def slope_rows(curve: GainCurve) -> Rows:
    """Every estimate of the slope: those that the verdict rests on, then the laws' under other floors."""
    found: list[tuple[str, float | None, Interval | None, bool]] = []
    for s in curve.slopes or (curve.slope,):
        found.append((words.plain(s.basis, 30), s.value, s.interval, s.basis == curve.slope.basis))
    for f in curve.floors:
        if not f.chosen:
            found.append((f"laws, floor {words.plain(f.kind, 12)}", f.slope, f.slope_interval, False))
    kept: dict[str, dict[str, object]] = {}
    for basis, value, interval, used in found:
        if value is not None and math.isfinite(value):
            low, high = interval or (None, None)
            kept.setdefault(basis, {"basis": basis, "slope": value, "low": low, "high": high, "used": used})
    return list(kept.values())


def figure_slopes(curve: GainCurve) -> Figure:
    """The slopes of one comparison. One must be known: `slope_rows`."""
    import altair as alt

    found = slope_rows(curve)
    centre = [r["slope"] for r in found]
    reach = max(_LEAST, 1.15 * max(abs(v) for v in axes.finite(centre)))
    wide = max([reach, *(abs(v) for r in found for v in axes.finite([r["low"], r["high"]]))])
    reach = min(1.05 * wide, max(reach, _MOST))
    across = (-reach, reach)
    plane = Plane(
        Axis(across, axes.linear_axis(across, 7), "slope d ln G / d ln C (old index)", log=False),
        Axis((0.0, 1.0), log=False),
        (),
    )
    names = [str(r["basis"]) for r in found]
    y = alt.Y(
        "basis:N", sort=names, scale=alt.Scale(domain=names), title=None, axis=alt.Axis(labelLimit=165, grid=False)
    )
    rows: Rows = []
    for r in found:
        row = {"basis": r["basis"], "value": axes.clamp(r["slope"], across), "used": r["used"]}
        ends = axes.finite([r["low"], r["high"]])
        if len(ends) == 2:
            row |= {"low": axes.clamp(ends[0], across), "high": axes.clamp(ends[1], across)}
        row["said"] = words.signed(r["slope"], 2)
        row["interval"] = words.limits((ends[0], ends[1]), 2, sign=True) if len(ends) == 2 else words.NOTHING
        rows.append(row)
    tips = [alt.Tooltip("basis:N", title="estimate"), alt.Tooltip("said:N", title="slope"), alt.Tooltip("interval:N")]
    ranged = {"x": plane.x("low"), "x2": "high:Q", "y": y}
    place = {"x": plane.x("value"), "y": y, "tooltip": tips}
    used, others = [r for r in rows if r["used"]], [r for r in rows if not r["used"]]
    zone = {"x": plane.x("low"), "x2": "high:Q"}
    layers = [
        *plane.marks([dict(zip(("low", "high"), CONSTANT, strict=True))], "rect", zone, style="rope"),
        *plane.marks([{"value": 0.0}], "rule", {"x": plane.x("value")}, style="unity"),
        *plane.marks([r for r in rows if "low" in r], "rule", ranged, style="ink", strokeWidth=2),
        *plane.marks(used, "point", place, style="ink", filled=True, size=95, opacity=1),
        *plane.marks(others, "point", place, style="surface", filled=True, size=70, opacity=1),
        *plane.marks(others, "point", place, style="ink", filled=False, size=70, opacity=1, strokeWidth=2),
    ]
    title = alt.Title("← shrinks with scale  ·  grows with scale →", frame="bounds")
    chart = alt.layer(*layers, height=ROW * len(rows), title=title)
    pair = f"{words.plain(curve.candidate)} over {words.plain(curve.baseline)}"
    said = "; ".join(f"{r['basis']} {r['said']} ({r['interval']})" for r in rows)
    return Figure(
        name="slope",
        title=f"Slope of the gain of {pair}",
        alt=f"How the gain of {pair} changes with scale, d ln G / d ln C: {said}. Within ±0.02 is called constant.",
        body=lean(chart.to_dict(validate=False)),
        rows=found,
    )

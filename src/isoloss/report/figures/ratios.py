"""What the gain costs elsewhere: the ratio of every other resource at equal quality, on one axis around one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isoloss.gains.analysis import Cost
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.gain import EQUIVALENCE
from isoloss.report.figures.plane import Axis, Plane, palette_order


def figure_ratios(costs: Sequence[Cost], arms: Sequence[str] = ()) -> Figure:
    """One row a resource; right of one the candidate needs less of it too, left of one the gain is bought there."""
    import altair as alt

    baseline, candidate = (words.plain(getattr(costs[0], who)) for who in ("baseline", "candidate"))
    latest = max(c.at for c in costs)
    resources = list(dict.fromkeys(c.resource for c in sorted(costs, key=lambda c: -_order(c, latest))))
    ratios = axes.positive(c.ratio for c in costs)
    near = axes.positive(e for c in costs for e in c.interval or ())
    across = axes.reach([*ratios, 0.7, 1.4], near, room=0.3)
    plane = Plane(
        Axis(
            across,
            axes.labelled(axes.log_ticks(across, 7, anchor=1.0), lambda v: f"{words.tick(v)}×"),
            "baseline’s amount ÷ candidate’s",
        ),
        Axis((0.0, 1.0), log=False),
        palette_order(arms, baseline, candidate),
    )
    rows = [_row(c, across, candidate, c.at == latest) for c in costs]
    titles = [words.resource_title(r) for r in resources]
    row_of = alt.Y(
        "title:N", sort=titles, scale=alt.Scale(domain=titles), title=None, axis=alt.Axis(labelLimit=150, grid=False)
    )
    point = {"x": plane.x("value"), "y": row_of}
    shown = {
        **point,
        **plane.colour(),
        "tooltip": [alt.Tooltip(f"{c}:N") for c in ("resource", "ratio", "interval", "at")],
    }
    ranged = {"x": plane.x("low"), "x2": "high:Q", "y": row_of, **plane.colour()}
    zone = {"x": plane.x("low"), "x2": "high:Q"}
    drawn = [r for r in rows if "value" in r]
    last = [r for r in drawn if r["last"]]
    words_of = {"x": plane.x("value"), "y": row_of, "text": "text:N"}
    label = {"align": "center", "baseline": "bottom", "dy": -7}
    layers = [
        *plane.marks([dict(zip(("low", "high"), EQUIVALENCE, strict=True))], "rect", zone, style="rope"),
        *plane.marks([{"value": 1.0}], "rule", {"x": plane.x("value")}, style="unity"),
        *plane.marks([r for r in rows if r["last"] and "low" in r], "rule", ranged, strokeWidth=2),
        *plane.marks([r for r in drawn if not r["last"]], "point", shown, filled=True, size=34, opacity=0.4),
        *plane.marks(last, "point", shown, filled=True, size=95, opacity=1),
        *plane.marks(last, "text", words_of, style="halo", **label),
        *plane.marks(last, "text", words_of, style="label", **label),
    ]
    title = alt.Title(f"← {candidate[:18]} needs more  ·  needs less →", frame="bounds")
    chart = alt.layer(*layers, height=44 * len(titles), title=title)
    said = "; ".join(f"{r['resource']} {r['ratio']}" for r in rows if r["last"])
    return Figure(
        name="costs",
        title=f"What {candidate} needs of other resources to match {baseline}",
        alt=f"Baseline’s amount divided by {candidate}’s at equal quality: {said}.",
        body=lean(chart.to_dict(validate=False)),
        rows=[
            {"baseline": c.baseline, "candidate": c.candidate, "resource": c.resource, "at": c.at, "ratio": c.ratio}
            | dict(zip(("low", "high"), c.interval or (None, None), strict=True))
            for c in costs
        ],
    )


def _order(cost: Cost, latest: float) -> float:
    known = cost.at == latest and math.isfinite(cost.ratio)
    return cost.ratio if known else -1.0


def _row(cost: Cost, across: axes.Domain, candidate: str, last: bool) -> dict[str, object]:
    title = words.resource_title(cost.resource)
    row: dict[str, object] = {"arm": candidate, "title": title, "resource": title, "last": last}
    row |= {
        "ratio": words.times(cost.ratio),
        "text": words.times(cost.ratio),
        "interval": words.span_times(cost.interval),
        "at": words.tick(cost.at),
    }
    if not math.isnan(cost.ratio):
        row["value"] = axes.clamp(cost.ratio, across)
    if cost.interval and not any(map(math.isnan, cost.interval)):
        row |= {"low": axes.clamp(cost.interval[0], across), "high": axes.clamp(cost.interval[1], across)}
    return row

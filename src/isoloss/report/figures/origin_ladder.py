"""Our measured gains over the LSTM beside the printed laws: dots with intervals against lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from isoloss.origin.result import OurLadder
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.origin import factor
from isoloss.report.figures.plane import Axis, Plane, Rows

if TYPE_CHECKING:
    import altair as alt

_LAWS = {"modern": "modern Transformer", "retro": "Transformer of 2017"}
_STEPS = {"transformer": _LAWS["modern"], "transformer-2017": _LAWS["retro"]}


def figure_our_ladder(ours: OurLadder, index: Literal["old", "new"]) -> Figure:
    """Gains over the LSTM under one index: the printed laws as lines, our own as dots with 95% bars.

    Solid where the paper trained models, dashed where its laws are extrapolated; the ground is shaded wherever neither
    the paper nor we measured. A bar without a dot is a bound.
    """
    import altair as alt

    who = {"old": "the LSTM’s", "new": "the Transformer’s"}[index]
    arms = tuple(_LAWS.values())
    laws: Rows = [
        {"arm": title, "at": p.budget, "value": getattr(p, f"{key}_{index}"), "measured": p.measured, "by": "law"}
        for key, title in _LAWS.items()
        for p in ours.laws
    ]
    dots: Rows = []
    for g in ours.gains:
        if g.index == index and g.innovation in _STEPS:
            low, high = g.interval or (None, None)
            dots.append(
                {"arm": _STEPS[g.innovation], "at": g.at, "value": g.gain, "low": low, "high": high, "study": g.study,
                 "measured": True, "by": "ours", "foretold": g.foretold}
            )  # fmt: skip
    budgets = [p.budget for p in ours.laws]
    across = axes.padded(budgets, share=0.03)
    values = axes.positive([*(r["value"] for r in laws), *(r["value"] for r in dots)])
    up = axes.padded(values, share=0.06)
    plane = Plane(
        Axis(across, axes.log_axis(across, 8), f"{who} training compute (FLOP)"),
        Axis(up, axes.labelled(axes.log_ticks(up, 7, anchor=1.0), lambda v: f"{words.tick(v)}×")),
        arms,
    )
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke", offset=14)
    colour = alt.Color("arm:N", scale=alt.Scale(domain=list(arms)), legend=legend)
    encode = {"x": plane.x(), "y": plane.y(), "color": colour}
    layers = _ground(laws, dots, plane)
    for arm in arms:
        mine = [r for r in laws if r["arm"] == arm]
        inside = [k for k, r in enumerate(mine) if r["measured"]]
        first, last = inside[0], inside[-1]
        layers += plane.marks(mine[first : last + 1], "line", encode, strokeWidth=2.75)
        for part in (mine[: first + 1], mine[last:]):
            layers += plane.marks(part, "line", encode, strokeWidth=1.5, strokeDash=[6, 4]) if len(part) > 1 else []
    tips = [alt.Tooltip(f"{c}:N", title=t) for c, t in (("gain", "ours"), ("interval", "95%"), ("law", "printed law"))]
    shown = [
        {**r, "gain": factor(r["value"]), "interval": words.span_times(_ends(r)), "law": factor(r["foretold"])}
        for r in dots
    ]
    bars = [
        {**r, "low": axes.clamp(r["low"], up), "high": axes.clamp(r["high"], up)} for r in shown if r["low"] is not None
    ]
    ranged = {"x": plane.x(), "y": plane.y("low"), "y2": "high:Q", **plane.colour()}
    layers += plane.marks([r for r in bars if r["value"] is not None], "rule", ranged, strokeWidth=2.5)
    bounds = {"strokeWidth": 1.5, "opacity": 0.45}
    layers += plane.marks([r for r in bars if r["value"] is None], "rule", ranged, **bounds)
    layers += plane.dots([{**r, "shape": "circle"} for r in shown if r["value"] is not None], 90, tooltip=tips)
    title = f"Our ladder and the printed laws, by {who} budget"
    said = "; ".join(
        f"{r['arm']} at {words.tick(r['at'])} FLOP: ours {r['gain'] if r['value'] else r['interval']}, law {r['law']}"
        for r in shown
    )
    chart = alt.layer(*layers, height=340)
    return Figure(f"our-ladder-{index}", title, f"{title}. {said}.", lean(chart.to_dict(validate=False)), laws + dots)


def _ends(row: dict[str, Any]) -> tuple[float, float] | None:
    low, high = row["low"], row["high"]
    return None if low is None or high is None else (low, high)


def _ground(laws: Rows, dots: Rows, plane: Plane) -> list[alt.Chart]:
    """Shading wherever neither the paper nor we measured, the names of the stretches, and the line of no gain."""
    left, right = plane.across.domain
    bottom, top = plane.up.domain
    theirs = [r["at"] for r in laws if r["measured"]]
    mine = [r["at"] for r in dots]
    known = sorted([(min(s), max(s), name) for s, name in ((mine, "our runs"), (theirs, "the paper’s runs")) if s])
    spans, edge = [], left
    for low, high, _ in known:
        if low > edge:
            spans.append((edge, low))
        edge = max(edge, high)
    if edge < right:
        spans.append((edge, right))
    names = [{"at": math.sqrt(low * high), "value": top, "text": name} for low, high, name in known]
    wide = [s for s in spans if math.log(s[1] / s[0]) > 0.2 * math.log(right / left)]
    names += [{"at": math.sqrt(a * b), "value": top, "text": "extrapolated"} for a, b in wide]
    box = {"x": plane.x("a"), "x2": "b:Q", "y": plane.y("low"), "y2": "high:Q"}
    shaded = [{"a": a, "b": b, "low": bottom, "high": top} for a, b in spans]
    note = {"x": plane.x(), "y": plane.y(), "text": "text:N"}
    room = plane.shown_from(420)
    return [
        *plane.marks(shaded, "rect", box, style="beyond", clip=True),
        *plane.marks(
            [{"at": e} for low, high, _ in known for e in (low, high)], "rule", {"x": plane.x()}, style="boundary"
        ),
        *plane.marks([{"value": 1.0}], "rule", {"y": plane.y()}, style="unity"),
        *plane.marks(names, "text", note, style="note", baseline="top", dy=4, opacity=room),
    ]

"""Figures of how far estimates scatter: over readings of the curves, over innovations, over who made the claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from isoloss.origin.spread import Claim, SingleGain, Specification
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.origin import INDEX_TITLES, factor, told
from isoloss.report.figures.plane import Axis, Plane, Rows
from isoloss.report.figures.rows import GainRows

_OPTION_STEP = 0.62  # decades between two rows of choices


def figure_specifications(curve: Sequence[Specification], published: float) -> Figure:
    """Every defensible reading of the curves in order of its total, and below, the choices it makes."""
    import altair as alt

    found = {"total_new": "new", "total_old": "old"}
    arms = tuple(INDEX_TITLES[v] for v in found.values())
    rows: Rows = []
    for rank, s in enumerate(curve, 1):
        for key, index in found.items():
            low, high = s.intervals.get(key, (None, None))
            row = {"rank": rank, "at": float(rank), "arm": INDEX_TITLES[index], "value": getattr(s, key)}
            rows.append(row | {"low": low, "high": high, "specification": told(s.label, 120), **s.choices})
    values = axes.positive(r["value"] for r in rows)
    bottom, top = 10 ** math.floor(math.log10(min(values))), max(values) * 4
    options = [(k, o) for k in curve[0].choices for o in dict.fromkeys(s.choices[k] for s in curve)]
    options = [(k, o) for k, o in options if len({s.choices[k] for s in curve}) > 1]
    places = {pair: bottom / 10 ** (_OPTION_STEP * (k + 1.4)) for k, pair in enumerate(options)}
    domain = (bottom / 10 ** (_OPTION_STEP * (len(options) + 1.4)), top)
    ticks = axes.log_ticks((bottom, top), 6, anchor=1.0)
    names = {round(math.log10(at), 9): _option(choice, option) for (choice, option), at in places.items()}
    labels = axes.labelled(
        [*ticks, *places.values()], lambda v: names.get(round(math.log10(v), 9), f"{words.tick(v)}×")
    )
    plane = Plane(
        Axis((0.0, len(curve) + 1.0), {"labels": False, "ticks": False}, "readings, from least to greatest", log=False),
        Axis(domain, {**labels, "labelLimit": 150, "labelOverlap": False}),
        arms,
    )
    tips = [alt.Tooltip("specification:N", title="reading"), alt.Tooltip("gain:N"), alt.Tooltip("interval:N")]
    shown = [_told(r) for r in rows if math.isfinite(r["value"])]
    chosen = [
        {"at": float(rank), "value": places[k, o]}
        for rank, s in enumerate(curve, 1)
        for k, o in s.choices.items()
        if (k, o) in places
    ]
    ranged = {"x": plane.x(), "y": plane.y("low"), "y2": "high:Q", **plane.colour()}
    bars = [r for r in shown if r["low"] is not None]
    held = [{**r, "low": max(r["low"], bottom), "high": min(r["high"], top)} for r in bars]
    colour = alt.Color(
        "arm:N", scale=alt.Scale(domain=list(arms)), legend=alt.Legend(title=None, orient="top", columns=1)
    )
    dots = {"x": plane.x(), "y": plane.y(), "color": colour, "tooltip": tips}
    line = [{"value": published, "at": 0.5, "text": f"published {factor(published)}"}]
    extremes = [_end(shown, arm, pick) for arm in arms for pick in (min, max)]
    first, last = ([e for e in extremes if e["which"] == w] for w in ("least", "greatest"))
    layers = [
        *plane.marks(line, "rule", {"y": plane.y()}, style="boundary"),
        *plane.texts(line, {"align": "left", "baseline": "bottom", "dx": 2, "dy": -3}, style="note"),
        *plane.marks(held, "rule", ranged, strokeWidth=1.5, opacity=0.5),
        *plane.marks(shown, "point", dots, filled=True, size=42, opacity=1),
        *plane.texts(first[:1], {"align": "left", "baseline": "bottom", "dy": -8}, style="arm"),
        *plane.texts(first[1:], {"align": "left", "baseline": "top", "dy": 8}, style="arm"),
        *plane.texts(last[:1], {"align": "right", "baseline": "bottom", "dy": -8}, style="arm"),
        *plane.texts(last[1:], {"align": "right", "baseline": "top", "dy": 8}, style="arm"),
        *plane.marks(
            chosen, "point", {"x": plane.x(), "y": plane.y()}, style="note", shape="square", filled=True, size=20
        ),
    ]
    title = "The total under every defensible reading of the authors’ curves"
    chart = alt.layer(*layers, height=260 + 17 * len(options))
    said = "; ".join(f"{e['arm']} {e['which']} {e['text']}" for e in extremes)
    return Figure("specifications", title, f"{title}: {said}.", lean(chart.to_dict(validate=False)), rows)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    ends = (row["low"], row["high"]) if row["low"] is not None else None
    return {**row, "gain": factor(row["value"]), "interval": words.span_times(ends)}


def _option(choice: str, option: str) -> str:
    """A choice in a word or two; a bare number needs what it is a number of."""
    bare = option.replace(".", "", 1).isdigit()
    return told(f"{choice} {option}" if bare else option, 34).replace("_", " ")


def _end(shown: Rows, arm: str, pick: Any) -> dict[str, Any]:
    row = pick((r for r in shown if r["arm"] == arm), key=lambda r: r["value"])
    return {**row, "text": words.times(row["value"]), "which": "least" if pick is min else "greatest"}


def figure_singles(gains: Sequence[SingleGain]) -> Figure:
    """Single gains in order of size: filled where measured, hollow where quoted."""
    ordered = sorted(gains, key=lambda g: -g.gain)
    rows: Rows = [
        {"title": f"{words.plain(g.name, 34)}, {g.year}", "value": g.gain, "budget": g.budget, "measured": g.measured}
        for g in ordered
    ]
    drawn = [{**r, "arm": "measured" if r["measured"] else "quoted", "text": factor(r["value"])} for r in rows]
    domain = axes.padded([1.0, 0.95, *(g.gain for g in gains)], share=0.08)
    sheet = GainRows([str(r["title"]) for r in rows], domain, ("quoted", "measured"), "gain (logarithmic)")
    layers = [
        *sheet.unity(),
        *sheet.points([r for r in drawn if r["measured"]], 80, hollow=False),
        *sheet.points([r for r in drawn if not r["measured"]], 80, hollow=True),
        *sheet.texts(drawn),
    ]
    said = "; ".join(f"{r['title']} {r['text']} ({r['arm']})" for r in drawn)
    return sheet.figure("single-gains", "Single gains, by size", said, layers, rows)


def figure_claims(claims: Sequence[Claim]) -> Figure:
    """Each innovation's gain as its originators claimed it, as later work found it, and as measured here."""
    kept = [c for c in claims if sum(v is not None for v in (c.claimed, c.later, c.ours)) > 0]
    kept.sort(key=lambda c: -(c.claimed or c.later or c.ours or 1.0))
    names = {"claimed": "originators", "later": "later work", "ours": "measured here"}
    titles = _titles(kept)
    rows: Rows = []
    for c, title in zip(kept, titles, strict=True):
        for key, arm in names.items():
            value = getattr(c, key)
            if value is not None:
                low, high = c.ours_interval or (None, None) if key == "ours" else (None, None)
                rows.append({"title": title, "arm": arm, "value": value, "low": low, "high": high})
    domain = axes.reach(
        [1.0, *(r["value"] for r in rows)], axes.positive(v for r in rows for v in (r["low"], r["high"]))
    )
    sheet = GainRows(titles, domain, tuple(names.values()), "gain (logarithmic)", legend=True)
    moved = [
        {"title": t, "low": c.claimed, "high": c.later, "arm": "later work"}
        for c, t in zip(kept, titles, strict=True)
        if c.claimed is not None and c.later is not None
    ]
    bars = [
        {**r, "low": axes.clamp(r["low"], domain), "high": axes.clamp(r["high"], domain)}
        for r in rows
        if r["low"] is not None
    ]
    drawn = [{**r, "text": factor(r["value"])} for r in rows]
    layers = [
        *sheet.unity(),
        *sheet.ranges(moved, strokeWidth=1.5, opacity=0.45),
        *sheet.ranges(bars, strokeWidth=2),
        *sheet.points([r for r in drawn if r["arm"] == "originators"], 90, hollow=True),
        *sheet.points([r for r in drawn if r["arm"] != "originators"], 90, hollow=False),
    ]
    said = "; ".join(
        f"{title}: " + ", ".join(f"{r['arm']} {factor(r['value'])}" for r in rows if r["title"] == title)
        for title in titles
    )
    return sheet.figure("claims", "Claims, and what became of them", said, layers, rows)


def _titles(claims: Sequence[Claim]) -> list[str]:
    """Name and year; the resource too where one innovation is judged by several."""
    names = [f"{words.plain(c.name, 34)}, {c.year}" for c in claims]
    named = [
        f"{n} ({words.plain(c.resource, 20)})" if names.count(n) > 1 else n for n, c in zip(names, claims, strict=True)
    ]
    return [n if named.count(n) == 1 else f"{n} #{k + 1}" for k, n in enumerate(named)]

"""The forest plot of the atlas: claimed, later and measured gains of every innovation on one logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure
from isoloss.report.figures.plane import Rows
from isoloss.report.figures.rows import GainRows
from isoloss.verbs.atlas import Row

NAMES = {"claimed": "originators", "later": "later work", "ours": "measured here"}


def drawn(rows: Sequence[Row]) -> list[Row]:
    """The rows that have a number to draw: those measured here first by size, then the published ones."""
    kept = [r for r in rows if r.claimed or r.later or (r.headline is not None and r.headline.interval is not None)]
    return sorted(kept, key=lambda r: (r.headline is None, -_size(r)))


def figure_atlas(rows: Sequence[Row]) -> Figure:
    """Each innovation's gain as claimed, as found later, and as measured here with its interval."""
    kept = drawn(rows)
    titles = [_title(r) for r in kept]
    points: Rows = []
    for row, title in zip(kept, titles, strict=True):
        for key, quoted in (("claimed", row.claimed), ("later", row.later)):
            if quoted is not None:
                points.append({"title": title, "arm": NAMES[key], "value": quoted.gain, "low": None, "high": None})
        if row.headline is not None:
            low, high = row.headline.interval or (None, None)
            points.append({"title": title, "arm": NAMES["ours"], "value": row.headline.gain, "low": low, "high": high})
    core = axes.positive(p["value"] for p in points)
    domain = axes.reach([0.9, 1.1, *core], axes.positive(e for p in points for e in (p["low"], p["high"])))
    sheet = GainRows(titles, domain, tuple(NAMES.values()), "gain (logarithmic)", legend=True)
    bars = [
        {**p, "low": axes.clamp(p["low"], domain), "high": axes.clamp(p["high"], domain)}
        for p in points
        if p["low"] is not None
    ]
    shown = [{**p, "text": words.times(p["value"])} for p in points if p["value"] is not None]
    ours = [p for p in shown if p["arm"] == NAMES["ours"]]
    layers = [
        *sheet.unity(),
        *sheet.ranges(bars, strokeWidth=2.5),
        *sheet.points([p for p in shown if p["arm"] == NAMES["claimed"]], 90, hollow=True),
        *sheet.points([p for p in shown if p["arm"] == NAMES["later"]], 70, hollow=False),
        *sheet.points(ours, 110, hollow=False),
    ]
    said = "; ".join(f"{p['title']}: {p['arm']} {p['text']}" for p in shown)
    return sheet.figure("atlas", "Claimed, found later, measured here", said, layers, points)


def _size(row: Row) -> float:
    top = row.headline
    if top is not None:
        ends = top.interval or (0.0, 0.0)
        return top.gain if top.gain is not None else ends[0] or min(ends[1], 1.0)
    quoted = row.later or row.claimed
    return quoted.gain if quoted is not None else 0.0


def _title(row: Row) -> str:
    name = words.plain(row.name, 34)
    other = row.resource.removeprefix("training ")
    return name if row.resource == "training FLOP" or not (row.claimed or row.later) else f"{name} ({other})"

"""The atlas's figures that follow its slider: how gains spread, how claims shrink, what adds up over the years.

Their data are two tables by name, ``gains`` (one row a number) and ``compute``; the page's script replaces ``gains``
when the budget moves, and all else (stacking, medians, running products) is worked out by the figure itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from isoloss.evidence.claims import constants
from isoloss.report import words
from isoloss.report.atlas_data import PUBLISHED, part
from isoloss.report.figures import axes
from isoloss.report.figures.atlas import NAMES
from isoloss.report.figures.canvas import Figure
from isoloss.report.figures.plane import Rows
from isoloss.verbs.atlas import Row

_BIN = 0.1  # width of a stack of dots, in ln of the gain
_SHOWN = list(NAMES.values())
_PLAIN = {"field": "who", "type": "nominal", "scale": {"domain": _SHOWN}, "legend": None}
#: The same in every layer of a figure: Vega-Lite merges legends, and warns where they differ.
_LEGEND = {"title": None, "orient": "bottom", "columns": 1, "symbolOpacity": 1}
_COLOUR = {**_PLAIN, "legend": _LEGEND}
#: Sources differ in more than colour.
_SHAPE = {**_COLOUR, "scale": {"domain": _SHOWN, "range": ["circle", "diamond", "circle"]}}
_HOLLOW = {"condition": {"test": "datum.region == 'measured'", "value": 1}, "value": 0}
_TIP = [
    {"field": "title", "type": "nominal", "title": " "},
    {"field": "who", "type": "nominal", "title": "from"},
    {"field": "said", "type": "nominal", "title": "gain"},
]


def gain_rows(rows: Sequence[Row], resource: str = "train_flops") -> Rows:
    """The ``gains`` table: every published number of `resource` and every gain of ours at the budget asked for."""
    out: Rows = []
    for row in rows:
        about = {"title": words.plain(row.name, 34), "year": row.year, "part": part(row)}
        if row.resource in PUBLISHED.get(resource, ()):
            for key, quoted in (("claimed", row.claimed), ("later", row.later)):
                if quoted is not None:
                    out.append(_number(about, key, quoted.gain, None, "measured"))
        s = row.standing
        if s is not None and s.gain is not None:
            out.append(_number(about, "ours", s.gain, s.interval, s.region))
    return out


def figure_distribution(gains: Rows, domain: axes.Domain) -> Figure:
    """A stack of dots for each source of gains, with its median."""
    x = f"exp(round(log(datum.gain) / {_BIN}) * {_BIN})"
    stacked = [
        {"calculate": x, "as": "x"},
        {"window": [{"op": "row_number", "as": "k"}], "groupby": ["who", "x"], "sort": [{"field": "gain"}]},
    ]
    layers: list[dict[str, Any]] = [_unity()]
    for k, who in enumerate(_SHOWN):
        mine = {"filter": f"datum.who == '{who}'"}
        level = f"{k + 1} - 0.085 * datum.k"
        middle = [{"aggregate": [{"op": "median", "field": "gain", "as": "gain"}, {"op": "count", "as": "n"}]}]
        said = "datum.n + (datum.n == 1 ? ' gain' : ' gains') + ', median ' + format(datum.gain, '.2f') + '×'"
        layers += [
            {
                "data": {"name": "gains"},
                "transform": [mine, *stacked, {"calculate": level, "as": "y"}],
                "mark": {"type": "point", "filled": False, "size": 75, "strokeWidth": 1.6, "opacity": 1},
                "encoding": {
                    "x": _x("x", domain), "y": _flat("y"), "color": _PLAIN,
                    "fill": _PLAIN, "fillOpacity": _HOLLOW, "tooltip": _TIP,
                },
            },
            {
                "data": {"name": "gains"},
                "transform": [mine, *middle, {"calculate": f"{k + 1} + 0.06", "as": "y"}],
                "mark": {"type": "point", "shape": "triangle-up", "filled": True, "size": 70, "style": "ink"},
                "encoding": {"x": _x("gain", domain), "y": _flat("y")},
            },
            {
                "data": {"name": "gains"},
                "transform": [mine, *middle, {"calculate": f"'{who}: ' + {said}", "as": "text"},
                              {"calculate": f"{k + 1} - 0.9", "as": "y"}],
                "mark": {"type": "text", "align": "left", "baseline": "top", "dx": 2},
                "encoding": {"x": {"value": 0}, "y": _flat("y"), "text": {"field": "text", "type": "nominal"}},
            },
        ]  # fmt: skip
    return _figure("atlas-distribution", "How large gains are, by who found them", 330, layers, gains, _spoken(gains))


def figure_shrink(gains: Rows, domain: axes.Domain) -> Figure:
    """One row for each innovation with numbers from two sources: as claimed, as found later, as measured here."""
    by_title: dict[str, dict[str, float]] = {}
    for g in gains:
        by_title.setdefault(g["title"], {})[g["who"]] = g["gain"]
    published = {t: v for t, v in by_title.items() if len(v) > 1 and v.keys() & set(_SHOWN[:2])}
    titles = sorted(published, key=lambda t: -next(published[t][w] for w in _SHOWN if w in published[t]))
    height = 27 * max(len(titles), 1)
    y = {"field": "title", "type": "nominal", "sort": titles, "scale": {"domain": titles}, "title": None,
         "axis": {"labelLimit": 170, "grid": True}}  # fmt: skip
    kept = [{"filter": {"field": "title", "oneOf": titles}}]
    ours = [*kept, {"filter": f"datum.who == '{NAMES['ours']}'"}]
    layers: list[dict[str, Any]] = [
        _unity(),
        {
            "data": {"name": "gains"}, "transform": ours, "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.28},
            "encoding": {"x": _x("low", domain), "x2": {"field": "high"}, "y": y, "color": _COLOUR},
        },
        {
            "data": {"name": "gains"}, "transform": kept,
            "mark": {"type": "line", "style": "unity", "strokeWidth": 1.5},
            "encoding": {"x": _x("gain", domain), "y": y, "detail": {"field": "title"},
                         "order": {"field": "stage", "type": "quantitative"}},
        },
        {
            "data": {"name": "gains"}, "transform": kept,
            "mark": {"type": "point", "filled": True, "size": 95, "style": "surface", "opacity": 1},
            "encoding": {"x": _x("gain", domain), "y": y, "shape": _SHAPE},
        },
        {
            "data": {"name": "gains"}, "transform": kept,
            "mark": {"type": "point", "filled": False, "size": 95, "strokeWidth": 2, "opacity": 1},
            "encoding": {"x": _x("gain", domain), "y": y, "color": _COLOUR, "shape": _SHAPE,
                         "fill": _COLOUR,
                         "fillOpacity": {"condition": {"test": "datum.region == 'measured' && datum.stage > 0",
                                                       "value": 1}, "value": 0},
                         "tooltip": _TIP},
        },
    ]  # fmt: skip
    shown = [g for g in gains if g["title"] in published]
    return _figure("atlas-shrink", "Claimed, found later, measured here", height, layers, shown, _spoken(shown), gains)


def figure_progress(gains: Rows, first: int, last: int) -> Figure:
    """Running products of the best gain in each part of the algorithm, by year, beside the growth of compute."""
    growth = float(constants()["stack.budget_growth"].value)
    most = growth ** (last - first)
    compute: Rows = [{"year": y, "total": growth ** (y - first)} for y in range(first, last + 1)]
    domain = (0.7, 10.0 ** math.ceil(math.log10(most)))
    years = {"field": "year", "type": "quantitative", "title": None, "axis": {"format": "d", "tickMinStep": 1},
             "scale": {"domain": [first - 0.4, last + 0.4], "nice": False}}  # fmt: skip
    ticks = axes.labelled(axes.log_ticks(domain, 7, anchor=1.0), lambda v: f"{words.tick(v)}×")
    y = {"field": "total", "type": "quantitative", "title": f"times as much as in {first} (logarithmic)",
         "scale": {"type": "log", "domain": list(domain), "nice": False}, "axis": ticks}  # fmt: skip
    running = [
        {"filter": f"datum.part != '' && datum.region == 'measured' && datum.gain > 1 && datum.year >= {first}"},
        {"joinaggregate": [{"op": "max", "field": "gain", "as": "best"}], "groupby": ["who", "part"]},
        {"filter": "datum.gain == datum.best"},
        {"calculate": "log(datum.gain)", "as": "log"},
        {"window": [{"op": "sum", "field": "log", "as": "sum"}], "sort": [{"field": "year"}, {"field": "title"}],
         "groupby": ["who"]},
        {"calculate": "exp(datum.sum)", "as": "total"},
        {"calculate": "format(datum.total, '.3') + '×'", "as": "product"},
    ]  # fmt: skip
    tips = [*_TIP, {"field": "year", "type": "quantitative", "format": "d"}, {"field": "product", "type": "nominal"}]
    layers: list[dict[str, Any]] = [
        {
            "data": {"name": "compute"}, "mark": {"type": "line", "style": "boundary", "strokeWidth": 2},
            "encoding": {"x": years, "y": y},
        },
        {
            "data": {"name": "compute"}, "transform": [{"filter": f"datum.year == {last - 3}"}],
            "mark": {"type": "text", "style": "note", "align": "right", "dx": -8, "dy": -6},
            "encoding": {"x": years, "y": y, "text": {"value": f"compute of the largest runs, {growth:g}× a year"}},
        },
        {
            "data": {"name": "gains"}, "transform": running,
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {"x": years, "y": y, "color": _COLOUR},
        },
        {
            "data": {"name": "gains"}, "transform": running,
            "mark": {"type": "point", "filled": False, "size": 55, "strokeWidth": 2, "opacity": 1},
            "encoding": {"x": years, "y": y, "color": _COLOUR, "fill": _COLOUR,
                         "fillOpacity": _HOLLOW, "tooltip": tips},
        },
    ]  # fmt: skip
    said = f"From {first} to {last} the compute of the largest runs grew {words.times(most)}"
    title = "What single gains add up to, beside the growth of compute"
    return _figure("atlas-progress", title, 330, layers, gains, said, compute=compute)


def _number(about: dict[str, Any], key: str, gain: float, ends: Any, region: str) -> dict[str, Any]:
    low, high = ends or (None, None)
    said = (
        words.times(gain) + (f" ({words.span(ends)})" if ends else "") + ("" if region == "measured" else ", " + region)
    )
    stage = list(NAMES).index(key)
    return {**about, "who": NAMES[key], "stage": stage, "gain": gain, "low": low, "high": high, "region": region,
            "said": said}  # fmt: skip


def _x(field: str, domain: axes.Domain) -> dict[str, Any]:
    ticks = axes.labelled(axes.log_ticks(domain, 6, anchor=1.0), lambda v: f"{words.tick(v)}×")
    return {"field": field, "type": "quantitative", "title": "gain (logarithmic)", "axis": ticks,
            "scale": {"type": "log", "domain": list(domain), "nice": False, "clamp": True}}  # fmt: skip


def _flat(field: str) -> dict[str, Any]:
    scale = {"domain": [len(_SHOWN) + 0.12, 0], "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": None}


def _unity() -> dict[str, Any]:
    return {"data": {"values": [{}]}, "mark": {"type": "rule", "style": "unity"}, "encoding": {"x": {"datum": 1}}}


def _spoken(gains: Iterable[dict[str, Any]]) -> str:
    return "; ".join(f"{g['title']}: {g['who']} {words.times(g['gain'])}" for g in gains)


def _figure(
    name: str, title: str, height: int, layers: list[dict[str, Any]], rows: Rows, said: str,
    table: Rows | None = None, compute: Rows | None = None,
) -> Figure:  # fmt: skip
    body: dict[str, Any] = {
        "height": height,
        "layer": layers,
        "datasets": {"gains": _whole(rows if table is None else table)},
    }
    if compute is not None:
        body["datasets"]["compute"] = compute
    return Figure(name, title, f"{title}. {said}.", body, [*rows])


def _whole(rows: Rows) -> Rows:
    """Ends that JSON can hold: an infinite one is left to the figure's edge."""
    edge = {math.inf: 1e9, 0.0: 1e-9}
    return [{k: edge.get(v, v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]

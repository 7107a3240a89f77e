"""Figures of where algorithmic progress came from: the accounting, and gains as budgets and years go by."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from isoloss.origin.accounts import Account, Allocation, LadderPoint
from isoloss.origin.result import Benefit, Growth
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import Axis, Plane, Rows

if TYPE_CHECKING:
    import altair as alt

#: How each composition is called wherever people read it.
INDEX_TITLES = {
    "as-published": "as published",
    "old": "at the old algorithm’s budget",
    "new": "at the new algorithm’s budget",
}
_BUDGET = "training compute (FLOP)"
_SMALL = 1.1  # a scale-invariant step below this is drawn together with its like


def factor(value: float | None) -> str:
    """A gain with the digits that an accounting needs: whole above 100, three digits below.

    >>> factor(21416.2), factor(726.15), factor(9.84), factor(1.04321), factor(2.13e7), factor(None), factor(math.inf)
    ('21,416×', '726×', '9.84×', '1.04×', '2.13×10⁷ times', '–', '∞')
    """
    if value is None or math.isnan(value):
        return words.NOTHING
    if math.isinf(value):
        return "∞"
    if not 1e-2 <= value < 999_999.5:
        return f"{words.scientific(value, 3)} times"
    return f"{value:,.0f}×" if value >= 99.95 else f"{words.fixed(value, words.decimals(value, 3))}×"


def told(text: object, limit: int | None = None) -> str:
    """Text from data as one line, its numbers as people write them.

    >>> told("cross at 5.5e+18 FLOP"), told("frontier, 1e16 up"), told("3.6e-06 C^0.73")
    ('cross at 5.5×10¹⁸ FLOP', 'frontier, 10¹⁶ up', '3.6×10⁻⁶ C^0.73')
    """
    line = words.plain(text, limit)
    return re.sub(r"\b(\d+(?:\.\d+)?[eE][+-]?\d+)\b", lambda m: words.scientific(float(m[1]), 4), line)


def figure_accounts(accounts: Sequence[Account], labels: Sequence[str], title: str) -> Figure:
    """Every account as one bar on a logarithmic axis, its steps laid end to end: lengths are shares of the log."""
    import altair as alt

    labels = [words.plain(name, 60) for name in labels]
    parts = [segments(a) for a in accounts]
    together = [s["arm"] for bar in parts for s in bar if s["small"]]  # first, and so in the quietest colour
    names = tuple(dict.fromkeys([*together, *(s["arm"] for bar in parts for s in bar)]))
    rows: Rows = []
    for label, account, bar in zip(labels, accounts, parts, strict=True):
        rows += [
            {**s, "account": label, "index": account.index, "budget": account.budget, "total": account.total}
            for s in bar
        ]
    across = (0.8, max(r["high"] for r in rows) * 9)
    plane = Plane(_times_axis(across, "gain, multiplied up (logarithmic)"), Axis((0.0, 1.0), log=False), names)
    row_of = alt.Y(
        "account:N",
        sort=labels,
        scale=alt.Scale(domain=labels, paddingInner=0.5, paddingOuter=0.35),
        title=None,
        axis=alt.Axis(labels=False, grid=False),
    )
    colour = alt.Color(
        "arm:N",
        scale=alt.Scale(domain=list(names)),
        legend=_legend("square"),
    )
    tips = [alt.Tooltip(f"{c}:N") for c in ("step", "gain", "share", "read at")]
    shown = [{**r, "gain": factor(r["factor"]), "read at": words.amount(r["at"], "FLOP", 3)} for r in rows]
    shown = [{**r, "step": r["arm"], "share": f"{r['share']:.1%}"} for r in shown]
    ends = [
        {"account": label, "high": max(s["high"] for s in bar), "text": factor(account.total)}
        for label, account, bar in zip(labels, accounts, parts, strict=True)
    ]
    inside = [
        {"account": r["account"], "at": math.sqrt(max(r["low"], 0.8) * r["high"]), "text": r["gain"]}
        for r in shown
        if math.log10(r["high"] / r["low"]) > 0.06 * math.log10(across[1] / across[0])
    ]
    heads = [{"account": label, "at": 1.0, "text": label} for label in labels]
    text = {"x": plane.x(), "y": row_of, "text": "text:N"}
    box = {"x": plane.x("low"), "x2": "high:Q", "y": row_of, "color": colour, "tooltip": tips}
    over = {"align": "left", "baseline": "bottom", "dy": -16}
    end_text = {**text, "x": plane.x("high")}
    layers = [
        *plane.marks(shown, "bar", box, height={"band": 0.9}),
        *plane.marks(inside, "text", text, style="surface", fontSize=11, fontWeight=600),
        *plane.marks(heads, "text", text, style="note", **over),
        *plane.marks(ends, "text", end_text, style="label", align="left", dx=6),
    ]
    said = "; ".join(
        f"{label}: {factor(a.total)} = " + " × ".join(f"{s['arm']} {factor(s['factor'])}" for s in bar)
        for label, a, bar in zip(labels, accounts, parts, strict=True)
    )
    chart = alt.layer(*layers, height=62 * len(labels))
    return Figure("accounts", title, f"{title}. {said}.", lean(chart.to_dict(validate=False)), rows)


def segments(account: Account) -> Rows:
    """The steps of an account laid end to end on a logarithmic axis, the small scale-invariant ones together."""
    small = [s for s in account.steps if s.kind == "scale-invariant" and s.factor < _SMALL]
    kept = [(s.name, s.factor, s.share, s.at) for s in account.steps if len(small) < 2 or s not in small]
    if len(small) >= 2:
        together = math.prod(s.factor for s in small), sum(s.share for s in small), small[-1].at
        kept.append((f"{len(small)} small changes together", *together))
    rows: Rows = []
    low = 1.0
    for k, (name, gain, share, at) in enumerate(kept):
        ends = sorted((low, low * gain))
        rows.append({"arm": words.plain(name, 60), "low": ends[0], "high": ends[1], "factor": gain, "share": share})
        rows[-1] |= {"at": at, "small": len(small) >= 2 and k == len(kept) - 1}
        low *= gain
    return rows


def figure_ladder(points: Sequence[LadderPoint], index: Literal["old", "new"]) -> Figure:
    """Gains over the LSTM along budgets under one index, from the printed laws."""
    who = {"old": "the LSTM’s", "new": "the Transformer’s"}[index]
    names = {"modern": "modern Transformer", "retro": "Transformer of 2017"}
    rows = [
        {"arm": title, "at": p.budget, "value": getattr(p, f"{key}_{index}"), "measured": p.measured, "index": index}
        for key, title in names.items()
        for p in points
    ]
    top = max(max(p.modern_new, p.modern_old) for p in points)
    return _lines(
        rows,
        f"ladder-{index}",
        f"Gain over the LSTM, by {who} budget",
        across=Axis(*_budgets([p.budget for p in points]), title=f"{who} {_BUDGET}"),
        up=_times_axis((0.7, top * 3)),
    )


def figure_allocation(allocation: Allocation) -> Figure:
    """Kaplan's allocation against the optimal one along budgets under both indexes, and the printed asymptote."""
    names = {
        "old": "at Kaplan’s budget",
        "new": "at the optimal allocation’s budget",
        "asymptote": "asymptote as printed",
    }
    rows = [
        {"arm": title, "at": p.budget, "value": getattr(p, key), "measured": False}
        for key, title in names.items()
        for p in allocation.points
    ]
    top = max(max(p.old, p.new) for p in allocation.points)
    rows = [r for r in rows if r["value"] >= 0.8]
    return _lines(
        rows,
        "allocation",
        "Gain of the optimal allocation over Kaplan’s",
        across=Axis(*_budgets([p.budget for p in allocation.points]), title=_BUDGET),
        up=_times_axis((0.8, top * 3)),
        beyond="from a fitted law; nobody compared runs",
        extra=[{"at": allocation.least_at, "value": allocation.least, "text": factor(allocation.least)}],
    )


def figure_growth(growth: Sequence[Growth], measured_until: float) -> Figure:
    """The newest algorithm's gain over each reference, year by year; `measured_until`: when budgets leave the data."""
    names = _distinct([g.title for g in growth])
    rows: Rows = [
        {"arm": name, "at": float(year), "value": gain, "measured": year <= measured_until}
        for name, g in zip(names, growth, strict=True)
        for year, gain in g.path
    ]
    years = sorted({r["at"] for r in rows})
    step = max(1, math.ceil((years[-1] - years[0]) / 8))
    ticks = [float(y) for y in range(int(years[0]), int(years[-1]) + 1, step)]
    across = (years[0] - 0.2, years[-1] + 0.13 * (years[-1] - years[0]))
    return _lines(
        rows,
        "growth",
        "The same history, seen from each reference",
        across=Axis(across, axes.labelled(ticks, lambda y: f"{y:.0f}"), "year of the budget", log=False),
        up=_times_axis((min(0.8, *(r["value"] for r in rows)), max(r["value"] for r in rows) * 4)),
    )


def figure_benefits(benefits: Sequence[Benefit]) -> Figure:
    """What the algorithms are worth to developers with different budgets, under both indexes."""
    rows: Rows = [
        {"arm": INDEX_TITLES[key], "at": b.budget, "value": getattr(b, key), "measured": b.measured, "who": b.who}
        for key in ("new", "old")
        for b in sorted(benefits, key=lambda b: b.budget)
    ]
    return _lines(
        rows,
        "benefits",
        "Gain by the developer’s budget",
        across=Axis(*_budgets([b.budget for b in benefits]), title=_BUDGET),
        up=_times_axis((0.7, max(r["value"] for r in rows) * 4)),
        dots=True,
    )


def _lines(
    rows: Rows,
    name: str,
    title: str,
    *,
    across: Axis,
    up: Axis,
    beyond: str = "extrapolated",
    extra: Rows | None = None,
    dots: bool = False,
) -> Figure:
    """Lines, named at their ends: solid and thick where measured, dashed over a shaded ground where not."""
    import altair as alt

    arms = tuple(dict.fromkeys(r["arm"] for r in rows))
    plane = Plane(across, up, arms)
    colour = alt.Color("arm:N", scale=alt.Scale(domain=list(arms)), legend=_legend("stroke"))
    encode = {"x": plane.x(), "y": plane.y(), "color": colour}
    tips = [alt.Tooltip("arm:N", title=" "), alt.Tooltip("gain:N"), alt.Tooltip("budget:N", title="at")]
    when = words.tick if across.log else lambda v: f"{v:.0f}"
    shown = [{**r, "gain": factor(r["value"]), "budget": when(r["at"])} for r in rows if _inside(r, up)]
    layers = _ground(rows, plane, beyond)
    for arm in arms:
        mine = [r for r in shown if r["arm"] == arm]
        solid, dashed = _split(mine)
        layers += plane.marks(solid, "line", encode, strokeWidth=2.75) if len(solid) > 1 else []
        for part in dashed:
            layers += plane.marks(part, "line", encode, strokeWidth=1.75, strokeDash=[6, 4])
    layers += plane.hollow([r for r in shown if not r["measured"]], 46 if dots else 24, tooltip=tips)
    layers += plane.dots([{**r, "shape": "circle"} for r in shown if r["measured"]], 60, tooltip=tips)
    layers += _labels(shown, plane, bool(dots))
    for row in extra or []:
        layers += plane.texts([row], {"align": "center", "baseline": "bottom", "dy": -14}, style="note")
    chart = alt.layer(*layers, height=340)
    return Figure(name, title, f"{title}. {_said(rows, when)}.", lean(chart.to_dict(validate=False)), rows)


def _labels(shown: Rows, plane: Plane, every: bool) -> list[alt.Chart]:
    """Gains beyond the lines' right ends, moved apart where lines end together; at every dot where they are few."""
    low, high = (math.log10(v) for v in plane.up.domain)
    gap = 0.055 * (high - low)
    ends = sorted((max((r for r in shown if r["arm"] == a), key=lambda r: r["at"]) for a in plane.arms), key=_height)
    rows: Rows = []
    below = -math.inf
    for end in ends:
        below = max(_height(end), below + gap)
        rows.append({"arm": end["arm"], "at": end["at"], "value": 10**below, "text": end["gain"]})
    texts = plane.texts(rows, {"align": "left", "baseline": "middle", "dx": 8}, style="arm")
    if every:
        inner = [{**r, "text": r["gain"]} for r in shown if all(r is not e for e in ends)]
        texts += plane.texts(inner, {"align": "center", "baseline": "bottom", "dy": -8}, style="note")
    return texts


def _height(row: dict[str, Any]) -> float:
    return math.log10(row["value"])


def _ground(rows: Rows, plane: Plane, beyond: str) -> list[alt.Chart]:
    """Shading wherever nothing was measured, with its name, and the line of no gain."""
    left, right = plane.across.domain
    bottom, top = plane.up.domain
    known = [r["at"] for r in rows if r["measured"]]
    spans = [(left, min(known)), (max(known), right)] if known else [(left, right)]
    middle: Callable[[float, float], float] = (
        (lambda a, b: math.sqrt(a * b)) if plane.across.log else (lambda a, b: (a + b) / 2)
    )
    shaded = [{"a": a, "b": b, "low": bottom, "high": top} for a, b in spans if b > a]
    names = [{"at": middle(a, b), "value": top, "text": beyond} for a, b in spans if _wide(a, b, plane)]
    inner = [{"at": middle(min(known), max(known)), "value": top, "text": "measured"}] if known else []
    room = 0 if known and _wide(min(known), max(known), plane) else 520
    box = {"x": plane.x("a"), "x2": "b:Q", "y": plane.y("low"), "y2": "high:Q"}
    note = {"x": plane.x(), "y": plane.y(), "text": "text:N"}
    edges = [{"at": b if a == left else a} for a, b in spans if known and b > a]
    return [
        *plane.marks(shaded, "rect", box, style="beyond", clip=True),
        *plane.marks(edges, "rule", {"x": plane.x()}, style="boundary"),
        *plane.marks([{"value": 1.0}], "rule", {"y": plane.y()}, style="unity"),
        *plane.marks(names, "text", note, style="note", baseline="top", dy=4),
        *plane.marks(inner, "text", note, style="note", baseline="top", dy=4, opacity=plane.shown_from(room)),
    ]


def _wide(a: float, b: float, plane: Plane) -> bool:
    left, right = plane.across.domain
    share = math.log(b / a) / math.log(right / left) if plane.across.log else (b - a) / (right - left)
    return share > 0.2


def _split(mine: Rows) -> tuple[Rows, list[Rows]]:
    """The measured stretch, and the stretches outside it; each of those borrows the measured end so that lines join."""
    solid = [r for r in mine if r["measured"]]
    parts: list[Rows] = []
    for before, after in pairwise(mine):
        if before["measured"] and after["measured"]:
            continue
        if parts and parts[-1][-1] is before:
            parts[-1].append(after)
        else:
            parts.append([before, after])
    return solid, parts


def _inside(row: dict[str, Any], up: Axis) -> bool:
    return math.isfinite(row["value"]) and up.domain[0] <= row["value"] <= up.domain[1]


def _said(rows: Rows, when: Callable[[float], str]) -> str:
    arms = dict.fromkeys(r["arm"] for r in rows)
    out = []
    for arm in arms:
        mine = [r for r in rows if r["arm"] == arm]
        first, last = mine[0], mine[-1]
        known = [r["at"] for r in mine if r["measured"]]
        measured = f"measured from {when(min(known))} to {when(max(known))}" if known else "nowhere measured"
        ends = f"{factor(first['value'])} at {when(first['at'])}, {factor(last['value'])} at {when(last['at'])}"
        out.append(f"{arm}: {ends}, {measured}")
    return "; ".join(out)


def _legend(symbol: str) -> alt.Legend:
    import altair as alt

    return alt.Legend(title=None, orient="bottom", columns=1 if symbol == "stroke" else 2, symbolType=symbol, offset=14)


def _budgets(budgets: Sequence[float]) -> tuple[axes.Domain, dict[str, Any]]:
    """A logarithmic axis of budgets with room for a gain to be written at its right end."""
    low, high = axes.padded(budgets, share=0.04)
    domain = low, high * (high / low) ** 0.09
    return domain, axes.log_axis(domain, 8)


def _times_axis(domain: axes.Domain, title: str | None = None) -> Axis:
    return Axis(domain, axes.labelled(axes.log_ticks(domain, 7, anchor=1.0), lambda v: f"{words.tick(v)}×"), title)


def _distinct(titles: Sequence[str]) -> list[str]:
    """Names of data as lines of text, each once."""
    plain = [words.plain(t, 40) for t in titles]
    return [t if plain.count(t) == 1 else f"{t} ({k + 1})" for k, t in enumerate(plain)]

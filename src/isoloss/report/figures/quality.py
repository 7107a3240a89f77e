"""Quality against the ladder resource: every run, the mean of each rung, and each arm's law with its band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isoloss.gains.result import Band, GainCurve, RungSummary
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.bands import band_layers, stretches
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import ARM_SHAPES, Axis, Plane, Rows, palette_order
from isoloss.report.qualities import Quality

if TYPE_CHECKING:
    import altair as alt


def figure_quality(curve: GainCurve, arms: Sequence[str] = (), read: Quality | None = None) -> Figure:
    """Both arms' runs and laws; `read` says how people of the field read the quality (lower is better unless told)."""
    import altair as alt

    read = read or Quality()
    resource = words.resource_title(curve.resource)
    bands = {arm: band for arm, band in curve.law_bands.items() if band.at}
    x_seen = [r.resource for r in curve.rungs] + [at for band in bands.values() for at in band.at]
    x_domain = axes.padded(axes.positive(x_seen), share=0.03)
    up = _up_axis(curve.rungs, bands, read)
    plane = Plane(
        Axis(x_domain, axes.log_axis(x_domain, 8), words.resource_axis(curve.resource)),
        up,
        palette_order(arms, curve.baseline, curve.candidate),
    )
    layers: list[alt.Chart] = []
    for arm, band in bands.items():
        layers += band_layers(stretches(band, plane, read), words.plain(arm), plane, hatch=False)
    layers += _run_layers(curve, plane, read)
    layers += _names(curve, plane, read)
    better = "higher is better" if read.higher else "lower is better"
    quality = words.plain(curve.quality, 40).replace("_", " ")
    pair = f"{words.plain(curve.baseline)} and {words.plain(curve.candidate)}"
    chart = alt.layer(
        *layers, height=330, title=f"{quality}{f' ({words.plain(read.unit, 20)})' if read.unit else ''}, {better}"
    )
    return Figure(
        name="quality",
        title=f"{quality} of {pair} against {resource}",
        alt=_alt_text(curve, read, quality),
        body=lean(chart.to_dict(validate=False)),
        rows=_rows(curve, bands, read),
    )


def _up_axis(rungs: Sequence[RungSummary], bands: dict[str, Band], read: Quality) -> Axis:
    core = axes.finite(v for r in rungs for v in (r.quality, *r.values))
    core += axes.finite(v for band in bands.values() for v in band.value)
    seen = sorted(read.shown(v) for v in core) or [0.0, 1.0]
    low, high = seen[0], seen[-1]
    if low > 0 and high / low > 3:
        domain = axes.padded([low, high], share=0.07)
        return Axis(domain, axes.labelled(axes.log_ticks(domain, 7), words.tick))
    margin = 0.07 * (high - low) or 0.05 * abs(high) or 0.5
    domain = (low - margin, high + margin)
    return Axis(domain, axes.linear_axis(domain, 7), log=False)


def _run_layers(curve: GainCurve, plane: Plane, read: Quality) -> list[alt.Chart]:
    import altair as alt

    bottom, top = plane.up.domain
    runs: Rows = []
    missed: Rows = []
    means: Rows = []
    for r in curve.rungs:
        place = {"arm": words.plain(r.arm), "at": r.resource, "shape": ARM_SHAPES[r.arm == curve.candidate]}
        for v in r.values:
            if math.isfinite(v):
                runs.append({**place, "value": read.shown(v)})
            else:
                missed.append({**place, "value": bottom if read.higher else top, "said": "diverged: counts as a miss"})
        if math.isfinite(r.quality):
            ends = [axes.clamp(e, plane.up.domain) for e in read.ends(*r.interval) if not math.isnan(e)]
            row: dict[str, Any] = {
                **place,
                "value": read.shown(r.quality),
                "said": words.quality(read.shown(r.quality)),
            }
            row |= {"budget": words.tick(r.resource), "runs": words.plural(r.runs, "run")}
            means.append(row | (dict(zip(("low", "high"), ends, strict=True)) if len(ends) == 2 else {}))
    point = {"x": plane.x(), "y": plane.y(), **plane.colour()}
    tips = [
        alt.Tooltip(f"{c}:N", title=t) for c, t in (("arm", "arm"), ("said", "mean"), ("runs", "of"), ("budget", "at"))
    ]
    ranged = {"x": plane.x(), "y": plane.y("low"), "y2": "high:Q", **plane.colour()}
    return [
        *plane.marks(runs, "point", point, filled=True, size=22, opacity=0.45),
        *plane.marks([m for m in means if "low" in m], "rule", ranged, strokeWidth=2),
        *plane.dots(means, 80, tips),
        *plane.marks(missed, "text", point, text="×", fontSize=18, fontWeight=700),
    ]


def _names(curve: GainCurve, plane: Plane, read: Quality) -> list[alt.Chart]:
    """Each arm's name in its colour at its own last rung, on the side away from the other arm and off its line."""
    lasts: list[RungSummary] = []
    for arm in dict.fromkeys(r.arm for r in curve.rungs):
        mine = [r for r in curve.rungs if r.arm == arm and math.isfinite(r.quality)]
        if mine:
            lasts.append(max(mine, key=lambda r: r.resource))
    layers: list[alt.Chart] = []
    for r in sorted(lasts, key=lambda r: -read.shown(r.quality)):
        above = not layers
        left = above == read.higher
        place = {"align": "right" if left else "left", "dx": -6 if left else 6}
        place |= {"baseline": "bottom", "dy": -8} if above else {"baseline": "top", "dy": 8}
        row = {"arm": words.plain(r.arm), "at": r.resource, "value": read.shown(r.quality)}
        row["text"] = words.plain(r.arm, 24)
        layers += plane.texts([row], place, style="arm")
    return layers


def _alt_text(curve: GainCurve, read: Quality, quality: str) -> str:
    unit = words.resource_unit(curve.resource)
    said = []
    for arm in dict.fromkeys(r.arm for r in curve.rungs):
        mine = [r for r in curve.rungs if r.arm == arm]
        ends = (mine[0], mine[-1])
        said.append(
            f"{words.plain(arm)} goes from "
            + " to ".join(f"{words.quality(read.shown(r.quality))} at {words.amount(r.resource, unit)}" for r in ends)
        )
    return f"{quality} against {words.resource_title(curve.resource)}: {'; '.join(said) or 'no runs'}."


def _rows(curve: GainCurve, bands: dict[str, Band], read: Quality) -> Rows:
    rows: Rows = []
    for r in curve.rungs:
        low, high = read.ends(*r.interval)
        base = {"arm": r.arm, "resource": r.resource}
        rows.append({"what": "rung mean", **base, "quality": read.shown(r.quality), "low": low, "high": high})
        rows += [{"what": "run", **base, "quality": read.shown(v), "low": None, "high": None} for v in r.values]
    for arm, band in bands.items():
        for at, *values, region in zip(band.at, band.value, band.low, band.high, band.region, strict=True):
            names = ("quality", "high", "low") if read.higher else ("quality", "low", "high")
            named = {k: None if v is None else read.shown(v) for k, v in zip(names, values, strict=True)}
            rows.append({"what": f"law, {region}", "arm": arm, "resource": at, **named})
    return rows

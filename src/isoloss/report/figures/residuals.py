"""What the laws leave over: every run's distance from its arm's fitted law, on the resource axis of the quality."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isoloss.gains.result import GainCurve, LawSummary
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.canvas import Figure, lean
from isoloss.report.figures.plane import ARM_SHAPES, Axis, Plane, Rows, palette_order


def residual_rows(curve: GainCurve) -> Rows:
    """Every run and rung mean with how far it lies from its arm's law, in per cent; none where no law was fitted."""
    laws = {law.arm: law for law in curve.laws}
    rows: Rows = []
    for r in curve.rungs:
        law = laws.get(r.arm)
        if law is None or not r.resource > 0:
            continue
        for value, mean in ((r.quality, True), *((v, False) for v in r.values)):
            left = _residual(value, law, r.resource)
            if left is not None:
                rows.append({"arm": words.plain(r.arm), "at": r.resource, "value": left, "mean": mean})
    return rows


def figure_residuals(curve: GainCurve, arms: Sequence[str] = ()) -> Figure:
    """Runs minus law for both arms, in per cent of the law's loss. There must be some: `residual_rows`."""
    import altair as alt

    rows = residual_rows(curve)
    x_seen = [r.resource for r in curve.rungs] + [at for band in curve.law_bands.values() for at in band.at]
    x_domain = axes.padded(axes.positive(x_seen), share=0.03)
    far = 1.12 * max(abs(r["value"]) for r in rows) or 1.0
    plane = Plane(
        Axis(x_domain, axes.log_axis(x_domain, 8), words.resource_axis(curve.resource)),
        Axis((-far, far), axes.linear_axis((-far, far), 5), log=False),
        palette_order(arms, curve.baseline, curve.candidate),
    )
    place = {"x": plane.x(), "y": plane.y(), **plane.colour()}
    layers = [*plane.marks([{"value": 0.0}], "rule", {"y": plane.y()}, style="unity")]
    for arm, shape in zip((curve.baseline, curve.candidate), ARM_SHAPES, strict=True):
        mine = [r for r in rows if r["arm"] == words.plain(arm)]
        layers += plane.marks([r for r in mine if not r["mean"]], "point", place, filled=True, size=20, opacity=0.45)
        layers += plane.marks(
            [r for r in mine if r["mean"]], "point", place, filled=True, size=75, opacity=1, shape=shape
        )
    chart = alt.layer(*layers, height=130, title="runs minus law, % of the law")
    pair = f"{words.plain(curve.baseline)} and {words.plain(curve.candidate)}"
    worst = max((r for r in rows if r["mean"]), key=lambda r: abs(r["value"]), default=rows[0])
    unit = words.resource_unit(curve.resource)
    return Figure(
        name="residuals",
        title=f"What the laws of {pair} leave over",
        alt=(
            f"Distance of every run of {pair} from its law. The mean furthest from its law is {worst['arm']}’s at "
            f"{words.amount(worst['at'], unit)}: {words.signed(worst['value'], 1)}%."
        ),
        body=lean(chart.to_dict(validate=False)),
        rows=[
            {"what": "rung mean" if r["mean"] else "run", "arm": r["arm"], "resource": r["at"], "percent": r["value"]}
            for r in rows
        ],
    )


def _residual(value: float, law: LawSummary, at: float) -> float | None:
    """Per cent that a loss lies above its law ``E + A C^-alpha``."""
    expected = law.floor + law.scale * at**-law.exponent
    if not (math.isfinite(value) and math.isfinite(expected)) or expected == 0:
        return None
    return 100 * (value / expected - 1)

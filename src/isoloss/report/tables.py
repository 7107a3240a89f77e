"""The tables of a result as ready words: the page and the terminal print the same cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from isoloss.gains.analysis import Cost, Trial
from isoloss.gains.result import Crossover, GainCurve, GainPoint, RungSummary, Slope
from isoloss.report import words
from isoloss.report.qualities import Quality


@dataclass(frozen=True)
class Sheet:
    """A titled table: column names, which of them are numbers (set right), rows of text, and a tone for each row."""

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[str, ...] = field(default=())

    def tone(self, row: int) -> str:
        """The tone of a row: a gain's region, ``chosen``, ``more``, or none."""
        return self.tones[row] if row < len(self.tones) else ""


def _sheet(title: str, columns: dict[str, bool], rows: Iterable[tuple[str, tuple[str, ...]]]) -> Sheet:
    kept = list(rows)
    return Sheet(title, tuple(columns), tuple(columns.values()), tuple(r for _, r in kept), tuple(t for t, _ in kept))


def measure(curve: GainCurve, ladder: str) -> str:
    """What a gain is in and how runs were compared, where that is not quality along the `ladder`'s resource."""
    how = {"curve": "", "frontier": "along the frontier", "exact": "run by run"}.get(curve.mode, "")
    what = f"in {words.resource_title(curve.resource)}" if curve.resource != ladder else ""
    return ", ".join(part for part in (what, how) if part)


def gain_table(curve: GainCurve, index: Literal["old", "new"]) -> Sheet:
    """The gain at each rung under one index."""
    owner = words.plain(curve.baseline if index == "old" else curve.candidate, 28)
    return _points(f"by {owner}’s budget", [p for p in curve.points if p.index == index], curve.resource)


def asked_table(curve: GainCurve) -> Sheet:
    """The gains that were asked for at budgets of the reader's own."""
    owners = {"old": curve.baseline, "new": curve.candidate}
    sheet = _points("at the budgets asked for", curve.asked, curve.resource)
    who = iter(words.plain(owners.get(p.index, "quality"), 20) for p in curve.asked)
    rows = tuple((f"{row[0]} ({next(who)})", *row[1:]) if row[0] else row for row in sheet.rows)
    return Sheet(sheet.title, sheet.columns, sheet.numeric, rows, sheet.tones)


def _points(title: str, points: Sequence[GainPoint], resource: str) -> Sheet:
    budget, unit = words.budget_column(resource)
    columns = {budget: True, "gain": True, "95% interval": True, "how known": False}
    rows: list[tuple[str, tuple[str, ...]]] = []
    for p in points:
        rows.append((p.region, (_at(p, unit), *_known(p))))
        rows += [
            ("fan", ("", "", words.span_times(ends), f"with floor {words.plain(kind, 16)}"))
            for kind, ends in p.fan.items()
        ]
    return _sheet(title, columns, rows)


def _at(point: GainPoint, unit: str) -> str:
    return words.quality(point.at) if point.index == "quality" else words.amount(point.at, unit)


def _known(point: GainPoint) -> tuple[str, str, str]:
    out = f", {point.decades_out:.1f} decades out" if point.decades_out > 0.05 else ""
    match point.region:
        case "measured":
            return words.gain(point), words.span_times(point.interval), "measured"
        case "extrapolated":
            return words.gain(point), words.span_times(point.interval), f"extrapolated{out}"
        case "withheld":
            return words.NOTHING, words.span_times(point.interval), f"withheld{out}"
        case "censored":
            return words.gain(point), words.NOTHING, words.plain(point.note, 60) or "bound only"
    return words.NOTHING, words.NOTHING, words.plain(point.note, 60) or "undefined"


def _with(value: str, interval: str) -> str:
    """A value and its interval in one cell."""
    return value if interval == words.NOTHING or value == words.NOTHING else f"{value} ({interval})"


def law_table(curve: GainCurve, read: Quality) -> Sheet:
    """Each arm's law: exponent and floor with their intervals."""
    rows = []
    for law in curve.laws:
        ends = law.floor_interval and read.ends(*law.floor_interval)
        floor = _with(words.quality(read.shown(law.floor)), words.limits(ends, None))
        exponent = _with(words.fixed(law.exponent, 3), words.limits(law.exponent_interval))
        arm = words.plain(law.arm, 28) + (" (at its limit)" if law.at_bound else "")
        rows.append(("", (arm, exponent, f"{floor} {words.plain(law.floor_kind, 12)}")))
    return _sheet("the laws", {"arm": False, "exponent (95%)": True, "floor (95%)": True}, rows)


def floor_table(curve: GainCurve, read: Quality) -> Sheet:
    """What each treatment of the floor would say on the same runs."""
    columns = {"floor": False, "value": True, "slope (95%)": True, "AICc": True, "misfit p": True}
    rows = []
    for f in curve.floors:
        values = " / ".join(dict.fromkeys(words.quality(read.shown(v)) for v in f.floors.values())) or words.NOTHING
        kind = words.plain(f.kind, 16) + (" (used)" if f.chosen else "")
        slope = _with(words.signed(f.slope, 2), words.limits(f.slope_interval, 2, sign=True))
        aicc = words.fixed(f.aicc, 1) if math.isfinite(f.aicc) else words.NOTHING
        rows.append(("chosen" if f.chosen else "", (kind, values, slope, aicc, _share(f.lack_of_fit_p))))
    return _sheet("what each treatment of the floor says", columns, rows)


def _share(p: float | None) -> str:
    return words.fixed(p, 2) if p is not None and p >= 0.01 else words.number(p, 1)


def slope_table(curve: GainCurve) -> Sheet:
    """Every estimate of how the gain changes with scale."""
    columns = {"estimate": False, "slope (95%)": True, "per tenfold budget": True}
    rows = []
    for s in curve.slopes or (curve.slope,):
        value = _with(words.signed(s.value, 2), words.limits(s.interval, 2, sign=True))
        tenfold = words.times(10**s.value) if s.value is not None and abs(s.value) < 300 else words.NOTHING
        chosen = "chosen" if s.basis == curve.slope.basis else ""
        rows.append((chosen, (words.plain(s.basis, 40), value, tenfold)))
    return _sheet("how the gain changes with scale", columns, rows)


def slope_notes(curve: GainCurve) -> list[str]:
    """Reasons why a slope is missing or limited."""
    slopes: Sequence[Slope] = curve.slopes or (curve.slope,)
    return list(dict.fromkeys(f"{words.plain(s.basis)}: {words.plain(s.note)}" for s in slopes if s.note))


def crossover_sentence(crossover: Crossover, resource: str) -> str:
    """Where the gain is one, or why that is not known."""
    if crossover.value is None:
        return f"Not identified: {words.plain(crossover.reason, 400)}"
    unit = words.resource_unit(resource)
    said = f"{words.amount(crossover.value, unit)}"
    if crossover.interval:
        said += f" (95%: {words.amount(crossover.interval[0], unit)} to {words.amount(crossover.interval[1], unit)})"
    reason = words.plain(crossover.reason, 400)
    return f"{said}, {crossover.region}" + (f": {reason}" if reason else "")


def rung_table(rungs: Sequence[RungSummary], resource: str, read: Quality) -> Sheet:
    """Mean quality of each arm at each rung."""
    budget, unit = words.budget_column(resource)
    columns = {"arm": False, budget: True, "mean quality (95%)": True, "runs": True}
    rows = []
    for r in rungs:
        lost = sum(not math.isfinite(v) for v in r.values)
        count = str(r.runs) + (f" ({lost} diverged)" if lost else "")
        mean = words.quality(read.shown(r.quality)) if math.isfinite(r.quality) else "missed"
        mean = _with(mean, words.limits(read.ends(*r.interval), None))
        cells = (words.plain(r.arm, 28), words.amount(r.resource, unit), mean, count)
        rows.append(("", cells))
    return _sheet("quality at each rung", columns, rows)


def cost_table(costs: Sequence[Cost]) -> Sheet:
    """What the candidate needs of the other resources at equal quality."""
    columns = {"resource": False, "at budget": True, "times less (95%)": True, "the candidate": False}
    rows = []
    for c in costs:
        at = words.amount(c.at, words.resource_unit(c.along) if words.resource_unit(c.along) == "B" else "")
        tone = "more" if c.ratio < 0.95 else ""
        ratio = _with(words.times(c.ratio), words.span(c.interval))
        cells = (words.resource_title(c.resource), at, ratio, _so(c.ratio))
        rows.append((tone, cells))
    return _sheet("what the gain costs elsewhere", columns, rows)


def _so(ratio: float) -> str:
    if not math.isfinite(ratio) or ratio <= 0:
        return words.NOTHING
    if 0.95 <= ratio <= 1.05:
        return "needs as much"
    return f"needs {words.times(ratio)} less" if ratio > 1 else f"needs {words.times(1 / ratio)} more"


def trial_table(trials: Sequence[Trial], resource: str) -> Sheet:
    """What tuning chose for each arm at each rung."""
    unit = words.resource_unit(resource)
    rung_name = f"rung ({unit})" if unit else "rung"
    columns = {
        "arm": False,
        rung_name: True,
        "trials": True,
        "chosen": False,
        "validation quality": True,
        "edge": False,
    }
    rows = []
    for arm, rung in dict.fromkeys((t.arm, t.rung) for t in trials):
        mine = [t for t in trials if (t.arm, t.rung) == (arm, rung)]
        lost = sum(t.quality is None for t in mine)
        tried = str(len(mine)) + (f" ({lost} diverged)" if lost else "")
        for t in [t for t in mine if t.chosen] or mine[:1]:
            picked = ", ".join(f"{words.choice_title(k)} {words.number(v)}" for k, v in t.values.items())
            quality = words.quality(t.quality)
            edge = ", ".join(map(words.choice_title, t.edges)) or words.NOTHING
            picked = picked if t.chosen else "none finished"
            cells = (words.plain(arm, 28), words.amount(rung, unit), tried, picked, quality, edge)
            rows.append(("more" if t.edges else "", cells))
    return _sheet("what tuning chose", columns, rows)

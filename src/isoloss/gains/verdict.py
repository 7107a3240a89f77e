"""Level and trend of a gain at a stated confidence, against a region of practical equivalence, in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from isoloss.gains import wording
from isoloss.gains.result import Crossover, GainPoint, Interval, Level, Slope, Trend, Verdict

LEAST_RUNGS = 3  # an arm, for a trend to be told
LEAST_SPAN = 0.5  # decades of baseline budget over which both arms are measured, for a trend to be told


@dataclass(frozen=True)
class Reading:
    """The words and thresholds of a verdict: names, units, regions of practical equivalence, seeds a rung.

    `known` is False where no run was repeated, so that nothing is known about noise. `advice` names the rung to run
    where no number of seeds would bound the gain or tell its trend. `tolerance`: runs are compared one by one, their
    qualities equal to within this.
    """

    baseline: str
    candidate: str
    resource: str
    quality: str
    budget: Callable[[float], str]
    rope: Interval
    slope_rope: float
    level: float
    seeds: float
    known: bool = True
    advice: str = ""
    tolerance: float | None = None


def level_of(interval: Interval, rope: Interval) -> Level:
    """``gain`` or ``loss`` when the whole interval lies beyond the region of equivalence, ``none`` when inside it."""
    low, high = interval
    if low > rope[1]:
        return "gain"
    if high < rope[0]:
        return "loss"
    return "none" if rope[0] <= low and high <= rope[1] else "unknown"


def trend_of(slope: Slope, rope: float) -> Trend:
    """``grows`` or ``shrinks`` when the whole interval of the slope lies beyond ``±rope``, ``constant`` when inside."""
    if slope.interval is None:
        return "unknown"
    low, high = slope.interval
    if low > rope:
        return "grows"
    if high < -rope:
        return "shrinks"
    return "constant" if -rope <= low and high <= rope else "unknown"


def verdict(candidates: list[GainPoint], slope: Slope, agrees: bool, crossing: Crossover, reading: Reading) -> Verdict:
    """Judge the first of `candidates` (largest budgets first) that settles the level, and the slope's trend.

    `agrees` is False when two estimates of the slope contradict each other, which leaves the trend unknown. A measured
    crossing is told in the sentence, because then the level is that of the larger budgets only.
    """
    point, level = candidates[0], level_of(_interval(candidates[0]), reading.rope)
    for other in candidates[1:]:
        if level == "unknown":
            settled = level_of(_interval(other), reading.rope)
            if settled != "unknown":
                point, level = other, settled
    trend = trend_of(slope, reading.slope_rope) if agrees else "unknown"
    parts = [_level_sentence(point, level, reading), _trend_sentence(slope, trend, level, agrees, reading)]
    if crossing.region == "measured" and crossing.value is not None and crossing.interval is not None:
        ends = f"{wording.budget(crossing.interval[0])} to {wording.budget(crossing.interval[1])}"
        parts.append(f"The curves cross at {reading.budget(crossing.value)} ({reading.level:.0%} {ends}).")
    if "unknown" in (level, trend):
        parts.append(_what_would_settle(reading, _unbounded(point) and level == "unknown", slope))
    said = " ".join(parts)
    return Verdict(level, trend, said, point.at, point.gain, point.interval, point.index, point.region)


def _interval(point: GainPoint) -> Interval:
    return point.interval if point.interval is not None else (0.0, math.inf)


def _level_sentence(point: GainPoint, level: Level, r: Reading) -> str:
    low, high = _interval(point)
    owner = r.baseline if point.index == "old" else r.candidate
    where = f"the {r.quality} that {owner} reaches with {r.budget(point.at)}"
    if r.tolerance is not None:
        where = f"the same {r.quality} (to {r.tolerance:g}), where {owner} needs {r.budget(point.at)}"
    percent = f"{r.level:.0%}"
    if level in ("none", "unknown"):
        ends = f"{percent} {wording.between(low, high)}"
        unbounded = low == 0 and math.isinf(high)
        if unbounded:
            ends = "no bound on it" if r.known else "no interval"
        if point.gain is not None and not (unbounded and r.known):
            gain = f"the gain is {wording.times(point.gain)}× ({ends})"
        elif unbounded:
            gain = f"nothing is known of the gain: {ends}"
        else:
            gain = f"all that is known of the gain is that it is {wording.between(low, high)} ({percent})"
        if level == "unknown":
            return f"Not enough evidence of a gain or a loss: at {where}, {gain}."
        margin = max(r.rope[1] - 1, 1 - r.rope[0])
        return f"At {where}, {r.candidate} needs as much as {r.baseline} to within {margin:.0%}: {gain}, no gain."
    if level == "loss":
        low, high = (1 / high if high > 0 else math.inf), (1 / low if low > 0 else math.inf)
    amount = f"{wording.between(low, high)}×"
    if point.gain is not None:
        value = point.gain if level == "gain" else 1 / point.gain
        amount = f"{wording.times(value)}×"
        if low < high:  # a ratio of counts has no spread
            amount += f" ({percent} {wording.between(low, high)})"
    ending = "less: a gain" if level == "gain" else "as much: a loss"
    return f"At {where}, {r.candidate} needs {amount} {ending}."


def _trend_sentence(slope: Slope, trend: Trend, level: Level, agrees: bool, r: Reading) -> str:
    if slope.value is None or slope.interval is None:
        return f"Whether it changes with scale is not known{': ' + slope.note if slope.note else ''}."
    figures = f"slope {wording.signed(slope.value)}, {r.level:.0%} {wording.slopes(*slope.interval)}"
    if not agrees:
        return (
            f"Whether it changes with scale is not known: the estimates of its slope contradict each other ({figures})."
        )
    if trend == "constant":
        return f"It holds with scale ({figures})."
    if trend == "unknown":
        return f"Whether it changes with scale is not settled ({figures})."
    if level == "loss":
        return f"The gap {'narrows' if trend == 'grows' else 'widens'} with scale ({figures})."
    return f"The gain {trend} with scale ({figures})."


def _unbounded(point: GainPoint) -> bool:
    low, high = _interval(point)
    return low == 0 or math.isinf(high)


def _what_would_settle(r: Reading, unbounded: bool, slope: Slope) -> str:
    if not r.known:
        return "Repeat every rung with at least two seeds: without repeats there is no interval."
    if r.advice and (unbounded or slope.interval is None):
        return r.advice
    if r.tolerance is not None:
        return "Rungs further apart tell most about it: ratios of counts are the same for every seed."
    extra = max(1, round(3 * r.seeds))
    seeds = f"About {extra} more seeds per rung and arm would halve the intervals"
    return f"{seeds}; a larger rung tells most about the trend."

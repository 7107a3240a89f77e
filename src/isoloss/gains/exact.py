"""Algorithms whose quality is equal by construction: the gain is a plain ratio of resources, with no law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.ladder import check_runs
from isoloss.gains.portable import Portable, portable_ratios
from isoloss.gains.result import Band, Crossover, Diagnostic, GainCurve, GainPoint, Interval, Region, RungSummary, Slope
from isoloss.gains.verdict import LEAST_RUNGS, LEAST_SPAN, Reading, verdict

Array = NDArray[np.float64]
ByBudget = Literal["old", "new"]
_INDICES: tuple[ByBudget, ...] = ("old", "new")


def compare_exact(
    baseline: ArmRuns,
    candidate: ArmRuns,
    quality: str,
    reading: Reading,
    at: Sequence[float],
    tolerance: float,
    seed: int,
) -> GainCurve:
    """``G = C_baseline / C_candidate`` per (rung, pair), where both reached the same quality within `tolerance`.

    Rung gains are geometric means over pairs, with t intervals from the variance of ``ln G`` pooled over rungs. A
    single pair a rung (or a resource that is counted, and so never varies) gives intervals of no width, said so by a
    diagnostic. Gains between rungs are interpolated linearly in logs; beyond the ladder they are undefined. Raises
    TableError when no run has a partner or a pair's qualities differ.
    """
    check_runs(baseline)
    check_runs(candidate)
    reading = replace(reading, tolerance=tolerance)
    rungs, log_old, log_gain, values = _ratios(baseline, candidate, tolerance)
    n = np.array([len(v) for v in values])
    dof = int(np.sum(n - 1))
    squares = sum(float(np.sum((v - v.mean()) ** 2)) for v in values)
    sd = math.sqrt(squares / dof) if dof else 0.0
    t = float(special.stdtrit(dof, (1 + reading.level) / 2)) if dof else 0.0
    half = t * sd / np.sqrt(n)
    ends = [(float(np.exp(g - h)), float(np.exp(g + h))) for g, h in zip(log_gain, half, strict=True)]

    def budget(index: ByBudget) -> Array:
        return log_old if index == "old" else log_old - log_gain

    def point(index: ByBudget, i: int) -> GainPoint:
        return GainPoint(index, float(np.exp(budget(index)[i])), float(np.exp(log_gain[i])), ends[i], "measured")

    points = [point(index, i) for index in _INDICES for i in range(len(rungs))]
    slope = _slope(log_old, log_gain, n, sd, dof, t, reading.level)
    reason = "qualities are equal by construction, so the curves coincide"
    crossing = Crossover(None, None, "not identified", reason)
    judged = verdict([points[len(rungs) - 1]], slope, True, crossing, reading)
    bands = [_band(index, log_old, log_gain, half) for index in _INDICES]
    asked = tuple(_asked(index, float(c), log_old, log_gain, half) for index in _INDICES for c in at)
    found = []
    if sd == 0:
        message = "The ratio of resources does not vary between pairs, so its intervals have no width."
        found.append(Diagnostic("no-replicates", "info", message, {"pairs": int(n.sum())}))
    return GainCurve(
        baseline=baseline.name,
        candidate=candidate.name,
        resource=reading.resource,
        quality=quality,
        mode="exact",
        overlap=(float(np.exp(log_old.min())), float(np.exp(log_old.max()))),
        points=tuple(points),
        asked=asked,
        old=bands[0],
        new=bands[1],
        rungs=tuple(_summaries(baseline, rungs) + _summaries(candidate, rungs)),
        law_bands={},
        laws=(),
        floors=(),
        slope=slope,
        slopes=(slope,),
        crossover=crossing,
        verdict=judged,
        diagnostics=tuple(found),
        level=reading.level,
        draws=0,
        seed=seed,
        portable=Portable(None, {i: portable_ratios(budget(i), log_gain, half) for i in _INDICES}, {}),
    )


def _ratios(baseline: ArmRuns, candidate: ArmRuns, tolerance: float) -> tuple[list[int], Array, Array, list[Array]]:
    """Rungs in order of baseline budget, mean ``ln C_old`` and ``ln G`` per rung, and the single ``ln G``."""
    partner = {(int(r), str(p)): i for i, (r, p) in enumerate(zip(candidate.rung, candidate.pair, strict=True))}
    gains: dict[int, list[float]] = {}
    budgets: dict[int, list[float]] = {}
    for i, (rung, pair) in enumerate(zip(baseline.rung, baseline.pair, strict=True)):
        j = partner.get((int(rung), str(pair)))
        if j is None:
            continue
        q, p = float(baseline.quality[i]), float(candidate.quality[j])
        if not math.isclose(q, p, rel_tol=tolerance):
            what = f"qualities {q:.6g} and {p:.6g} of rung {rung}, pair {pair} differ by more than {tolerance:g}"
            raise TableError("exact mode", what, "compare these arms with mode curve")
        gains.setdefault(int(rung), []).append(math.log(baseline.resource[i] / candidate.resource[j]))
        budgets.setdefault(int(rung), []).append(math.log(baseline.resource[i]))
    if not gains:
        raise TableError("exact mode", "no (rung, pair) is in both arms", "give both arms the same rungs and seeds")
    rungs = sorted(gains, key=lambda r: float(np.mean(budgets[r])))
    values = [np.array(gains[r]) for r in rungs]
    return rungs, np.array([np.mean(budgets[r]) for r in rungs]), np.array([v.mean() for v in values]), values


def _slope(x: Array, y: Array, n: NDArray[np.int64], sd: float, dof: int, t: float, level: float) -> Slope:
    """Weighted line through rung gains; its interval from pooled noise or the residuals, whichever is larger."""
    if len(x) < 2 or np.ptp(x) < 1e-9:
        return Slope(None, None, "ratios", "one rung only")
    short = ""
    if len(x) < LEAST_RUNGS:
        short = f"there are {len(x)} rungs, and a trend needs {LEAST_RUNGS}"
    elif np.ptp(x) < LEAST_SPAN * math.log(10):
        short = f"the rungs span {np.ptp(x) / math.log(10):.1f} decades, and a trend needs {LEAST_SPAN:g}"
    dx = x - np.average(x, weights=n)
    value = float(np.sum(n * dx * y) / np.sum(n * dx * dx))
    residual = y - np.average(y, weights=n) - value * dx
    spare = len(x) - 2
    scatter = math.sqrt(float(np.sum(n * residual**2)) / spare) if spare else 0.0
    half = t * sd if dof else 0.0
    if scatter > sd:
        half = float(special.stdtrit(spare, (1 + level) / 2)) * scatter
    half /= math.sqrt(float(np.sum(n * dx * dx)))
    ends = None if short else (value - half, value + half)
    return Slope(value, ends, "ratios", short or f"line through {len(x)} rungs")


def _band(index: ByBudget, log_old: Array, log_gain: Array, half: Array) -> Band:
    x = log_old if index == "old" else log_old - log_gain

    def up(v: Array) -> tuple[float, ...]:
        return tuple(float(u) for u in np.exp(v))

    measured: Region = "measured"
    return Band(up(x), up(log_gain), up(log_gain - half), up(log_gain + half), (measured,) * len(x))


def _asked(index: ByBudget, budget: float, log_old: Array, log_gain: Array, half: Array) -> GainPoint:
    x = log_old if index == "old" else log_old - log_gain
    order, c = np.argsort(x), math.log(budget)
    if not x.min() - 1e-9 <= c <= x.max() + 1e-9:
        out = max(x.min() - c, c - x.max()) / math.log(10)
        note = "an exact comparison has no law to extrapolate with"
        return GainPoint(index, budget, None, None, "undefined", decades_out=float(out), note=note)
    g, h = np.interp(c, x[order], log_gain[order]), np.interp(c, x[order], half[order])
    ends: Interval = (float(np.exp(g - h)), float(np.exp(g + h)))
    return GainPoint(index, budget, float(np.exp(g)), ends, "measured")


def _summaries(arm: ArmRuns, rungs: list[int]) -> list[RungSummary]:
    out = []
    for rung in rungs:
        here = np.asarray(arm.rung) == rung
        q = np.asarray(arm.quality, float)[here]
        c = float(np.exp(np.mean(np.log(np.asarray(arm.resource, float)[here]))))
        out.append(
            RungSummary(arm.name, c, float(q.mean()), (float(q.min()), float(q.max())), len(q), tuple(map(float, q)))
        )
    return out

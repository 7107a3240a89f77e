"""The comparison of two arms: runs in, a gain curve with intervals, trend, crossover and verdict out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from isoloss.errors import TableError
from isoloss.gains import diagnostics as notes
from isoloss.gains import wording
from isoloss.gains.arms import ArmRuns
from isoloss.gains.crossover import crossover
from isoloss.gains.estimate import Estimator, amount
from isoloss.gains.exact import compare_exact
from isoloss.gains.ladder import Ladder, ladder_of
from isoloss.gains.measured import Measured, measure, measured_slope, quantile_interval
from isoloss.gains.modelled import (
    SLOPE_LIMIT,
    check_floor,
    evidence,
    fit_laws,
    floor_name,
    sane_slope,
    summaries,
    treatments,
)
from isoloss.gains.noise import Noise, draw_rung_means, estimate_noise
from isoloss.gains.portable import portable
from isoloss.gains.result import GainCurve, Interval, RungSummary, Slope
from isoloss.gains.verdict import LEAST_RUNGS, LEAST_SPAN, Reading, verdict

Array = NDArray[np.float64]
MODES = ("curve", "frontier", "exact")
DRAWS_BESIDE = 1000  # at most, for the treatments of the floor that are only shown beside the chosen one


def compare(
    baseline: ArmRuns,
    candidate: ArmRuns,
    *,
    resource: str,
    quality: str,
    floor: str | float = "shared",
    mode: str = "curve",
    at: Sequence[float] = (),
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
    rope: Interval = (0.95, 1.05),
    slope_rope: float = 0.02,
    format_resource: Callable[[float], str] | None = None,
    quality_words: str | None = None,
    upper_bound: float | None = None,
    tolerance: float = 1e-3,
) -> GainCurve:
    """How many times less `resource` the candidate needs than the baseline for the same `quality`, with intervals.

    Draws of all rung means are made once (parametric, seed variance pooled per arm, paired seeds honoured) and every
    estimate below is a function of them: gains by monotone interpolation inside the overlap, laws
    ``L(C) = E + A C^-alpha`` under several treatments of the floor, slope, crossover and verdict.

    `floor` chooses the treatment that extrapolated numbers and the slope use: ``shared``, ``free``, ``none`` or a
    number. `mode` is ``curve``, ``frontier`` (only rungs that no cheaper rung beats) or ``exact`` (equal qualities
    within relative `tolerance`: plain ratios, no law). `at` lists budgets at which gains are wanted under both
    indices. `rope` and `slope_rope` are the regions of practical equivalence of G and of its slope.
    `format_resource` turns a budget into words with a unit, `quality_words` names the quality in the sentence, and
    `upper_bound` tells that the quality can't exceed a value (an error rate: 1). Raises TableError for runs that
    support no comparison.
    """
    if mode not in MODES:
        raise TableError("mode", f"'{mode}' is not known", f"use {', '.join(MODES)}")
    if baseline.name == candidate.name:
        raise TableError("arms", f"both are named '{baseline.name}'", "name the baseline and the candidate apart")
    if any(not (np.isfinite(c) and c > 0) for c in at):
        raise TableError(
            "at", f"{[c for c in at if not c > 0]} holds a budget that is not positive", "give positive budgets"
        )
    words = format_resource or (lambda c: wording.amount(c, resource))
    reading = Reading(
        baseline.name, candidate.name, resource, quality_words or quality.replace("_", " "), words, rope, slope_rope,
        level, 1.0,
    )  # fmt: skip
    if mode == "exact":
        return compare_exact(baseline, candidate, quality, reading, at, tolerance, seed)

    ladders = (ladder_of(baseline, mode), ladder_of(candidate, mode))
    noise = estimate_noise(*ladders)
    known = noise.source != "unknown"
    deviations = _draws(ladders, noise, draws, np.random.default_rng([seed, 1]))
    rows = [np.concatenate([np.zeros((1, d.shape[1])), d]) + a.log_q for d, a in zip(deviations, ladders, strict=True)]
    precision = [noise.mean_sd(k, a) ** -2.0 for k, a in enumerate(ladders)]
    curves = measure((ladders[0].log_c, ladders[1].log_c), (rows[0], rows[1]), (precision[0], precision[1]), level)
    asked_floor = check_floor(floor, ladders)
    kinds = treatments(asked_floor, ladders)
    fewer = (deviations[0][:DRAWS_BESIDE], deviations[1][:DRAWS_BESIDE])
    laws = [
        fit_laws(ladders, noise, fewer if i else deviations, k, np.random.default_rng([seed, 2]))
        for i, k in enumerate(kinds)
    ]
    law = laws[0]

    estimate = Estimator(ladders, curves, laws, level, known)
    span = curves.window or curves.overlap or (float(ladders[0].log_c[0]), float(ladders[0].log_c[-1]))
    slopes = _slopes(estimate, span, law.kind == floor_name(asked_floor))
    slope, agrees = slopes[0], not notes.contradict(*slopes)
    points = tuple(chain(estimate.at_rungs("old"), estimate.at_rungs("new")))
    asked = tuple(estimate.at_budget(i, float(c)) for i in _INDICES for c in at)
    crossing = crossover(curves, law, level, known)
    seeds = float(np.mean([a.runs.mean() for a in ladders]))
    reading = replace(reading, seeds=seeds, known=known, advice=_advice(ladders, curves, words))
    judged = verdict(estimate.levels(), slope, agrees, crossing, reading)
    found = chain(
        *(notes.ladder_diagnostics(a, mode == "frontier") for a in ladders),
        notes.noise_diagnostics(ladders, noise),
        notes.law_diagnostics(law, floor_name(asked_floor), known),
        notes.floor_diagnostics(laws),
        notes.gain_diagnostics(curves, points, asked, crossing),
        notes.slope_diagnostics(*sorted(slopes, key=lambda s: s.basis)),
        notes.resolution_diagnostics(ladders, noise, curves, judged.gain, level),
        notes.bound_diagnostics(ladders, upper_bound),
    )
    overlap = curves.overlap
    return GainCurve(
        baseline=baseline.name,
        candidate=candidate.name,
        resource=resource,
        quality=quality,
        mode=mode,
        overlap=None if overlap is None else (amount(overlap[0]), amount(overlap[1])),
        points=points,
        asked=asked,
        old=estimate.gain_band("old"),
        new=estimate.gain_band("new"),
        rungs=tuple(chain(*(_rungs(a, noise, k, level) for k, a in enumerate(ladders)))),
        law_bands={a.name: estimate.law_band(k) for k, a in enumerate(ladders)},
        laws=summaries(law, ladders, level, known),
        floors=tuple(evidence(m, ladders, span, level, known, m is law) for m in laws),
        slope=slope,
        slopes=slopes,
        crossover=crossing,
        verdict=judged,
        diagnostics=tuple(found),
        level=level,
        draws=draws,
        seed=seed,
        portable=portable(estimate),
    )


_INDICES: tuple[Literal["old", "new"], ...] = ("old", "new")


def _draws(ladders: tuple[Ladder, Ladder], noise: Noise, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Deviations of both arms, drawn in order of name so that swapping the arms leaves them as they were."""
    if ladders[0].name <= ladders[1].name:
        return draw_rung_means(*ladders, noise, draws, rng)
    second, first = draw_rung_means(ladders[1], ladders[0], noise.swapped(), draws, rng)
    return first, second


def _slopes(estimate: Estimator, span: Interval, as_asked: bool) -> tuple[Slope, Slope]:
    """The slopes from the laws and from the measured gains over the overlap, in order of preference.

    Both cover in calibration and that of the laws is the narrower, so it comes first; unless the laws could not be
    fitted with the floor that was asked for (too few rungs). Without `LEAST_RUNGS` rungs an arm and `LEAST_SPAN`
    decades of baseline budget over which both are measured, a slope has no interval and so there is no trend.
    """
    law, window = estimate.laws[0], estimate.curves.window
    decades = 0.0 if window is None else (window[1] - window[0]) / np.log(10)
    fewest = min(estimate.ladders, key=lambda a: len(a.log_c))
    short = ""
    if not estimate.known:
        short = "no rung was repeated, so the noise is unknown"
    elif len(fewest.log_c) < LEAST_RUNGS:
        short = f"{fewest.name} has {len(fewest.log_c)} rungs, and a trend needs {LEAST_RUNGS} an arm"
    elif window is None:
        how = "no quality in common" if estimate.curves.overlap is None else "too little quality in common"
        short = f"the ladders have {how} for a trend"
    elif decades < LEAST_SPAN:
        short = f"both arms are measured over {decades:.2g} decades, and a trend needs {LEAST_SPAN:g}"

    def slope(drawn: Array, basis: str, note: str) -> Slope:
        ends = quantile_interval(drawn[1:], drawn[1:], estimate.level) if estimate.known else None
        value, interval = sane_slope(float(drawn[0]), ends)
        if value is None:
            note = f"its slope is not identified (beyond ±{SLOPE_LIMIT:g}, where a curve is all but flat)"
        return Slope(value, None if short else interval, basis, short or note)

    modelled = slope(law.slope(span), f"laws, floor {law.kind}", "")
    if window is None:
        return modelled, Slope(None, None, "measured gains", short)
    measured = slope(measured_slope(estimate.curves, span), "measured gains", f"over {decades:.1f} decades of overlap")
    return (modelled, measured) if as_asked else (measured, modelled)


def _advice(ladders: tuple[Ladder, Ladder], curves: Measured, budget: Callable[[float], str]) -> str:
    """Which rung to run where the arms share too few qualities for a bounded gain or a trend."""
    fewest = min(ladders, key=lambda a: len(a.log_c))
    if len(fewest.log_c) < LEAST_RUNGS:
        return f"Give {fewest.name} at least {LEAST_RUNGS} rungs; more seeds of these can't tell a trend."

    def beyond(a: Ladder) -> str:
        return budget(float(f"{np.exp(2 * a.log_c[-1] - a.log_c[-2]):.3g}"))

    def below(a: Ladder) -> str:
        return budget(float(f"{np.exp(2 * a.log_c[0] - a.log_c[1]):.3g}"))

    ahead, behind = sorted(ladders, key=lambda a: float(a.log_q.min()))
    if curves.overlap is None:
        return (
            f"Run {behind.name} at a larger budget than its {budget(amount(behind.log_c[-1]))}, the next step being "
            f"{beyond(behind)}, or {ahead.name} at {below(ahead)}: so far they reach no quality in common."
        )
    return f"Run {behind.name} one rung higher, at {beyond(behind)}, to widen the overlap; more seeds alone do not."


def _rungs(ladder: Ladder, noise: Noise, arm: int, level: float) -> list[RungSummary]:
    """The dots of the figures: rung means with t intervals from the pooled noise."""
    known = noise.source != "unknown"
    t = float(special.stdtrit(noise.dof[arm], (1 + level) / 2)) if known else np.inf
    # with a single degree of freedom and noise of many times the quality, an end can lie beyond any float
    half = np.minimum(t * noise.mean_sd(arm, ladder), 600.0)
    return [
        RungSummary(
            arm=ladder.name,
            resource=amount(x),
            quality=float(np.exp(y)),
            interval=(float(np.exp(y - h)), float(np.exp(y + h))),
            runs=int(n),
            values=tuple(values.tolist()),
        )
        for x, y, h, n, values in zip(ladder.log_c, ladder.log_q, half, ladder.runs, ladder.values, strict=True)
    ]

"""The comparison of two arms: runs in, a gain curve with intervals, trend, crossover and verdict out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from isoloss.errors import TableError
from isoloss.gains import diagnostics as notes
from isoloss.gains import wording
from isoloss.gains.arms import ArmRuns
from isoloss.gains.crossover import crossover
from isoloss.gains.estimate import Estimator, amount
from isoloss.gains.exact import compare_exact
from isoloss.gains.ladder import Ladder, ladder_of
from isoloss.gains.measured import measure, measured_slope, quantile_interval
from isoloss.gains.modelled import check_floor, evidence, fit_laws, floor_name, summaries, treatments
from isoloss.gains.noise import Noise, draw_rung_means, estimate_noise
from isoloss.gains.result import GainCurve, Interval, RungSummary, Slope
from isoloss.gains.verdict import Reading, verdict

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
    words = format_resource or (lambda c: f"{wording.budget(c)} {wording.resource_words(resource)}")
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
    judged = verdict(estimate.levels(), slope, agrees, crossing, replace(reading, seeds=seeds, known=known))
    found = chain(
        *(notes.ladder_diagnostics(a, mode == "frontier") for a in ladders),
        notes.noise_diagnostics(ladders, noise),
        notes.law_diagnostics(law, floor_name(asked_floor), known),
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
    fitted with the floor that was asked for (too few rungs).
    """
    law = estimate.laws[0]
    drawn = law.slope(span)
    interval = quantile_interval(drawn[1:], drawn[1:], estimate.level) if estimate.known else None
    value = float(drawn[0]) if np.isfinite(drawn[0]) else None
    note = "" if estimate.known else "no rung was repeated, so the noise is unknown"
    if estimate.curves.window is None and estimate.known:
        note = "the ladders do not overlap in quality, so this rests on the laws alone"
    modelled = Slope(value, interval, f"laws, floor {law.kind}", note)
    if estimate.curves.window is None:
        note = "the ladders do not overlap in quality"
        return modelled, Slope(None, None, "measured gains", note)
    drawn = measured_slope(estimate.curves, span)
    interval = quantile_interval(drawn[1:], drawn[1:], estimate.level) if estimate.known else None
    decades = (span[1] - span[0]) / np.log(10)
    note = f"over {decades:.1f} decades of overlap" if estimate.known else modelled.note
    measured = Slope(float(drawn[0]), interval, "measured gains", note)
    return (modelled, measured) if as_asked else (measured, modelled)


def _rungs(ladder: Ladder, noise: Noise, arm: int, level: float) -> list[RungSummary]:
    """The dots of the figures: rung means with t intervals from the pooled noise."""
    known = noise.source != "unknown"
    t = float(stats.t.ppf((1 + level) / 2, noise.dof[arm])) if known else np.inf
    half = t * noise.mean_sd(arm, ladder)
    return [
        RungSummary(
            arm=ladder.name,
            resource=amount(x),
            quality=float(np.exp(y)),
            interval=(float(np.exp(y - h)), float(np.exp(y + h))),
            runs=int(n),
            values=tuple(float(v) for v in values),
        )
        for x, y, h, n, values in zip(ladder.log_c, ladder.log_q, half, ladder.runs, ladder.values, strict=True)
    ]

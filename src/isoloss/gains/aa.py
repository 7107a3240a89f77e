"""Arms against their own copies: what the whole pipeline reports where the truth is a gain of exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic, GainCurve
from isoloss.gains.wording import times


@dataclass(frozen=True)
class AACheck:
    """The noise floor of a pipeline, from `comparisons` A/A results.

    `noise_floor`: the gain that 95% of A/A comparisons stay below, ``exp(t sqrt(mean (ln G)^2))`` with t of as many
    degrees of freedom as there are comparisons; `largest`: the largest gain (or inverse) seen; `covered`: how many of
    the intervals hold 1, out of `intervals`, and `covered_p` the probability of so few or fewer were they right;
    `within`: how many gains lie in the region of equivalence. `passed` is False where any comparison has a verdict
    other than ``none`` or ``unknown``, or too few intervals hold 1.
    """

    comparisons: int
    noise_floor: float
    largest: float
    intervals: int
    covered: int
    covered_p: float
    within: int
    passed: bool
    sentence: str
    diagnostics: tuple[Diagnostic, ...]


def aa_check(results: Sequence[GainCurve], rope: tuple[float, float] = (0.95, 1.05)) -> AACheck:
    """Judge A/A comparisons (an arm with disjoint seeds and its own tuning against itself) at their verdict's point.

    Raises TableError where none of them has a measured gain.
    """
    judged = [r for r in results if r.verdict.gain is not None and r.verdict.gain > 0]
    if not judged:
        raise TableError("A/A", f"none of {len(results)} comparisons has a measured gain", "run the copy on the ladder")
    logs = np.log([r.verdict.gain or np.nan for r in judged])
    n = len(logs)
    floor = float(np.exp(special.stdtrit(n, 0.975) * np.sqrt(np.mean(logs**2))))
    spans = [r.verdict.interval for r in judged if r.verdict.interval is not None]
    spans = [s for s in spans if np.isfinite(s[1]) or s[0] > 0]
    covered = sum(low <= 1 <= high for low, high in spans)
    level = float(np.mean([r.level for r in judged]))
    from scipy import stats  # a quarter of a second, which other comparisons do without

    p = float(stats.binom.cdf(covered, len(spans), level)) if spans else 1.0
    within = int(np.sum((np.exp(logs) >= rope[0]) & (np.exp(logs) <= rope[1])))
    found = []
    for r in results:
        if r.verdict.level in ("gain", "loss") or r.verdict.trend in ("grows", "shrinks"):
            message = (
                f"{r.candidate} is a copy of {r.baseline}, yet the verdict is {r.verdict.level}, {r.verdict.trend}: "
                "either chance, or the pipeline treats the two differently (seeds, tuning, data)."
            )
            details = {"baseline": r.baseline, "candidate": r.candidate, "level": r.verdict.level}
            found.append(Diagnostic("aa-differs", "error", message, details))
    if p < 0.05:
        message = f"Only {covered} of {len(spans)} A/A intervals hold 1 (p = {p:.2g}): the intervals are too narrow."
        found.append(Diagnostic("aa-undercovers", "error", message, {"covered": covered, "of": len(spans), "p": p}))
    sentence = (
        f"In {n} A/A comparison{'s' if n > 1 else ''}, {covered} of {len(spans)} intervals hold 1; a gain below "
        f"{times(floor)}× is within what this pipeline reports of an arm against itself."
    )
    largest = float(np.exp(np.max(np.abs(logs))))
    return AACheck(n, floor, largest, len(spans), covered, p, within, not found, sentence, tuple(found))

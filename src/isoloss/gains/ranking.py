"""Many candidates against one baseline at one budget: corrected for how many were tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.estimate import amount
from isoloss.gains.function import gain_point
from isoloss.gains.joint import JointArms, draw_arms
from isoloss.gains.multiplicity import (
    LEAST_TO_SHRINK,
    benjamini_hochberg,
    holm,
    p_beyond,
    p_no_gain,
    p_within,
    shrink,
    simultaneous,
)
from isoloss.gains.result import Diagnostic, GainPoint, Interval, Level
from isoloss.gains.verdict import level_of
from isoloss.gains.wording import times

Array = NDArray[np.float64]

NAMED = 6  # names that a sentence lists, at most
MOST = 0.8  # of the candidates should be measured at the budget that is chosen
MANY = 3  # candidates from which picking the best needs saying


@dataclass(frozen=True)
class Ranked:
    """One candidate. `point`: its own gain and interval; `together`: the interval of the family, all at once.

    `p` is that of ``G = 1``, `p_region` that of a G inside the region of equivalence (small: a gain or loss that
    matters), `p_same` that of a G outside it (small: shown to be no gain); `holm` corrects `p` for any error, `fdr`
    for a share of errors (Benjamini-Hochberg). `shrunk` is the gain to expect on trying again, None with fewer than
    three measured candidates. `level` is judged by `together`, so a verdict holds for all candidates at once.
    """

    candidate: str
    point: GainPoint
    together: Interval | None
    p: float | None
    p_region: float | None
    p_same: float | None
    holm: float | None
    fdr: float | None
    shrunk: float | None
    shrunk_interval: Interval | None
    level: Level


@dataclass(frozen=True)
class Ranking:
    """Candidates best first, at one baseline budget (old index). `critical` is the family's max-|t|."""

    baseline: str
    at: float
    rows: tuple[Ranked, ...]
    critical: float | None
    common_gain: float | None
    spread: float | None
    sentence: str
    diagnostics: tuple[Diagnostic, ...]
    confidence: float
    rope: Interval


def rank(
    baseline: ArmRuns,
    candidates: Sequence[ArmRuns],
    *,
    at: float | None = None,
    level: float = 0.95,
    rope: Interval = (0.95, 1.05),
    draws: int = 8000,
    seed: int = 0,
) -> Ranking:
    """Gains of all `candidates` over one `baseline` where it spends `at`, with what picking among them costs.

    All arms' rung means are drawn jointly, so the baseline's errors are common to the rows. By default the budget is
    the largest at which four in five candidates are measured, or up to a decade less if that measures more of them. A
    candidate that never gets as good there stays as a bound and counts in the corrections. Raises TableError.
    """
    if not candidates:
        raise TableError("rank", "no candidates were named", "give one or more")
    joint = draw_arms([baseline, *candidates], draws, seed)
    log_c = _meeting(joint, level) if at is None else _asked(joint, at)
    log_q = joint.quality_at(0, log_c)
    k = len(candidates)
    low, high = (np.empty((1 + draws, k)) for _ in range(2))
    for i in range(k):
        first, last = joint.budget_for(1 + i, log_q)
        low[:, i], high[:, i] = log_c - last, log_c - first
    budget = amount(log_c)
    points = [gain_point("old", budget, low[:, i], high[:, i], 0.0, level) for i in range(k)]
    exact = (low[0] == high[0]) & np.isfinite(low[0])
    names = joint.names[1:]
    if not joint.known:
        order = sorted(range(k), key=lambda i: -(points[i].gain or 0))
        rows = tuple(_bare(names[i], points[i]) for i in order)
        message = "No arm was run with a second seed, so there are no intervals and no p-values."
        bare = (Diagnostic("no-replicates", "warning", message, {}),)
        return Ranking(baseline.name, budget, rows, None, None, None, message, bare, level, rope)
    p = p_no_gain(low[1:], high[1:])
    region, same = p_within(low[1:], high[1:], rope), p_beyond(low[1:], high[1:], rope)
    by_holm, by_share = holm(p), benjamini_hochberg(p)
    lower, upper, critical = simultaneous(np.where(exact, low[0], np.nan), low[1:], high[1:], level)
    drawn = 0.5 * (low[1:] + high[1:])
    usable = exact & np.isfinite(drawn).all(axis=0)
    shrunk = shrink(low[0, usable], drawn[:, usable], level, seed) if usable.sum() >= LEAST_TO_SHRINK else None
    place = np.cumsum(usable) - 1
    rows_by_arm = []
    for i in range(k):
        together: Interval | None = (float(np.exp(lower[i])), float(np.exp(upper[i])))
        if not np.isfinite([lower[i], upper[i]]).all():
            together = points[i].interval
        pull = shrunk if shrunk is not None and usable[i] else None
        j = int(place[i])
        rows_by_arm.append(
            Ranked(
                names[i],
                points[i],
                together,
                float(p[i]),
                float(region[i]),
                float(same[i]),
                float(by_holm[i]),
                float(by_share[i]),
                float(np.exp(pull.estimate[j])) if pull else None,
                (float(np.exp(pull.low[j])), float(np.exp(pull.high[j]))) if pull else None,
                level_of(together or (0.0, np.inf), rope),
            )
        )
    order = sorted(range(k), key=lambda i: -(low[0, i] if exact[i] else _bounded(points[i])))
    ranked = tuple(rows_by_arm[i] for i in order)
    found = tuple(_diagnostics(ranked, points))
    return Ranking(
        baseline.name, budget, ranked, critical if np.isfinite(critical) else None,
        float(np.exp(shrunk.mean)) if shrunk else None, shrunk.spread if shrunk else None,
        _sentence(ranked, baseline.name, level), found, level, rope,
    )  # fmt: skip


def many_candidates(count: int) -> Diagnostic | None:
    """The caution owed when `count` candidates are compared one by one with no correction; None below three.

    With K independent candidates that all change nothing, some 95% interval misses 1 with probability
    ``1 - 0.95^K``.
    """
    if count < MANY:
        return None
    chance = 1 - 0.95**count
    message = (
        f"{count} candidates are compared one by one with no correction: were none of them any better, one would look "
        f"different with up to {chance:.0%} probability; isoloss rank corrects for it."
    )
    return Diagnostic("many-candidates", "warning", message, {"candidates": count, "chance": chance})


def _meeting(joint: JointArms, level: float) -> float:
    """The largest baseline budget at which nearly every draw measures four in five of the candidates that can be,
    or one less than a decade below it that measures more of them.

    Not all of them at any price: a single poor candidate would take the comparison down to where it lives.
    """
    x = joint.ladders[0].log_c
    grid = np.linspace(x[0], x[-1], 65)
    curves = [joint.curve(k) for k in range(len(joint.names))]
    sample = curves[0].at(grid)
    tail = (1 - level) / 10
    count = np.zeros(len(grid))
    for c in curves[1:]:
        measured = (sample <= c.y[:, :1]) & (sample >= c.y[:, -1:])
        count += measured.mean(axis=0) >= 1 - tail
    if count.max() == 0:
        return float(x[-1])
    top = grid[np.flatnonzero(count >= np.ceil(MOST * count.max()))[-1]]
    near = (grid <= top) & (grid > top - np.log(10.0))
    return float(grid[np.flatnonzero(near & (count == count[near].max()))[-1]])


def _asked(joint: JointArms, at: float) -> float:
    x = joint.ladders[0].log_c
    if not (np.isfinite(at) and at > 0) or not x[0] - 1e-9 <= np.log(at) <= x[-1] + 1e-9:
        what = f"{at:g} is outside the ladder of {joint.names[0]} ({np.exp(x[0]):.4g} to {np.exp(x[-1]):.4g})"
        raise TableError("--at", what, "rank inside the data; isoloss gain extrapolates one candidate at a time")
    return float(np.log(at))


def _bounded(point: GainPoint) -> float:
    """Where a candidate that is only bounded stands: by the finite end of its interval."""
    low, high = point.interval or (0.0, np.inf)
    if np.isfinite(high):
        return float(np.log(max(high, 1e-300)))
    return float(np.log(low)) if low > 0 else 0.0


def _bare(name: str, point: GainPoint) -> Ranked:
    return Ranked(name, point, None, None, None, None, None, None, None, None, "unknown")


def _diagnostics(rows: Sequence[Ranked], points: Sequence[GainPoint]) -> list[Diagnostic]:
    found = []
    wins = [r for r in rows if r.point.interval and not r.point.interval[0] <= 1 <= r.point.interval[1]]
    lost = [r.candidate for r in wins if r.holm is not None and r.holm > 0.05]
    if lost:
        message = (
            f"{', '.join(lost[:4])} {'differs' if len(lost) == 1 else 'differ'} from the baseline on "
            f"{'its' if len(lost) == 1 else 'their'} own but not once {len(rows)} candidates are allowed for (Holm)."
        )
        found.append(Diagnostic("many-candidates", "warning", message, {"candidates": len(rows), "names": lost}))
    best = rows[0]
    if best.shrunk is not None and best.point.gain and best.shrunk < 0.98 * best.point.gain:
        message = (
            f"{best.candidate} was picked for looking best: {times(best.shrunk)}× is to be expected of it, "
            f"not the {times(best.point.gain)}× seen."
        )
        found.append(Diagnostic("winners-curse", "info", message, {"seen": best.point.gain, "expected": best.shrunk}))
    bounded = [r.candidate for r in rows if r.point.region == "censored"]
    if bounded:
        message = f"{', '.join(bounded[:4])}: only a bound at this budget, as the ladders don't meet there."
        found.append(Diagnostic("gain-outside-overlap", "info", message, {"names": bounded}))
    return found


def _named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    few = names if len(names) <= NAMED else names[: NAMED - 1]
    rest = len(names) - len(few)
    return ", ".join(few) + (f" and {rest} more" if rest else "")


def _sentence(rows: Sequence[Ranked], baseline: str, level: float) -> str:
    gains = [r.candidate for r in rows if r.level == "gain"]
    count = f"{len(rows)} candidate{'s' if len(rows) > 1 else ''}"
    if gains:
        verb = "beats" if len(gains) == 1 else "beat"
        return f"Of {count}, {_named(gains)} {verb} {baseline} ({level:.0%}, all at once)."
    losses = [r.candidate for r in rows if r.level == "loss"]
    rest = f"; {_named(losses)} {'is' if len(losses) == 1 else 'are'} worse" if losses else ""
    return f"None of {count} is shown to beat {baseline} once their number is allowed for ({level:.0%}){rest}."

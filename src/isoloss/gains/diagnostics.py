"""Named cautions that can be known from the arrays of a comparison: a stable code, a severity, one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from isoloss.gains.ladder import Ladder
from isoloss.gains.measured import Measured
from isoloss.gains.modelled import Modelled
from isoloss.gains.noise import Noise
from isoloss.gains.power import smallest_resolvable_gain
from isoloss.gains.result import Crossover, Diagnostic, GainPoint, Slope
from isoloss.gains.wording import signed, times

FEW_SCALES = 3
FLOORS_DIFFER = 6.6  # fall of chi-square on freeing one floor: p = 0.01 with known noise
EDGE_SHARE = 0.25  # of bootstrap draws with the floor at the edge of its range, worth a warning


def ladder_diagnostics(ladder: Ladder, frontier: bool) -> Iterator[Diagnostic]:
    """What one arm's own rungs give cause to say."""
    rungs = len(ladder.log_q)
    if rungs < FEW_SCALES:
        yield Diagnostic(
            "few-scales",
            "warning",
            f"{ladder.name} has {rungs} rungs; a law with a floor needs at least {FEW_SCALES}.",
            {"arm": ladder.name, "rungs": rungs},
        )
    if ladder.diverged:
        lost = f"; rungs {list(ladder.lost)} are left out, as half or more diverged" if ladder.lost else ""
        if ladder.exploded:
            lost += f"; finite losses up to {ladder.exploded:.3g} are far above the first rung's and count as diverged"
        yield Diagnostic(
            "diverged-runs",
            "warning",
            f"{ladder.diverged} run(s) of {ladder.name} diverged and count as infinite: "
            f"their rungs are summarised by the median over all runs{lost}.",
            {"arm": ladder.name, "diverged": ladder.diverged, "lost": list(ladder.lost), "exploded": ladder.exploded},
        )
    if ladder.trunks:
        yield Diagnostic(
            "shared-trunk",
            "info",
            f"{ladder.trunks} cluster(s) of {ladder.name} have runs on several rungs (branches of one trunk, or points "
            "of one run), whose noise is drawn with the correlation that the repeats show; noise common to all runs of "
            "the arm can't be seen.",
            {"arm": ladder.name, "clusters": ladder.trunks},
        )
    rises = np.flatnonzero(np.diff(ladder.log_q) > 0)
    if rises.size:
        i = int(rises[np.argmax(np.diff(ladder.log_q)[rises])])
        rise = 100 * math.expm1(ladder.log_q[i + 1] - ladder.log_q[i])
        yield Diagnostic(
            "non-monotone-ladder",
            "warning",
            f"{ladder.name} gets {rise:.2g}% worse from rung {ladder.rung[i]} to rung {ladder.rung[i + 1]}; "
            "such rungs are pooled, and the larger one may be under-tuned.",
            {"arm": ladder.name, "rungs": [int(r) for r in ladder.rung[rises + 1]]},
        )
    if not frontier and ladder.budget_spread > 1.1:
        yield Diagnostic(
            "uneven-rung",
            "warning",
            f"Runs of {ladder.name} within one rung differ {ladder.budget_spread:.2f}-fold in resource; "
            "their geometric mean is used.",
            {"arm": ladder.name, "spread": ladder.budget_spread},
        )


def noise_diagnostics(ladders: tuple[Ladder, Ladder], noise: Noise) -> Iterator[Diagnostic]:
    """Whether seed noise could be estimated, and whether seeds were paired."""
    single = [a.name for a in ladders if np.all(a.runs == 1)]
    if single:
        how = (
            "no interval can be given"
            if noise.source == "unknown"
            else "noise is taken from the scatter about a power law"
        )
        yield Diagnostic(
            "no-replicates",
            "warning",
            f"No rung of {' or '.join(single)} was run with a second seed, so {how}.",
            {"arms": single, "source": noise.source},
        )
    for a, same in zip(ladders, noise.identical, strict=True):
        if same:
            yield Diagnostic(
                "identical-replicates",
                "warning",
                f"All repeats of {a.name} are identical to the last digit, which says nothing about noise (is the seed "
                "used, or are they copies?); noise is taken from elsewhere.",
                {"arm": a.name, "source": noise.source},
            )
    shared = set(ladders[0].rung.tolist()) & set(ladders[1].rung.tolist())
    if shared and not single and not noise.common.any():
        yield Diagnostic(
            "unpaired-seeds",
            "info",
            f"The two arms share {len(shared)} rungs but no seed, so common noise can't cancel; "
            "give both arms the same seeds.",
        )


def law_diagnostics(law: Modelled, asked: str, known: bool) -> Iterator[Diagnostic]:
    """How well the law used for extrapolation holds."""
    if law.kind != asked:
        yield Diagnostic(
            "few-scales",
            "warning",
            f"There are too few rungs for a {asked} floor; laws are fitted with floor {law.kind}.",
            {"asked": asked, "used": law.kind},
        )
    if law.kind.startswith("pinned") or (law.kind == "none" and asked == "none"):
        value = float(law.fits.floor[0, 0])
        yield Diagnostic(
            "pinned-floor",
            "warning",
            f"The floor is pinned at {value:g}; a floor pinned wrong makes a constant gain look falling or growing.",
            {"floor": value},
        )
    if law.kind in ("shared", "free"):
        share = float(np.mean(law.fits.floor_at_bound.any(axis=1)))
        if law.fits.floor_at_bound[0].any() or (known and share > EDGE_SHARE):
            yield Diagnostic(
                "floor-at-bound",
                "warning",
                f"The fitted floor lies at the edge of its range (in {share:.0%} of bootstrap draws): "
                "the ladders are too short to say where the loss levels off.",
                {"share": share},
            )
    if law.fits.exponent_at_bound[0].any():
        yield Diagnostic(
            "parameter-at-bound",
            "warning",
            "An exponent lies at the edge of its range; the law does not describe that arm.",
            {"exponents": law.fits.exponent[0].tolist()},
        )
    if law.lack_of_fit_p is not None and law.lack_of_fit_p < 0.05:
        yield Diagnostic(
            "lack-of-fit",
            "warning",
            f"Rung means scatter about the laws more than seeds explain (p = {law.lack_of_fit_p:.2g}); "
            f"intervals that rest on a law are widened {law.inflation:.2g}-fold.",
            {"p": law.lack_of_fit_p, "inflation": law.inflation},
        )


def floor_diagnostics(laws: list[Modelled]) -> Iterator[Diagnostic]:
    """Whether the data prefer a floor for each arm to the shared one that was chosen."""
    free = next((m for m in laws if m.kind == "free"), None)
    if laws[0].kind != "shared" or free is None or free.lack_of_fit_p is None:
        return
    drop = laws[0].chi2 - free.chi2
    if drop > FLOORS_DIFFER:
        own = ", ".join(f"{e:.3g}" for e in free.fits.floor[0])
        yield Diagnostic(
            "floors-differ",
            "warning",
            f"A floor for each arm ({own}) fits better than a shared one (chi-square falls by {drop:.1f}); if the "
            "floors differ, so do gains beyond the data: see them with a free floor.",
            {"chi2_drop": drop, "floors": free.fits.floor[0].tolist()},
        )


def gain_diagnostics(
    curves: Measured, points: tuple[GainPoint, ...], asked: tuple[GainPoint, ...], crossing: Crossover
) -> Iterator[Diagnostic]:
    """Where gains were asked beyond what was measured, and whether the curves cross."""
    if curves.overlap is None:
        yield Diagnostic(
            "no-overlap",
            "warning",
            "The two ladders reach no quality in common, so only bounds on the gain are measured.",
        )
    elif any(p.region == "censored" for p in points):
        count = sum(p.region == "censored" for p in points)
        yield Diagnostic(
            "gain-outside-overlap",
            "info",
            f"At {count} of {len(points)} rungs the other arm has no run of equal quality: only a bound is given.",
            {"points": count},
        )
    far = [p for p in asked if p.region in ("extrapolated", "withheld") and p.decades_out > 1]
    if far:
        most = max(p.decades_out for p in far)
        yield Diagnostic(
            "wide-extrapolation",
            "warning",
            f"A gain was asked {most:.1f} decades beyond the data; beyond two no point estimate is given.",
            {"decades": most},
        )
    if crossing.region == "measured" and crossing.interval is not None:
        yield Diagnostic(
            "crossing-curves",
            "warning",
            "The curves cross inside the measured budgets: which algorithm is better depends on scale.",
            {"interval": list(crossing.interval)},
        )


def slope_diagnostics(law: Slope, measured: Slope) -> Iterator[Diagnostic]:
    """Whether the slope of the laws and the slope of the measured gains contradict each other."""
    if contradict(law, measured) and law.interval and measured.interval:
        yield Diagnostic(
            "slopes-disagree",
            "warning",
            f"The laws imply a slope of {signed(law.interval[0])} to {signed(law.interval[1])} but the measured "
            f"gains {signed(measured.interval[0])} to {signed(measured.interval[1])}; the trend is left unknown.",
            {"law": list(law.interval), "measured": list(measured.interval)},
        )


def contradict(a: Slope, b: Slope) -> bool:
    """Whether two slopes have disjoint intervals."""
    if a.interval is None or b.interval is None:
        return False
    return a.interval[0] > b.interval[1] or b.interval[0] > a.interval[1]


def resolution_diagnostics(
    ladders: tuple[Ladder, Ladder], noise: Noise, curves: Measured, gain: float | None, level: float
) -> Iterator[Diagnostic]:
    """Whether the seeds at hand could have told the measured gain from 1."""
    if gain is None or gain <= 0 or noise.source == "unknown" or curves.window is None:
        return
    x = curves.window[1]
    exponent = -0.5 * float(curves.old.slope_at(x)[0] + curves.new.slope_at(min(x, curves.new.x[-1]))[0])
    if exponent <= 0:
        return
    seeds = int(max(1, round(float(np.mean([a.runs.mean() for a in ladders])))))
    rungs = int(min(len(a.log_q) for a in ladders))
    smallest = smallest_resolvable_gain(
        seeds,
        noise.sd,
        exponent,
        rungs=rungs,
        correlation=noise.correlation if noise.pair_dof > 2 else 0.0,
        level=level,
    )
    if abs(math.log(gain)) < math.log(smallest):
        yield Diagnostic(
            "gain-below-resolvable",
            "info",
            f"A new study with {seeds} seeds a rung could count on telling gains beyond {times(smallest)}× from 1; the "
            f"{times(gain)}× here is smaller, so a repeat may well not find it.",
            {"smallest": smallest, "seeds": seeds},
        )


def bound_diagnostics(ladders: tuple[Ladder, Ladder], upper: float | None) -> Iterator[Diagnostic]:
    """For a quality that can't exceed `upper` (an error rate): whether rungs sit near chance level."""
    if upper is None:
        return
    worst = max(float(np.exp(a.log_q.max())) for a in ladders)
    if worst > 0.8 * upper:
        yield Diagnostic(
            "bounded-metric",
            "warning",
            f"The quality is bounded by {upper:g} and a rung sits at {worst:.3g}: near the bound no power law holds, "
            "and gains there mean little.",
            {"bound": upper, "worst": worst},
        )

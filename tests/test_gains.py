"""Equivalent gain: invariances, recovery of planted truth, honest censoring, and refusals."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.errors import TableError
from isoloss.gains import ArmRuns, GainCurve, compare, seeds_to_resolve, smallest_resolvable_gain, to_json, wording
from isoloss.gains.ladder import ladder_of
from isoloss.gains.modelled import sane_slope
from isoloss.gains.monotone import isotonic_decreasing, monotone_curve
from isoloss.gains.noise import draw_rung_means, estimate_noise
from isoloss.gains.phantoms import SeedNoise, budgets_of, phantom
from isoloss.gains.result import Crossover, GainPoint, Slope
from isoloss.gains.verdict import Reading, verdict
from isoloss.report import words

FLOOR, SCALE, EXPONENT, FIRST = 1.8, 60.0, 0.10, 1e15


def arm(
    name: str,
    *,
    exponent: float = EXPONENT,
    gain: float = 1.0,
    rungs: int = 6,
    seeds: int = 3,
    sd: float = 0.003,
    seed: int = 0,
    first: float = FIRST,
    noise: np.ndarray | None = None,
) -> ArmRuns:
    """Runs on ``L(C) = E + A C^-alpha``; `gain` is ``G_old`` at the first rung against the default arm."""
    rung = np.repeat(np.arange(rungs), seeds)
    pair = np.tile(np.arange(seeds), rungs).astype(str)
    resource = first * 4.0 ** rung.astype(float)
    loss = FLOOR + SCALE * FIRST**-EXPONENT * (resource * gain / FIRST) ** -exponent
    z = np.random.default_rng(seed).standard_normal(len(loss)) if noise is None else noise
    cluster = np.array([f"{name}-{i}" for i in range(len(loss))])
    return ArmRuns(name, resource, loss * np.exp(sd * z), rung, pair, cluster)


def truth(c: float, exponent: float = EXPONENT, gain: float = 1.0) -> float:
    """``G_old(C)`` of an arm made by `arm` against the default one."""
    return gain * (c / FIRST) ** (1 - EXPONENT / exponent)


def run(old: ArmRuns, new: ArmRuns, **options: Any) -> GainCurve:
    return compare(old, new, **{"resource": "train_flops", "quality": "loss", "draws": 800, **options})


def codes(curve: GainCurve) -> set[str]:
    return {d.code for d in curve.diagnostics}


def with_quality(runs: ArmRuns, quality: np.ndarray) -> ArmRuns:
    return ArmRuns(runs.name, runs.resource, quality, runs.rung, runs.pair, runs.cluster)


# -- invariances -----------------------------------------------------------------------------------------------------


def test_seeds_without_a_partner_say_nothing_of_the_correlation_of_pairs() -> None:
    ladders = [ladder_of(arm(n, rungs=4, seeds=k, sd=0.01, seed=k)) for n, k in (("a", 8), ("b", 3))]
    noise = estimate_noise(*ladders)
    assert noise.pair_dof == estimate_noise(*ladders[::-1]).pair_dof == 4 * (3 - 1)
    assert noise.common.diagonal().tolist() == [3] * 4


@settings(max_examples=8, deadline=None)
@given(unit=st.floats(1e-18, 1e6), gain=st.floats(0.5, 2.0), exponent=st.floats(0.08, 0.13), seed=st.integers(0, 99))
def test_gains_do_not_depend_on_the_unit_of_the_resource(unit: float, gain: float, exponent: float, seed: int) -> None:
    def scaled(runs: ArmRuns) -> ArmRuns:
        return ArmRuns(runs.name, runs.resource * unit, runs.quality, runs.rung, runs.pair, runs.cluster)

    old, new = arm("old", seed=seed), arm("new", gain=gain, exponent=exponent, seed=seed + 100)
    one = run(old, new, draws=200, at=[1e19])
    two = run(scaled(old), scaled(new), draws=200, at=[1e19 * unit])
    for p, q in zip(one.points + one.asked, two.points + two.asked, strict=True):
        assert q.region == p.region
        assert q.at == pytest.approx(p.at * unit)
        assert q.gain == (pytest.approx(p.gain, rel=1e-4) if p.gain else None)
        assert q.interval == pytest.approx(p.interval, rel=1e-4)
    assert two.slope.value == pytest.approx(one.slope.value, abs=1e-5)


@settings(max_examples=8, deadline=None)
@given(gain=st.floats(0.5, 2.0), exponent=st.floats(0.08, 0.13), seed=st.integers(0, 99))
def test_swapping_the_arms_inverts_the_gain_and_swaps_its_index(gain: float, exponent: float, seed: int) -> None:
    old, new = arm("old", seed=seed), arm("new", gain=gain, exponent=exponent, seed=seed + 100)
    forth = {p.index + f"{p.at:.6g}": p for p in run(old, new, draws=200).points}
    back = run(new, old, draws=200).points
    other = {"old": "new", "new": "old"}
    for p in back:
        q = forth[other[p.index] + f"{p.at:.6g}"]
        assert p.region == q.region
        assert (p.gain is None and q.gain is None) or p.gain * q.gain == pytest.approx(1, rel=1e-9)
        ends = [1 / v if v > 0 else math.inf for v in reversed(q.interval)]
        assert p.interval == pytest.approx(ends, rel=1e-9)


def test_equal_runs_give_a_gain_of_exactly_one() -> None:
    old = arm("old")
    curve = run(old, with_quality(arm("new"), old.quality))
    assert [p.gain for p in curve.points] == pytest.approx([1.0] * 12)
    assert curve.verdict.interval[0] < 1 < curve.verdict.interval[1]


def test_the_same_seed_gives_the_same_numbers() -> None:
    old, new = arm("old"), arm("new", gain=1.3, seed=1)
    assert to_json(run(old, new, seed=3)) == to_json(run(old, new, seed=3))
    assert run(old, new, seed=3).verdict.interval != run(old, new, seed=4).verdict.interval


def test_order_of_runs_does_not_matter() -> None:
    old, new = arm("old"), arm("new", gain=1.3, seed=1)
    k = np.random.default_rng(0).permutation(len(new.resource))
    columns = (new.resource, new.quality, new.rung, new.pair, new.cluster)
    shuffled = ArmRuns("new", *(v[k] for v in columns))
    assert run(old, shuffled).verdict.gain == pytest.approx(run(old, new).verdict.gain, rel=1e-12)


# -- planted truth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exponent", "gain", "level", "trend"),
    [
        (0.10, 1.5, "gain", "constant"),
        (0.10, 0.6, "loss", "constant"),
        (0.12, 1.3, "gain", "grows"),
        (0.085, 3.0, "unknown", "shrinks"),
    ],
)
def test_planted_gains_are_recovered(exponent: float, gain: float, level: str, trend: str) -> None:
    curve = run(arm("old", sd=0.001), arm("new", exponent=exponent, gain=gain, sd=0.001, seed=1), at=[1e19], draws=2000)
    measured = [p for p in curve.points if p.index == "old" and p.region == "measured"]
    assert len(measured) >= 4
    for p in measured:
        assert p.gain == pytest.approx(truth(p.at, exponent, gain), rel=0.05)
    far = curve.asked[0]
    assert far.region == "extrapolated" and far.interval[0] < truth(1e19, exponent, gain) < far.interval[1]
    slope = 1 - EXPONENT / exponent
    assert all(s.interval[0] < slope < s.interval[1] for s in curve.slopes)
    if level != "unknown":
        assert curve.verdict.level == level
    assert curve.verdict.trend == trend
    assert {"gain": ": a gain", "loss": ": a loss"}.get(level, "") in curve.verdict.sentence


def test_gains_in_both_indices_describe_the_same_curves() -> None:
    """``G_new(C / G_old(C)) = G_old(C)``: the carried-over budget."""
    curve = run(arm("old", sd=0.0), arm("new", exponent=0.12, gain=2.0, sd=0.0))
    point = next(p for p in curve.points if p.index == "old" and p.region == "measured" and p.at > 5e16)
    carried = run(arm("old", sd=0.0), arm("new", exponent=0.12, gain=2.0, sd=0.0), at=[point.at / point.gain])
    new = next(p for p in carried.asked if p.index == "new")
    assert new.region == "measured" and new.gain == pytest.approx(point.gain, rel=1e-6)


def test_a_crossing_inside_the_ladder_is_found() -> None:
    crossing = 3.2e16
    exponent = 0.13
    gain = (crossing / FIRST) ** -(1 - EXPONENT / exponent)
    curve = run(arm("old", sd=0.002), arm("new", exponent=exponent, gain=gain, sd=0.002, seed=1))
    assert curve.crossover.region == "measured"
    assert curve.crossover.interval[0] < crossing < curve.crossover.interval[1]
    assert curve.crossover.value == pytest.approx(crossing, rel=0.5)
    assert "crossing-curves" in codes(curve)


def test_a_crossing_beyond_the_ladder_comes_from_the_laws() -> None:
    exponent, gain = 0.085, 6.0
    crossing = FIRST * gain ** (-1 / (1 - EXPONENT / exponent))
    curve = run(arm("old", sd=0.001), arm("new", exponent=exponent, gain=gain, sd=0.001, seed=1))
    assert curve.crossover.region == "extrapolated"
    assert curve.crossover.interval[0] < crossing < curve.crossover.interval[1]


def test_no_crossover_is_claimed_for_a_constant_gain() -> None:
    curve = run(arm("old"), arm("new", gain=1.5, seed=1))
    assert curve.crossover.value is None and curve.crossover.region == "not identified" and curve.crossover.reason


def test_a_wrongly_pinned_floor_is_seen_in_the_evidence() -> None:
    curve = run(arm("old", sd=0.001), arm("new", gain=1.5, sd=0.001, seed=1), floor=2.1)
    rows = {f.kind: f for f in curve.floors}
    assert {"shared", "free", "none", "pinned at 2.1"} == set(rows) and rows["pinned at 2.1"].chosen
    assert rows["pinned at 2.1"].lack_of_fit_p < 0.05 < rows["shared"].lack_of_fit_p
    assert {"pinned-floor", "lack-of-fit"} <= codes(curve)
    assert rows["shared"].floors["old"] == pytest.approx(FLOOR, abs=0.1)


@pytest.mark.slow
def test_intervals_cover() -> None:
    """100 laboratories with two seeds and unequal noise: within binomial bounds of 95%."""
    hits = {"gain": 0, "slope": 0, "measured slope": 0}
    for k in range(100):
        old, new = (
            arm("old", rungs=5, seeds=2, seed=2 * k),
            arm("new", rungs=5, seeds=2, gain=1.4, sd=0.006, seed=2 * k + 1),
        )
        curve = run(old, new, draws=300)
        hits["gain"] += curve.verdict.interval[0] <= 1.4 <= curve.verdict.interval[1]
        for name, slope in zip(("slope", "measured slope"), curve.slopes, strict=True):
            hits[name] += slope.interval[0] <= 0 <= slope.interval[1]
    assert all(88 <= n <= 100 for n in hits.values()), hits


def test_paired_seeds_narrow_the_interval() -> None:
    z = np.random.default_rng(5).standard_normal((2, 60))
    near = 0.95 * z[0] + math.sqrt(1 - 0.95**2) * z[1]
    old = arm("old", seeds=10, noise=z[0])
    paired = arm("new", seeds=10, noise=near)
    strangers = np.char.add("x", paired.pair)
    apart = ArmRuns("new", paired.resource, paired.quality, paired.rung, strangers, paired.cluster)
    width = {}
    for name, new in (("paired", paired), ("apart", apart)):
        curve = run(old, new, draws=2000)
        width[name] = math.log(curve.verdict.interval[1] / curve.verdict.interval[0])
        assert ("unpaired-seeds" in codes(curve)) == (name == "apart")
    assert width["paired"] < 0.6 * width["apart"]


# -- censoring, extrapolation, divergence ----------------------------------------------------------------------------


def test_gains_are_censored_where_the_other_arm_never_was() -> None:
    curve = run(arm("old"), arm("new", gain=8.0, seed=1))
    old = [p for p in curve.points if p.index == "old"]
    new = [p for p in curve.points if p.index == "new"]
    assert old[0].region == "censored" and old[0].gain is None
    assert old[0].interval[1] == math.inf and old[0].interval[0] <= 1.0 + 1e-9
    assert old[1].interval[0] == pytest.approx(4.0)
    assert new[-1].region == "censored" and new[-1].interval[0] <= 8.0 and new[-1].interval[1] == math.inf
    assert old[-1].region == "measured" and old[-1].gain == pytest.approx(8.0, rel=0.1)
    assert "gain-outside-overlap" in codes(curve)


def test_ladders_without_overlap_give_bounds_and_a_verdict_from_them() -> None:
    curve = run(arm("old", rungs=3), arm("new", rungs=3, gain=200.0, seed=1))
    assert curve.overlap is None and "no-overlap" in codes(curve)
    assert all(p.region == "censored" for p in curve.points)
    assert curve.verdict.level == "gain" and curve.verdict.gain is None and "more than" in curve.verdict.sentence
    worse = run(arm("old", rungs=3, gain=200.0), arm("new", rungs=3, seed=1))
    assert worse.verdict.level == "loss"


def test_a_draw_outside_the_overlap_widens_the_interval_to_infinity() -> None:
    """At the top rung of an A/A comparison, half of the draws say that the other arm never got there."""
    old = arm("old", sd=0.01, seeds=2)
    curve = run(old, with_quality(arm("new", seeds=2), old.quality))
    top = next(p for p in curve.points if p.index == "new" and p.at == pytest.approx(FIRST * 4**5))
    assert top.interval[1] == math.inf
    assert 0 < top.interval[0] < 1


def test_extrapolation_is_labelled_and_then_withheld() -> None:
    curve = run(arm("old"), arm("new", gain=1.5, seed=1), at=[4e16, 1e19, 1e21])
    regions = [(p.region, p.gain is None) for p in curve.asked if p.index == "old"]
    assert regions == [("measured", False), ("extrapolated", False), ("withheld", True)]
    far = curve.asked[2]
    assert far.interval is not None and far.decades_out == pytest.approx(math.log10(1e21 / (FIRST * 4**5)), abs=0.2)
    assert set(far.fan) == {"free", "none"}
    assert "wide-extrapolation" in codes(curve)
    assert "extrapolated" in curve.old.region and "measured" in curve.old.region


def test_a_rung_that_mostly_diverged_counts_as_infinite() -> None:
    old, new = arm("old"), arm("new", gain=1.5, seed=1)
    q = new.quality.copy()
    q[-2:] = np.inf
    lost = run(old, with_quality(new, q))
    assert sum(p.index == "new" for p in lost.points) == 5 and "diverged-runs" in codes(lost)
    q = new.quality.copy()
    q[-3] = np.inf
    kept = run(old, with_quality(new, q))
    top = [r for r in kept.rungs if r.arm == "new"][-1]
    assert top.runs == 2 and top.quality == pytest.approx(max(q[-2:]))


def test_a_ladder_that_gets_worse_is_pooled_and_said_so() -> None:
    old, new = arm("old"), arm("new", seed=1)
    q = new.quality.copy()
    q[new.rung == 4] *= 1.2
    curve = run(old, with_quality(new, q))
    assert "non-monotone-ladder" in codes(curve)
    assert all(np.isfinite(p.interval[0]) for p in curve.points)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.integers(0, 1000))
def test_isotonic_fit_is_the_least_squares_one(values: list[float], seed: int) -> None:
    y = np.array([values])
    weight = np.random.default_rng(seed).uniform(0.5, 2.0, y.shape[1])
    fit = isotonic_decreasing(y, weight)
    assert np.all(np.diff(fit) <= 1e-9)
    gradient = np.cumsum((weight * (y - fit))[0])  # optimal: partial sums never positive, zero where the fit drops
    assert gradient[-1] == pytest.approx(0, abs=1e-9)
    assert np.all(gradient <= 1e-9)
    assert np.all(np.abs(gradient[:-1][np.diff(fit)[0] < -1e-9]) < 1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=7), st.floats(0.0, 1.0))
def test_the_curve_is_monotone_and_inverts_itself(drops: list[float], share: float) -> None:
    x = np.arange(len(drops) + 1.0) ** 1.2
    curve = monotone_curve(x, -np.cumsum([0.0, *drops])[None], np.ones(len(x)))
    grid = np.linspace(x[0], x[-1], 101)
    assert np.all(np.diff(curve.at(grid)) <= 1e-12)
    at = x[0] + share * (x[-1] - x[0])
    low, high = curve.inverse(curve.at(np.array([at])))
    assert low[0, 0] == high[0, 0] == pytest.approx(at, abs=1e-5)


# -- what cannot be known --------------------------------------------------------------------------------------------


def test_without_replicates_noise_comes_from_the_law() -> None:
    curve = run(arm("old", seeds=1), arm("new", seeds=1, gain=1.5, seed=1))
    assert "no-replicates" in codes(curve)
    low, high = curve.verdict.interval
    assert low < 1.5 < high and high < 5
    assert all(f.lack_of_fit_p is None for f in curve.floors)


def test_two_rungs_of_single_runs_support_no_interval() -> None:
    curve = run(arm("old", seeds=1, rungs=2), arm("new", seeds=1, rungs=2, gain=1.5, seed=1), at=[1e17])
    assert curve.verdict.level == curve.verdict.trend == "unknown"
    assert all(p.interval == (0.0, math.inf) for p in curve.points)
    assert {"no-replicates", "few-scales"} <= codes(curve)
    json.dumps(to_json(curve), allow_nan=False)


def test_too_few_seeds_say_what_would_settle_it() -> None:
    curve = run(arm("old", sd=0.02, seeds=2), arm("new", sd=0.02, seeds=2, gain=1.05, seed=1))
    assert curve.verdict.level == "unknown"
    assert "Not enough evidence" in curve.verdict.sentence and "more seeds" in curve.verdict.sentence
    assert "gain-below-resolvable" in codes(curve)


def test_a_bounded_metric_near_its_bound_is_pointed_out() -> None:
    def error_rate(runs: ArmRuns) -> ArmRuns:
        return with_quality(runs, np.minimum(0.95, runs.quality / 3.6))

    curve = run(error_rate(arm("old")), error_rate(arm("new", gain=1.5, seed=1)), upper_bound=1.0)
    assert "bounded-metric" in codes(curve)


def test_errors_over_many_decades_are_compared_too() -> None:
    """An error against an exact solution: no floor, quality falling by ten thousand."""
    rung = np.repeat(np.arange(5), 3)
    c = 10.0 ** (2 + rung)
    rng = np.random.default_rng(0)
    arms = [
        ArmRuns(n, c, a * c**-1.0 * np.exp(0.1 * rng.standard_normal(15)), rung, np.tile(list("abc"), 5), np.arange(15))
        for n, a in (("grid", 1.0), ("spectral", 0.2))
    ]
    curve = run(*arms, floor="none", resource="points", quality="relative_l2", at=[1e7])
    assert curve.verdict.level == "gain" and curve.verdict.gain == pytest.approx(5, rel=0.4)
    assert all(s.interval[0] < 0 < s.interval[1] for s in curve.slopes)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    seeds=st.integers(1, 3),
    spread=st.sampled_from([0.0, 1e-6, 0.1, 3.0]),
    fall=st.sampled_from([-0.2, 0.0, 0.1, 2.0]),
    lost=st.integers(0, 3),
    floor=st.sampled_from(["shared", "free", "none"]),
    mode=st.sampled_from(["curve", "frontier"]),
    seed=st.integers(0, 10**6),
)
def test_any_runs_get_a_whole_answer_or_a_one_line_refusal(
    sizes: tuple[int, int], seeds: int, spread: float, fall: float, lost: int, floor: str, mode: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    arms = []
    for name, rungs in zip(("old", "new"), sizes, strict=True):
        rung = np.repeat(np.arange(rungs), seeds)
        resource = 10.0 ** rng.integers(0, 20) * 4.0**rung
        quality = (resource / resource[0]) ** -fall * np.exp(spread * rng.standard_normal(len(rung)))
        quality[rng.permutation(len(rung))[:lost]] = np.inf
        pair = np.tile(np.arange(seeds), rungs)
        arms.append(ArmRuns(name, resource, quality, rung, pair, np.arange(len(rung))))
    try:
        curve = run(*arms, draws=60, floor=floor, mode=mode, at=[1e3, 1e15])
    except TableError as refusal:
        assert refusal.remedy
        return
    json.dumps(to_json(curve), allow_nan=False)
    for p in curve.points + curve.asked:
        assert (p.gain is not None) == (p.region in ("measured", "extrapolated"))
        if p.interval is not None:
            assert 0 <= p.interval[0] <= p.interval[1] and not math.isnan(p.interval[1])
    assert curve.verdict.sentence and "nan" not in curve.verdict.sentence


# -- modes -----------------------------------------------------------------------------------------------------------


def test_frontier_mode_keeps_only_rungs_that_no_cheaper_one_beats() -> None:
    new = arm("new", gain=1.5, seed=1)
    q = new.quality.copy()
    q[new.rung == 2] *= 1.3
    curve = run(arm("old"), with_quality(new, q), mode="frontier")
    assert sum(r.arm == "new" for r in curve.rungs) == 5
    assert curve.verdict.level == "gain" and curve.mode == "frontier"


def test_exact_mode_is_a_plain_ratio() -> None:
    old = arm("plain", sd=0.001)
    new = ArmRuns("checkpointed", old.resource / 3, old.quality, old.rung, old.pair, old.cluster)
    curve = run(old, new, mode="exact", resource="peak_memory", at=[FIRST * 5, 1e25])
    assert [p.gain for p in curve.points] == pytest.approx([3.0] * 12)
    assert curve.slope.value == pytest.approx(0, abs=1e-9)
    assert (curve.verdict.level, curve.verdict.trend) == ("gain", "constant")
    assert [p.region for p in curve.asked] == ["measured", "undefined"] * 2
    with pytest.raises(TableError, match="differ by more than"):
        run(old, with_quality(new, old.quality * 1.01), mode="exact")


# -- refusals --------------------------------------------------------------------------------------------------------


def _replace(runs: ArmRuns, column: str, value: float) -> ArmRuns:
    columns = {f: getattr(runs, f) for f in ("name", "resource", "quality", "rung", "pair", "cluster")}
    columns[column] = np.r_[value, columns[column][1:]]
    return ArmRuns(**columns)


_EMPTY = ArmRuns("new", *(np.array([]) for _ in range(5)))
_ALL_DIVERGED = with_quality(arm("new"), np.full(18, np.inf))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (_EMPTY, "no finished runs"),
        (arm("new", rungs=1), "one rung only"),
        (_ALL_DIVERGED, "0 usable"),
        (_replace(arm("new"), "quality", math.nan), "quality nan"),
        (_replace(arm("new"), "quality", -1.0), "quality -1"),
        (_replace(arm("new"), "resource", 0.0), "resource 0"),
        (_replace(arm("new"), "resource", math.inf), "resource inf"),
        (arm("old", seed=1), "both are named"),
    ],
)
def test_runs_that_support_no_comparison_are_refused_in_one_line(new: ArmRuns, words: str) -> None:
    with pytest.raises(TableError, match=words) as raised:
        run(arm("old"), new)
    assert "\n" not in str(raised.value) and raised.value.remedy


@pytest.mark.parametrize("options", [{"floor": 9.0}, {"floor": "low"}, {"mode": "guess"}, {"at": [-1.0]}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TableError):
        run(arm("old"), arm("new", seed=1), **options)


# -- planning --------------------------------------------------------------------------------------------------------


def test_resolvable_gain_shrinks_with_seeds_and_slope() -> None:
    gains = [smallest_resolvable_gain(n, 0.002, 0.08, rungs=6) for n in (2, 3, 5, 20)]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 1
    assert smallest_resolvable_gain(3, 0.002, 0.04) > smallest_resolvable_gain(3, 0.002, 0.08)
    assert smallest_resolvable_gain(3, (0.002, 0.0), 0.08) < smallest_resolvable_gain(3, 0.002, 0.08)
    assert smallest_resolvable_gain(3, 0.002, 0.08, correlation=1.0) == pytest.approx(1.0)


@given(st.floats(1.01, 3.0), st.floats(1e-4, 1e-2))
def test_seeds_to_resolve_is_the_fewest(gain: float, sd: float) -> None:
    n = seeds_to_resolve(gain, sd, 0.08, rungs=6)
    if n is not None:
        assert smallest_resolvable_gain(n, sd, 0.08, rungs=6) <= gain
        assert n == 1 or smallest_resolvable_gain(n - 1, sd, 0.08, rungs=6) > gain


# -- words that say no more than is known ----------------------------------------------------------------------------


def test_two_rungs_or_a_sliver_of_overlap_tell_no_trend() -> None:
    two = run(arm("old", rungs=2), arm("new", rungs=2, gain=1.3, seed=1))
    assert two.verdict.trend == "unknown" and two.slope.interval is None
    assert "needs 3" in two.verdict.sentence and "at least 3 rungs" in two.verdict.sentence
    narrow = arm("old", rungs=4), arm("new", rungs=4, gain=2.5, seed=1)
    squeezed = [
        ArmRuns(a.name, FIRST * (a.resource / FIRST) ** 0.25, a.quality, a.rung, a.pair, a.cluster) for a in narrow
    ]
    curve = run(*squeezed)
    assert curve.verdict.trend == "unknown" and "decades" in curve.slope.note
    wide = run(arm("old", sd=0.001), arm("new", exponent=0.12, gain=1.3, sd=0.001, seed=1))
    assert wide.verdict.trend == "grows"


def test_without_overlap_the_next_step_is_a_rung_and_not_seeds() -> None:
    curve = run(arm("old", rungs=3), arm("new", rungs=3, gain=200.0, seed=1))
    assert "more seeds" not in curve.verdict.sentence and "Run old at a larger budget" in curve.verdict.sentence
    assert "no quality in common" in curve.slope.note


def test_an_overlap_too_short_for_a_slope_is_not_called_none() -> None:
    curve = run(arm("old", rungs=3, sd=0.02), arm("new", rungs=3, gain=15.0, sd=0.02, seed=1))
    assert curve.overlap is not None and any(p.region == "measured" for p in curve.points)
    assert all("no quality in common" not in s.note for s in curve.slopes)
    assert "no-overlap" not in codes(curve)


@pytest.mark.parametrize("interval", [(0.01, math.inf), (0.0, 3.0), (0.0, math.inf), (0.8, 1.4)])
def test_an_unsettled_level_reads_as_a_sentence(interval: tuple[float, float]) -> None:
    reading = Reading("old", "new", "flops", "loss", str, (0.95, 1.05), 0.02, 0.95, 3.0, advice="Run old again.")
    nowhere = Crossover(None, None, "not identified", "")
    for gain in (None, 1.1):
        point = GainPoint("old", 10.0, gain, interval, "measured" if gain else "censored")
        said = verdict([point], Slope(0.1, (-0.1, 0.3), "laws"), True, nowhere, reading).sentence
        assert "is 95%" not in said and "inf" not in said
        assert ("more seeds" in said) == (interval == (0.8, 1.4))


def test_absurd_slopes_are_not_identified() -> None:
    assert sane_slope(-11242.0, (-20000.0, 0.5)) == (None, None)
    assert sane_slope(0.1, (-11242.0, 0.5)) == (0.1, (-math.inf, 0.5))
    assert sane_slope(math.nan, None) == (None, None)
    new = arm("new", seed=1)
    flat = with_quality(new, 3.0 + 1e-4 * np.random.default_rng(0).standard_normal(len(new.quality)))
    curve = run(arm("old"), flat)
    for value in (curve.slope.value, *(f.slope for f in curve.floors)):
        assert value is None or abs(value) <= 10


def test_a_huge_finite_loss_is_a_divergence() -> None:
    old, new = arm("old"), arm("new", gain=1.5, seed=1)
    q = new.quality.copy()
    q[-1] = 1e30
    as_infinite = q.copy()
    as_infinite[-1] = np.inf
    one, two = run(old, with_quality(new, q)), run(old, with_quality(new, as_infinite))
    assert one.verdict.interval == two.verdict.interval
    found = next(d for d in one.diagnostics if d.code == "diverged-runs")
    assert "1e+30" in found.message and found.details["diverged"] == 1
    q[new.rung == 0] = 1e30
    assert run(old, with_quality(new, q)).verdict.level == "gain"


def test_errors_that_fall_by_decades_a_rung_are_no_divergence() -> None:
    rung = np.repeat(np.arange(4), 2)
    quality = 10.0 ** -(2.0 * rung) * (1 + 0.01 * np.tile([0.0, 1.0], 4))
    ladder = ladder_of(ArmRuns("a", 10.0**rung, quality, rung, np.tile(["0", "1"], 4), np.arange(8)))
    assert ladder.diverged == 0 and len(ladder.rung) == 4


def test_copies_are_not_taken_for_noiseless_repeats() -> None:
    old, new = arm("old", sd=0.0), arm("new", gain=1.3, seed=1)
    wobble = np.random.default_rng(3).standard_normal(6)[old.rung]
    curve = run(with_quality(old, old.quality * np.exp(0.01 * wobble)), new)
    assert "identical-replicates" in codes(curve)
    first = next(r for r in curve.rungs if r.arm == "old")
    assert first.interval[1] / first.interval[0] > 1.005


def test_equal_losses_all_along_an_arm_are_refused() -> None:
    with pytest.raises(TableError, match="all 18 qualities equal 3"):
        run(arm("old"), with_quality(arm("new"), np.full(18, 3.0)))


def test_branches_of_one_trunk_are_drawn_together() -> None:
    """Noise that a trunk hands to all its branches tells less than as many independent runs."""
    seeds = 6
    trunk = np.random.default_rng(0).standard_normal(seeds)
    noise = np.tile(trunk, 6)
    old, new = arm("old", seeds=seeds, noise=noise), arm("new", seeds=seeds, gain=1.4, seed=1)
    branched = ArmRuns("old", old.resource, old.quality, old.rung, old.pair, np.char.add("trunk-", old.pair))
    apart, together = (estimate_noise(ladder_of(o), ladder_of(new)) for o in (old, branched))
    assert apart.trunk == (0.0, 0.0) and together.trunk[0] == pytest.approx(1.0, abs=0.05)
    assert together.dof[0] == pytest.approx(seeds - 1, rel=0.1) and apart.dof[0] == 6 * (seeds - 1)
    drawn = draw_rung_means(ladder_of(branched), ladder_of(new), together, 4000, np.random.default_rng(0))[0]
    assert np.corrcoef(drawn.T)[0, 5] > 0.95
    curve, plain = run(branched, new, draws=2000), run(old, new, draws=2000)
    assert "shared-trunk" in codes(curve) and "shared-trunk" not in codes(plain)
    assert np.ptp(np.log(curve.verdict.interval)) > np.ptp(np.log(plain.verdict.interval))


def test_different_floors_are_pointed_out() -> None:
    lab = phantom("constant", SeedNoise(0.001), rungs=8, floors=(1.8, 1.5))
    curve = run(*lab.runs(list(budgets_of(8)), 3, np.random.default_rng(0)))
    assert "floors-differ" in codes(curve)
    same = phantom("constant", SeedNoise(0.001), rungs=8)
    assert "floors-differ" not in codes(run(*same.runs(list(budgets_of(8)), 3, np.random.default_rng(0))))


def test_a_ladder_of_many_runs_is_the_ladder_of_their_rungs() -> None:
    n = 200_000
    rng = np.random.default_rng(0)
    rung = rng.integers(0, 8, n)
    pair = (np.arange(n) // 8).astype(str)
    quality = (3 - 0.1 * rung) * np.exp(0.01 * rng.standard_normal(n))
    ladder = ladder_of(ArmRuns("a", 4.0**rung, quality, rung, pair, pair))
    assert int(ladder.runs.sum()) == n
    for k in range(8):
        assert ladder.runs[k] == np.sum(rung == k)
        assert ladder.log_q[k] == pytest.approx(np.mean(np.log(quality[rung == k])), rel=1e-12)


@given(st.floats(1e-3, 9e5), st.floats(1.0, 50.0))
def test_the_sentence_rounds_as_the_tables_do(low: float, ratio: float) -> None:
    high = low * ratio
    if high < 9e5:
        assert wording.between(low, high) == words.span((low, high))
    assert f"{wording.times(low)}×" == words.times(low)
    assert wording.between(low, math.inf) == words.span((low, math.inf)).replace("> ", "more than ")

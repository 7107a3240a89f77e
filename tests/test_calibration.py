"""Phantoms keep what they promise, and the intervals of `compare` cover their truth."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isoloss.gains import compare
from isoloss.gains.phantoms import (
    ANCHOR,
    KINDS,
    FactorialPhantom,
    Phantom,
    SeedNoise,
    TrueCurve,
    budgets_of,
    interacting,
    phantom,
)

curves = st.builds(
    TrueCurve,
    floor=st.floats(0, 3),
    above=st.floats(0.1, 5),
    exponent=st.floats(0.03, 0.4),
    break_at=st.sampled_from([math.inf, ANCHOR * 10, ANCHOR * 1e4]),
    exponent_after=st.floats(0.03, 0.4),
    width=st.floats(0.1, 2.0),
)
budgets = st.floats(-1, 6).map(lambda x: ANCHOR * 10**x)


# -- phantoms --------------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(curves, budgets)
def test_a_true_curve_inverts_itself_and_falls(curve: TrueCurve, budget: float) -> None:
    assert curve.budget(curve.loss(budget)) == pytest.approx(budget, rel=1e-6)
    assert curve.loss(budget * 1.5) < curve.loss(budget)
    assert np.isinf(curve.budget(curve.floor))
    step = 1e-4
    above = [math.log(curve.loss(budget * math.exp(s)) - curve.floor) for s in (-step, step)]
    assert -(above[1] - above[0]) / (2 * step) == pytest.approx(float(curve.exponent_at(budget)), rel=1e-3, abs=1e-5)


@settings(max_examples=100)
@given(curves, curves, budgets)
def test_a_true_gain_matches_losses_in_both_indices(old: TrueCurve, new: TrueCurve, budget: float) -> None:
    lab = Phantom("any", old, new)
    gain = float(lab.gain(budget))
    if gain <= 0:
        assert old.loss(budget) <= new.floor
        return
    assert lab.loss("new", budget / gain) == pytest.approx(float(lab.loss("old", budget)), rel=1e-7)
    assert float(lab.new_index_gain(budget / gain)) == pytest.approx(gain, rel=1e-5)
    near = [float(lab.gain(budget * math.exp(s))) for s in (-1e-4, 1e-4)]
    if min(near) > 0:
        slope = math.log(near[1] / near[0]) / 2e-4
        assert slope == pytest.approx(float(lab.slope(budget)), rel=1e-2, abs=1e-2)


def test_ready_made_phantoms_have_the_gains_they_are_named_for() -> None:
    c = budgets_of(6)
    assert phantom("constant").gain(c) == pytest.approx(1.5)
    assert phantom("no gain").gain(c) == pytest.approx(1.0)
    assert np.all(np.diff(phantom("growing").gain(c)) > 0) and np.all(np.diff(phantom("vanishing").gain(c)) < 0)
    crossing = phantom("crossing")
    assert crossing.crossing(c[0], c[-1]) == pytest.approx(math.sqrt(c[0] * c[-1]))
    assert crossing.settled(c[-1]) == ("gain", "grows") and crossing.settled(c[0])[0] == "loss"
    assert math.isnan(phantom("constant").crossing(c[0], c[-1]))
    for kind in KINDS:
        assert phantom(kind).mean_slope(c[0], c[-1]) == pytest.approx(float(phantom(kind).slope(c[2])))
        assert phantom(kind, broken="inside").gain(c) == pytest.approx(phantom(kind).gain(c), rel=0.05)


def test_a_run_depends_on_its_arguments_alone() -> None:
    lab = phantom("constant", SeedNoise((0.004, 0.008), correlation=0.9))
    assert lab.run("old", 1e16, 3) == lab.run("old", 1e16, 3)
    runs = {lab.run("old", c, s, k) for c in (1e15, 1e16) for s in (0, 1) for k in (0, 1)}
    assert len(runs) == 8
    pairs = np.array([[lab.run(a, 1e16, s) for a in lab.arms] for s in range(400)])
    assert pairs.std(axis=0) == pytest.approx([0.004, 0.008], rel=0.15)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("tail", [math.inf, 5.0])
def test_noise_has_the_spread_that_was_asked_for(tail: float) -> None:
    noise = SeedNoise((0.003, 0.009), relative=True, tail=tail, diverging=0.1)
    old, new = phantom("constant", noise).runs([1e15, 1e18], 4000, np.random.default_rng(0))
    for arm, sd in ((old, 0.003), (new, 0.009)):
        assert np.mean(np.isinf(arm.quality)) == pytest.approx(0.1, abs=0.015)
        for r in (0, 1):
            q = arm.quality[(arm.rung == r) & np.isfinite(arm.quality)]
            assert q.std() == pytest.approx(sd * q.mean() / 3.0, rel=0.12)


def test_interacting_innovations_do_not_add() -> None:
    lab = interacting()
    assert lab.arms[0] == "none" and len(lab.arms) == 8 and lab.switches("a+c") == {"a": 1, "b": 0, "c": 1}
    g = {a: float(lab.log_gain(a, 1e17)) for a in lab.arms}
    assert g["a+b"] - g["a"] - g["b"] == pytest.approx(-0.35)
    assert g["a+c"] == pytest.approx(g["a"] + g["c"])
    for a in lab.arms:
        two = lab.against(a)
        assert math.log(two.new_index_gain(1e17)) == pytest.approx(g[a], abs=1e-9)
        assert two.run(a, 1e16, 0) == pytest.approx(lab.run(a, 1e16, 0), abs=0.06)
    runs = lab.runs([1e15, 1e16], 2, np.random.default_rng(0), ["none", "a+b"])
    assert set(runs) == {"none", "a+b"} and len(runs["none"].quality) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: phantom("shrinking"),
        lambda: phantom("constant", broken="later"),
        lambda: TrueCurve(1.0, 1.0, -0.1),
        lambda: SeedNoise(correlation=1.5),
        lambda: interacting().curve("d"),
        lambda: FactorialPhantom(
            "x", TrueCurve(1, 1, 0.1, break_at=1e16, exponent_after=0.05), {"a": (0.1, 0.1)}
        ).curve("a"),
    ],
)
def test_impossible_phantoms_are_refused(wrong) -> None:
    with pytest.raises(ValueError):
        wrong()


# -- coverage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "benchmarks")  # its processes import it too
    return importlib.import_module("calibration")


@pytest.mark.slow
def test_intervals_cover_their_truth(benchmark_module: ModuleType) -> None:
    """300 laboratories of one cell, deterministic: within the central 99.9% of a binomial about 95%."""
    benchmark = benchmark_module
    cell = benchmark.Cell(benchmark.IN_FAMILY, "growing", 6, 2, SeedNoise((0.003, 0.008), correlation=0.6))
    found = benchmark.chunk(cell, 1, 300, 250)
    least, most = stats.binom.ppf([0.0005, 0.9995], 300, 0.95) / 300
    for score in ("gain", "slope", "slope:data", "decade"):
        assert least <= benchmark.share(found, f"isoloss|{score}") <= most, score
    assert benchmark.share(found, "isoloss|false level") + benchmark.share(found, "isoloss|false trend") < 0.02


def test_a_floor_pinned_wrong_is_seen_and_costs_width() -> None:
    """With little noise a floor 0.2 nats too high does not fit; its intervals are widened until they mean little."""
    lab = phantom("growing", SeedNoise(0.001), rungs=8)
    c = budgets_of(8)
    far = float(10 * c[-1])
    width: dict[float, list[float]] = {1.8: [], 2.0: []}
    seen = dict.fromkeys(width, 0)
    for k in range(12):
        arms = lab.runs(list(c), 3, np.random.default_rng(k))
        for floor in width:
            curve = compare(*arms, resource="f", quality="loss", floor=floor, at=[far], draws=200)
            low, high = curve.asked[0].interval
            width[floor].append(math.log(high / low))
            seen[floor] += any(d.code == "lack-of-fit" for d in curve.diagnostics)
    assert seen[2.0] == 12 and seen[1.8] <= 4
    assert np.median(width[2.0]) > 3 * np.median(width[1.8])


def test_finished_chunks_are_not_computed_again(
    benchmark_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = benchmark_module
    cell = benchmark.Cell(benchmark.FEW, "no gain", 4, 2, SeedNoise(0.004))
    cache = tmp_path / "cells.jsonl"
    first = benchmark.table([(cell, 4)], 60, 1, cache)
    cache.write_text(cache.read_text() + '{"key": "cut off')
    monkeypatch.setattr(benchmark.concurrent.futures.ProcessPoolExecutor, "submit", lambda *_: pytest.fail("computed"))
    again = benchmark.table([(cell, 4)], 60, 1, cache)
    assert again == first and first[cell]["count"] == 4
    text = benchmark.page(first, 60, "python benchmarks/calibration.py")
    assert "4x2 SD .004/.004 nats" in text and "nan" not in text

"""What to run next: the arithmetic of information, proposals that keep their promises, refusals, and the verb."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from isoloss import api
from isoloss.cli import app
from isoloss.errors import IsolossError, TableError
from isoloss.gains import ArmRuns, compare
from isoloss.gains.phantoms import Phantom, SeedNoise, budgets_of, phantom
from isoloss.planning.information import Belief, settle_probability
from isoloss.planning.next_runs import NextRuns, next_runs
from isoloss.planning.standing import stand
from tests.conftest import ROOT

NOISE = SeedNoise((0.003, 0.008))


def pilot(
    kind: str = "no gain", *, rungs: int = 4, seeds: int = 2, noise: SeedNoise = NOISE, seed: int = 0
) -> tuple[ArmRuns, ArmRuns]:
    return phantom(kind, noise, rungs=rungs).runs(budgets_of(rungs), seeds, np.random.default_rng(seed))


def propose(arms: tuple[ArmRuns, ArmRuns], **options: Any) -> NextRuns:
    return next_runs(*arms, **{"draws": 400, **options})


def with_runs(arm: ArmRuns, ladder: list[float], runs: list[tuple[float, int, float]]) -> ArmRuns:
    """An arm with more runs (budget, seed, quality), rungs numbered along `ladder`."""
    resource = np.r_[arm.resource, [b for b, _, _ in runs]]
    pair = np.r_[arm.pair, [str(s) for _, s, _ in runs]]
    rung = np.searchsorted(np.array(sorted(ladder)) * 0.99, resource) - 1
    cluster = np.array([f"{arm.name}-{i}" for i in range(len(resource))])
    return ArmRuns(arm.name, resource, np.r_[arm.quality, [q for _, _, q in runs]], rung, pair, cluster)


def bought(truth: Phantom, arms: tuple[ArmRuns, ArmRuns], found: NextRuns, laboratory: int) -> tuple[ArmRuns, ArmRuns]:
    """Both arms after the proposed runs were made."""
    ladder = sorted({*arms[0].resource, *arms[1].resource, *(r.budget for r in found.runs)})
    return tuple(  # type: ignore[return-value]
        with_runs(
            arm,
            ladder,
            [
                (r.budget, r.seed, truth.run(arm.name, r.budget, f"new {r.seed}", laboratory))
                for r in found.runs
                if r.arm == arm.name and r.seed is not None
            ],
        )
        for arm in arms
    )


# -- information ------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 6), noise=st.floats(1e-3, 10.0))
def test_a_run_lowers_the_variance_by_what_was_foretold(seed: int, size: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((size, size + 1))
    belief = Belief(root @ root.T, rng.standard_normal(size))
    rows = rng.standard_normal((3, size))
    foretold = belief.reduction(rows, np.full(3, noise))
    for row, less in zip(rows, foretold, strict=True):
        assert belief.after(row, noise).variance == pytest.approx(belief.variance - less, rel=1e-6, abs=1e-9)
    one = belief.after(rows[0], noise).after(rows[1], noise)
    two = belief.after(rows[1], noise).after(rows[0], noise)
    np.testing.assert_allclose(one.covariance, two.covariance, atol=1e-8 * np.abs(belief.covariance).max())
    assert (foretold >= 0).all()


@settings(max_examples=20)
@given(value=st.floats(-0.3, 0.3), half=st.floats(0.005, 0.2), moved=st.floats(0.005, 0.3))
def test_the_chance_to_settle_is_the_share_of_futures_that_do(value: float, half: float, moved: float) -> None:
    edges = (-0.05, 0.05)
    after = value + moved * np.random.default_rng(0).standard_normal(200_000)
    clear = (
        (after - half > edges[1]) | (after + half < edges[0]) | ((after - half > edges[0]) & (after + half < edges[1]))
    )
    assert float(settle_probability(value, edges, half, moved)) == pytest.approx(clear.mean(), abs=0.005)


# -- proposals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["no gain", "constant", "growing", "crossing"])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_standing_is_the_verdict_of_the_comparison(kind: str, correlation: float) -> None:
    arms = pilot(kind, noise=SeedNoise((0.003, 0.008), correlation=correlation), seed=3)
    now = stand(*arms, draws=300, seed=5)
    curve = compare(*arms, resource="train_flops", quality="loss", draws=300, seed=5)
    assert (now.level.answer, now.trend.answer) == (curve.verdict.level, curve.verdict.trend)
    assert np.exp(now.level.interval) == pytest.approx(curve.verdict.interval)
    assert now.trend.interval == pytest.approx(curve.slope.interval)
    assert np.exp(now.judged_at) == pytest.approx(curve.verdict.at)


@pytest.mark.parametrize("target", ["level", "trend"])
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_intervals_shrink_as_foretold(target: str, correlation: float) -> None:
    noise = SeedNoise((0.008, 0.016), correlation=correlation)
    truth = phantom("no gain", noise, rungs=4)
    foretold, came = [], []
    for k in range(12):
        arms = pilot(noise=noise, seeds=4, seed=k)
        now = stand(*arms, draws=400)
        found = next_runs(*arms, target=target, spend=40 * budgets_of(4)[2], standing=now)  # type: ignore[arg-type]
        assert found.runs
        then = stand(*bought(truth, arms, found, k), draws=400)
        widths = [np.diff(getattr(s, target).interval)[0] for s in (now, then)]
        foretold.append(np.sum(np.log([1 - (r.shrinkage or 0.0) for r in found.runs])))
        came.append(np.log(widths[1] / widths[0]))
    assert np.mean(foretold) < -0.15
    # noise is estimated anew each time, so single intervals scatter by a fifth; their mean must not be off by that
    assert np.mean(came) == pytest.approx(np.mean(foretold), abs=0.2)


def test_a_settled_verdict_needs_nothing() -> None:
    arms = pilot("crossing", noise=SeedNoise(0.0005), seeds=3)
    found = propose(arms)
    assert found.settled and not found.runs and found.cost == 0
    assert "Nothing more to run" in found.sentence


def test_what_would_settle_is_said_with_its_chance_and_more_spend_never_hurts() -> None:
    arms = pilot(seeds=3)
    now = stand(*arms, draws=400)
    chances = [
        next_runs(*arms, target="trend", spend=s * 1e15, standing=now, most=400).settles or 0.0
        for s in (5, 50, 500, 5000)
    ]
    assert chances == sorted(chances)
    assert 0 <= chances[0] < chances[-1] <= 1


@settings(max_examples=8)
@given(spend=st.floats(1e15, 1e18), target=st.sampled_from(["level", "trend", "both"]), seed=st.integers(0, 50))
def test_spend_prices_and_seeds_are_kept(spend: float, target: str, seed: int) -> None:
    arms = pilot(seed=seed)
    found = propose(arms, spend=spend, target=target, price=lambda arm, c: c * (3 if arm == "new" else 1))
    assert found.cost <= spend * (1 + 1e-9)
    assert found.cost == pytest.approx(sum(r.cost for r in found.runs))
    assert all(r.cost == pytest.approx(r.budget * (3 if r.arm == "new" else 1)) for r in found.runs)
    taken = {(a.name, float(c), int(p)) for a in arms for c, p in zip(a.resource, a.pair, strict=True)}
    for r in found.runs:
        assert r.seed is not None
        key = (r.arm, r.budget, r.seed)
        assert key not in taken
        taken.add(key)


def test_runs_do_not_depend_on_the_unit_of_the_resource() -> None:
    arms = pilot("constant", seed=2)
    scaled = [ArmRuns(a.name, a.resource * 1e-12, a.quality, a.rung, a.pair, a.cluster) for a in arms]
    one, two = propose(arms, target="trend"), propose((scaled[0], scaled[1]), target="trend")
    assert [(r.arm, r.seed) for r in one.runs] == [(r.arm, r.seed) for r in two.runs]
    assert [r.budget for r in one.runs] == pytest.approx([r.budget * 1e12 for r in two.runs], rel=1e-2)
    assert two.settles == pytest.approx(one.settles, abs=0.02)


def test_the_noisier_arm_is_run_more_and_the_level_only_near_where_it_is_judged() -> None:
    found = propose(pilot(noise=SeedNoise((0.002, 0.010)), seeds=3), target="level", most=40)
    runs = {name: sum(r.arm == name for r in found.runs) for name in ("old", "new")}
    assert runs["new"] > runs["old"]
    # the curve's slope at a rung hangs on its neighbours a little, so a few cheap runs lower down are worth their price
    assert sum(r.cost for r in found.runs if r.budget >= found.judged_at / 5) >= 0.8 * found.cost


def test_an_arm_that_costs_more_is_run_less() -> None:
    arms = pilot(noise=SeedNoise(0.006), seeds=3)
    dear = propose(arms, target="level", most=40, price=lambda arm, c: c * (20 if arm == "new" else 1))
    even = propose(arms, target="level", most=40)
    assert sum(r.arm == "new" for r in dear.runs) < sum(r.arm == "new" for r in even.runs)


def test_pairs_that_share_their_noise_are_bought_as_pairs() -> None:
    arms = pilot(noise=SeedNoise(0.015, correlation=0.95), seeds=5, seed=3)
    found = propose(arms, target="level", spend=1e18)
    seeds = {name: {(r.budget, r.seed) for r in found.runs if r.arm == name} for name in ("old", "new")}
    assert seeds["old"] and len(seeds["old"] & seeds["new"]) >= 0.5 * len(seeds["old"])


def test_an_arm_that_lacks_a_seed_of_the_other_gets_that_seed() -> None:
    old, new = pilot(noise=SeedNoise(0.006, correlation=0.9), seeds=4, seed=4)
    short = np.flatnonzero(~((new.rung == 3) & (new.pair == "1")))
    new = ArmRuns(*[new.name, *(getattr(new, f)[short] for f in ("resource", "quality", "rung", "pair", "cluster"))])
    found = propose((old, new), target="level")
    first = next(r for r in found.runs if r.arm == "new" and r.budget == pytest.approx(old.resource.max()))
    assert first.seed == 1


def test_without_repeats_the_noise_comes_first() -> None:
    arms = pilot(rungs=2, seeds=1)
    found = propose(arms)
    assert {r.about for r in found.runs} == {"noise"}
    assert {r.arm for r in found.runs} == {"old", "new"}
    assert all(r.settles is None and r.shrinkage is None and not r.new_rung for r in found.runs)


def foot_pilot(truth: Phantom, seeds: tuple[int, ...], laboratory: int) -> tuple[ArmRuns, ArmRuns]:
    """Runs with seeds where they are cheap: so many at each rung, from the lowest up."""
    ladder = budgets_of(len(seeds))
    rung = np.repeat(np.arange(len(seeds)), seeds)
    pair = np.concatenate([np.arange(n) for n in seeds])
    return tuple(  # type: ignore[return-value]
        ArmRuns(
            name,
            ladder[rung],
            np.array([truth.run(name, float(ladder[k]), int(s), laboratory) for k, s in zip(rung, pair, strict=True)]),
            rung,
            pair.astype(str),
            np.array([f"{name}-{i}" for i in range(len(rung))]),
        )
        for name in truth.arms
    )


@pytest.mark.parametrize("seeds", [(2, 2, 2, 1), (4, 3, 1, 1)])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_one_seed_at_the_top_is_enough_where_cheap_rungs_are_repeated(
    seeds: tuple[int, ...], correlation: float
) -> None:
    truth = phantom("no gain", SeedNoise((0.003, 0.008), correlation=correlation), rungs=4)
    arms = foot_pilot(truth, seeds, 1)
    now = stand(*arms, draws=400)
    curve = compare(*arms, resource="train_flops", quality="loss", draws=400)
    assert now.noise.source == "replicates"
    assert np.exp(now.level.interval) == pytest.approx(curve.verdict.interval)
    assert now.trend.interval == pytest.approx(curve.slope.interval)
    found = next_runs(*arms, target="level", standing=now, most=40)
    # the one rung without repeats gets them, from the second seed on
    top = [r.seed for r in found.runs if r.budget == pytest.approx(float(budgets_of(4)[3]))]
    assert top and min(s for s in top if s is not None) == 1
    assert found.runs[-1].settles is not None and found.runs[-1].settles > 0.5


def test_intervals_cover_where_only_cheap_rungs_are_repeated() -> None:
    truth = phantom("no gain", SeedNoise((0.003, 0.008)), rungs=4)
    stands = [stand(*foot_pilot(truth, (4, 3, 1, 1), k), draws=200) for k in range(200)]
    for about in ("level", "trend"):
        low, high = np.array([getattr(s, about).interval for s in stands]).T
        # 2.6 standard errors below 95%; intervals may be wider than they need be
        assert np.mean((low <= 0) & (high >= 0)) >= 0.91


def test_ladders_apart_get_the_run_that_joins_them() -> None:
    truth = phantom("no gain", SeedNoise(0.003), rungs=4)
    old, _ = truth.runs(budgets_of(3), 2, np.random.default_rng(0))
    _, new = truth.runs(budgets_of(3, first=budgets_of(5)[4]), 2, np.random.default_rng(1))
    new = ArmRuns(new.name, new.resource, new.quality, new.rung + 4, new.pair, new.cluster)
    assert compare(old, new, resource="c", quality="loss", draws=200).overlap is None
    found = propose((old, new), target="level")
    assert [r.about for r in found.runs] == ["overlap"]
    after = bought(truth, (old, new), found, 0)
    assert compare(*after, resource="c", quality="loss", draws=200).overlap is not None


def test_choices_come_from_the_nearest_rung_that_knows_them() -> None:
    arms = pilot(seed=2)
    ladder = budgets_of(4)
    known = {("new", float(ladder[0])): {"lr": 0.01}, ("new", float(ladder[3])): {"lr": 0.002}}
    found = propose(arms, choices=known, target="both", spend=3e18, most=200)
    assert {r.arm for r in found.runs} == {"old", "new"}
    for r in found.runs:
        if r.arm == "old":
            assert (dict(r.choices), r.choices_from) == ({}, None)
        else:
            near = min(ladder[[0, 3]], key=lambda c: abs(np.log(c / r.budget)))
            assert (dict(r.choices), r.choices_from) == (known["new", float(near)], near)


def test_only_the_budgets_asked_for_are_new() -> None:
    asked = 3.3 * budgets_of(4)[3]
    found = propose(pilot(seed=2), budgets=[asked], target="trend", most=200, spend=1e19)
    assert {r.budget for r in found.runs if r.new_rung} <= {asked}


@pytest.mark.parametrize(
    "options",
    [{"target": "slope"}, {"spend": -1.0}, {"spend": float("nan")}, {"budgets": [0.0]}, {"most": 0},
     {"price": lambda arm, c: 0.0}],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(TableError) as caught:
        propose(pilot(), **options)
    assert "\n" not in str(caught.value)


def test_a_spend_that_buys_nothing_says_so() -> None:
    found = propose(pilot(), spend=10.0)
    assert not found.runs and not found.settled
    assert "cheapest run" in found.sentence


# -- the verb ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    lines = ["arm,train_flops,loss,seed,lr,note"]
    for arm in pilot(seed=2):
        for c, q, p, r in zip(arm.resource, arm.quality, arm.pair, arm.rung, strict=True):
            lines.append(f"{arm.name},{c},{q},{p},{0.01 / (r + 1):g},{q:.9f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_next_on_a_table_prints_runs_choices_and_a_sentence(table: Path) -> None:
    result = CliRunner().invoke(app, ["next", str(table), "-b", "old", "-c", "new", "--target", "trend", "--most", "6"])
    assert result.exit_code == 0, result.output
    assert "new against old" in result.output and "lr 0.01" in result.output and "probability" in result.output


def test_next_json_is_what_the_python_call_gives(table: Path) -> None:
    args = ["next", str(table), "-b", "old", "-c", "new", "--spend", "2e17", "--json"]
    said = json.loads(CliRunner().invoke(app, args).stdout)
    found = api.next_runs(table, "old", "new", spend=2e17)
    assert said == json.loads(json.dumps(api.next_json(found)))
    runs = said["proposals"][0]["runs"]
    assert runs and sum(r["cost"] for r in runs) <= 2e17
    assert all(set(r["choices"]) == {"lr"} for r in runs)  # the note differs from run to run, so it is no choice


@pytest.mark.parametrize(
    ("change", "word"),
    [({"baseline": None}, "--baseline"), ({"candidate": "nwe"}, "new"), ({"spend": 0.0}, "positive")],
)
def test_next_names_what_is_wrong(table: Path, change: dict[str, Any], word: str) -> None:
    with pytest.raises(IsolossError, match=word):
        api.next_runs(table, **{"baseline": "old", "candidate": "new", **change})


def test_next_on_a_study_reads_its_ledger_and_carries_tuned_choices(ridge: Path, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.sqlite")
    api.run(ridge, workers=1, ledger=ledger, out=tmp_path / "reports")
    found = api.next_runs(ridge, ledger=ledger, spend=1e6)
    (pair,) = found.proposals
    assert (pair.baseline, pair.candidate) == ("ridge", "ridge-again")
    assert found.resource == "examples" and found.cost_in == "train_flops"
    assert pair.runs or pair.settled or "cheapest" in pair.sentence
    for r in pair.runs:
        assert set(r.choices) == {"penalty"}
        assert r.cost == pytest.approx(1e4)  # the plug-in's own formula
        assert r.seed is not None and (r.seed >= 10_000) == (r.arm == "ridge-again")  # an A/A arm keeps its own seeds
    with pytest.raises(IsolossError, match="no such comparison"):
        api.next_runs(ridge, "ridge-again", "ridge", ledger=ledger)
    with pytest.raises(IsolossError, match="--best-of"):
        api.next_runs(ridge, best_of=["lr"], ledger=ledger)


# -- the simulation ---------------------------------------------------------------------------------------------------


def adaptive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("adaptive_benchmark", ROOT / "benchmarks" / "adaptive.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_trends_settle_for_half_the_flops_of_a_fixed_grid() -> None:
    bench = adaptive()
    design = bench.DESIGNS[0]
    studies = []
    for truth in bench.truths(design)[:5]:
        grids = [bench.Grid(bench.start(truth, design, n, 200)) for n in range(8)]
        lean = [bench.adapt(truth, design, n, 200, "trend", True) for n in range(8)]
        studies.append(bench.Study(design, truth, grids, {("lean", "trend"): lean}))
    fixed = bench.size(studies, "trend")
    assert np.mean([s.flops("lean", "trend").mean() for s in studies]) < 0.5 * fixed
    assert np.mean([s.settled("trend", fixed).mean() for s in studies]) >= bench.SETTLED_SHARE
    assert all(o.settled and not o.wrong for s in studies for o in s.outcomes["lean", "trend"])

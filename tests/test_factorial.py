"""Factorial designs: planted effects come back, attribution adds up, and what a design can't tell is refused."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from isoloss import api
from isoloss.cli import app
from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.factorial import Attribution, attribute
from isoloss.gains.phantoms import ANCHOR, FactorialPhantom, SeedNoise, TrueCurve, budgets_of, interacting
from isoloss.gains.shapley import shapley_of_terms, shapley_weights, terms_up_to

BASE = TrueCurve(1.8, 60.0 * ANCHOR**-0.10, 0.10)


def design(ph: FactorialPhantom, arms: list[str]) -> np.ndarray:
    return np.array([[ph.switches(a)[i] for i in ph.innovations] for a in arms])


def measured(
    ph: FactorialPhantom,
    arms: list[str] | None = None,
    seeds: int = 2,
    seed: int = 0,
    rungs: int = 6,
    **options: object,
) -> Attribution:
    names = list(arms or ph.arms)
    runs = ph.runs(budgets_of(rungs), seeds, np.random.default_rng(seed), names)
    chosen = {"draws": 500, **options}
    return attribute([runs[n] for n in names], design(ph, names), ph.innovations, **chosen)  # type: ignore[arg-type]


def codes(found: Attribution) -> set[str]:
    return {d.code for d in found.diagnostics}


# -- Shapley values --------------------------------------------------------------------------------------------------


@given(st.integers(1, 4).flatmap(lambda k: st.lists(st.floats(-2, 2), min_size=2**k, max_size=2**k)))
def test_shapley_values_are_the_mean_over_all_orders(values: list[float]) -> None:
    k = int(math.log2(len(values)))
    switches = np.array([[s >> i & 1 for i in range(k)] for s in range(2**k)])
    phi = shapley_weights(switches) @ values
    expected = np.zeros(k)
    for order in permutations(range(k)):
        at = 0
        for i in order:
            expected[i] += values[at | 1 << i] - values[at]
            at |= 1 << i
    assert phi == pytest.approx(expected / math.factorial(k), abs=1e-9)
    assert phi.sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


def test_interactions_are_split_evenly_and_twelve_factors_are_quick() -> None:
    rng = np.random.default_rng(0)
    k = 12
    terms = terms_up_to(k, 3)
    m = rng.standard_normal(len(terms))
    switches = np.array([[s >> i & 1 for i in range(k)] for s in range(2**k)])
    values = sum(c * switches[:, list(t)].all(axis=1) for c, t in zip(m, terms, strict=True))
    assert shapley_weights(switches) @ values == pytest.approx(shapley_of_terms(terms, k) @ m, abs=1e-8)


# -- recovery --------------------------------------------------------------------------------------------------------


def test_without_noise_every_planted_effect_comes_back_at_a_budget() -> None:
    ph, at = interacting(SeedNoise(1e-9)), 3e16
    found = measured(ph, at=at, rungs=10)
    truth = {key: math.exp(e + t * math.log(at / ANCHOR)) for key, (e, t) in ph.effects.items()}
    for effect in found.terms:
        assert effect.gain == pytest.approx(truth.get(effect.name, 1.0), rel=2e-3), effect.name
    assert found.joint.gain == pytest.approx(math.exp(float(ph.log_gain("a+b+c", at))), rel=2e-3)
    logs = {n: float(ph.log_gain(n, at)) for n in ph.arms}
    shapley_a = (
        logs["a"] / 3
        + (logs["a+b"] - logs["b"]) / 6
        + (logs["a+c"] - logs["c"]) / 6
        + (logs["a+b+c"] - logs["b+c"]) / 3
    )
    assert found.shapley[0].gain == pytest.approx(math.exp(shapley_a), rel=2e-3)
    assert found.last_in[1].gain == pytest.approx(math.exp(logs["a+b+c"] - logs["a+c"]), rel=3e-3)
    assert np.prod([e.gain or np.nan for e in found.shapley]) == pytest.approx(found.joint.gain)
    assert sum(s[0] for s in found.shares if s) == pytest.approx(1.0)


def test_at_a_quality_arms_are_compared_by_the_budgets_that_reach_it() -> None:
    effects = {"a": (math.log(1.5), 0.0), "b": (math.log(1.2), 0.0), "a+b": (-0.1, 0.0)}
    ph = FactorialPhantom("constant", BASE, effects, SeedNoise(1e-9))
    for quality in (2.9, 3.1):
        found = measured(ph, at_quality=quality)
        assert [e.gain for e in found.terms] == pytest.approx([1.5, 1.2, math.exp(-0.1)], rel=2e-3)
    assert found.product.gain == pytest.approx(1.8, rel=3e-3)
    assert found.product_over_joint.gain == pytest.approx(math.exp(0.1), rel=3e-3)


def test_intervals_cover_planted_values() -> None:
    ph, at, count = interacting(SeedNoise(0.004, correlation=0.5)), 3e16, 150
    truth = {key: e + t * math.log(at / ANCHOR) for key, (e, t) in ph.effects.items()}
    terms, shapley = np.zeros(7), np.zeros(3)
    phi = shapley_of_terms(terms_up_to(3, 3), 3) @ [
        truth.get(n, 0.0) for n in ("a", "b", "c", "a+b", "a+c", "b+c", "x")
    ]
    for seed in range(count):
        found = measured(ph, at=at, seed=seed, rungs=7, draws=400)
        ends = [np.log(e.interval or (0, 0)) for e in found.terms]
        terms += [lo <= truth.get(e.name, 0.0) <= hi for e, (lo, hi) in zip(found.terms, ends, strict=True)]
        ends = [np.log(e.interval or (0, 0)) for e in found.shapley]
        shapley += [lo <= t <= hi for t, (lo, hi) in zip(phi, ends, strict=True)]
    # pooled over effects: 95% give or take what 150 laboratories can tell
    assert 0.92 <= terms.mean() / count <= 0.99, terms / count
    assert 0.92 <= shapley.mean() / count <= 0.99, shapley / count
    assert min(terms.min(), shapley.min()) / count >= 0.88


# -- the product of singles ------------------------------------------------------------------------------------------


def test_published_singles_multiply_to_more_than_their_joint_gain() -> None:
    # Gundlach et al. 2025, section 3 and figures of their repository: five singles, product 3.55, joint 1.33
    singles = {"swiglu": 1.1685, "rotary": 1.4358, "prenorm": 1.8679, "rmsnorm": 1.0864, "cosine": 1.0432}
    overlap = math.log(1.33 / np.prod(list(singles.values())))
    effects = {n: (math.log(g), 0.0) for n, g in singles.items()} | {"+".join(singles): (overlap, 0.0)}
    ph = FactorialPhantom("published", BASE, effects, SeedNoise(0.001))
    arms = ["none", *singles, "+".join(singles)]
    found = measured(ph, arms, seeds=3, at_quality=2.95, rungs=7)
    assert found.product.gain == pytest.approx(3.55, rel=0.06)
    assert found.joint.gain == pytest.approx(1.33, rel=0.03)
    assert "single-gains-multiplied" in codes(found)
    assert [e.gain for e in found.first_in] == pytest.approx(list(singles.values()), rel=0.04)
    # no pairs were run: what each is worth beside the others is not known, and is not made up
    assert all(e.gain is None and e.confounded for e in found.shapley)


def test_adding_gains_raise_no_alarm() -> None:
    effects = {"a": (math.log(1.5), 0.0), "b": (math.log(1.2), 0.0)}
    found = measured(FactorialPhantom("adds", BASE, effects, SeedNoise(0.002)), seeds=3, seed=5)
    assert "single-gains-multiplied" not in codes(found)


# -- designs ---------------------------------------------------------------------------------------------------------


def test_add_one_in_and_leave_one_out_give_shapley_under_pairs() -> None:
    ph = interacting(SeedNoise(1e-9))
    arms = ["none", "a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"]
    found = measured(ph, arms, at=3e16, order=2, rungs=10)
    exact = measured(ph, at=3e16, rungs=10)
    assert [e.gain for e in found.shapley] == pytest.approx([e.gain for e in exact.shapley], rel=1e-2)
    four = {**ph.effects, "d": (0.2, 0.0), "c+d": (0.1, 0.0)}
    wide = FactorialPhantom("four", BASE, four, SeedNoise(1e-9))
    star = ["none", "a", "b", "c", "d", "b+c+d", "a+c+d", "a+b+d", "a+b+c", "a+b+c+d"]
    few, full = measured(wide, star, at=3e16, rungs=10), measured(wide, at=3e16, rungs=10)
    # with interactions of pairs alone, Shapley is midway between first-in and last-in: no pair need be run
    assert [e.gain for e in few.shapley] == pytest.approx([e.gain for e in full.shapley], rel=1e-2)
    assert not any(e.confounded for e in few.shapley)
    pairs = [e for e in few.terms if e.name.count("+") == 1]
    assert all(e.gain is None and e.confounded for e in pairs)


def test_a_half_fraction_names_what_it_aliases() -> None:
    ph, arms = interacting(SeedNoise(0.002)), ["none", "a+b", "a+c", "b+c"]
    found = measured(ph, arms, at=3e16)
    assert [e.confounded for e in found.shapley] == [("b+c",), ("a+c",), ("a+b",)]
    assert all(e.gain is None for e in (*found.shapley, found.joint, found.product))
    alone = measured(ph, arms, at=3e16, order=1)
    assert all(e.gain is not None and e.folded for e in alone.shapley)
    assert alone.product_over_joint.gain is None and "for granted" in alone.product_over_joint.note


def test_interactions_that_the_model_leaves_out_are_noticed() -> None:
    ph = interacting(SeedNoise(0.002))
    assert "interactions-left-out" in codes(measured(ph, at=3e16, order=1, seeds=3))
    plain = {"a": (0.3, 0.0), "b": (0.2, 0.0), "c": (0.1, 0.0)}
    p = [
        measured(FactorialPhantom("adds", BASE, plain, SeedNoise(0.003)), at=3e16, order=1, seed=s).left_out_p or 0.0
        for s in range(60)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.15


def test_an_arm_that_never_gets_there_stays_a_bound() -> None:
    effects = {"a": (math.log(3.0), 0.0), "b": (math.log(1.2), 0.0)}
    ph = FactorialPhantom("wide", BASE, effects, SeedNoise(0.001))
    best = float(ph.loss("none", budgets_of(6)[-1]))
    found = measured(ph, at_quality=best - 0.02, seeds=3)
    a, b = found.first_in
    assert a.gain is None and a.interval is not None and 1.5 < a.interval[0] < 3.1 and a.interval[1] == math.inf
    assert b.gain is None and found.joint.interval is not None and found.joint.interval[1] == math.inf
    # what rests on measured arms alone is still measured
    last = found.last_in[1]
    assert last.gain == pytest.approx(1.2, rel=0.1)
    assert "gain-outside-overlap" in codes(found)


def test_at_one_budget_only_the_reference_needs_a_ladder() -> None:
    ph = interacting(SeedNoise(0.001))
    runs = ph.runs(budgets_of(7), 3, np.random.default_rng(0))
    at = budgets_of(7)[3]

    def cut(a: ArmRuns) -> ArmRuns:
        keep = a.resource == at
        return ArmRuns(a.name, *(getattr(a, f)[keep] for f in ("resource", "quality", "rung", "pair", "cluster")))

    names = list(ph.arms)
    arms = [runs[n] if n == "none" else cut(runs[n]) for n in names]
    found = attribute(arms, design(ph, names), ph.innovations, at=at, draws=400)
    assert found.joint.gain == pytest.approx(math.exp(float(ph.log_gain("a+b+c", at))), rel=0.05)
    with pytest.raises(TableError, match="one rung only"):
        attribute(arms, design(ph, names), ph.innovations, draws=50)
    with pytest.raises(TableError, match="the reference and has one rung"):
        attribute([cut(runs[n]) for n in names], design(ph, names), ph.innovations, at=at, draws=50)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "options", "said"),
    [
        (["a", "b", "a+b"], {}, "no arm has all of them off"),
        (["none", "a", "a+b"], {"order": 9}, "order: 9"),
        (["none", "a", "b"], {"at": 1e30}, "has no runs around a budget"),
        (["none", "a", "b"], {"at_quality": -1.0}, "not a positive number"),
        (["none", "a", "b"], {"at_quality": 3.0, "at": 1e16}, "both asked"),
    ],
)
def test_designs_that_are_none_are_refused_in_one_line(arms: list[str], options: dict, said: str) -> None:
    effects = {"a": (0.3, 0.0), "b": (0.2, 0.0)}
    with pytest.raises(TableError, match=said) as error:
        measured(FactorialPhantom("f", BASE, effects), arms, **options)
    assert "\n" not in str(error.value) and error.value.remedy


def test_a_switch_that_never_moves_and_equal_settings_are_refused() -> None:
    ph = FactorialPhantom("f", BASE, {"a": (0.3, 0.0), "b": (0.2, 0.0)})
    with pytest.raises(TableError, match="'b': is off in every run"):
        measured(ph, ["none", "a"])
    runs = ph.runs(budgets_of(4), 2, np.random.default_rng(0))
    with pytest.raises(TableError, match="same switches"):
        attribute([runs["none"], runs["a"], runs["b"]], np.array([[0, 0], [1, 1], [1, 1]]), ("a", "b"))


# -- the verb --------------------------------------------------------------------------------------------------------


def table(path: Path, words: tuple[str, str] = ("0", "1")) -> Path:
    ph = interacting(SeedNoise(0.002))
    rows = ["train_flops,loss,seed,position,b,c"]
    for name, a in ph.runs(budgets_of(6), 2, np.random.default_rng(0)).items():
        on = ph.switches(name)
        for c, q, s in zip(a.resource, a.quality, a.pair, strict=True):
            rows.append(f"{c:.10g},{q:.10g},{s},{'rotary' if on['a'] else 'learned'},{words[on['b']]},{words[on['c']]}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("words", [("0", "1"), ("off", "on"), ("False", "true")])
def test_the_verb_reads_switches_of_any_coding(tmp_path: Path, words: tuple[str, str]) -> None:
    path = table(tmp_path / "runs.csv", words)
    run = CliRunner().invoke(
        app, ["attribute", str(path), "--factors", "position=rotary,b,c", "--at", "3e16", "--json"]
    )
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    assert answer["factors"] == ["rotary", "b", "c"]
    assert answer["joint"]["gain"] == pytest.approx(math.exp(float(interacting().log_gain("a+b+c", 3e16))), rel=0.06)
    shown = CliRunner().invoke(
        app, ["attribute", str(path), "--factors", "position=rotary,b,c"], env={"COLUMNS": "140"}
    )
    assert shown.exit_code == 0 and "Shapley" in shown.output and "rotary+b" in shown.output


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        (["position", "b", "c"], "neither on nor off"),
        (["position=alibi", "b", "c"], "is never 'alibi'"),
        (["rope", "b"], "rope"),
        ([], "names no column"),
        (["b", "b"], "named twice"),
        (["b", "c"], "repeats"),
    ],
)
def test_bad_switches_are_one_line(tmp_path: Path, factors: list[str], said: str) -> None:
    with pytest.raises(TableError, match=said) as error:
        api.attribute(table(tmp_path / "runs.csv"), factors, draws=50)
    assert "\n" not in str(error.value)


@settings(max_examples=15)
@given(scale=st.floats(1e-9, 1e9))
def test_units_of_the_resource_do_not_matter(scale: float) -> None:
    ph = FactorialPhantom("f", BASE, {"a": (0.3, 0.0), "b": (0.2, 0.05), "a+b": (-0.1, 0.0)})
    names = list(ph.arms)
    runs = ph.runs(budgets_of(4), 2, np.random.default_rng(3))
    moved = [ArmRuns(n, r.resource * scale, r.quality, r.rung, r.pair, r.cluster) for n, r in runs.items()]
    one = attribute([runs[n] for n in names], design(ph, names), ph.innovations, draws=50)
    two = attribute(moved, design(ph, names), ph.innovations, draws=50)
    assert [e.gain for e in two.shapley] == pytest.approx([e.gain for e in one.shapley], rel=1e-6)

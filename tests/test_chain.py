"""Chains of gains: published figures under each index, exact composition, and refusals where there is no one value."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from isoloss import api
from isoloss.cli import app
from isoloss.errors import TableError
from isoloss.gains import compare
from isoloss.gains.arms import ArmRuns
from isoloss.gains.chain import GainChain, before, chain_at, compose, log_shares, product_at_same_budget
from isoloss.gains.function import GainFunction, from_constant, from_curve, from_formula, from_laws, from_table
from isoloss.gains.joint import draw_arms
from isoloss.gains.phantoms import ANCHOR, SeedNoise, TrueCurve, budgets_of, phantom
from isoloss.gains.sequence import sequence

# Constants of Gundlach et al. 2025 (arXiv 2511.21622): loss minus 1.9, section 4; Kaplan to Chinchilla, appendix B.
BUDGETS = (1e10, 1e32)
LSTM, RETRO, MODERN = (1.9, 36.3, 0.065), (1.9, 81.7, 0.091), (1.9, 88.0, 0.094)
INVARIANT = 2.566  # the scale-invariant gains of their stack, mixture of experts included


def published(old: str, new: str) -> GainFunction:
    laws = {"lstm": LSTM, "retro": RETRO, "modern": MODERN}
    return from_laws(old, new, (laws[old], laws[new]), BUDGETS)


def kaplan_to_chinchilla() -> GainFunction:
    """Their eq. 9, of Kaplan's budget."""

    def formula(c: np.ndarray) -> np.ndarray:
        return 1.85e-20 * c * (28737.9 * c**-0.2482 + 20.337 * c**-0.0756) ** 6.512

    return from_formula("kaplan", "retro", formula, "old", (1e12, 1e30))


def gain(function: GainFunction, index: str, at: float) -> float:
    value = function.at(index, at).gain  # type: ignore[arg-type]
    assert value is not None
    return value


def laboratory(exponents: dict[str, float], seeds: int = 3, sd: float = 0.003, seed: int = 0) -> list[ArmRuns]:
    """Arms along one ladder whose laws differ in exponent, each better than the one before."""
    rng, found = np.random.default_rng(seed), []
    for k, (name, exponent) in enumerate(exponents.items()):
        curve = TrueCurve(1.8, 60.0 * ANCHOR**-0.10 * 1.3 ** (-k * exponent), exponent)
        resource = np.repeat(budgets_of(6), seeds)
        rung = np.repeat(np.arange(6), seeds)
        pair = np.tile(np.arange(seeds), 6).astype(str)
        loss = SeedNoise(sd).runs(k, curve.loss(resource), rng.standard_normal(len(rung)), rng)
        found.append(
            ArmRuns(name, resource, loss, rung, pair, np.char.add(f"{name}-", np.arange(len(rung)).astype(str)))
        )
    return found


# -- published figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "retro_new", "retro_old", "modern_new", "modern_old"),
    [
        (1e15, 3.8, 2.6, 6.0, 3.4),
        (1e18, 60.2, 18.7, 130, 29.0),
        (1e21, 955, 134, 2836, 244),
        (1.34e22, 2695, 282, 9027, 544),
        (2e23, 7946, 611, 30150, 1251),
        (2.26e23, 8345, 632, 31840, 1299),
    ],
)
def test_the_index_of_published_laws_matters(
    at: float, retro_new: float, retro_old: float, modern_new: float, modern_old: float
) -> None:
    retro, modern = published("lstm", "retro"), published("lstm", "modern")
    assert gain(retro, "new", at) == pytest.approx(retro_new, rel=0.013)
    assert gain(retro, "old", at) == pytest.approx(retro_old, rel=0.013)
    assert gain(modern, "new", at) == pytest.approx(modern_new, rel=0.013)
    assert gain(modern, "old", at) == pytest.approx(modern_old, rel=0.013)


@pytest.mark.parametrize(
    ("at", "old", "new"),
    [
        (1e15, 5.53, 3.54),
        (1e18, 1.07, 1.07),
        (1e21, 1.85, 2.24),
        (1.34e22, 3.71, 7.19),
        (2e23, 9.40, 43.8),
        (2.26e23, 9.84, 48.1),
    ],
)
def test_kaplan_to_chinchilla_under_both_indexes(at: float, old: float, new: float) -> None:
    function = kaplan_to_chinchilla()
    assert gain(function, "old", at) == pytest.approx(old, rel=0.005)
    assert gain(function, "new", at) == pytest.approx(new, rel=0.005)


def test_its_gain_has_a_minimum_so_a_gain_is_reached_at_two_budgets() -> None:
    function = kaplan_to_chinchilla()
    low, high = function.budgets_of("old", 2.57)
    assert low == pytest.approx(1e16, rel=0.01) and low < 5.5e18 < high
    assert gain(function, "old", high) == pytest.approx(2.57, rel=1e-3)
    assert function.budgets_of("old", 0.9) == ()
    # the budgets themselves still rise together, so the change of index is single-valued
    assert function.two_valued("new") == ()


@pytest.mark.parametrize(
    ("at", "stack", "new", "old", "direct_new", "direct_old"),
    [(1.34e22, 6916, 10082, 724, 24600, 1087), (2.26e23, 21412, 31215, 1623, 86800, 2599)],
)
def test_the_published_stack_is_not_the_composed_gain(
    at: float, stack: float, new: float, old: float, direct_new: float, direct_old: float
) -> None:
    retro, rest = published("lstm", "retro"), from_constant("retro", "moe", INVARIANT, BUDGETS)
    whole = compose([retro, rest])
    assert gain(whole, "new", at) == pytest.approx(new, rel=1e-4)
    assert gain(whole, "old", at) == pytest.approx(old, rel=5e-4)
    assert product_at_same_budget([(retro, "new"), (rest, "new")], at, 0.95).gain == pytest.approx(stack, rel=1e-4)
    direct = compose([published("lstm", "modern"), from_constant("modern", "moe", 2.0, BUDGETS)])
    assert gain(direct, "new", at) == pytest.approx(direct_new, rel=1e-3)
    assert gain(direct, "old", at) == pytest.approx(direct_old, rel=5e-4)


def test_attribution_moves_with_the_index_while_the_whole_does_not() -> None:
    whole, last = published("lstm", "retro"), kaplan_to_chinchilla()
    first = before(whole, last)
    at = 2.26e23
    chain = chain_at(GainChain((first, last)), "new", at)
    # one consistent index: 48 and 174 (as published, with a mixture of both: 9.8 and 848)
    assert chain.steps[1].point.gain == pytest.approx(48.1, rel=0.005)
    assert chain.steps[0].point.gain == pytest.approx(174, rel=0.005)
    assert chain.whole.gain == pytest.approx(8345, rel=1e-3)
    assert gain(whole, "new", at) / gain(last, "old", at) == pytest.approx(847.81, rel=1e-3)
    assert gain(whole, "new", 1e16 * 4.1**10) / gain(last, "old", 1e16 * 4.1**10) == pytest.approx(726.15, rel=1e-3)


def test_shares_are_of_the_logarithm() -> None:
    assert log_shares([847.81, 9.84, 2.57]) == pytest.approx([0.676, 0.229, 0.095], abs=5e-4)
    assert log_shares([726.15, 3.71, 2.57]) == pytest.approx([0.745, 0.148, 0.107], abs=7e-4)
    assert np.isnan(log_shares([2.0, 0.5])).all()


def test_growth_depends_on_the_reference() -> None:
    steps = (published("lstm", "modern"), from_constant("modern", "moe", 2.0, BUDGETS))
    chain = chain_at(GainChain(steps), "new", 1e24, budget_growth=4.1)
    lstm, dense = chain.references
    assert lstm.per_year == pytest.approx(0.6295, abs=1e-3)  # 63% a year, as a log rate
    assert dense.point.gain == pytest.approx(2.0) and dense.per_year == pytest.approx(0.0, abs=1e-9)
    old = chain_at(GainChain(steps[:1]), "old", 1e24).references[0]
    assert old.growth == pytest.approx(1 - 0.065 / 0.094, abs=1e-6)


# -- properties ------------------------------------------------------------------------------------------------------

law = st.tuples(st.floats(0.0, 2.0), st.floats(20.0, 90.0), st.floats(0.05, 0.15))


@given(floor=st.floats(0.0, 2.0), a=law, b=law, at=st.floats(14.0, 24.0))
def test_both_indexes_read_one_curve(floor: float, a: tuple, b: tuple, at: float) -> None:
    f = from_laws("a", "b", ((floor, *a[1:]), (floor, *b[1:])), (1e4, 1e38))
    old = gain(f, "old", 10**at)
    assert gain(f, "new", 10**at / old) == pytest.approx(old, rel=1e-6)
    exact = (b[1] / (a[1] * 10 ** (-a[2] * at))) ** (1 / b[2])
    assert old == pytest.approx(10**at / exact, rel=1e-6)
    assert f.quality is not None
    quality = floor + a[1] * 10 ** (-a[2] * at)
    assert gain(f, "quality", quality) == pytest.approx(old, rel=2e-3)


@settings(max_examples=40)
@given(floor=st.floats(0.0, 2.0), laws=st.tuples(law, law, law), at=st.floats(16.0, 22.0))
def test_composition_is_the_direct_gain(floor: float, laws: tuple, at: float) -> None:
    a, b, c = ((floor, *v[1:]) for v in laws)
    wide = (1e-20, 1e60)
    steps = [from_laws("a", "b", (a, b), wide), from_laws("b", "c", (b, c), wide)]
    direct = from_laws("a", "c", (a, c), wide)
    whole = compose(steps)
    chain = chain_at(GainChain(tuple(steps)), "old", 10**at)
    for index in ("old", "new"):
        point = whole.at(index, 10**at)  # type: ignore[arg-type]
        if point.gain is None:  # carried beyond the grid: said, not made up
            assert point.region == "undefined"
            continue
        assert point.gain == pytest.approx(gain(direct, index, 10**at), rel=1e-6)
    if chain.whole.gain is not None:
        singles = [s.point.gain or np.nan for s in chain.steps]
        assert np.prod(singles) == pytest.approx(chain.whole.gain, rel=1e-9)
        shares = [s.share for s in chain.steps]
        if abs(math.log(chain.whole.gain)) > 1e-6:
            assert sum(s or 0.0 for s in shares) == pytest.approx(1.0)


def test_with_constant_gains_product_and_composition_agree() -> None:
    steps = [from_constant("a", "b", 2.0, BUDGETS), from_constant("b", "c", 3.0, BUDGETS)]
    chain = chain_at(GainChain(tuple(steps)), "old", 1e20)
    assert chain.whole.gain == pytest.approx(6.0) and chain.product.gain == pytest.approx(6.0)


def test_an_index_that_cannot_be_inverted_says_so() -> None:
    # ln G rises faster than ln C around 1e18: there a smaller new budget goes with a larger old one
    f = from_formula("a", "b", lambda c: 1 + 1e4 / (1 + (1e18 / c) ** 3), "old", (1e14, 1e22))
    assert f.two_valued("old") == ()
    (low, high) = f.two_valued("new")[0]
    point = f.at("new", math.sqrt(low * high))
    assert point.gain is None and point.region == "undefined" and "two-valued" in point.note
    assert point.interval is not None and point.interval[0] < point.interval[1]
    whole = compose([from_constant("z", "a", 2.0, (1e14, 1e22)), f])
    assert whole.at("old", 1e16).gain is not None


def test_a_floor_above_the_others_quality_leaves_the_gain_undefined() -> None:
    f = from_laws("a", "b", ((1.5, 50.0, 0.1), (1.9, 40.0, 0.1)), (1e10, 1e40))
    point = f.at("old", 1e38)
    assert point.region == "undefined" and point.gain is None and "never gets this good" in point.note
    assert f.at("old", 1e41).note == "outside the domain of this gain"


def test_beyond_two_decades_an_estimate_of_our_own_is_withheld() -> None:
    f = from_laws("a", "b", (LSTM, RETRO), BUDGETS, measured=(1e15, 1e17))
    assert f.at("old", 1e16).region == "measured"
    near, far = f.at("old", 1e18), f.at("old", 1e20)
    assert near.region == "extrapolated" and near.decades_out == pytest.approx(1.0, abs=0.02)
    assert far.region == "withheld" and far.gain is None
    # a chain is as far out as its farthest step, at the budget carried over to it
    later = from_constant("b", "c", 2.0, BUDGETS, measured=(1e16, 1e18))
    carried = compose([f, later]).at("old", 1e16)
    assert carried.region == "extrapolated" and carried.decades_out > 0.3


def test_draws_give_intervals_and_a_table_keeps_its_own() -> None:
    f = from_table("a", "b", "old", [1e15, 1e16, 1e17], [2.0, 3.0, 4.0], [1.5, 2.0, 2.5], [2.5, 4.0, 6.0], draws=20000)
    point = f.at("old", 1e16)
    assert point.gain == pytest.approx(3.0)
    assert point.interval == pytest.approx((2.0, 4.0), rel=0.03)
    assert f.at("old", 1e18).region == "undefined"
    twice = compose(
        [f, from_table("b", "c", "old", [1e13, 1e18], [2.0, 2.0], [1.9, 1.9], [2.1, 2.1], draws=20000, seed=1)]
    )
    low, high = twice.at("old", 1e16).interval or (0, 0)
    assert 3.9 < low < 4.1 and 7.8 < high < 8.2
    with pytest.raises(TableError, match="draws"):
        compose([f, from_constant("b", "c", np.array([2.0, 2.1, 1.9]), BUDGETS)])


def test_the_gain_of_a_comparison_becomes_a_function() -> None:
    ph = phantom("growing", SeedNoise(0.003))
    runs = ph.runs(budgets_of(6), 3, np.random.default_rng(1))
    curve = compare(*runs, resource="c", quality="loss", draws=800, at=[1e16])
    f = from_curve(curve)
    asked = next(p for p in curve.asked if p.index == "old")
    point = f.at("old", 1e16)
    assert point.region == "measured" and point.gain == pytest.approx(asked.gain, rel=0.02)
    assert point.interval == pytest.approx(asked.interval, rel=0.05)


def test_chains_that_do_not_join_are_refused() -> None:
    with pytest.raises(TableError, match="followed by"):
        compose([from_constant("a", "b", 2.0, BUDGETS), from_constant("c", "d", 2.0, BUDGETS)])
    with pytest.raises(TableError, match="no steps"):
        GainChain(())
    with pytest.raises(TableError, match="twice"):
        from_table("a", "b", "old", [1.0, 1.0], [2.0, 3.0])
    with pytest.raises(TableError, match="a gain is -1"):
        from_table("a", "b", "old", [1.0, 2.0], [2.0, -1.0])
    with pytest.raises(TableError, match="by budget alone"):
        from_constant("a", "b", 2.0, BUDGETS).at("quality", 3.0)


# -- sequences of runs -----------------------------------------------------------------------------------------------

EXPONENTS = {"a": 0.10, "b": 0.105, "c": 0.11}


def true_log_gain(old: str, new: str, at: float) -> float:
    place = {n: k for k, n in enumerate(EXPONENTS)}

    def curve(name: str) -> TrueCurve:
        e = EXPONENTS[name]
        return TrueCurve(1.8, 60.0 * ANCHOR**-0.10 * 1.3 ** (-place[name] * e), e)

    return math.log(at / float(curve(new).budget(curve(old).loss(at))))


def test_a_measured_chain_composes_exactly_and_its_shares_sum_to_one() -> None:
    found = sequence(laboratory(EXPONENTS), resource="c", quality="loss", draws=500)
    assert {c.index for c in found.chains} == {"old", "new"}
    for chain in found.chains:
        singles = [s.point.gain or np.nan for s in chain.steps]
        assert np.prod(singles) == pytest.approx(chain.whole.gain)
        assert sum(s.share or np.nan for s in chain.steps) == pytest.approx(1.0)
        assert chain.whole.region == "measured"
        assert chain.references[0].point.gain == pytest.approx(chain.whole.gain)
        assert all(r.growth is not None for r in chain.references)


def test_intervals_of_steps_and_whole_cover_the_truth() -> None:
    at, hits, count = 2e16, np.zeros(3), 150
    truth = [true_log_gain("a", "b", at), 0.0, true_log_gain("a", "c", at)]
    carried = at / math.exp(truth[0])
    truth[1] = true_log_gain("b", "c", carried)
    for seed in range(count):
        runs = laboratory(EXPONENTS, seeds=2, seed=seed)
        chain = chain_at(draw_arms(runs, 600, seed), "old", at)
        points = [chain.steps[0].point, chain.steps[1].point, chain.whole]
        hits += [
            p.interval[0] <= math.exp(t) <= p.interval[1] for p, t in zip(points, truth, strict=True) if p.interval
        ]
    # 95% of 150 is 142.5; a binomial is outside 134..150 once in several hundred
    assert (hits >= 134).all(), hits


def test_an_arm_that_is_not_measured_there_is_read_from_its_law_and_said_so() -> None:
    found = sequence(laboratory(EXPONENTS), resource="c", quality="loss", at=[1e20, 1e24], draws=300)
    near, far = (c for c in found.chains if c.index == "old")
    assert near.whole.region == "extrapolated" and near.whole.decades_out == pytest.approx(2.0, abs=0.2)
    assert far.whole.region == "withheld" and far.whole.gain is None and far.whole.interval is not None
    assert "wide-extrapolation" in {d.code for d in found.diagnostics}


def test_shares_of_no_gain_are_withheld() -> None:
    same = {"a": 0.10}
    runs = [*laboratory(same, seed=1), *laboratory(same, seed=2)]
    runs[1] = ArmRuns("a-again", *(getattr(runs[1], f) for f in ("resource", "quality", "rung", "pair", "cluster")))
    found = sequence(runs, resource="c", quality="loss", draws=500)
    assert all(s.share is None for c in found.chains for s in c.steps if c.whole.interval and c.whole.interval[0] < 1)


# -- the verb --------------------------------------------------------------------------------------------------------


def table(path: Path, arms: list[ArmRuns]) -> Path:
    rows = ["arm,train_flops,loss,seed"]
    for a in arms:
        rows += [f"{a.name},{c:.10g},{q:.10g},{s}" for c, q, s in zip(a.resource, a.quality, a.pair, strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_verb_prints_json_and_tables(tmp_path: Path) -> None:
    path = table(tmp_path / "runs.csv", laboratory(EXPONENTS))
    run = CliRunner().invoke(app, ["chain", str(path), "--arms", "a,b,c", "--at", "1e16", "--json"])
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    old = next(c for c in answer["chains"] if c["index"] == "old")
    assert old["whole"]["gain"] == pytest.approx(math.exp(true_log_gain("a", "c", 1e16)), rel=0.1)
    shown = CliRunner().invoke(
        app, ["chain", str(path), "--arms", "a,b,c", "--budget-growth", "4.1"], env={"COLUMNS": "160"}
    )
    assert shown.exit_code == 0
    assert all(word in shown.output for word in ("composed", "published", "seen from"))


@pytest.mark.parametrize(
    ("arms", "options", "said"),
    [
        (["a"], {}, "has 1 arm"),
        (["a", "a"], {}, "named twice"),
        (["a", "z"], {}, "unknown arm"),
        (["a", "b"], {"at": [-1.0]}, "not a positive budget"),
        (["a", "b"], {"floor": 99.0}, "not between 0"),
        (["a", "b"], {"budget_growth": 0.0}, "not a positive factor"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arms: list[str], options: dict, said: str) -> None:
    path = table(tmp_path / "runs.csv", laboratory(EXPONENTS))
    with pytest.raises(Exception, match=said) as error:
        api.chain(path, arms, draws=50, **options)
    assert "\n" not in str(error.value) and hasattr(error.value, "remedy")


def test_a_published_gain_is_read_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "gain.csv"
    path.write_text("budget,gain,low,high\n1e15,2,1.5,2.5\n1e17,4,3,5\n")
    f = api.read_gain(path, "old", "new", "new")
    assert gain(f, "new", 1e16) == pytest.approx(math.sqrt(8))
    path.write_text("budget,gain,low\n1e15,2,1.5\n1e17,4,3\n")
    with pytest.raises(TableError, match="one end of an interval"):
        api.read_gain(path, "old", "new", "old")
    path.write_text("budget,factor\n1e15,2\n")
    with pytest.raises(TableError, match="no column 'gain'"):
        api.read_gain(path, "old", "new", "old")

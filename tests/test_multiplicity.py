"""Many candidates: corrections against published p-values and by simulation, the winner's curse, and A/A checks."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from isoloss import api
from isoloss.cli import app
from isoloss.errors import TableError
from isoloss.gains import compare
from isoloss.gains.aa import aa_check
from isoloss.gains.arms import ArmRuns
from isoloss.gains.joint import draw_arms, moderated
from isoloss.gains.multiplicity import (
    benjamini_hochberg,
    benjamini_yekutieli,
    holm,
    p_beyond,
    p_no_gain,
    p_within,
    shrink,
    simultaneous,
)
from isoloss.gains.phantoms import ANCHOR, FactorialPhantom, SeedNoise, TrueCurve, budgets_of, phantom
from isoloss.gains.ranking import many_candidates, rank

BASE = TrueCurve(1.8, 60.0 * ANCHOR**-0.10, 0.10)
# The fifteen p-values of Benjamini & Hochberg 1995, section 4: at 0.05 Bonferroni and Holm reject 3, their procedure 4.
THROMBOLYSIS = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip


def candidates(gains: list[float], noise: SeedNoise, seeds: int = 2, seed: int = 0) -> list[ArmRuns]:
    """A baseline named none and candidates c0, c1, ... with constant gains."""
    names = [f"c{i}" for i in range(len(gains))]
    ph = FactorialPhantom("many", BASE, {n: (math.log(g), 0.0) for n, g in zip(names, gains, strict=True)}, noise)
    return list(ph.runs(budgets_of(6), seeds, np.random.default_rng(seed), ["none", *names]).values())


# -- p-values --------------------------------------------------------------------------------------------------------


def test_published_p_values_are_rejected_as_published() -> None:
    assert int(np.sum(holm(THROMBOLYSIS) <= 0.05)) == 3
    assert int(np.sum(benjamini_hochberg(THROMBOLYSIS) <= 0.05)) == 4
    assert holm(THROMBOLYSIS)[:3] == pytest.approx([0.0015, 0.0056, 0.0247])
    assert benjamini_hochberg(THROMBOLYSIS)[3] == pytest.approx(0.0095 * 15 / 4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrections_agree_with_an_independent_implementation(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p, method="bh"))
    assert benjamini_yekutieli(p) == pytest.approx(stats.false_discovery_control(p, method="by"))
    corrected = holm(p)
    assert np.all(corrected >= np.array(p)) and np.all(corrected <= np.minimum(1, len(p) * np.array(p)) + 1e-12)
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(corrected[order]) >= 0)
    # one more p-value that is not known changes nothing
    assert holm([*p, float("nan")])[:-1] == pytest.approx(corrected)


def test_p_values_from_draws_are_those_of_the_normal_they_come_from() -> None:
    x = np.random.default_rng(0).normal(0.1, 0.05, (200_000, 1))
    assert p_no_gain(x, x)[0] == pytest.approx(2 * stats.norm.sf(2.0), rel=0.05)
    assert p_within(x, x, (0.95, 1.05))[0] == pytest.approx(2 * stats.norm.cdf((math.log(1.05) - 0.1) / 0.05), rel=0.05)
    y = np.random.default_rng(1).normal(0.0, 0.02, (200_000, 1))
    assert p_beyond(y, y, (0.95, 1.05))[0] == pytest.approx(stats.norm.sf(math.log(1.05) / 0.02), rel=0.15)
    assert p_beyond(x, x, (0.95, 1.05))[0] > 0.5


def test_a_bound_never_lowers_a_p_value() -> None:
    x = np.random.default_rng(0).normal(0.3, 0.1, (4000, 1))
    open_above, open_below = np.where(x > 0.3, np.inf, x), np.where(x > 0.3, -np.inf, x)
    assert p_no_gain(x, open_above)[0] == p_no_gain(x, x)[0]
    assert p_no_gain(open_below, x)[0] > 0.5
    assert p_no_gain(np.full_like(x, np.nan), np.full_like(x, np.nan))[0] == 1.0


@pytest.mark.parametrize("p", [[1.2], [-0.1], [[0.1]]])
def test_what_is_no_p_value_is_refused(p: list) -> None:
    with pytest.raises(TableError, match="between 0 and 1"):
        holm(p)


# -- simultaneous intervals and shrinkage ----------------------------------------------------------------------------


def test_simultaneous_intervals_hold_all_at_once() -> None:
    rng = np.random.default_rng(0)
    k, sd = 8, np.linspace(0.01, 0.2, 8)
    all_in = each_in = 0.0
    for _ in range(300):
        shared = 0.05 * rng.standard_normal()
        estimate = shared + sd * rng.standard_normal(k)
        draws = estimate + 0.05 * rng.standard_normal((1000, 1)) + sd * rng.standard_normal((1000, k))
        low, high, critical = simultaneous(estimate, draws, draws)
        all_in += bool(np.all((low <= 0) & (high >= 0))) / 300
        alone = np.quantile(draws, [0.025, 0.975], axis=0)
        each_in += bool(np.all((alone[0] <= 0) & (alone[1] >= 0))) / 300
        assert 1.96 < critical < 3.2
    assert 0.92 <= all_in <= 0.98
    assert each_in < 0.85  # one at a time they don't


def test_a_candidate_that_is_only_bounded_does_not_widen_the_others() -> None:
    draws = np.random.default_rng(0).normal(0, 0.1, (2000, 3))
    high = draws.copy()
    high[:, 2] = np.inf
    low, up, critical = simultaneous(np.array([0.0, 0.0, np.nan]), draws, high)
    alone = simultaneous(np.zeros(2), draws[:, :2], draws[:, :2])
    assert critical == alone[2] and low[:2] == pytest.approx(alone[0])
    assert low[2] == -np.inf and up[2] == np.inf


def test_shrinkage_cures_the_winner() -> None:
    rng = np.random.default_rng(1)
    k, s, tau, count = 10, 0.10, 0.05, 300
    naive = cured = 0.0
    error = np.zeros(2)
    for i in range(count):
        truth = 0.1 + tau * rng.standard_normal(k)
        shared = s / 2 * rng.standard_normal()
        estimate = truth + shared + s * rng.standard_normal(k)
        draws = estimate + s / 2 * rng.standard_normal((800, 1)) + s * rng.standard_normal((800, k))
        best = int(np.argmax(estimate))
        low, high = np.quantile(draws[:, best], [0.025, 0.975])
        found = shrink(estimate, draws, seed=i)
        naive += low <= truth[best] <= high
        cured += found.low[best] <= truth[best] <= found.high[best]
        error += [np.mean((estimate - truth) ** 2), np.mean((found.estimate - truth) ** 2)]
    assert naive / count < 0.90  # the winner's curse
    assert 0.92 <= cured / count <= 0.99
    assert error[1] < 0.6 * error[0]


def test_shrinkage_leaves_alone_what_is_known_well() -> None:
    estimate = np.array([0.0, 0.5, 1.0, 1.5])
    draws = estimate + 0.001 * np.random.default_rng(0).standard_normal((1000, 4))
    found = shrink(estimate, draws)
    assert found.estimate == pytest.approx(estimate, abs=1e-3) and found.kept == pytest.approx(np.ones(4), abs=1e-3)
    alike = shrink(np.zeros(4), 0.1 * np.random.default_rng(0).standard_normal((1000, 4)))
    assert np.ptp(alike.estimate) < 1e-6
    with pytest.raises(TableError, match="3 or more"):
        shrink(estimate[:2], draws[:, :2])
    with pytest.raises(TableError, match="only a bound"):
        shrink(np.array([0.0, 0.1, np.inf]), draws[:, :3])


# -- noise of many arms ----------------------------------------------------------------------------------------------


def test_moderated_noise_is_between_own_and_common() -> None:
    rng = np.random.default_rng(0)
    d = np.full(400, 4.0)
    equal = np.sqrt(rng.chisquare(4, 400) / 4)
    sd, dof = moderated(equal, d)
    assert np.std(sd) < 0.35 * np.std(equal) and dof.min() > 20
    true = np.exp(rng.normal(0, 1.0, 400))
    unequal = true * equal
    sd, dof = moderated(unequal, d)
    assert np.corrcoef(np.log(sd), np.log(true))[0, 1] > 0.85 and dof.max() < 12
    two = moderated(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    assert two[0].tolist() == [1.0, 2.0] and two[1].tolist() == [3.0, 5.0]


def test_draws_do_not_depend_on_the_order_of_the_arms() -> None:
    arms = candidates([1.2, 1.0, 0.9], SeedNoise(0.004))
    one, two = draw_arms(arms, 50), draw_arms(arms[::-1], 50)
    for k in range(4):
        assert two.rows[3 - k] == pytest.approx(one.rows[k], rel=1e-9)


def test_seeds_that_move_arms_together_are_seen() -> None:
    apart = draw_arms(candidates([1.0] * 5, SeedNoise(0.004), seeds=3), 50)
    together = draw_arms(candidates([1.0] * 5, SeedNoise(0.004, correlation=0.8), seeds=3), 50)
    assert apart.correlation < 0.4 < 0.6 < together.correlation


# -- rankings --------------------------------------------------------------------------------------------------------


def test_candidates_that_change_nothing_rarely_win_once_corrected() -> None:
    wrong = naive = levels = 0
    for seed in range(120):
        runs = candidates([1.0] * 6, SeedNoise(0.004), seed=seed)
        found = rank(runs[0], runs[1:], draws=1000, seed=seed)
        wrong += min(r.holm or 1.0 for r in found.rows) < 0.05
        naive += min(r.p or 1.0 for r in found.rows) < 0.05
        levels += any(r.level in ("gain", "loss") for r in found.rows)
    assert wrong <= 13 and levels <= 13  # of 120 at 5%: more than 13 once in a few thousand
    assert naive > 13


def test_true_gains_are_found_and_ordered() -> None:
    gains = [1.0, 1.6, 1.3, 0.7, 1.0]
    runs = candidates(gains, SeedNoise(0.002), seeds=3)
    found = rank(runs[0], runs[1:], draws=2000)
    levels = {r.candidate: r.level for r in found.rows}
    assert [r.candidate for r in found.rows][:2] == ["c1", "c2"] and found.rows[-1].candidate == "c3"
    assert levels["c1"] == levels["c2"] == "gain" and levels["c3"] == "loss"
    assert "c1, c2 beat none" in found.sentence
    for row in found.rows:
        truth = gains[int(row.candidate[1:])]
        assert row.together and row.together[0] <= truth <= row.together[1]
        assert row.shrunk == pytest.approx(truth, rel=0.08)
        assert row.point.interval and row.together[0] < row.point.interval[0]


def test_more_candidates_cost_more_evidence() -> None:
    runs = candidates([1.12] + [1.0] * 11, SeedNoise(0.003), seeds=2, seed=3)
    few, many = rank(runs[0], runs[1:2], draws=4000), rank(runs[0], runs[1:], draws=4000)
    alone, among = few.rows[0], next(r for r in many.rows if r.candidate == "c0")
    assert alone.together and among.together
    assert (many.critical or 0) > (few.critical or 9)
    assert (among.holm or 0) >= (among.p or 1)
    assert alone.shrunk is None and among.shrunk is not None and among.shrunk < (among.point.gain or 0)


def test_a_candidate_out_of_reach_stays_and_counts() -> None:
    runs = candidates([1.3, 1.1, 1.2, 1.4, 0.002], SeedNoise(0.002), seeds=3)
    found = rank(runs[0], runs[1:], draws=1000)
    row = next(r for r in found.rows if r.candidate == "c4")
    assert row.point.region == "censored" and row.point.gain is None and row.shrunk is None
    assert row.point.interval and row.point.interval[0] == 0 and row.point.interval[1] <= 1.001
    assert row.level != "gain" and (row.p or 0) > 0 and row is found.rows[-1]
    assert all(r.point.region == "measured" for r in found.rows[:-1])
    assert "gain-outside-overlap" in {d.code for d in found.diagnostics}


def test_without_repeats_there_are_no_p_values() -> None:
    runs = candidates([1.2, 1.1, 1.0], SeedNoise(0.002), seeds=1)
    short = [
        ArmRuns(r.name, *(getattr(r, f)[:2] for f in ("resource", "quality", "rung", "pair", "cluster"))) for r in runs
    ]
    found = rank(short[0], short[1:], draws=100)
    assert all(r.p is None and r.together is None and r.level == "unknown" for r in found.rows)
    assert "no-replicates" in {d.code for d in found.diagnostics}


def test_comparing_many_one_by_one_is_worth_a_caution() -> None:
    assert many_candidates(2) is None
    said = many_candidates(20)
    assert (
        said is not None
        and said.code == "many-candidates"
        and said.details["chance"] == pytest.approx(0.6415, abs=1e-3)
    )


# -- A/A -------------------------------------------------------------------------------------------------------------


def aa(seed: int, gain: float = 1.0) -> object:
    ph = phantom("no gain", SeedNoise(0.004))
    old, new = ph.runs(budgets_of(6), 3, np.random.default_rng(seed), paired=False)
    new = ArmRuns("old-again", new.resource * gain, new.quality, new.rung, new.pair, new.cluster)
    return compare(old, new, resource="c", quality="loss", draws=600, seed=seed)


def test_an_arm_against_its_copy_gives_the_noise_floor() -> None:
    found = aa_check([aa(s) for s in range(12)])  # type: ignore[misc]
    assert found.comparisons == 12 and found.covered >= 10
    assert found.passed == (not found.diagnostics)
    assert 1.02 < found.noise_floor < 1.35 and found.largest < 1.4
    assert "against itself" in found.sentence


def test_a_copy_that_differs_is_an_error() -> None:
    found = aa_check([aa(0), aa(1, gain=1.6)])  # type: ignore[misc]
    assert not found.passed and {d.code for d in found.diagnostics} >= {"aa-differs"}
    curve = aa(0)
    blank = replace(curve, verdict=replace(curve.verdict, gain=None))  # type: ignore[attr-defined, type-var]
    with pytest.raises(TableError, match="none of 1 comparisons"):
        aa_check([blank])


# -- the verb --------------------------------------------------------------------------------------------------------


def table(path: Path) -> Path:
    rows = ["arm,train_flops,loss,seed"]
    for a in candidates([1.5, 1.0, 1.2], SeedNoise(0.002), seeds=3):
        rows += [f"{a.name},{c:.10g},{q:.10g},{s}" for c, q, s in zip(a.resource, a.quality, a.pair, strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_verb_ranks_all_other_arms_by_default(tmp_path: Path) -> None:
    path = table(tmp_path / "runs.csv")
    run = CliRunner().invoke(app, ["rank", str(path), "--baseline", "none", "--json"])
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    assert [r["candidate"] for r in answer["rows"]] == ["c0", "c2", "c1"]
    assert answer["rows"][0]["point"]["gain"] == pytest.approx(1.5, rel=0.06)
    shown = CliRunner().invoke(app, ["rank", str(path), "-b", "none", "--candidates", "c0,c1"], env={"COLUMNS": "140"})
    assert shown.exit_code == 0 and "all at once" in shown.output and "c0" in shown.output


@pytest.mark.parametrize(
    ("baseline", "others", "options", "said"),
    [
        ("zero", [], {}, "unknown arm"),
        ("none", ["none"], {}, "is the baseline"),
        ("none", ["c9"], {}, "unknown arm"),
        ("none", [], {"at": 1e30}, "outside the ladder"),
        ("none", [], {"at": -1.0}, "outside the ladder"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, baseline: str, others: list[str], options: dict, said: str) -> None:
    with pytest.raises(Exception, match=said) as error:
        api.rank(table(tmp_path / "runs.csv"), baseline, others, draws=100, **options)
    assert "\n" not in str(error.value) and hasattr(error.value, "remedy")

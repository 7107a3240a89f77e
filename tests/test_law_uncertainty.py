"""Uncertainty of a fitted law: intervals cover, pairs move together, noise is found, forecasts are scored honestly."""

from __future__ import annotations

import builtins
import os
from typing import Any

import numpy as np
import pytest

from isoloss.errors import MissingError, TableError, UnknownNameError
from isoloss.laws import fit
from isoloss.laws.ensemble import ensemble
from isoloss.laws.holdout import leave_top_out, rolling
from isoloss.laws.joint import fit_joint
from isoloss.laws.noise import log_partition
from isoloss.laws.optimum import pose
from isoloss.laws.parameter_profile import profile
from isoloss.laws.posterior import agreement

FLOOR, ALPHA, NOISE = 1.8, 0.15, 0.004


def ladder(settings: int, seeds: int = 1) -> dict[str, np.ndarray]:
    return {"C": np.repeat(np.geomspace(1e16, 1e20, settings), seeds)}


def truth(columns: dict[str, Any]) -> np.ndarray:
    return FLOOR + 1.5 * (np.asarray(columns["C"]) / 1e17) ** -ALPHA


def noisy(columns: dict[str, np.ndarray], rng: np.random.Generator, sd: float = NOISE) -> np.ndarray:
    return truth(columns) * np.exp(sd * rng.standard_normal(len(columns["C"])))


def within(hits: list[bool], low: float, high: float) -> None:
    """The share of hits is within `low` to `high`, give or take three standard errors at 95%."""
    slack = 3 * np.sqrt(0.95 * 0.05 / len(hits))
    assert low - slack <= np.mean(hits) <= high + slack, np.mean(hits)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "settings", "seeds"), [("wild", 6, 1), ("wild", 10, 2), ("parametric", 10, 2)])
def test_intervals_cover_parameters_means_and_new_runs(scheme: str, settings: int, seeds: int) -> None:
    rng = np.random.default_rng(settings)
    columns, places = ladder(settings, seeds), {"C": np.array([1e18, 1e21])}
    expected = truth(places)
    hits: dict[str, list[bool]] = {"E": [], "alpha": [], "inside": [], "decade": [], "run": []}
    for seed in range(150):
        found = fit("power-floor", columns, noisy(columns, rng), bootstrap=400, resample=scheme, held_out=0, seed=seed)
        for name, value in (("E", FLOOR), ("alpha", ALPHA)):
            low, high = found.interval(name)
            hits[name].append(low <= value <= high)
        ends = found.predict_interval(places)
        for k, name in enumerate(("inside", "decade")):
            hits[name].append(bool(ends[0][k] <= expected[k] <= ends[1][k]))
        run = expected[0] * np.exp(NOISE * rng.standard_normal())
        ends = found.predict_interval(places, kind="new-run")
        hits["run"].append(bool(ends[0][0] <= run <= ends[1][0]))
    for shares in hits.values():
        within(shares, 0.93, 0.98)


def test_new_run_intervals_hold_mean_intervals_and_evaluation_error_widens_them() -> None:
    columns = ladder(12)
    found = fit("power-floor", columns, noisy(columns, np.random.default_rng(0)), bootstrap=500)
    mean, run = (found.predict_interval(columns, kind=k) for k in ("mean", "new-run"))
    wide = found.predict_interval(columns, kind="new-run", eval_sd=0.1)
    assert np.all(run[0] < mean[0]) and np.all(run[1] > mean[1])
    assert np.all(wide[1] - wide[0] > 3 * (run[1] - run[0]))
    with pytest.raises(TableError, match="'median' is not known; use mean or new-run"):
        found.predict_interval(columns, kind="median")
    none = fit("power-floor", columns, truth(columns), bootstrap=0)
    assert np.all(np.isnan(none.predict_interval(columns)))


def test_one_degree_of_freedom_gives_wide_finite_draws() -> None:
    rng = np.random.default_rng(21)
    columns = ladder(4)
    for _ in range(5):
        found = fit("power-floor", columns, noisy(columns, rng, 0.02), bootstrap=2000, resample="wild", held_out=0)
        assert found.diagnostics["dof"] == 1
        assert np.all(np.isfinite(found.predict_draws(columns)))
        assert np.ptp(found.interval("E")) > 0.3


def test_arms_that_share_cluster_names_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    columns = ladder(12)
    common = NOISE * rng.standard_normal(12)
    names = [f"order {i}" for i in range(12)]
    arms = [truth(columns) * np.exp(common + 0.0005 * rng.standard_normal(12)) for _ in range(2)]
    for scheme in ("wild", "pairs"):
        paired = [fit("power-floor", columns, y, clusters=names, resample=scheme, bootstrap=800) for y in arms]
        apart = [fit("power-floor", columns, y, resample=scheme, bootstrap=800) for y in arms]
        spread = [np.std(np.subtract(*(f.predict_draws(columns)[:, -1] for f in two))) for two in (paired, apart)]
        assert spread[0] < 0.3 * spread[1]
    # the name decides, not the place in the table
    turned = fit("power-floor", {"C": columns["C"][::-1]}, arms[0][::-1], clusters=names[::-1], bootstrap=50)
    straight = fit("power-floor", columns, arms[0], clusters=names, bootstrap=50)
    np.testing.assert_allclose(turned.draws["E"], straight.draws["E"], rtol=1e-6)


def test_a_joint_fit_pairs_arms_within_one_table_and_takes_no_posterior() -> None:
    rng = np.random.default_rng(20)
    one = ladder(12)
    columns = {"C": np.tile(one["C"], 2)}
    common = np.tile(NOISE * rng.standard_normal(12), 2)
    y = truth(columns) * np.exp(common + 0.0005 * rng.standard_normal(24))
    arm, names = np.repeat(["old", "new"], 12), np.tile(np.arange(12), 2)
    spread = []
    for clusters in (names, None):
        both = fit_joint("power-floor", columns, y, arm, clusters=clusters, resample="wild", bootstrap=400).arms
        spread.append(np.std(np.subtract(*(f.predict_draws(one)[:, -1] for f in both.values()))))
    assert spread[0] < 0.5 * spread[1]
    with pytest.raises(TableError, match="a posterior is for one law on one table"):
        fit_joint("power-floor", columns, y, arm, resample="posterior", bootstrap=10)


def test_clusters_of_several_rows_that_move_together_widen_intervals() -> None:
    rng = np.random.default_rng(4)
    columns = ladder(10, 4)
    y = truth(columns) * np.exp(np.repeat(NOISE * rng.standard_normal(10), 4))
    trunks = np.repeat(np.arange(10), 4)
    low, high = fit("power-floor", columns, y, clusters=trunks, bootstrap=600).interval("E")
    naive = fit("power-floor", columns, y, resample="wild", bootstrap=600).interval("E")
    once = fit("power-floor", ladder(10), y[::4], bootstrap=600).interval("E")
    assert high - low > 1.4 * (naive[1] - naive[0])
    assert high - low == pytest.approx(once[1] - once[0], rel=0.35)


def test_auto_takes_the_scheme_that_the_table_supports_and_says_why() -> None:
    rng = np.random.default_rng(5)

    def scheme(settings: int, seeds: int = 1) -> str:
        columns = ladder(settings, seeds)
        facts = fit("power-floor", columns, noisy(columns, rng), bootstrap=20, held_out=0).diagnostics
        assert facts["resampling_because"]
        return str(facts["resampling"])

    assert scheme(12) == "wild"
    assert scheme(120) == "pairs"
    assert scheme(3, 2) == "parametric"


def test_parametric_draws_need_replicates_and_report_a_law_that_misses_them() -> None:
    rng = np.random.default_rng(6)
    columns = ladder(8)
    with pytest.raises(TableError, match="parametric needs runs that repeat a setting; use wild"):
        fit("power-floor", columns, noisy(columns, rng), resample="parametric")
    columns = ladder(8, 3)
    good, bad = noisy(columns, rng), noisy(columns, rng) * (1 + 0.05 * np.sin(np.log(columns["C"])))
    fits = [fit("power-floor", columns, y, resample="parametric", bootstrap=50) for y in (good, bad)]
    assert fits[0].diagnostics["lack_of_fit_p"] > 0.01 > fits[1].diagnostics["lack_of_fit_p"]
    assert fits[0].diagnostics["replicate_dof"] == 16
    with pytest.raises(TableError, match="identical losses, which shows no noise"):
        fit("power-floor", columns, truth(columns), resample="parametric")
    with pytest.raises(TableError, match="parametric takes rows as independent"):
        fit("power-floor", columns, good, resample="parametric", clusters=np.repeat(np.arange(8), 3))


def test_draws_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ladder(40)
    y = noisy(columns, np.random.default_rng(7))
    found = []
    for cores in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        found.append([fit("power-floor", columns, y, resample=s, bootstrap=1500, seed=5) for s in ("wild", "pairs")])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a.theta_draws, b.theta_draws)
            np.testing.assert_array_equal(a.predict_runs(columns), b.predict_runs(columns))
    assert not np.array_equal(found[0][0].theta_draws, fit("power-floor", columns, y, bootstrap=1500).theta_draws)


def test_noise_components_recover_planted_seed_noise_and_weigh_by_it() -> None:
    rng = np.random.default_rng(8)
    columns = ladder(60, 5)
    mean = truth(columns)
    evaluation = np.where(np.arange(300) % 2 == 0, 0.03, 0.0)
    y = mean + 0.001 * mean**2 * rng.standard_normal(300) + evaluation * rng.standard_normal(300)
    found = fit("power-floor", columns, y, noise="components", eval_sd=evaluation, bootstrap=200, held_out=0)
    facts = found.diagnostics["noise"]
    at_top = facts["seed_sd"] * (mean.max() - (FLOOR if facts["level"] == "above floor" else 0)) ** facts["gamma"]
    assert facts["converged"]
    assert at_top == pytest.approx(0.001 * mean.max() ** 2, rel=0.3)
    assert 0.25 < facts["eval_share"] < 0.5
    plain = fit("power-floor", columns, y, bootstrap=200, held_out=0)
    widths = [np.ptp(f.interval("E")) for f in (found, plain)]
    assert widths[0] < 0.9 * widths[1]


def test_residuals_that_grow_with_scale_are_noticed_and_even_ones_are_not() -> None:
    rng = np.random.default_rng(9)
    columns = ladder(80)
    mean = truth(columns)
    z = rng.standard_normal(80)
    uneven = mean * np.exp(z * np.geomspace(0.001, 0.03, 80))
    even = mean * np.exp(z * 0.005)
    p = [fit("power-floor", columns, y, bootstrap=0, held_out=0).diagnostics["spread_p"]["C"] for y in (uneven, even)]
    assert p[0] < 1e-3 < 0.01 < p[1]


def test_components_refuse_what_has_no_meaning() -> None:
    columns = ladder(8)
    with pytest.raises(TableError, match="eval_sd: has no meaning with constant noise"):
        fit("power-floor", columns, truth(columns), eval_sd=0.1)
    with pytest.raises(TableError, match="one finite number >= 0 a row"):
        fit("power-floor", columns, truth(columns), eval_sd=[0.1, -1], noise="components")
    with pytest.raises(TableError, match="use constant, components"):
        fit("power-floor", columns, truth(columns), noise="two")


@pytest.mark.slow
def test_profile_intervals_cover_the_floor() -> None:
    rng = np.random.default_rng(10)
    columns = ladder(8)
    hits = []
    for _ in range(150):
        low, high = profile("power-floor", columns, noisy(columns, rng), "E").interval()
        hits.append(low <= FLOOR <= high)
    within(hits, 0.93, 0.98)


def test_profile_of_every_parameter_lies_above_the_free_fit_and_agrees_with_pinned_fits() -> None:
    columns = ladder(10)
    y = noisy(columns, np.random.default_rng(11))
    free = fit("power-floor", columns, y, bootstrap=0)
    for name in ("E", "alpha"):
        found = profile("power-floor", columns, y, name)
        assert found.best == pytest.approx(free.params[name], rel=1e-3)
        assert found.rise.min() == 0
        low, high = found.interval()
        near = int(np.argmin(np.abs(found.values - high)))
        pinned = fit("power-floor", columns, y, bootstrap=0, pinned={name: float(found.values[near])})
        assert 2 * found.misfit[near] == pytest.approx(pinned.objective, rel=1e-6)
        narrow = found.interval(0.5)
        assert low < narrow[0] < found.best < narrow[1] < high


def test_profile_says_when_the_data_leave_the_floor_open() -> None:
    columns = {"C": np.geomspace(1e18, 1e19, 7)}
    y = 3.0 * (columns["C"] / 1e18) ** -0.05 * np.exp(NOISE * np.random.default_rng(12).standard_normal(7))
    found = profile("power-floor", columns, y, "E")
    assert found.interval()[0] == 0
    assert found.open_ends()[0]
    assert "not bounded below" in found.sentence()


def test_profile_refuses_names_that_cannot_be_profiled() -> None:
    columns = ladder(8)
    with pytest.raises(UnknownNameError, match="unknown parameter 'gamma'"):
        profile("power-floor", columns, truth(columns), "gamma")
    with pytest.raises(TableError, match="profile one of E, alpha"):
        profile("power-floor", columns, truth(columns), "A")
    with pytest.raises(TableError, match="no degree of freedom"):
        profile("power-floor", ladder(3), truth(ladder(3)), "E")


def test_held_out_scores_reward_the_true_law_and_are_skipped_with_a_reason() -> None:
    columns = ladder(9, 2)
    y = noisy(columns, np.random.default_rng(13))
    facts = fit("power-floor", columns, y, bootstrap=10).diagnostics
    for scores in (facts["extrapolation"]["top_rung"], facts["extrapolation"]["rolling"]):
        assert scores["rms_log_error"] < 0.5 * scores["rms_last_rung_persists"]
        assert scores["decades"] > 0.4
    straight = fit("power", columns, y, bootstrap=10).diagnostics["extrapolation"]["rolling"]
    assert straight["rms_log_error"] == pytest.approx(straight["rms_line_in_logs"], rel=1e-6)
    assert "last rung persists" in facts["held_out"]
    short = fit("power-floor", ladder(3, 2), noisy(ladder(3, 2), np.random.default_rng(1)), bootstrap=10).diagnostics
    assert "skipped" in short["extrapolation"] and "distinct scale" in short["held_out"]


def test_held_out_rows_do_not_leak_into_their_forecast() -> None:
    columns = ladder(8)
    y = noisy(columns, np.random.default_rng(14))
    broken = y.copy()
    broken[-1] *= 1.5
    errors = []
    for loss in (y, broken):
        posed = pose("power-floor", columns, loss)
        top = rolling(posed, posed.starts[0]).top
        assert top is not None and top.rows.tolist() == [7]
        errors.append(float(top.log_error[0]))
    assert errors[1] - errors[0] == pytest.approx(np.log(1.5), abs=1e-6)


def test_rungs_may_be_ordered_by_any_quantity() -> None:
    columns = ladder(8)
    posed = pose("power-floor", columns, noisy(columns, np.random.default_rng(19)))
    joules = 2.0 ** np.array([2, 3, 4, 8, 5, 6, 7, 1])
    for order, last in ((joules, 3), ("C", 7), (None, 7)):
        top = leave_top_out(posed, posed.starts[0], order=order).top
        assert top is not None and top.rows.tolist() == [last]
    with pytest.raises(TableError, match="no column D among"):
        leave_top_out(posed, posed.starts[0], order="D")
    with pytest.raises(TableError, match="one positive number a row"):
        leave_top_out(posed, posed.starts[0], order=-joules)


def test_ensemble_follows_the_law_that_forecasts_and_spreads_over_forms() -> None:
    columns = ladder(10, 2)
    y = noisy(columns, np.random.default_rng(15), 0.002)
    both = ensemble(["power", "power-floor"], columns, y, bootstrap=500)
    assert both.weights["power-floor"] > 0.9
    assert sum(both.weights.values()) == pytest.approx(1)
    far = {"C": [1e22]}
    fan = both.fan(far)
    assert [f["law"] for f in fan] == ["power-floor", "power"]
    assert fan[0]["interval"][0][0] <= truth({"C": 1e22}) <= fan[0]["interval"][1][0]
    even = ensemble(["power", "power-floor"], ladder(4), noisy(ladder(4), np.random.default_rng(2)), bootstrap=500)
    assert even.rungs == 0 and set(even.weights.values()) == {0.5} and "equal weights" in even.diagnostics["weighting"]
    low, high = even.predict_interval(far, 0.9)
    for law in even.laws.values():
        assert low[0] < law.predict(far)[0] < high[0]


def test_ensemble_leaves_out_what_the_table_cannot_determine() -> None:
    columns = ladder(10)
    y = noisy(columns, np.random.default_rng(16))
    found = ensemble(["power", "power-floor", "chinchilla"], columns, y, bootstrap=20)
    assert set(found.laws) == {"power", "power-floor"} and "chinchilla" in found.left_out
    with pytest.raises(TableError, match="laws: 1 of 2 can be fitted"):
        ensemble(["power", "chinchilla"], columns, y, bootstrap=20)


def test_noise_density_integrates_to_one() -> None:
    for delta in (1e-3, 0.02, np.inf):
        for tau in (1e-7, 1e-5, 1e-4):
            r = np.linspace(-1, 1, 2_000_001) * 20 * (tau / delta + np.sqrt(tau))
            clipped = np.clip(r, -delta, delta)
            density = np.exp(-clipped * (r - 0.5 * clipped) / tau - log_partition(np.array(tau), delta))
            assert np.trapezoid(density, r) == pytest.approx(1, abs=1e-3)


def test_posterior_agrees_with_the_wild_bootstrap_where_data_rule() -> None:
    pytest.importorskip("emcee", reason="the extra bayes is not installed")
    columns = ladder(30)
    y = noisy(columns, np.random.default_rng(17))
    bayes = fit("power-floor", columns, y, resample="posterior", bootstrap=2000, held_out=0)
    again = fit("power-floor", columns, y, resample="posterior", bootstrap=2000, held_out=0)
    wild = fit("power-floor", columns, y, resample="wild", bootstrap=2000, held_out=0)
    np.testing.assert_array_equal(bayes.theta_draws, again.theta_draws)
    assert bayes.diagnostics["r_hat"] < 1.02 and bayes.diagnostics["effective_draws"] > 400
    for name in ("E", "alpha"):
        size = np.ptp(wild.interval(name))
        assert np.ptp(bayes.interval(name)) == pytest.approx(size, rel=0.35)
        assert np.median(bayes.draws[name]) == pytest.approx(wild.params[name], abs=0.25 * size)


def test_chains_that_disagree_are_seen() -> None:
    rng = np.random.default_rng(18)
    chain = rng.standard_normal((4, 400, 20, 2))
    r_hat, effective = agreement(chain)
    assert r_hat < 1.01 and effective > 0.5 * 4 * 400 * 20
    chain[0, :, :, 1] += 2.0
    assert agreement(chain)[0] > 1.1


def test_posterior_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "emcee":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    columns = ladder(8)
    with pytest.raises(MissingError, match=r"pip install 'isoloss\[bayes\]'"):
        fit("power-floor", columns, noisy(columns, np.random.default_rng(0)), resample="posterior", bootstrap=10)
    with pytest.raises(TableError, match="not in clusters"):
        names = [0, 0, 1, 1, 2, 2, 3, 3]
        fit("power-floor", columns, truth(columns), resample="posterior", clusters=names)

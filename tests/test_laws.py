"""Scaling laws: planted truth comes back, units don't matter, and tables that can't identify a law are refused."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws import LAWS, fit, fit_power_laws

TABLES = Path(os.environ.get("ISOLOSS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
BUDGETS = 1e15 * 4.0 ** np.arange(6)


@pytest.fixture(scope="module")
def epoch_points() -> dict[str, np.ndarray]:
    """Points that Besiroglu et al. 2024 read off a figure of Hoffmann et al. 2022, less the five highest losses."""
    path = TABLES / "besiroglu_analyzing-chinchilla" / "svg_extracted_data.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here: set ISOLOSS_SHARED_DATA to the folder of public run tables")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    n, c, loss = (np.array([float(r[k]) for r in rows]) for k in ("Model Size", "Training FLOP", "loss"))
    keep = np.argsort(loss)[:-5]
    return {"N": n[keep], "D": c[keep] / (6 * n[keep]), "loss": loss[keep]}


@settings(max_examples=25, deadline=None)
@given(
    floor=st.one_of(st.just(0.0), st.floats(0.01, 3.0)),  # one below a thousandth of the loss is taken for none
    exponents=st.tuples(st.floats(0.05, 0.6), st.floats(0.05, 0.6)),
    reducible=st.tuples(st.floats(0.5, 3.0), st.floats(0.5, 3.0)),
)
def test_joint_fit_recovers_noiseless_laws(
    floor: float, exponents: tuple[float, float], reducible: tuple[float, float]
) -> None:
    x = np.log(BUDGETS)
    loss = [floor + r * np.exp(-a * (x - x.mean()))[None] for a, r in zip(exponents, reducible, strict=True)]
    fits = fit_power_laws([x, x], np.log(loss), [np.ones(6)] * 2, "shared")
    assert fits.floor[0] == pytest.approx([floor] * 2, abs=2e-3)
    assert fits.exponent[0] == pytest.approx(exponents, rel=5e-3)
    for k in (0, 1):
        assert np.exp(fits.log_loss(k, x))[0] == pytest.approx(loss[k][0], rel=1e-5)


def test_each_row_of_a_batch_is_fitted_as_if_alone() -> None:
    rng = np.random.default_rng(0)
    x = np.log(BUDGETS)
    loss = [1.8 + 60 * np.exp(-0.1 * x) + 0.01 * rng.standard_normal((7, 6)) for _ in range(2)]
    weight = [np.full(6, 4.0), np.full(6, 1.0)]
    for floor in ("shared", "free", 1.5):
        batch = fit_power_laws([x, x], np.log(loss), weight, floor)
        for b in (0, 6):
            alone = fit_power_laws([x, x], [np.log(v[b : b + 1]) for v in loss], weight, floor)
            np.testing.assert_allclose(batch.exponent[b], alone.exponent[0], rtol=1e-9)
            np.testing.assert_allclose(batch.floor[b], alone.floor[0], rtol=1e-9)


def test_fewer_constraints_never_fit_worse() -> None:
    rng = np.random.default_rng(1)
    x = np.log(BUDGETS)
    loss = [1.8 + 60 * np.exp(-a * x) + 0.02 * rng.standard_normal((200, 6)) for a in (0.1, 0.09)]
    chi2 = {f: fit_power_laws([x, x], np.log(loss), [np.ones(6)] * 2, f).chi2 for f in ("free", "shared", 1.0, 0.0)}
    slack = 1e-6 * chi2["shared"] + 1e-12
    assert np.all(chi2["free"] <= chi2["shared"] + slack)
    assert np.all(chi2["shared"] <= np.minimum(chi2[1.0], chi2[0.0]) + slack)


def test_flat_data_put_a_parameter_at_its_bound() -> None:
    x = np.log(BUDGETS)
    fits = fit_power_laws([x], [np.log([[3.0, 3.1, 3.2, 3.3, 3.4, 3.5]])], [np.ones(6)], "shared")
    assert fits.exponent_at_bound[0, 0]


def test_power_laws_are_inverted() -> None:
    x = np.log(BUDGETS)
    fits = fit_power_laws([x], [np.log(1.8 + 60 * np.exp(-0.1 * x))[None]], [np.ones(6)], "shared")
    assert fits.invert(0, np.exp(fits.log_loss(0, x)))[0] == pytest.approx(x)
    assert fits.invert(0, np.array([[1.7]]))[0, 0] == np.inf


@pytest.mark.parametrize("law", ["power", "power-floor"])
@pytest.mark.parametrize("objective", ["squared", "huber-log"])
def test_one_column_laws_recover_planted_truth_and_ignore_units(law: str, objective: str) -> None:
    floor = 1.8 if law == "power-floor" else 0.0
    rng = np.random.default_rng(2)
    c = np.repeat(1e15 * 3.0 ** np.arange(8), 3)
    loss = (floor + 60 * c**-0.1) * np.exp(0.002 * rng.standard_normal(len(c)))
    small = fit(law, {"C": c}, loss, bootstrap=300, objective=objective)
    large = fit(law, {"petaflops": c / 1e15}, loss, bootstrap=0, objective=objective)
    low, high = small.interval("alpha")
    assert low < 0.1 < high and high - low < 0.05
    assert large.params["alpha"] == pytest.approx(small.params["alpha"], rel=1e-4)
    assert large.predict({"petaflops": c / 1e15}) == pytest.approx(small.predict({"C": c}), rel=1e-5)
    assert small.predict_draws({"C": c}).shape == (300, len(c))
    assert small.diagnostics["starts_agreeing"] >= 2


def test_chinchilla_recovers_planted_truth_under_both_objectives() -> None:
    rng = np.random.default_rng(3)
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(1e9, 1e12, 7)))
    loss = (1.7 + 400 * n**-0.34 + 800 * d**-0.3) * np.exp(0.003 * rng.standard_normal(n.size))
    for objective in ("squared", "huber-log"):
        law = fit("chinchilla", {"N": n, "D": d}, loss, bootstrap=300, objective=objective)
        for name, truth in (("E", 1.7), ("alpha", 0.34), ("beta", 0.3)):
            low, high = law.interval(name, 0.99)
            assert low < truth < high
        assert law.predict({"N": n, "D": d}) == pytest.approx(loss, rel=0.02)


def test_chinchilla_replication_of_besiroglu_2024(epoch_points: dict[str, np.ndarray]) -> None:
    """Published: A 482.01, B 2085.43, E 1.8172, alpha .3478, beta .3658; the exact optimum lies close by."""
    law = fit("chinchilla", epoch_points, epoch_points["loss"], bootstrap=400)
    assert law.diagnostics["rows"] == 240
    assert law.objective < 1.0182745e-3
    optimum = {"A": 477.8, "B": 2143.4, "E": 1.8172, "alpha": 0.3473, "beta": 0.3672}
    assert law.params == pytest.approx(optimum, rel=2e-4)
    published = {"A": 482.01, "B": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658}
    errors = {"A": 124.6, "B": 1293.0, "E": 0.03, "alpha": 0.02, "beta": 0.02}
    for name, value in published.items():
        assert abs(law.params[name] - value) < 0.1 * errors[name]
        assert 0.6 * errors[name] < law.draws[name].std() < 1.4 * errors[name]


def test_fits_repeat_exactly_and_clusters_widen_intervals() -> None:
    rng = np.random.default_rng(4)
    c = np.repeat(1e15 * 2.0 ** np.arange(12), 4)
    trunk = np.repeat(np.arange(12), 4)
    loss = (60 * c**-0.1) * np.exp(0.01 * rng.standard_normal(12)[trunk])
    once, again = (fit("power", {"C": c}, loss, bootstrap=400, seed=5) for _ in range(2))
    np.testing.assert_array_equal(once.draws["alpha"], again.draws["alpha"])
    whole = fit("power", {"C": c}, loss, bootstrap=400, seed=5, clusters=trunk)
    assert whole.draws["alpha"].std() > 1.5 * once.draws["alpha"].std()


N, D = (v.ravel() for v in np.meshgrid([1e7, 1e8, 1e9], [1e9, 1e10, 1e11]))
L = 1.7 + 400 * N**-0.34 + 800 * D**-0.3


@pytest.mark.parametrize(
    ("law", "columns", "loss", "words"),
    [
        ("chinchilla", {"N": N, "D": 20 * N}, L, "only L\\(C\\) is identified"),
        ("chinchilla", {"N": np.where(N > 5e8, 1e8, N), "D": D}, L, "2 distinct scale"),
        ("chinchilla", {"N": N, "D": D}, np.where(N > 5e8, np.inf, L), "not finite and positive"),
        ("chinchilla", {"N": N, "D": D}, -L, "not finite and positive"),
        ("chinchilla", {"N": N, "D": D}, np.full(9, 3.0), "same in every row"),
        ("chinchilla", {"N": N}, L, "no column D"),
        ("power-floor", {"C": np.repeat([1e15, 1e16], 3)}, np.arange(1.0, 7.0), "2 distinct scale"),
        ("power", {"N": N, "D": D}, L, "takes one column"),
        ("power", {"C": N[:-1]}, L, "8 values for 9 rows"),
    ],
)
def test_tables_that_cannot_identify_a_law_are_refused(law: str, columns: dict, loss: np.ndarray, words: str) -> None:
    with pytest.raises(TableError, match=words) as raised:
        fit(law, columns, loss, bootstrap=0)
    assert "\n" not in str(raised.value) and raised.value.remedy


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean chinchilla"):
        fit("chincilla", {"N": N, "D": D}, L)
    with pytest.raises(TableError, match="huber-log"):
        fit("power", {"C": N}, L, objective="absolute")
    assert {"power", "power-floor", "chinchilla"} <= set(LAWS.names())

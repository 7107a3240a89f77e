"""Every law: exact derivatives, units that don't matter, planted truth recovered, batches that don't mix."""

from __future__ import annotations

import csv
import gzip
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isoloss.errors import IsolossError, TableError
from isoloss.laws import descend, fit
from isoloss.laws.descend import Problem, find_objective, limits, minimise
from isoloss.laws.expression import ExpressionLaw
from isoloss.laws.forms.bounded import Bounded
from isoloss.laws.forms.broken import Broken
from isoloss.laws.forms.data_constrained import DataConstrained
from isoloss.laws.forms.routed import Routed
from isoloss.laws.law import Law
from isoloss.laws.registry import BUILTIN, LAWS, find_law
from isoloss.registry import load_plugin

ROOT = Path(__file__).parents[1]
TABLES = Path(os.environ.get("ISOLOSS_SHARED_DATA", ROOT.parent / "shared" / "data"))


def grid(*axes: np.ndarray) -> list[np.ndarray]:
    return [g.ravel() for g in np.meshgrid(*axes, indexing="ij")]


SIZES, TOKENS = grid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6))
RN, RD, EPOCHS = grid(np.geomspace(3e7, 8e9, 6), np.geomspace(2e9, 9e11, 6), np.array([1.0, 4.0, 16.0, 60.0]))
DENSE, EXPERTS = grid(np.geomspace(1.5e7, 1.3e9, 6), 2.0 ** np.arange(10))
BUDGETS = np.geomspace(1e15, 1e21, 16)
ND = {"N": SIZES, "D": TOKENS}

#: Columns and parameters of one identified example of each law; the constants are published ones where there are any.
PLANTED: dict[str, tuple[dict[str, np.ndarray], dict[str, float]]] = {
    "power": ({"C": BUDGETS}, {"A": 30.0, "alpha": 0.05}),
    "power-floor": ({"C": BUDGETS}, {"E": 1.7, "A": 1e3, "alpha": 0.17}),
    "chinchilla": (ND, {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}),
    "kaplan": (ND, {"Nc": 6.4e13, "Dc": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}),
    "shifted": ({"C": np.geomspace(1e-3, 1e3, 14)}, {"E": 0.09, "A": 0.26, "c": 0.01, "alpha": 0.35}),
    "broken": ({"C": BUDGETS}, {"a": 1.2, "b": 40.0, "c0": 0.08, "c1": 0.15, "d1": 1e18, "f1": 0.4}),
    "bounded": ({"C": BUDGETS}, {"E": 0.05, "U": 0.9, "x0": 1e17, "alpha": 0.6}),
    "data-constrained": (
        {"N": RN, "D": RD, "U": RD / EPOCHS},
        {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.353, "beta": 0.353, "R_N_star": 5.31, "R_D_star": 15.39},
    ),
    "transfer": ({"D_F": TOKENS, "N": SIZES}, {"k": 1.9e4, "alpha": 0.18, "beta": 0.38}),
    "routed": (
        {"N": DENSE, "experts": EXPERTS},
        {"a": -0.082, "b": -0.108, "c": 0.009, "d": 1.104, "E_start": 1.847, "E_max": 314.478},
    ),
}
every_law = pytest.mark.parametrize("name", sorted(BUILTIN))


def build(name: str) -> Law:
    """The law, on the columns of its planted example."""
    law = find_law(name)
    law.columns = tuple(PLANTED[name][0])
    return law


def inside(law: Law, params: dict[str, float]) -> np.ndarray:
    """Parameters (1, P) in the engine's coordinates."""
    return np.array([[p.inside(params[p.name]) for p in law.parameters]])


def losses(law: Law, columns: dict[str, np.ndarray], params: dict[str, float]) -> np.ndarray:
    value = law.evaluate(inside(law, params), law.prepare(columns))[0][0]
    return np.exp(value) if law.link == "log" else value


def some_columns(law: Law, unit: np.ndarray) -> dict[str, np.ndarray]:
    """Columns over twelve e-folds about 1, as a fit sees them, from numbers `unit` (K, R) between 0 and 1."""
    x = {c: np.exp(12 * u - 6) for c, u in zip(law.columns, unit, strict=False)}
    return {c: np.floor(np.exp(6.3 * unit[0])) if c == "experts" else v for c, v in x.items()}


@every_law
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_derivatives_are_those_of_the_value(name: str, seed: int) -> None:
    law, rng = build(name), np.random.default_rng(seed)
    low, high = limits(law)
    data = law.prepare(some_columns(law, rng.uniform(size=(3, 12))))
    theta = rng.uniform(low, high, (30, len(low)))
    value, jac = law.evaluate(theta, data)
    for p in range(len(low)):
        error = []
        for step in (1e-4, 1e-5, 1e-6, 1e-7):  # large ones miss sharp bends, small ones lose digits
            move = step * np.eye(len(low))[p]
            slope = (law.evaluate(theta + move, data)[0] - law.evaluate(theta - move, data)[0]) / (2 * step)
            error.append(np.abs(slope - jac[:, p]) / (np.abs(value) + np.abs(jac[:, p])))
        assert np.min(error, axis=0).max() < 1e-5, law.parameters[p].name


@every_law
@settings(max_examples=60)
@given(data=st.data())
def test_values_are_finite_all_over_the_box(name: str, data: st.DataObject) -> None:
    law = build(name)
    low, high = limits(law)
    unit = st.floats(0, 1)
    place = np.array(data.draw(st.lists(unit, min_size=len(low), max_size=len(low))))
    rows = np.array(data.draw(st.lists(st.lists(unit, min_size=4, max_size=4), min_size=3, max_size=3)))
    theta = (low + place * (high - low))[None]
    value, jac = law.evaluate(theta, law.prepare(some_columns(law, rows)))
    assert value.shape == (1, 4) and jac.shape == (1, len(low), 4)
    assert np.isfinite(value).all() and np.isfinite(jac).all()
    assert law.link == "log" or (value > 0).all()


@every_law
@settings(max_examples=10)
@given(factors=st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4))
def test_natural_parameters_follow_a_change_of_units(name: str, factors: list[float]) -> None:
    columns, params = PLANTED[name]
    law = build(name)
    unit = dict(zip(columns, factors, strict=False))
    unit = {c: {"experts": 1.0, "U": unit.get("D")}.get(c, v) for c, v in unit.items()}
    moved = {k: np.asarray(v) for k, v in params.items()}
    there = law.natural(moved, unit, factors[-1])
    found = losses(law, {c: v * unit[c] for c, v in columns.items()}, {k: float(v) for k, v in there.items()})
    np.testing.assert_allclose(found, factors[-1] * losses(law, columns, params), rtol=1e-9)


@every_law
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_planted_parameters_are_recovered(name: str, seed: int) -> None:
    columns, params = PLANTED[name]
    rng = np.random.default_rng(seed)
    params = {k: v * float(rng.uniform(0.93, 1.07)) for k, v in params.items()}
    law = build(name)
    found = fit(name, columns, losses(law, columns, params), bootstrap=0, resample="none")
    assert found.params == pytest.approx(params, rel=1e-4)
    assert found.diagnostics["rms_residual"] < 1e-8


@every_law
def test_units_of_a_noisy_table_do_not_change_predictions(name: str) -> None:
    columns, params = PLANTED[name]
    y = losses(build(name), columns, params) * np.exp(
        0.003 * np.random.default_rng(5).standard_normal(size_of(columns))
    )
    unit = {c: 1.0 if c == "experts" else 1e-9 for c in columns}
    here = fit(name, columns, y, bootstrap=0, resample="none", objective="squared-log")
    far = {c: v * unit[c] for c, v in columns.items()}
    there = fit(name, far, 1e3 * y, bootstrap=0, resample="none", objective="squared-log")
    np.testing.assert_allclose(there.predict(far), 1e3 * here.predict(columns), rtol=1e-6)
    assert there.objective == pytest.approx(here.objective, rel=1e-9)


def size_of(columns: dict[str, np.ndarray]) -> int:
    return len(next(iter(columns.values())))


@every_law
def test_a_problem_is_solved_alike_alone_in_a_batch_and_in_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, params = PLANTED[name]
    law = build(name)
    rng = np.random.default_rng(7)
    rows = size_of(columns)
    y = losses(law, columns, params) * np.exp(0.003 * rng.standard_normal(rows))
    scale, loss = law.scales(columns, y)
    data = law.prepare({c: v / scale[c] for c, v in columns.items()})
    weight = rng.multinomial(rows, np.full(rows, 1 / rows), 24).astype(float)
    problem = Problem(law, data, (y / loss)[None], weight, find_objective("huber-log"))
    target = np.log(y / loss) if law.link == "log" else y / loss
    starts = law.starts(data, target, np.ones(rows))
    theta = starts[np.argsort(problem.part([0]).state(starts, problem.target())[2])[:1]].repeat(24, axis=0)
    together = minimise(problem, theta)
    monkeypatch.setattr(descend, "_CHUNK", 5 * rows)
    in_chunks = minimise(problem, theta)
    np.testing.assert_array_equal(in_chunks.theta, together.theta)
    for b in (0, 13):
        alone = minimise(problem.part([b]), theta[[b]])
        np.testing.assert_array_equal(alone.theta[0], together.theta[b])


# --- single laws


def test_kaplan_reproduces_the_data_that_avoids_overfitting() -> None:
    """Kaplan et al. 2020, eq. 4.4: more than 5e3 N^0.74 tokens keep the loss within 2% of that on endless data."""
    law, params = build("kaplan"), PLANTED["kaplan"][1]
    n = np.geomspace(1e7, 1e10, 4)
    endless = losses(law, {"N": n, "D": np.full(4, 1e30)}, params)
    np.testing.assert_allclose(endless, (6.4e13 / n) ** 0.076, rtol=1e-9)
    over = losses(law, {"N": n, "D": 5e3 * n**0.74}, params) / endless - 1
    assert over == pytest.approx(np.full(4, 0.02), abs=0.003)


def test_data_constrained_is_chinchilla_on_fresh_data_of_fitting_models() -> None:
    law, params = build("data-constrained"), PLANTED["data-constrained"][1]
    ratio = params["alpha"] * params["A"] / (params["beta"] * params["B"])
    d = np.geomspace(1e9, 1e12, 7)
    best = ratio ** (1 / params["alpha"]) * d ** (params["beta"] / params["alpha"])
    plain = build("chinchilla")
    flat = {k: params[k] for k in ("E", "A", "B", "alpha", "beta")}
    for n in (best, 0.1 * best):
        fresh = losses(law, {"N": n, "D": d, "U": 3 * d}, params)
        np.testing.assert_allclose(fresh, losses(plain, {"N": n, "D": d}, flat), rtol=1e-12)
    # N_opt is the best split of N D, so nothing near it on the same budget is better
    for k in (0.8, 1.25):
        assert (losses(plain, {"N": k * best, "D": d / k}, flat) > losses(plain, {"N": best, "D": d}, flat)).all()


def test_repeated_data_is_worth_what_was_published() -> None:
    """Muennighoff et al. 2023: 4 epochs are nearly fresh data, and no repetition is worth more than R*_D + 1 epochs."""
    law, params = build("data-constrained"), PLANTED["data-constrained"][1]
    n, u = np.full(4, 1e8), np.full(4, 1e11)
    repeated = losses(law, {"N": n, "D": u * [1.0, 4.0, 40.0, 1e6], "U": u}, params)
    worth = (1488.0 / (repeated - 1.87 - 521.0 * 1e8**-0.353)) ** (1 / 0.353) / u
    assert worth[0] == pytest.approx(1.0, rel=1e-9)
    assert 3.7 < worth[1] < 4.0
    assert worth[2] == pytest.approx(1 + 15.39 * (1 - np.exp(-39 / 15.39)), rel=1e-6)
    assert worth[3] == pytest.approx(16.39, rel=1e-6)


def test_laws_refuse_tables_that_cannot_identify_them() -> None:
    with pytest.raises(TableError, match="no run repeats its data"):
        fit(DataConstrained(), {"N": RN, "D": RD, "U": 9e11 * EPOCHS}, 2 + RD**-0.1, bootstrap=0)
    with pytest.raises(TableError, match=r"experts: takes 3 value\(s\)"):
        keep = EXPERTS <= 4
        fit(Routed(), {"N": DENSE[keep], "experts": EXPERTS[keep]}, DENSE[keep] ** -0.1, bootstrap=0)
    with pytest.raises(TableError, match="fewer than 1"):
        fit(Routed(), {"N": DENSE, "experts": EXPERTS / 2}, DENSE**-0.1, bootstrap=0)
    with pytest.raises(TableError, match="breaks"):
        Broken(0)
    with pytest.raises(TableError, match="chance"):
        Bounded(-1.0)


def test_broken_law_has_the_slopes_it_names() -> None:
    law = build("broken")
    params = {**PLANTED["broken"][1], "a": 1e-300}
    far = np.geomspace(1e18 / 1e9, 1e18 * 1e9, 200)
    slope = np.gradient(np.log(losses(law, {"C": far}, params)), np.log(far))
    assert slope[[5, -5]] == pytest.approx([-0.08, -0.23], abs=1e-6)


def test_two_breaks_are_recovered_in_order() -> None:
    x = np.geomspace(1e15, 1e23, 30)
    params = {"a": 0.5, "b": 180.0, "c0": 0.1, "c1": -0.15, "c2": 0.3, "d1": 1e17, "d2": 1e20, "f1": 0.3, "f2": 0.5}
    law = Broken(2)
    law.columns = ("C",)
    y = losses(law, {"C": x}, params)
    assert fit(Broken(2), {"C": x}, y, bootstrap=0, resample="none").params == pytest.approx(params, rel=1e-4)
    np.testing.assert_allclose(losses(ExpressionLaw(law.formula, ["x"]), {"x": x}, params), y, rtol=1e-10)
    swapped = {**params, "c1": 0.3, "c2": -0.15, "d1": 1e20, "d2": 1e17, "f1": 0.5, "f2": 0.3}
    np.testing.assert_allclose(losses(law, {"C": x}, swapped), y, rtol=1e-12)
    ordered = law.natural({k: np.asarray(v) for k, v in swapped.items()}, {"C": 1.0}, 1.0)
    assert {k: float(v) for k, v in ordered.items()} == params


def test_a_known_chance_level_is_used_and_not_estimated() -> None:
    columns, params = PLANTED["bounded"]
    y = losses(build("bounded"), columns, params)
    above = y < 0.5  # nothing near chance: its level must be known
    cut = {"C": columns["C"][above]}
    known = fit(Bounded(chance=0.9), cut, y[above], bootstrap=0, resample="none")
    assert known.params == pytest.approx(params, rel=1e-4)
    assert known.params["U"] == pytest.approx(0.9, rel=1e-12)
    pinned = fit("bounded", cut, y[above], bootstrap=0, resample="none", pinned={"U": 0.9})
    assert pinned.params == pytest.approx(known.params, rel=1e-6)


@pytest.mark.parametrize(
    ("router", "published"),
    [
        ("S-Base", [-0.082, -0.108, 0.009, 1.104]),
        ("RL-R", [-0.083, -0.126, 0.012, 1.111]),
        ("Hash", [-0.087, -0.136, 0.012, 1.157]),
    ],
)
def test_routed_constants_of_clark_et_al(router: str, published: list[float]) -> None:
    """Clark et al. 2022, table of coefficients, from the final step of each of their runs.

    Rows: k = 1, every other layer routed (frequency 0.5), 2 to 512 experts, no dense runs: 53, 54 and 51 of them, less
    one diverged. Which rows entered the published fit is not said. With the 8 dense runs added, b goes to -0.123,
    -0.128 and -0.146, and a Huber loss moves it by as much again: b, c, d and E_start trade off along a valley in which
    the residuals (0.7% throughout) hardly change. So ours agrees within that valley, and fits these rows no worse.
    """
    path = TABLES / "clark_routing" / "curves.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here: set ISOLOSS_SHARED_DATA to the folder of public run tables")
    last: dict[str, dict[str, str]] = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            kept = row["router_type"] == router and row["k"] == "1" and float(row["routing_frequency"]) == 0.5
            if kept and int(row["step"]) >= int(last.get(row["hyper_id"], row)["step"]):
                last[row["hyper_id"]] = row
    wanted = ("dense_parameter_count", "num_experts", "loss_validation")
    n, experts, y = np.array([[float(r[c] or "nan") for c in wanted] for r in last.values()]).T
    fine = np.isfinite(y)
    assert len(y) - fine.sum() <= 1
    found = fit("routed", {"N": n[fine], "experts": experts[fine]}, y[fine], bootstrap=0, resample="none")
    ours = [found.params[k] for k in "abcd"]
    assert np.all(np.abs(np.subtract(ours, published)) < [0.002, 0.012, 0.002, 0.013])
    assert found.diagnostics["starts_agreeing"] > 0.9 * found.diagnostics["starts_polished"]
    assert found.diagnostics["rms_residual"] < 0.008


# --- laws as text


@pytest.mark.parametrize(
    "name", ["power", "power-floor", "chinchilla", "kaplan", "shifted", "broken", "bounded", "transfer"]
)
def test_the_formula_of_a_law_is_the_law(name: str) -> None:
    columns, params = PLANTED[name]
    law = build(name)
    columns = {("x" if c == "C" else c): v for c, v in columns.items()}
    text = ExpressionLaw(law.formula, columns)
    law.columns = tuple(columns)
    np.testing.assert_allclose(losses(text, columns, params), losses(law, columns, params), rtol=1e-10)
    assert {p.name for p in text.parameters} == set(params)


def test_an_expression_fits_like_the_law_it_spells() -> None:
    columns, params = PLANTED["chinchilla"]
    y = losses(build("chinchilla"), columns, params) * np.exp(0.003 * np.random.default_rng(2).standard_normal(36))
    ours = fit("chinchilla", columns, y, bootstrap=0, resample="none", objective="squared-log")
    law = ExpressionLaw("E + A*N**-alpha + B*D**-beta", columns)
    text = fit(law, columns, y, bootstrap=0, resample="none", objective="squared-log")
    assert text.objective == pytest.approx(ours.objective, rel=1e-8)
    assert text.params == pytest.approx(ours.params, rel=1e-4)


EXPRESSIONS = [
    "E + A*C**-alpha",
    "E + (C/Cc)**-alpha[0.05:1]",
    "U*sigmoid(-s*(log10(C) - m[-3:3])) + E",
    "E + A*exp(-k*C) - B*tanh(C/c)/10",
    "sqrt(E**2 + A*log(1 + C/D)/(C + q)) + 0.5",
    "a[-3:3] + b[-3:3]*log(C) + D/(1 + r*D)",
    "-(-E) + (+A)*(C*D)**(1/f[1:4] - 2)",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_derivatives_of_expressions(text: str, seed: int) -> None:
    law, rng = ExpressionLaw(text, ["C", "D", "unused"]), np.random.default_rng(seed)
    data = law.prepare({c: np.exp(rng.uniform(-2, 2, 9)) for c in law.columns})
    low, high = limits(law)
    theta = np.clip(rng.uniform(-1, 1.2, (20, len(low))), low, high)
    value, jac = law.evaluate(theta, data)
    for p in range(len(low)):
        move = 1e-6 * np.eye(len(low))[p]
        slope = (law.evaluate(theta + move, data)[0] - law.evaluate(theta - move, data)[0]) / 2e-6
        np.testing.assert_allclose(jac[:, p], slope, rtol=1e-6, atol=1e-8 * (1 + np.abs(value).max()))


def test_kinds_of_parameters_are_read_off_the_expression() -> None:
    law = ExpressionLaw("E + A*x**-alpha + K[0:2]*G/(x + c) - s[-1:1]*x + 3", ["x"], {"c": (0.5, 9)})
    kinds = {p.name: (p.linear, p.log, p.vanishes) for p in law.parameters}
    assert kinds == {
        "E": (True, True, True),
        "A": (True, True, False),
        "alpha": (False, False, False),
        "K": (True, True, True),
        "G": (False, True, False),  # K G is a product of two: one of them is solved for
        "c": (False, True, False),
        "s": (True, False, False),
    }
    assert {p.name: (p.low, p.high) for p in law.parameters}["c"] == (0.5, 9)


def test_an_expression_with_a_constant_part_and_signed_factors_is_recovered() -> None:
    c = np.geomspace(1e15, 1e21, 14)
    law = ExpressionLaw("E[0:5] + A*(C/1e18)**-alpha + 0.5 - s[-1:1]*log10(C/1e18)", ["C"])
    params = {"E": 1.0, "A": 0.7, "alpha": 0.25, "s": -0.01}
    found = fit(law, {"C": c}, losses(law, {"C": c}, params), bootstrap=0, resample="none")
    assert found.params == pytest.approx(params, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("E +* A", "near character"),
        ("E + foo(C)", r"unknown function in 'foo\(C\)'"),
        ("max(C, A)", "max has a kink"),
        ("A*D", "names no column"),
        ("C + 1", "has no parameter"),
        ("E + A*C^-alpha", r"powers are \*\*"),
        ("E.x + C", "'E.x' is not understood"),
        ("__import__('os').system('true')*C", "unknown function"),
        ("(lambda: A)()*C", "unknown function"),
        ("[A for A in C]", "is not understood"),
        ("exp + A*C", "'exp' has no argument"),
        ("exp(A, C)", "does not have one argument"),
        ("exp(x=C)*A", "does not have one argument"),
        ("E + 'x'*C", "not a finite number"),
        ("True*A*C", "not a finite number"),
        ("1j*A*C", "not a finite number"),
        ("A*1e999*C", "not a finite number"),
        ("A[1:0]*C", "the range 1 to 0 of A is empty"),
        ("A[x:2]*C", "an end that is not a number"),
        ("A[0]*C", "is not a range"),
        ("A[0:1]*C + A[0:2]", "A has two ranges"),
        ("C[0:1]*A", "C has bounds but is not a parameter"),
        ("", "can't be read"),
        ("A*C+" * 200 + "A", "nested too deeply"),
        ("-" * 300 + "A*C", "nested too deeply"),
        ("1" * 5000, "5000 characters"),
    ],
)
def test_bad_expressions_are_refused_in_one_line(text: str, piece: str) -> None:
    with pytest.raises(TableError, match=piece) as error:
        ExpressionLaw(text, ["C"])
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@given(st.text("ACE()+-*/[]:.,19 e\"'#\n\0\\^=<@{}", max_size=30))
@example("A*C\nB")
@example("(" * 300)
def test_any_text_is_a_law_or_one_line(text: str) -> None:
    try:
        law = ExpressionLaw(text, ["C"])
    except IsolossError as error:
        assert "\n" not in str(error)
    else:
        assert law.columns == ("C",) and law.parameters
        theta = np.array([[p.bounds[0] for p in law.parameters]])
        value, jac = law.evaluate(theta, law.prepare({"C": np.ones(2)}))
        assert value.shape == (1, 2) and jac.shape == (1, len(law.parameters), 2)


def test_an_expression_undefined_everywhere_is_refused_when_fitted() -> None:
    c = np.geomspace(1, 1e3, 8)
    with pytest.raises(TableError, match="can't be evaluated at any start"):
        fit(ExpressionLaw("E + A*log(-C)", ["C"]), {"C": c}, 1 + 1 / c, bootstrap=0)


# --- laws in Python


def test_the_expression_of_the_documentation() -> None:
    page = (ROOT / "docs" / "laws.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    there = {"flops": BUDGETS, "loss": 1.7 + 0.6 * (BUDGETS / 1e18) ** -0.1}
    exec(code, there)
    assert there["fitted"].params == pytest.approx({"E": 1.7, "A": 0.6, "alpha": 0.1}, rel=1e-5)  # type: ignore[attr-defined]


def test_the_plug_in_of_the_documentation(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "laws.md").read_text()
    (code,) = re.findall(r"```python plug-in\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "exponential.py"
    path.write_text(code)
    load_plugin(path)
    try:
        assert "exponential" in LAWS.names()
        x = np.linspace(1, 40, 12)
        found = fit("exponential", {"hours": x}, 0.3 + 2 * np.exp(-x / 9), bootstrap=0, resample="none")
        assert found.params == pytest.approx({"E": 0.3, "A": 2.0, "s": 9.0}, rel=1e-6)
    finally:
        LAWS._loaded.pop("exponential", None)
        for module in [m for m in sys.modules if m.startswith("isoloss_plugin_exponential_")]:
            del sys.modules[module]


def test_every_law_is_documented_and_planted() -> None:
    page = (ROOT / "docs" / "laws.md").read_text()
    assert set(PLANTED) == set(BUILTIN)
    for name in BUILTIN:
        law = find_law(name)
        assert page.count(f"| `{name}` |") == 2, name
        assert law.name == name and law.summary and law.source and law.formula == type(law).formula

"""`isoloss fit` on strangers' tables: which law, which columns, which arms, and refusals in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isoloss import api
from isoloss.errors import IsolossError
from isoloss.laws.descend import Problem, find_objective, minimise
from isoloss.laws.joint import fit_joint, ways_of_sharing
from isoloss.laws.optimum import search
from isoloss.laws.registry import find_law
from isoloss.laws.tied import TiedLaw

BUDGETS = np.repeat(1e15 * 4.0 ** np.arange(6), 3)
FLOOR, EXPONENTS = 1.8, (0.10, 0.115)


def two_arms(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    c, arm = np.tile(BUDGETS, 2), np.repeat(["adamw", "muon"], len(BUDGETS))
    loss = np.where(arm == "adamw", FLOOR + 60 * c ** -EXPONENTS[0], FLOOR + 95 * c ** -EXPONENTS[1])
    return c, arm, loss * np.exp(0.002 * rng.standard_normal(len(c)))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    c, arm, loss = two_arms()
    path = tmp_path / "runs.csv"
    frame = pl.DataFrame({"optimizer": arm, "train_flops": c, "eval/loss": loss, "seed": np.tile([0, 1, 2], 12)})
    frame.write_csv(path)
    return path


def test_arms_are_fitted_apart_unless_pooled_or_chosen(runs: Path) -> None:
    apart = api.fit(runs, bootstrap=50)
    assert list(apart.arms) == ["adamw", "muon"] and apart.joint is not None
    alone = api.fit(runs, arm="muon", bootstrap=50).arms["muon"]
    assert apart.arms["muon"].params["alpha"] == pytest.approx(alone.params["alpha"], rel=1e-4)
    assert list(api.fit(runs, pool=True, bootstrap=50).arms) == [""]


def test_a_shared_floor_is_one_number_and_narrows_every_interval() -> None:
    c, arm, loss = two_arms()
    apart = fit_joint("power-floor", {"C": c}, loss, arm, shared=(), bootstrap=300)
    tied = fit_joint("power-floor", {"C": c}, loss, arm, shared=("E",), bootstrap=300)
    a, b = tied.arms.values()
    assert a.params["E"] == b.params["E"] and np.array_equal(a.draws["E"], b.draws["E"])
    assert abs(a.params["E"] - FLOOR) < 0.15
    assert np.std(a.draws["E"]) < np.std(apart.arms["adamw"].draws["E"])
    assert tied.objective >= apart.objective * (1 - 1e-9) and tied.parameters == apart.parameters - 1


@pytest.mark.parametrize(
    "name,shared", [("power-floor", "E"), ("power-floor", "alpha"), ("power", ""), ("kaplan", "alpha_N")]
)
def test_a_tied_law_by_itself_gets_where_the_arms_own_optima_lead(name: str, shared: str) -> None:
    c, arm, loss = two_arms()
    x, index, y = c / np.exp(np.mean(np.log(c))), (arm == "muon").astype(int), loss / np.exp(np.mean(np.log(loss)))
    balance = np.tile([0.3, 1.0, 3.0], 12)
    columns = {"N": np.sqrt(x) * balance, "D": np.sqrt(x) / balance} if name == "kaplan" else {"C": x}
    law = find_law(name)
    law.columns = tuple(columns)
    tied, goal = TiedLaw(law, ("adamw", "muon"), frozenset([shared])), find_objective(law.objective)
    problem = Problem(tied, tied.prepare({**columns, "arm": index}), y[None], np.ones((1, len(y))), goal)
    own = []
    for k in (0, 1):
        mine = index == k
        data = law.prepare({n: v[mine] for n, v in columns.items()})
        own.append(search(Problem(law, data, y[None, mine], np.ones((1, mine.sum())), goal))[0])
    wanted = minimise(problem, tied.around(np.array(own), float(y.min())))
    best, facts = search(problem)
    assert facts["misfit"] == pytest.approx(wanted.misfit.min(), rel=1e-6)
    assert best == pytest.approx(wanted.theta[wanted.misfit.argmin()], abs=1e-3)
    assert len(best) == 2 * len(law.parameters) - bool(shared)


def test_the_evidence_finds_what_was_planted() -> None:
    """Floors are equal and exponents are not: sharing the floor is accepted, sharing exponents refused, mostly."""
    chosen, kept, refused = 0, 0, 0
    for seed in range(20):
        c, arm, loss = two_arms(seed)
        ways = {w.shared: w for w in ways_of_sharing("power-floor", {"C": c}, loss, arm)}
        chosen += min(ways.values(), key=lambda w: w.aicc).shared == ("E",)
        kept += ways[("E",)].p > 0.05
        refused += ways[("E", "alpha")].p < 1e-3
    assert chosen >= 14 and kept >= 16 and refused == 20


def test_a_shared_cluster_is_drawn_for_both_arms() -> None:
    """Noise that two arms have in common leaves the difference of their exponents when they share clusters."""
    c, arm, _ = two_arms()
    noise = np.tile(np.random.default_rng(3).standard_normal(len(BUDGETS)), 2)
    loss = np.where(arm == "adamw", 60 * c**-0.1, 90 * c**-0.1) * np.exp(0.01 * noise)
    own = [f"{a}-{k}" for a, k in zip(arm, np.tile(np.arange(len(BUDGETS)), 2), strict=True)]
    common = np.tile(np.arange(len(BUDGETS)), 2)
    spread = {}
    for name, clusters in (("own", own), ("common", common)):
        fits = fit_joint("power", {"C": c}, loss, arm, shared=(), bootstrap=300, clusters=clusters).arms
        spread[name] = np.std(fits["adamw"].draws["alpha"] - fits["muon"].draws["alpha"])
    assert spread["common"] < 0.05 * spread["own"]


def test_a_formula_is_the_law_it_spells(runs: Path) -> None:
    named = api.fit(runs, arm="adamw", bootstrap=0).arms["adamw"]
    spelt = api.fit(runs, arm="adamw", law="E + A*train_flops**-alpha", bootstrap=0).arms["adamw"]
    assert spelt.params["alpha"] == pytest.approx(named.params["alpha"], rel=1e-4)
    short = api.fit(runs, arm="adamw", law="E + A*C**-alpha", bootstrap=0)  # C is the table's resource
    assert short.columns["C"] == "train_flops"
    assert short.arms["adamw"].params["alpha"] == pytest.approx(named.params["alpha"], rel=1e-4)


def test_a_law_of_ones_own_comes_from_a_file(tmp_path: Path, runs: Path) -> None:
    plugin = tmp_path / "halving.py"
    plugin.write_text(
        "from isoloss.laws import law\n"
        "from isoloss.laws.forms.power_terms import PowerTerms\n\n"
        "@law\nclass Halving(PowerTerms):\n"
        '    name = "halving"\n    summary = "a power law"\n    source = "a test"\n    formula = "A * x**-alpha"\n'
        '    def __init__(self):\n        super().__init__(("*",), (("A", "alpha"),), False)\n'
    )
    for _ in range(2):  # a file is loaded once, and found again
        report = api.fit(runs, law=str(plugin), arm="adamw", bootstrap=0)
    assert report.law == "halving" and 0.01 < report.arms["adamw"].params["alpha"] < 0.1


def test_diverged_runs_are_counted_not_fitted(tmp_path: Path, runs: Path) -> None:
    frame = pl.read_csv(runs).with_columns(
        pl.when(pl.int_range(pl.len()) == 4).then(float("inf")).otherwise(pl.col("eval/loss")).alias("eval/loss")
    )
    path = tmp_path / "diverged.csv"
    frame.write_csv(path)
    report = api.fit(path, bootstrap=0)
    assert report.left_out == {"quality missing or infinite": 1}
    assert report.joint is not None and report.joint.rows == 35


def test_predictions_say_how_far_out_they_are(runs: Path) -> None:
    near, far, beyond = api.fit(runs, arm="adamw", at=("1e17", "1e19", "1e22"), bootstrap=400).predictions
    for p, budget in ((near, 1e17), (far, 1e19)):
        truth = FLOOR + 60 * budget ** -EXPONENTS[0]
        assert p.interval[0] < truth < p.interval[1]
        assert p.run_interval[0] < p.interval[0] < p.loss < p.interval[1] < p.run_interval[1]
    assert near.decades_out == 0 and far.decades_out == pytest.approx(np.log10(1e19 / BUDGETS.max()))
    assert far.interval[1] - far.interval[0] > near.interval[1] - near.interval[0]
    assert beyond.loss is None and beyond.interval is not None


def test_several_laws_are_weighed_by_what_they_forecast(runs: Path) -> None:
    report = api.fit(runs, arm="adamw", law="power, power-floor", at=("1e19",), bootstrap=200)
    weights = report.ensembles["adamw"].weights
    assert weights["power-floor"] > 0.95 and sum(weights.values()) == pytest.approx(1.0)
    assert set(report.predictions[0].fan) == {"power", "power-floor"}
    assert api.law_json(report)["weights"]["adamw"] == pytest.approx(weights)


def test_a_profile_holds_the_planted_floor(runs: Path) -> None:
    profiles = api.fit(runs, profile="E", bootstrap=0).profiles
    assert set(profiles) == {"adamw", "muon"}
    for p in profiles.values():
        low, high = p.interval()
        assert low < FLOOR < high and low < p.best < high


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": ("N=1e9",)}, "no place|names N"),
        ({"at": ("-3",)}, "positive"),
        ({"law": "power,chinchilla"}, "different columns"),
        ({"law": "power,power-floor", "pin": {"E": 1.0}}, "several laws"),
        ({"eval_sd": "nothing"}, "no column 'nothing'"),
        ({"noise": "components"}, "one arm at a time"),
        ({"law": "chincilla"}, "did you mean chinchilla"),
        ({"law": "chinchilla"}, "--parameters"),
        ({"arm": "sgd"}, "unknown arm 'sgd'"),
        ({"share": ("Z",)}, "unknown parameter 'Z'"),
        ({"pin": {"E": 9.0}}, "lowest loss"),
        ({"pin": {"A": 9.0}}, "factor of a term"),
        ({"quality": "accuracy"}, "no column 'accuracy'"),
        ({"resource": "steps"}, "no column 'steps'"),
        ({"tokens": "seed"}, "has no column D"),
        ({"objective": "absolute"}, "huber-log"),
        ({"delta": 0.1}, "no meaning"),
        ({"resample": "jackknife"}, "not known"),
        ({"where": ("optimizer=sgd",)}, "no row"),
        ({"law": "E + A*("}, "can't be read"),
    ],
)
def test_refusals_are_one_line_with_a_remedy(runs: Path, options: dict, words: str) -> None:
    with pytest.raises(IsolossError, match=words) as raised:
        api.fit(runs, bootstrap=0, **options)
    assert "\n" not in str(raised.value) and raised.value.remedy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eval/loss": 3.0}, "same in every row"),
        ({"train_flops": 1e15}, "1 distinct scale"),
        ({"eval/loss": -1.0}, "not finite and positive"),
        ({"eval/loss": "high"}, "not a number"),
    ],
)
def test_tables_without_a_law_are_refused(tmp_path: Path, runs: Path, change: dict, words: str) -> None:
    frame = pl.read_csv(runs).with_columns(**{k: pl.lit(v) for k, v in change.items()})
    path = tmp_path / "broken.csv"
    frame.write_csv(path)
    with pytest.raises(IsolossError, match=words) as raised:
        api.fit(path, bootstrap=0)
    assert "\n" not in str(raised.value)

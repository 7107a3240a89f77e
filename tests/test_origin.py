"""The accounting of algorithmic progress: published figures to four digits, under every index, and what-ifs.

Golden numbers: Gundlach et al. 2025 (arXiv 2511.21622v1), by section, and the authors' numbers.txt; those of the
indexes that the paper does not print follow from its laws in closed form, worked out here a second time.
"""

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
from isoloss.errors import IsolossError, MissingError, TableError, UnknownNameError
from isoloss.evidence.cards import of_innovation
from isoloss.evidence.claims import CHECKS, claims, constants, evidence_rows, published_law, read_constants
from isoloss.gains import compare
from isoloss.gains.phantoms import SeedNoise, budgets_of, phantom
from isoloss.origin.accounts import Account
from isoloss.origin.consistent import allocation_curve, consistent
from isoloss.origin.distribution import claim_rows, jump_tests, largest_piece
from isoloss.origin.growth import benefits, effective, growth
from isoloss.origin.neighbours import neighbours
from isoloss.origin.published import budget_of, published
from isoloss.origin.result import Origin
from isoloss.origin.uncertain import totals
from isoloss.origin.what_if import what_if
from isoloss.reproduce.gundlach import Fit
from isoloss.verbs.atlas import filed_cards

ROOT = Path(__file__).resolve().parents[1]
CURVES = ROOT / "../shared/data/gundlach_experimental_progress"
DIGITS = 5e-4  # four significant digits, half a unit of the last in the worst case


def near(value: float) -> object:
    return pytest.approx(value, rel=DIGITS)


def factors_of(a: Account) -> tuple[float, float, float]:
    first, second = (s.factor for s in a.steps if s.kind == "scale-dependent")
    return first, second, a.total / a.scale_dependent


@pytest.fixture(scope="module")
def answer() -> Origin:
    return api.origin()


# -- as published ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "total", "parts", "shares", "per_year", "gap"),
    [
        (0, 6926, (726.15, 3.71, 2.57), (0.745, 0.148, 0.107), 2.234, 3.18),
        (1, 21416, (847.81, 9.84, 2.57), (0.676, 0.229, 0.095), 2.296, 1.03),
    ],
)
def test_the_published_totals(
    which: int, total: float, parts: tuple, shares: tuple, per_year: float, gap: float
) -> None:
    # section 5.1, 7.1 and numbers.txt; the parts are printed to two decimals
    found = published()
    a = found.accounts[which]
    assert round(a.total) == total == a.printed
    assert factors_of(a) == pytest.approx(parts, abs=0.0055)
    assert a.per_year == pytest.approx(per_year, abs=5e-4)
    assert found.gaps[which] == pytest.approx(gap, abs=5e-3)
    scale = [s.share for s in a.steps if s.kind == "scale-dependent"]
    assert (*scale, 1 - sum(scale)) == pytest.approx(shares, abs=7e-4)
    assert a.scale_dependent_share == pytest.approx((0.893, 0.905)[which], abs=5e-4)


def test_the_left_out_factor_restored() -> None:
    assert [round(a.total) for a in published().restored] == [7174, 22182]


def test_budgets_of_years() -> None:
    assert budget_of(2023) == near(1.3423e22) and budget_of(2025) == near(2.2563e23)


# -- consistent ------------------------------------------------------------------------------------------------------


def test_totals_under_every_index() -> None:
    # composed as functions at the rounded budgets; a product at one budget beside
    found = {(a.years[1], a.index): a.total for a in consistent().accounts}
    assert found == {
        (2023, "as-published"): near(6916), (2023, "new"): near(10082), (2023, "old"): near(724),
        (2025, "as-published"): near(21412), (2025, "new"): near(31215), (2025, "old"): near(1623),
    }  # fmt: skip
    direct = {(a.years[1], a.index): a.total for a in consistent().direct}
    assert direct[2023, "new"] == pytest.approx(24600, rel=1e-3) and direct[2023, "old"] == near(1087)
    assert direct[2025, "new"] == pytest.approx(86800, rel=1e-3) and direct[2025, "old"] == near(2599)


@pytest.mark.parametrize("index", ["new", "old"])
def test_composed_totals_are_the_closed_form(index: str) -> None:
    # L - 1.9 = A C^-a: the old arm's budget at the loss that the new one reaches with C, in two lines
    (old_a, old_alpha), (new_a, new_alpha) = (36.3, 0.065), (81.7, 0.091)
    for a in consistent().accounts:
        if a.index == index:
            f = a.total / a.scale_dependent
            if index == "new":
                c = f * a.budget
                expected = f * (new_a * c**-new_alpha / old_a) ** (-1 / old_alpha) / c
            else:
                expected = f * a.budget / (old_a * a.budget**-old_alpha / new_a) ** (-1 / new_alpha)
            assert a.total == pytest.approx(expected, rel=2e-5)


def test_shares_and_factors_make_the_total(answer: Origin) -> None:
    every = (*answer.published.accounts, *answer.consistent.accounts, *answer.consistent.direct)
    for a in every:
        assert math.prod(s.factor for s in a.steps) == pytest.approx(a.total)
        assert sum(s.share for s in a.steps) == pytest.approx(1.0)
        assert math.log(a.scale_dependent) / math.log(a.total) == pytest.approx(a.scale_dependent_share)


def test_restoring_a_factor_moves_the_product_by_that_factor_alone() -> None:
    plain, more = consistent().accounts, consistent().restored
    for a, b in zip(plain, more, strict=True):
        left_out = b.total / b.scale_dependent / (a.total / a.scale_dependent)
        assert left_out == pytest.approx(1.33 / 1.283)
        if a.index == "as-published":
            assert b.total / a.total == pytest.approx(left_out)
        elif a.index == "new":  # the ladder is read further up, where its gain is larger
            assert b.total / a.total > left_out


def test_single_gains_multiplied_and_together() -> None:
    modern, lstm, _ = consistent().combined
    # section 3.2: 3.55 against 1.33, 16.66 against 6.28
    assert round(modern.product, 2) == 3.55 and modern.joint == 1.33
    assert round(lstm.product, 2) == 16.66 and lstm.joint == 6.28


@pytest.mark.parametrize(
    ("budget", "old", "new"),
    [(1e15, 5.53, 3.54), (1e18, 1.07, 1.07), (1e21, 1.85, 2.24), (1.34e22, 3.71, 7.19), (2e23, 9.40, 43.7),
     (2.26e23, 9.84, 48.0)],
)  # fmt: skip
def test_kaplan_to_chinchilla_exactly_and_by_the_printed_form(budget: float, old: float, new: float) -> None:
    a = allocation_curve()
    p = next(p for p in a.points if p.budget == budget)
    assert p.old == pytest.approx(old, rel=3e-3) and p.new == pytest.approx(new, rel=3e-3)
    assert p.closed_form == pytest.approx(p.old, rel=2e-3)
    assert a.closed_form_error < 2e-3


def test_rebalancing_has_a_least_value_and_a_two_valued_inverse() -> None:
    a = allocation_curve()
    assert a.least == pytest.approx(1.0) and a.least_at == pytest.approx(5.5e18, rel=0.01)
    low, high = a.reached_at
    assert low == pytest.approx(1e16, rel=0.01) and low < a.least_at < high
    limit = next(p for p in a.points if p.budget == 1e23)
    assert limit.asymptote == pytest.approx(2.96, abs=5e-3) and limit.closed_form == pytest.approx(7.29, abs=5e-3)


@settings(max_examples=25, deadline=None)
@given(
    coefficient=st.floats(-8, -3).map(lambda x: 10**x),
    exponent=st.floats(0.2, 0.9),
    alpha=st.floats(0.2, 0.5),
    beta=st.floats(0.2, 0.5),
)
def test_any_law_and_any_balance(coefficient: float, exponent: float, alpha: float, beta: float) -> None:
    law = {"E": 1.7, "A": 400.0, "B": 500.0, "alpha": alpha, "beta": beta}
    a = api.allocation(law, coefficient, exponent)
    assert a.least >= 1 - 1e-9 and math.isnan(a.points[0].closed_form)
    for p in a.points:
        assert (p.old >= 1 - 1e-9 and p.new >= p.old * (1 - 1e-6)) or p.budget < a.least_at
        loss = law["E"] + 400 * (coefficient * p.budget**exponent) ** -alpha
        loss += 500 * (p.budget ** (1 - exponent) / (6 * coefficient)) ** -beta
        # at C / gain the best of a fine grid of sizes reaches that loss, and no size does with 2% less
        n = np.geomspace(1e-6, 1e25, 40000)
        best = [
            float(np.min(law["E"] + 400 * n**-alpha + 500 * (6 * n / (share * p.budget / p.old)) ** beta))
            for share in (1.0, 0.98)
        ]
        assert best[0] == pytest.approx(loss, rel=1e-4) and best[1] > loss


def test_an_optimal_balance_gains_nothing() -> None:
    # the optimal exponent is beta / (alpha + beta) and its coefficient G 6^-a
    alpha, beta, a_, b_ = 0.34, 0.28, 406.4, 410.7
    g = (alpha * a_ / (beta * b_)) ** (1 / (alpha + beta))
    exponent = beta / (alpha + beta)
    found = api.allocation("hoffmann", g * 6**-exponent, exponent)
    assert all(p.old == pytest.approx(1, abs=1e-9) and p.new == pytest.approx(1, abs=1e-6) for p in found.points)


# -- reference and compute -------------------------------------------------------------------------------------------


def test_growth_depends_on_the_reference() -> None:
    lstm, kaplan, dense = growth()
    # section 5.2: 63% a year (a log rate) and 420,000 in 2028; 62% and 110; 0 and 2.0
    assert lstm.log_rate == near(0.6295) and lstm.simple_rate == pytest.approx(0.88, abs=5e-3)
    assert lstm.gain == pytest.approx(420_000, rel=0.01)
    assert kaplan.log_rate == pytest.approx(0.62, abs=5e-3) and kaplan.gain == pytest.approx(110, rel=0.03)
    assert kaplan.log_rate_first < 0 < kaplan.log_rate
    assert dense.log_rate == pytest.approx(0, abs=1e-9) and dense.gain == pytest.approx(2.0)
    # a straight line in ln G against ln C: budgets that grow as their square double the rate
    assert growth(4.1**2)[0].log_rate == pytest.approx(2 * lstm.log_rate, rel=1e-6)


def test_effective_compute_is_the_product_of_its_parts() -> None:
    e = effective()
    assert math.prod(p.total for p in e.parts) == pytest.approx(e.total)
    assert sum(p.share for p in e.parts) == pytest.approx(1.0)
    compute = math.prod(p.per_year for p in e.parts if p.name in ("hardware", "spending"))
    algorithms = math.prod(p.per_year for p in e.parts if "algorithms" in p.name)
    assert compute == pytest.approx(4.1) and algorithms == pytest.approx(2.296, abs=5e-4)
    assert set(e.by_growth) == {"4.1", "4.2"} and e.by_growth["4.1"] == pytest.approx(4.1 * 2.2956, rel=1e-4)
    # LSTM to 2017 Transformer is 9.54 at 1e16 (section 4.3): what the same stack is worth there
    assert e.at_start == pytest.approx(9.545 * 2.568, rel=1e-3)
    assert effective(compute_growth=1.0).bought_by_scale == pytest.approx(0)


def test_larger_developers_gain_more() -> None:
    small, middle, large = benefits()
    assert (small.budget, middle.budget, large.budget) == (1e18, 1e21, 2e23)
    assert small.new < middle.new < large.new and small.old < middle.old < large.old
    assert small.old == near(18.675 * 2.566) and large.old == near(610.7 * 2.566)


# -- distribution and neighbours -------------------------------------------------------------------------------------


def test_the_largest_of_random_pieces() -> None:
    rng = np.random.default_rng(3)
    for n, share in ((3, 0.5), (6, 0.49), (9, 0.3)):
        drawn = rng.dirichlet(np.ones(n), size=100_000).max(axis=1) >= share
        assert largest_piece(share, n) == pytest.approx(drawn.mean(), abs=0.006)
    assert largest_piece(0.1, 5) == pytest.approx(1.0)


def test_the_jump_test_is_right_where_steps_are_exchangeable_and_sees_a_jump() -> None:
    rng = np.random.default_rng(5)
    rejected = []
    for seed in range(60):
        counts = 1 + rng.multinomial(160, np.full(8, 1 / 8))
        gains = {str(i): 1.05 ** float(k) for i, k in enumerate(counts)}
        rejected.append(jump_tests("null", gains, seed)[0].p < 0.05)
    assert np.mean(rejected) < 0.15
    jump = {str(i): 1.05 for i in range(7)} | {"jump": 50.0}
    small, uneven = jump_tests("jump", jump)
    assert small.p < 1e-3 and uneven.p < 1e-3 and small.largest == "jump"


def test_neighbours_in_one_currency() -> None:
    rows = {n.name: n for n in neighbours()}
    assert rows["Hernandez & Brown 2020"].per_year == pytest.approx(2 ** (12 / 16))
    # Ho et al., model 7: .0039/.0680 + .0356/.0396 in log a year
    assert rows["Ho et al. 2024, coefficients"].doubling_months == pytest.approx(8.70, abs=5e-3)
    for n in rows.values():
        if n.per_year and n.doubling_months:
            assert n.per_year ** (n.doubling_months / 12) == pytest.approx(2)
        if n.interval:
            assert n.interval[0] < n.interval[1]


def test_what_is_ours_comes_from_the_cards() -> None:
    cards = filed_cards(ROOT / "results")
    rows = {c.name: c for c in claim_rows(cards)}
    measured = {c.innovation: c.headline for f in cards for c in f.card.comparisons if c.innovation}
    assert measured.keys() >= {"transformer", "transformer-2017", "modern"}
    for name in measured:
        row = rows[claims("claims")[name]["title"]]
        top = of_innovation(cards, name)[0][1].headline
        assert (row.ours, row.ours_interval) == (top.gain, top.interval)
    assert all(c.ours is None for c in claim_rows())


def test_our_ladder_stands_beside_the_printed_laws(tmp_path: Path) -> None:
    found = api.origin(results=ROOT / "results").ours
    assert found.files and not found.note
    at = {(g.innovation, g.index, round(g.at, -8)): g for g in found.gains}
    # the laws of the paper cross at about 1.8e13 FLOP, far above these budgets: there the LSTM needs less
    assert all(g.foretold < 1 for g in found.gains if g.old == "LSTM" and g.at < 1e13)
    assert all(g.gain is None or (g.interval and g.interval[0] <= g.gain <= g.interval[1]) for g in found.gains)
    assert {g.index for g in at.values()} == {"old", "new"}
    assert {r.arm for r in found.rungs} >= {"lstm", "retro", "modern"}
    law = {p.budget: p for p in found.laws}
    # (36.3 C^-.065 = 88 C'^-.094 at C = 1e11 and 1e12)
    assert [law[c].modern_old for c in (1e11, 1e12)] == pytest.approx([0.2006, 0.4082], rel=DIGITS)
    empty = api.origin(results=tmp_path).ours
    assert not empty.gains and "isoloss run" in empty.note
    with pytest.raises(TableError, match="no folder of results"):
        api.origin(results=tmp_path / "none")


# -- evidence --------------------------------------------------------------------------------------------------------


def test_every_number_has_a_source_and_a_check() -> None:
    rows = evidence_rows()
    assert len({r["name"] for r in rows}) == len(rows)
    assert all(r["source"].strip() and r["check"] in CHECKS and r["year"] for r in rows)
    assert constants()["stack.budget_growth"].more["also"] == 4.2
    with pytest.raises(TableError, match=r"x\.y: has no paper"):
        read_constants("[x]\ny = { value = 1.0, where = 'here' }")
    with pytest.raises(TableError, match="check is 'guessed'"):
        read_constants("[x]\npaper='a'\nyear=1\nresource='r'\nscale='s'\ncheck='guessed'\ny={value=1.0,where='w'}")
    with pytest.raises(UnknownNameError, match="did you mean hoffmann"):
        published_law("hofmann", "chinchilla")


# -- what-if ---------------------------------------------------------------------------------------------------------


def test_the_default_is_the_published_product(answer: Origin) -> None:
    asked = answer.what_if
    assert {a.index: a.total for a in asked.every_index} == {
        "as-published": near(21412), "new": near(31215), "old": near(1623),
    }  # fmt: skip
    assert asked.path[-1] == (2025, asked.answer.total) and asked.path[0] == (2013, 1.0)


@pytest.mark.parametrize("index", ["as-published", "old", "new"])
def test_a_constant_of_ones_own_multiplies_what_does_not_depend_on_scale(index: str) -> None:
    added = api.origin("dense", index=index, add={"mine": 3.0}).what_if.answer
    assert added.total == pytest.approx(6.0) and added.steps[-1].kind == "added"


def test_an_earlier_year_has_fewer_steps_and_an_older_reference_more() -> None:
    early, late = (what_if(years=(2013, y), budget=1e22).answer for y in (2019, 2025))
    assert {s.name for s in early.steps} < {s.name for s in late.steps}
    assert all(s.year <= 2019 for s in early.steps)
    gains = [what_if(r, 1e24).answer.total for r in ("lstm", "kaplan", "retro", "dense")]
    assert gains == sorted(gains, reverse=True)


@settings(max_examples=30, deadline=None)
@given(c=st.floats(17, 25), index=st.sampled_from(["old", "new"]), own=st.floats(1.1, 5))
def test_both_indexes_read_one_curve(c: float, index: str, own: float) -> None:
    from isoloss.verbs.origin import _piece

    added = [_piece("mine", own, 2025)]
    first = {a.index: a.total for a in what_if(budget=10**c, added=added).every_index}
    if index == "old":
        back = what_if(budget=10**c / first["old"], added=added).every_index[1].total
    else:
        back = what_if(budget=10**c * first["new"], added=added).every_index[2].total
    assert back == pytest.approx(first[index], rel=1e-6)


def test_a_gain_of_ones_own_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gain.csv"
    path.write_text("budget,gain,low,high\n1e16,2,1.5,2.5\n1e24,4,3,5\n")
    asked = api.origin("dense", 1e20, index="old", add={"mine": path}).what_if
    # ln G is linear in ln C; the dense Transformer's budget is halved by mixture of experts before it
    expected = 2 * 2 ** (1 + (math.log10(1e20 / 2) - 16) / 8)
    assert asked.answer.total == pytest.approx(expected, rel=1e-4)
    assert asked.answer.interval is not None and asked.answer.interval[0] < expected < asked.answer.interval[1]
    curve = asked.ingredients.added[0]
    assert (curve.budget[0], curve.budget[-1]) == pytest.approx((1e16, 1e24))
    assert (curve.gain[0], curve.gain[-1]) == pytest.approx((2, 4))
    with pytest.raises(TableError, match=r"add mine: is known from 1e\+16 to 1e\+24 FLOP \(old index\)"):
        api.origin("dense", 1e26, index="old", add={"mine": path})


def test_a_comparison_of_ones_own_is_not_carried_far_beyond_its_runs() -> None:
    runs = phantom("growing", SeedNoise(0.003)).runs(budgets_of(6), 3, np.random.default_rng(1))
    curve = compare(*runs, resource="c", quality="loss", draws=300)
    low, high = curve.overlap or (0.0, 0.0)
    inside = api.origin("dense", math.sqrt(low * high) * 2, index="old", add={"mine": curve}).what_if.answer
    assert inside.steps[-1].interval is not None
    with pytest.raises(TableError, match="add mine"):
        api.origin("dense", 1e23, index="old", add={"mine": curve})


def test_the_page_gets_all_that_it_needs(answer: Origin) -> None:
    kit = answer.what_if.ingredients
    c = 2.26e23
    ladder = (kit.laws["retro"].A * c ** -kit.laws["retro"].alpha / kit.laws["lstm"].A) ** (
        -1 / kit.laws["lstm"].alpha
    ) / c
    total = ladder * math.prod(f.gain for f in kit.factors if f.included)
    assert total == pytest.approx(answer.what_if.answer.total, rel=1e-6)
    m = kit.m
    balance = (
        m["scale"] * c * (m["n_scale"] * c ** -m["n_exponent"] + m["d_scale"] * c ** -m["d_exponent"]) ** m["power"]
    )
    assert balance == pytest.approx(9.84, abs=5e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference": "lsmt"}, "unknown reference 'lsmt'; did you mean lstm"),
        ({"index": "newest"}, "unknown index"),
        ({"years": (2010, 2025)}, "2010 is outside the evidence; choose years from 2012 to 2028"),
        ({"years": (2013, 2031)}, "2031 is outside"),
        ({"years": (2025, 2013)}, "no span"),
        ({"reference": "retro", "years": (2013, 2020)}, "enters in 2022"),
        ({"budget": -1.0}, "no training budget"),
        ({"budget": float("nan")}, "no training budget"),
        ({"budget": 1e3}, "1000 is no training budget in FLOP; give one from 1e.08 to 1e.32"),
        ({"compute_growth": 0.0}, "no yearly factor"),
        ({"compute_growth": 1e300}, "no yearly factor"),
        ({"years": (2013.5, 2025)}, "no span of years"),
        ({"years": (2013, 2020, 2025)}, "no span of years"),
        ({"moe": -2.0}, "no gain"),
        ({"add": {"mine": 0.0}}, "no gain"),
        ({"add": {"dense": 2.0}}, "taken"),
        ({"add": {"mine": "nowhere.csv"}}, "no such file"),
        ({"data": "nowhere"}, "is not there; bring the curves"),
    ],
)
def test_bad_input_is_one_line(options: dict, said: str) -> None:
    with pytest.raises(IsolossError, match=said) as error:
        api.origin(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"coefficient": 1.0}, {"coefficient": -1.0, "exponent": 0.5}])
def test_a_balance_that_is_none_is_refused(options: dict) -> None:
    with pytest.raises(TableError, match="allocation"):
        api.allocation(**options)


# -- from the authors' curves ----------------------------------------------------------------------------------------


def test_totals_of_fitted_laws_are_those_of_the_stack() -> None:
    # the printed laws through the fitting code's route give the accounts that the chain gives
    fits = {"lstm": Fit(36.3, 0.065, 1.9), "retro": Fit(81.7, 0.091, 1.9)}
    found = totals(fits, 2.26e23, 2.566)
    assert found["as_published"] == near(21412) and found["total_new"] == near(31215)
    assert found["total_old"] == near(1623)


def test_without_curves_the_rest_is_there_and_it_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOLOSS_DATA", str(tmp_path))
    found = api.origin()
    assert found.uncertain.rows == () and "isoloss fetch gundlach" in found.uncertain.how
    json.dumps(api.origin_json(found), allow_nan=False)


@pytest.mark.skipif(not CURVES.is_dir(), reason=f"the authors' curves are not at {CURVES}")
def test_intervals_from_the_authors_curves() -> None:
    u = api.origin(data=CURVES).uncertain
    rows = {r.label: r for r in u.rows}
    code = rows["frontier, 1e15 up (the code)"]
    # the run-level bootstrap of these curves: LSTM to 2017 Transformer 441 to 123,000 (new), 141 to 2,125 (old)
    low, high = code.intervals["retro_new"]
    assert 200 < low < 1500 and 5e4 < high < 4e5
    low, high = code.intervals["retro_old"]
    assert 80 < low < 300 and 1200 < high < 3500
    assert low < 632 < high  # the printed laws' own value
    wide = [math.log(v[1] / v[0]) for v in (code.intervals["total_new"], code.intervals["total_old"])]
    assert wide[1] < 0.6 * wide[0]  # the definition's own index is far better known
    assert rows["frontier, 1e16 up (the text)"].retro_new == pytest.approx(103, rel=0.15)
    assert rows["1e15 up, LSTM cell counted"].retro_new > code.retro_new
    assert len(u.curve) == 96 and list(u.curve) == sorted(u.curve, key=lambda s: s.total_new)
    assert u.span["total_new"][0] <= u.span["total_new"][1] <= u.span["total_new"][2]
    assert 6 < u.decades_out < 7


def test_a_folder_without_the_curves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="isoloss fetch gundlach"):
        api.origin(data=tmp_path)


# -- the verb --------------------------------------------------------------------------------------------------------


def test_the_verb_prints_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOLOSS_DATA", str(tmp_path))
    run = CliRunner().invoke(app, ["origin", "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert [round(a["total"]) for a in told["published"]["accounts"]] == [6926, 21416]
    assert [g["reference"] for g in told["growth"]] == ["lstm", "kaplan", "dense"]


def test_the_verb_prints_tables_within_eighty_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOLOSS_DATA", str(tmp_path))
    path = tmp_path / "gain.csv"
    path.write_text("budget,gain\n1e10,2\n1e30,2\n")
    command = ["origin", "--add", f"mine={path}", "--add", "other=1.5", "--index", "new", "--years", "2012:2026",
               "--out", str(tmp_path / "reports")]  # fmt: skip
    run = CliRunner().invoke(app, command, env={"COLUMNS": "80"})
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith("Report: "))
    assert any(line.startswith("mine ") and "2×" in line for line in lines)
    for said in ("21,416×", "6,926×", "31,215×", "1,623×", "isoloss fetch gundlach", "2.6×"):
        assert said in run.output


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--years", "2013"], "no span of years"), (["--reference", "gru"], "unknown reference"),
     (["--add", "mine"], "--add")],
)  # fmt: skip
def test_bad_flags_are_one_line(flags: list[str], said: str) -> None:
    run = CliRunner().invoke(app, ["origin", *flags])
    assert isinstance(run.exception, IsolossError) and said in str(run.exception)


def test_evidence_is_listed() -> None:
    run = CliRunner().invoke(app, ["list", "evidence", "--json"])
    assert run.exit_code == 0
    rows = {r["name"]: r for r in json.loads(run.stdout)}
    assert rows["stack.total_2025"]["value"] == 21416 and "2511.21622" in rows["stack.total_2025"]["source"]

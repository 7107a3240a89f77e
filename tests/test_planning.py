"""Rounds: pure, equal for all arms, never asking twice for the same run."""

from __future__ import annotations

import math
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import api
from isoloss.algorithms import algorithms
from isoloss.algorithms.innovation import innovation
from isoloss.analysis import analyse
from isoloss.diagnosis import diagnose
from isoloss.errors import StudyError
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.planning.carry import fit_choice
from isoloss.planning.propose import members, propose
from isoloss.planning.tuning import Tuning, rows_by_id
from isoloss.runs import RunSpec
from isoloss.study import Study
from isoloss.tasks import tasks
from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ridge")
    (folder / "ridge.py").write_text(RIDGE_PLUGIN)
    (folder / "ridge.toml").write_text(RIDGE_STUDY)
    return api.open_study(folder / "ridge.toml").study


def answered(plan, loss):
    """Rows for every run of `plan`; `loss(run)` is its validation quality, None for a diverged run."""
    rows = []
    for r in plan.runs:
        value = loss(r)
        rows.append(
            {
                "run_id": r.spec.run_id, "arm": r.arm, "purpose": r.purpose, "rung": r.rung, "seed": r.spec.seed,
                "status": "diverged" if value is None else "finished", "validation": value,
                "test": value if r.purpose == "report" else None,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema={k: v for k, v in SCHEMA.items() if k in rows[0]})


def play(study, loss):
    """All rounds of a study whose runs answer `loss`; the plans and the final table."""
    frame, plans = pl.DataFrame(schema=SCHEMA), []
    while (plan := propose(study, RunTable(frame))).runs:
        plans.append(plan)
        frame = pl.concat([frame, answered(plan, loss)], how="diagonal")
        assert len(plans) < 9
    return plans, RunTable(frame)


def interior(r):
    return 1.0 + abs(r.spec.choices["penalty"] - 0.1)


def test_an_interior_optimum_is_tuned_then_reported_on_fresh_seeds(study):
    plans, table = play(study, interior)
    assert [p.phase for p in plans] == ["tuning", "reporting"]
    tuning, reporting = ({r.spec.seed for r in p.runs} for p in plans)
    assert not tuning & reporting
    assert all(r.spec.evaluate == ("validation",) for r in plans[0].runs)
    assert all(r.spec.choices["penalty"] == 0.1 for r in plans[1].runs)
    assert len(plans[1].runs) == 2 * 3 * 3
    assert len(members(study, table)) == table.frame.height


def test_an_edge_widens_every_arm_of_that_rung_by_as_many_trials(study):
    def edge_for_one(r):
        if r.arm == "ridge" and r.rung == 64:
            return 1.0 - r.spec.choices["penalty"]
        return interior(r)

    plans, table = play(study, edge_for_one)
    assert [p.phase for p in plans] == ["tuning", "widening", "reporting"]
    wide = plans[1].runs
    assert {r.rung for r in wide} == {64}
    assert sorted(r.arm for r in wide) == ["ridge", "ridge-again"]
    assert next(r for r in wide if r.arm == "ridge").spec.choices["penalty"] == pytest.approx(10.0)
    tuning = Tuning(study, rows_by_id(table))
    for rung in study.ladder.rungs:
        assert len({len(tuning.trials(arm, rung)) for arm in study.arms}) == 1


def test_the_a_a_twin_shares_no_run_with_its_arm(study):
    _, table = play(study, interior)
    ids = {arm: set(table.frame.filter(pl.col("arm") == arm)["run_id"]) for arm in study.arms}
    assert not ids["ridge"] & ids["ridge-again"]


def test_finalists_get_a_second_look_and_the_mean_decides(study):
    second = study.model_copy(update={"tuning": study.tuning.model_copy(update={"finalists": 2, "finalist_seeds": 2})})

    def lucky_first_seed(r):
        value = interior(r)
        # the middle value is better on the first seed only
        return value + (0.5 if r.spec.choices["penalty"] == 0.1 and r.spec.seed % 1000 > 1 else 0.0)

    plans, _ = play(second, lucky_first_seed)
    assert [p.phase for p in plans] == ["tuning", "finalists", "reporting"]
    assert all(r.spec.choices["penalty"] == 0.01 for r in plans[-1].runs)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_the_runs_answer_the_study_ends_with_equal_trials(study, data):
    def anything(r):
        return data.draw(st.one_of(st.none(), st.floats(0.1, 10)))

    plans, table = play(study, anything)
    assert plans[-1].phase == "reporting"
    asked = [r.spec.run_id for p in plans for r in p.runs]
    assert len(asked) == len(set(asked))
    tuning = Tuning(study, rows_by_id(table))
    for rung in study.ladder.rungs:
        assert len({len(tuning.trials(arm, rung)) for arm in study.arms}) == 1


TWIN = """
[arms.copy]
twin = "ridge"
"""


def test_a_twin_is_a_copy_with_seeds_of_its_own(ridge):
    ridge.write_text(RIDGE_STUDY.replace("ridge-again", "copy").split("[arms.copy]")[0] + TWIN)
    study = api.open_study(ridge).study
    assert study.arms["copy"].sweep == study.arms["ridge"].sweep
    assert Study.model_validate_json(study.model_dump_json()) == study
    plans, table = play(study, lambda r: (interior(r) + 1e-3 * (r.spec.seed % 7) + 1) / r.rung)
    seeds = {arm: {(r.purpose, r.spec.seed) for p in plans for r in p.runs if r.arm == arm} for arm in study.arms}
    assert not seeds["ridge"] & seeds["copy"]
    result = analyse(study, with_examples(table), draws=200)
    assert [c.twin for c in result.comparisons] == [True]
    assert [d.code for d in result.diagnostics if d.code.startswith("aa-")] == ["aa-holds"]
    assert next(a for a in result.arms if a.name == "copy").twin == "ridge"


def test_an_a_a_comparison_that_differs_is_an_error(ridge):
    ridge.write_text(RIDGE_STUDY.replace("ridge-again", "copy").split("[arms.copy]")[0] + TWIN)
    study = api.open_study(ridge).study
    _, table = play(study, lambda r: (interior(r) + 1e-3 * (r.spec.seed % 7)) * (2 if r.arm == "copy" else 1) / r.rung)
    result = analyse(study, with_examples(table), draws=200)
    assert [d.severity for d in result.diagnostics if d.code == "aa-fails"] == ["error"]


def test_a_copy_that_was_tuned_with_more_luck_at_one_budget_is_named(ridge):
    ridge.write_text(RIDGE_STUDY.replace("ridge-again", "copy").split("[arms.copy]")[0] + TWIN)
    study = api.open_study(ridge).study
    middle = study.ladder.rungs[1]

    def lucky(r):
        gain = 0.8 if r.arm == "copy" and r.rung == middle else 1
        return (interior(r) + 1e-3 * (r.spec.seed % 7) + 1) * gain / r.rung**0.1

    _, table = play(study, lucky)
    result = analyse(study, with_examples(table), draws=200)
    found = [d for d in result.diagnostics if d.code == "aa-rungs"]
    assert [d.severity for d in found] == ["warning"]
    assert len(found[0].details["at"]) < len(study.ladder.rungs)


def test_an_arm_compared_with_its_own_runs_is_an_error(ridge):
    ridge.write_text(RIDGE_STUDY.replace("seed_block = 1", "seed_block = 0"))
    study = api.open_study(ridge).study
    _, table = play(study, interior)
    twice = pl.concat([table.frame.with_columns(pl.lit(arm).alias("arm")) for arm in study.arms])
    result = analyse(study, with_examples(RunTable(twice)), draws=200)
    assert [d.severity for d in result.diagnostics if d.code == "same-runs"] == ["error"]


def test_divergence_is_named_by_arm_and_rung(study):
    def unstable(r):
        lost = r.arm == "ridge" and r.rung == 64 and (r.purpose == "report" and r.spec.seed == 2)
        return None if lost or r.spec.choices["penalty"] == 1.0 else interior(r)

    found = {d.code: d for d in analyse(study, with_examples(play(study, unstable)[1]), draws=200).diagnostics}
    assert "ridge at rung 64: 1 of 3" in found["diverged-rungs"].message
    assert "ridge-again at rung 256: 1 of 3" in found["diverged-trials"].message


def test_a_number_that_comes_with_an_innovation_and_is_not_swept_is_named(study):
    at = {"field": "test", "year": 1970, "source": "these tests", "title": "t"}
    innovation("firm", old={"penalty": 0.1}, new={"penalty": 1.0}, **at)
    arm = {"algorithm": "test/ridge", "innovations": ["firm"], "seed_block": 7}
    pair = [{"baseline": "ridge", "candidate": "firm", "innovation": "firm"}]
    arms = study.model_dump()["arms"]
    fixed = Study.model_validate({**study.model_dump(), "arms": {**arms, "firm": arm}, "comparisons": pair})
    found = {d.code: d for d in diagnose(fixed, RunTable.empty(), [], [], (), [])}
    assert found["untuned-innovation"].details == {"firm": {"penalty": 1.0}}
    arm["sweep"] = arms["ridge"]["sweep"]
    swept = Study.model_validate({**fixed.model_dump(), "arms": {**arms, "firm": arm}})
    assert "untuned-innovation" not in {d.code for d in diagnose(swept, RunTable.empty(), [], [], (), [])}


def test_repeated_data_counts_the_epochs_of_each_run(study, monkeypatch):
    monkeypatch.setattr(tasks.get(study.task.name), "resources", ("examples", "train_flops"))
    _, table = play(study, interior)
    flops = study.model_copy(update={"ladder": study.ladder.model_copy(update={"resource": "train_flops"})})
    held = table.frame.with_columns(
        pl.col("rung").alias("examples"), pl.min_horizontal("rung", pl.lit(40.0)).alias("unique_examples"),
    )  # fmt: skip
    found = {d.code: d for d in diagnose(flops, RunTable(held), [], [], (), [])}
    assert found["repeated-data"].severity == "warning"
    assert found["repeated-data"].details["epochs"] == pytest.approx(256 / 40)
    enough = held.with_columns(unique_examples=pl.col("examples"))
    assert "repeated-data" not in {d.code for d in diagnose(flops, RunTable(enough), [], [], (), [])}


LADDER = (16, 64, 256, 1024, 4096)


def carried(study, swept=3, **tuning):
    """The ridge study on a longer ladder of which only the first rungs are swept whole."""
    ladder = study.ladder.model_copy(update={"rungs": tuple(float(r) for r in LADDER)})
    return Study.model_validate(
        {**study.model_dump(), "ladder": ladder.model_dump(), "tuning": {"swept_rungs": swept, **tuning}}
    )


def falling(r):
    """The best penalty falls by half a decade for every rung of four times the examples, from 1 at 16."""
    wanted = math.log10(1.0) - 0.5 * math.log(r.rung / 16, 4)
    return 1.0 + (math.log10(r.spec.choices["penalty"]) - wanted) ** 2


def test_beyond_the_swept_rungs_choices_are_predicted_checked_and_reported(study):
    long = carried(study)
    plans, table = play(long, falling)
    first = plans[0].runs
    assert {r.rung for r in first} == {16, 64, 256}
    checked = next(p for p in plans if p.phase == "checking").runs
    assert {r.rung for r in checked} == {1024, 4096}
    for rung in (1024, 4096):
        for arm in long.arms:
            tried = sorted(r.spec.choices["penalty"] for r in checked if (r.arm, r.rung) == (arm, rung))
            assert len(tried) == 3
            assert tried[1] / tried[0] == pytest.approx(10) and tried[2] / tried[1] == pytest.approx(10)
            # the truth is 0.03 and 0.01: within the check
            assert tried[0] <= 10 ** (-0.5 * math.log(rung / 16, 4)) <= tried[2]
    numbers = dict.fromkeys(n for n, _ in members(long, table))
    assert list(numbers) == sorted(numbers)


def test_one_swept_rung_transfers_the_choice_as_it_is(study):
    long = carried(study, swept=1)
    plans, _ = play(long, interior)
    checked = next(p for p in plans if p.phase == "checking").runs
    assert {r.spec.choices["penalty"] for r in checked} == {0.01, 0.1, 1.0}
    assert {r.rung for r in checked} == set(LADDER[1:])


def test_a_law_that_misses_is_said(study):
    long = carried(study)

    def leaps(r):
        return interior(r) if r.rung <= 256 else 1.0 + abs(math.log10(r.spec.choices["penalty"]) - 2)

    def result(loss):
        return analyse(long, with_examples(play(long, loss)[1]), draws=200)

    missed = [d for d in result(leaps).diagnostics if d.code == "law-missed"]
    assert {d.details["arm"] for d in missed} == set(long.arms)
    assert "penalty at rung 4.1e+03: predicted 0.1" in missed[0].message
    calm = result(interior)
    assert not [d for d in calm.diagnostics if d.code == "law-missed"]
    assert {(c.rung, c.predicted, c.chosen) for c in calm.carried} == {(1024, 0.1, 0.1), (4096, 0.1, 0.1)}
    assert sum(t.predicted for t in calm.trials) == 2 * len(long.arms)


def test_a_law_that_leads_too_far_is_held_and_said(study):
    """Best values a grid step down at every swept rung, then carried over a budget of 64 times."""
    long = carried(study)
    high = tuple(r if r <= 256 else r * 16 for r in long.ladder.rungs)
    long = long.model_copy(update={"ladder": long.ladder.model_copy(update={"rungs": high})})
    best_at = {16: 1.0, 64: 0.1, 256: 0.01}

    def steep(r):
        return 1.0 + abs(math.log10(r.spec.choices["penalty"] / best_at.get(r.rung, 0.001)))

    held = analyse(long, with_examples(play(long, steep)[1]), draws=200)
    said = [d for d in held.diagnostics if d.code == "law-held"]
    assert {d.details["arm"] for d in said} == set(long.arms)
    assert {c.predicted for c in held.carried} == {0.001} and all(c.wanted < 0.001 for c in held.carried)


def with_examples(table):
    """What a run used, for the analysis: its rung."""
    used = pl.col("rung").alias("examples"), pl.col("rung").alias("train_flops"), pl.col("run_id").alias("cluster")
    return RunTable(table.frame.with_columns(*used))


def test_top_seeds_are_reported_at_the_last_rung_alone(study):
    fewer = study.model_copy(update={"report": study.report.model_copy(update={"top_seeds": 2})})
    plans, _ = play(fewer, interior)
    counts = Counter(r.rung for r in plans[-1].runs)
    assert counts == {16: 6, 64: 6, 256: 4}


def test_a_value_the_algorithm_refuses_is_no_edge(study, monkeypatch):
    """A batch may be too large for a small budget: the sweep ends there, the study does not."""
    ridge = algorithms.get("test/ridge")

    def small_rungs_refuse(self, task, rung, choices):
        if rung.budget == 16 and choices.penalty > 1:
            raise StudyError("penalty", "is too large for this rung")
        return choices

    monkeypatch.setattr(ridge, "resolve", small_rungs_refuse)
    fresh = study.model_copy(update={"question": "with a resolve of its own"})  # plans are remembered by study

    plans, table = play(fresh, lambda r: 1 / r.spec.choices["penalty"])
    tuning = Tuning(fresh, rows_by_id(table))
    wide = next(p for p in plans if p.phase == "widening").runs
    assert {r.rung for r in wide} == {64, 256}
    assert {len(tuning.trials(arm, rung)) for arm in fresh.arms for rung in (64, 256)} == {4}
    assert max(r.spec.choices["penalty"] for r in plans[-1].runs if r.rung == 16) == 1.0


def arms(data):
    """Arms with sweeps of one size but of different kinds and limits."""
    bound = data.draw(st.sampled_from([None, 1.0, 3.0]))
    kinds = [
        {"penalty": {"centre": 0.1, "factor": data.draw(st.sampled_from([2, 3, 10])), "points": 3, "max": bound}},
        {"penalty": {"values": [1, 4, 16], "min": 1 if bound else None}},
        {"penalty": {"values": [0.01, 0.02, 0.3]}},
    ]
    names = data.draw(st.lists(st.sampled_from(range(3)), min_size=2, max_size=3, unique=True))
    return {f"arm{i}": {"algorithm": "test/ridge", "seed_block": i, "sweep": kinds[i]} for i in names}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_the_runs_answer_rungs_are_carried_with_equal_trials_within_limits(study, data):
    swept = data.draw(st.integers(1, 4))
    names = arms(data)
    a, b = list(names)[:2]
    long = carried(study, swept, finalists=data.draw(st.sampled_from([0, 2])))
    long = Study.model_validate({**long.model_dump(), "arms": names, "comparisons": [{"baseline": a, "candidate": b}]})
    answers = {}

    def anything(r):
        return answers.setdefault(r.spec.run_id, data.draw(st.one_of(st.none(), st.floats(0.1, 10))))

    frame, rng = pl.DataFrame(schema=SCHEMA), data.draw(st.randoms(use_true_random=False))
    asked, phases = [], []
    while (plan := propose(long, RunTable(frame))).runs:
        assert propose(long, RunTable(frame.sample(fraction=1, shuffle=True, seed=1))) == plan
        # killed half way: what is left is asked for again and nothing else
        rows = answered(plan, anything)
        some = rows.filter(pl.Series([rng.random() < 0.5 for _ in range(rows.height)], dtype=pl.Boolean))
        half = pl.concat([frame, some], how="diagonal")
        if some.height < rows.height:
            again = propose(long, RunTable(half))
            assert again.phase == plan.phase and again.round == plan.round
            assert {r.spec.run_id for r in again.runs} == set(rows["run_id"]) - set(some["run_id"])
        frame = pl.concat([frame, rows], how="diagonal")
        asked += [r.spec.run_id for r in plan.runs]
        phases.append(plan.phase)
        assert len(phases) < 9
    assert phases[-1] == "reporting" and len(asked) == len(set(asked))
    tuning = Tuning(long, rows_by_id(RunTable(frame)))
    for rung in long.ladder.rungs:
        assert len({len(tuning.trials(arm, rung)) for arm in long.arms}) == 1
    for arm, definition in long.arms.items():
        for rung in long.carried_rungs:
            axis = definition.sweep["penalty"]
            for values in tuning.check(arm, rung):
                assert (axis.min or 0) <= values["penalty"] <= (axis.max or math.inf)


@given(
    st.lists(st.floats(1e-4, 10), min_size=1, max_size=5),
    st.floats(1.5, 10),
    st.floats(1e3, 1e20),
    st.floats(1.5, 100),
)
def test_a_law_is_shrunk_never_turned_and_does_not_depend_on_units(values, ratio, unit, step):
    budgets = [unit * step**i for i in range(len(values))]
    law = fit_choice(budgets, values, ratio)
    assert abs(law.slope) <= abs(law.raw_slope) and law.slope * law.raw_slope >= 0
    other = fit_choice([b * 1e3 for b in budgets], values, ratio)
    assert other.slope == pytest.approx(law.slope, abs=1e-9)
    assert other.at(budgets[-1] * 1e4) == pytest.approx(law.at(budgets[-1] * 10), rel=1e-6)
    if len(values) < 3:  # two picks can't tell a slope from noise
        middle = math.exp(sum(map(math.log, values)) / len(values))
        assert law.at(budgets[0] * 1e9) == pytest.approx(middle)


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=6),
    st.floats(1.1, 10),
    st.lists(st.floats(1, 1e30), min_size=6, max_size=6, unique=True),
    st.floats(1, 1e30),
)
def test_whatever_the_picks_a_carried_value_stays_a_grid_step_from_them(values, ratio, budgets, at):
    law = fit_choice(sorted(budgets)[: len(values)], values, ratio)
    assert min(values) / ratio <= law.at(at) <= max(values) * ratio
    if law.at(at) == law.unheld(at):
        return
    assert law.unheld(at) < min(values) / ratio or law.unheld(at) > max(values) * ratio


def test_one_noisy_pick_does_not_tilt_the_law():
    """Picks two rungs alike and the third one grid step off: carried a rung further, still within a step."""
    law = fit_choice([1e9, 1e10, 1e11], [0.03, 0.03, 0.09], 3.0)
    assert law.at(1e12) < 0.03 * 3
    real = fit_choice([1e9, 1e10, 1e11], [0.09, 0.03, 0.01], 3.0)
    assert 0.01 / 3 <= real.at(1e12) <= 0.006


def test_longest_runs_come_first(study):
    flops = [r.flops for r in propose(study, RunTable.empty()).runs]
    assert flops == sorted(flops, reverse=True)


specs = st.builds(
    RunSpec,
    algorithm=st.text(max_size=10), algorithm_version=st.integers(1, 9), task=st.text(max_size=10),
    task_version=st.integers(1, 9), task_options=st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    resource=st.just("train_flops"), budget=st.floats(1, 1e30), step_rule=st.none(),
    choices=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    seed=st.integers(0, 10**9), evaluate=st.just(("validation",)),
)  # fmt: skip


@given(specs)
def test_a_spec_survives_json_with_its_identity(spec):
    import json

    again = RunSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again.run_id == spec.run_id


@given(specs, st.integers(1, 100))
def test_identity_depends_on_the_seed_and_not_on_the_order_of_choices(spec, step):
    import dataclasses

    assert dataclasses.replace(spec, seed=spec.seed + step).run_id != spec.run_id
    reverse = dict(reversed(list(spec.choices.items())))
    assert dataclasses.replace(spec, choices=reverse).run_id == spec.run_id

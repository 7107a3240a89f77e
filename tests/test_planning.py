"""Rounds: pure, equal for all arms, never asking twice for the same run."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import api
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.planning.propose import members, propose
from isoloss.planning.tuning import Tuning, rows_by_id
from isoloss.runs import RunSpec
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
        assert len(plans) < 6
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

"""Trials that are far behind are given up, by one rule for every arm, and count as trials."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss import api
from isoloss.execution.timing import smoke_run
from isoloss.ledger.store import Ledger
from isoloss.planning.propose import propose
from isoloss.planning.tuning import Tuning, rows_by_id
from isoloss.runs import Context, Drop, RunSpec
from isoloss.tasks import tasks
from isoloss.training.dropping import FIRST, DropRule
from tests.conftest import TURNED_STUDY

#: The first rate learns nothing.
STUDY = TURNED_STUDY.replace("RATES", "[1e-6, 1e-2, 2e-2]") + "[tuning]\nseeds = 1\nwiden = false\ndrop = 0.2\n"


def spec_of(**changes):
    return RunSpec("a", 1, "t", 1, {}, "train_flops", 1e9, None, {"lr": 0.1}, 1, ("validation",), **changes)


def test_a_run_without_the_rule_keeps_its_identity_and_one_with_it_has_another():
    plain, dropping = spec_of(), spec_of(drop=Drop("abc", 0.1))
    assert "drop" not in plain.to_dict() and plain.run_id != dropping.run_id
    assert RunSpec.from_dict(json.loads(json.dumps(dropping.to_dict()))) == dropping


@given(st.floats(0.01, 1), st.floats(0.1, 10), st.floats(0, 2))
def test_the_rule_compares_at_the_same_share_of_the_steps(above, loss, share):
    rule = DropRule(Drop("r", above), {"step": [10.0, 100.0], "train_loss": [loss, loss]})
    asked = FIRST <= share < 1
    assert rule.gives_up(share, loss * (1 + above) * 1.001) == asked
    assert not rule.gives_up(share, loss * (1 + above) * 0.999)


def test_without_a_reference_nothing_is_given_up():
    assert not DropRule(Drop("r", 0.1), None).gives_up(0.5, 1e9)
    assert not DropRule(None, {"step": [1.0], "train_loss": [1.0]}).gives_up(0.5, 1e9)


def test_a_trial_far_behind_ends_early_and_another_is_the_same_bit_for_bit():
    spec, whole, _ = smoke_run("geometry/cnn", ("validation",))
    from isoloss.algorithms import algorithms

    task_class = tasks.get(spec.task)
    task = task_class(task_class.Options(**spec.task_options))

    def run(lr, above):
        changed = dataclasses.replace(spec, choices={**spec.choices, "lr": lr}, drop=Drop("r", above))
        return algorithms.get("geometry/cnn")().run(task, changed, Context(reference=whole.curve))

    same = run(spec.choices["lr"], 0.1)
    assert same.curve == whole.curve and same.qualities == whole.qualities
    behind = run(1e-7, 0.1)
    assert behind.status == "dropped" and not behind.qualities
    assert behind.resources["train_flops"].value < 0.7 * whole.resources["train_flops"].value


@pytest.mark.slow
def test_a_study_makes_the_middle_trial_first_drops_and_goes_on(tmp_path):
    path = tmp_path / "dropping.toml"
    path.write_text(STUDY)
    opened = api.open_study(path)
    result, _ = api.run(path, workers=2, ledger=str(tmp_path / "l.sqlite"), out=tmp_path / "out")
    assert not result.missing and result.comparisons
    ledger = Ledger(str(tmp_path / "l.sqlite"))
    table = ledger.table(opened.study)
    assert not propose(opened.study, table).runs
    dropped = table.frame.filter(table.frame["status"] == "dropped")
    assert dropped.height == 4 and set(dropped["purpose"]) == {"tune"}
    tuning = Tuning(opened.study, rows_by_id(table))
    for arm in ("plain", "turned"):
        trials = tuning.trials(arm, 64)
        assert [t.dropped for t in trials] == [True, False, False], "as many trials on both sides"
    assert all(t.dropped == (t.quality is None) for t in result.trials)
    machine = {r["run_id"]: r["ended"] for r in ledger.machine(opened.study)}
    middle = [t.run_ids[0] for arm in ("plain", "turned") for t in tuning.trials(arm, 128) if t.values["lr"] == 1e-2]
    assert max(machine[i] for i in middle) < min(machine[i] for i in dropped["run_id"])

"""Run tables out of a ledger: whole, exact, and as any verb over run tables reads them."""

from __future__ import annotations

import json
import math

import pytest

from isoloss import api
from isoloss.errors import TableError
from isoloss.ledger.store import Ledger, new_owner
from isoloss.planning.plan import PlannedRun
from isoloss.runs import Amount, Outcome, RunSpec
from tests.test_ledger import run_ridge

#: Choices whose text looks like other parts of a spec, numbers that JSON lacks, and branches of trunks.
CHOICES = [
    {"lr": 0.1},
    {"a": {"x": 1}, "code": "c", "text": '"},"code":"'},
    {"nested": {"seed": 5, "step_rule": None}},
    {"text": ',"seed":7,"step_rule":', "trunk_warmup": None},
    {"trunk_warmup": 20, "steps": 100, "lr": 0.1},
    {"trunk_warmup": 20, "steps": 200, "lr": 0.1},
]
OUTCOMES = [
    Outcome("finished", {"validation": 1 / 3, "test": 0.1}, {}, {"train_flops": Amount(1e300, "counted")}),
    Outcome("diverged", {"validation": math.inf}, {}, {"seconds": Amount(math.inf, "measured")}),
    Outcome("diverged", {}, {}, {"train_flops": Amount(5e-324, "analytic"), "steps": Amount(3.0, "counted")}),
]


def test_a_run_table_is_what_was_recorded_whatever_it_looks_like(ridge, tmp_path):
    study, ledger = api.open_study(ridge).study, Ledger(str(tmp_path / "l.sqlite"))
    ledger.open_study(study, "", "x")
    runs, said = [], {}
    for i, choices in enumerate(CHOICES * len(OUTCOMES)):
        spec = RunSpec('an "algorithm"', 1, "t", 1, {}, "examples", 1.0, None, choices, 10 + i, ("test",))
        runs.append(PlannedRun(spec, "a", 1.0, "tune", 1.0))
        said[spec.run_id] = (spec, OUTCOMES[i // len(CHOICES)])
    ledger.enqueue(study, [(0, r) for r in runs])
    ledger.claim(study, new_owner(), 99, {i: frozenset((i,)) for i in said})
    ledger.finish_all([(i, outcome, {}) for i, (_, outcome) in said.items()])
    table = ledger.table(study).frame
    ledger.close()
    assert table["run_id"].to_list() == [r.spec.run_id for r in runs]
    for row in table.iter_rows(named=True):
        spec, outcome = said[row["run_id"]]
        assert (row["algorithm"], row["seed"]) == (spec.algorithm, spec.seed)
        assert json.loads(row["choices"]) == spec.choices
        assert row["cluster"] == (spec.trunk_id or spec.run_id)
        assert row["status"] == outcome.status
        for split in ("validation", "test"):
            assert row[split] == outcome.qualities.get(split)
        for name in ("train_flops", "seconds", "steps", "joules"):
            assert row[name] == (outcome.resources[name].value if name in outcome.resources else None)
    assert table.filter(table["run_id"].is_in(list(said))).height == len(CHOICES) * len(OUTCOMES)


def test_a_gain_is_asked_of_a_ledger(ridge, tmp_path):
    opened, url = api.open_study(ridge), tmp_path / "l.sqlite"
    table = run_ridge(opened, url)
    table.write_csv(tmp_path / "runs.csv")
    first, second = opened.study.comparisons[0].baseline, opened.study.comparisons[0].candidate
    curve = api.gain(url, first, second, draws=200)
    told = {"resource": "examples", "quality": "test", "rung_column": "rung"}
    assert (
        curve.points
        == api.gain(tmp_path / "runs.csv", first, second, draws=200, where=["purpose=report"], **told).points
    )
    assert api.gain(url, first, second, draws=200, where=["study=ridge"]).points == curve.points
    trials = {"where": ["purpose=tune"], "best_of": ["penalty"]}
    assert api.gain(url, first, second, draws=200, **trials).quality == "validation"
    ledger = Ledger(str(url))
    ledger.open_study(opened.study.model_copy(update={"question": "another"}), opened.text, "elsewhere")
    ledger.close()
    with pytest.raises(TableError, match=r"l\.sqlite: holds 2 studies of that name; --where study_id="):
        api.gain(url, first, second)
    chosen = [f"study_id={opened.study.study_id}"]
    assert api.gain(url, first, second, draws=200, where=chosen).points == curve.points
    with pytest.raises(TableError, match=r"has no study 'rigde'; it holds ridge"):
        api.gain(url, first, second, where=["study=rigde"])

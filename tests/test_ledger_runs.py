"""Run tables out of a ledger: whole, exact, and as any verb over run tables reads them."""

from __future__ import annotations

import json
import math
import tempfile
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import api
from isoloss.errors import TableError
from isoloss.ledger import schema, texts
from isoloss.ledger.digest import canonical_json
from isoloss.ledger.run_frame import run_frame
from isoloss.ledger.store import Ledger, new_owner
from isoloss.ledger.table import SCHEMA
from isoloss.planning.plan import PlannedRun
from isoloss.runs import Amount, Outcome, RunSpec
from tests.test_ledger import run_ridge

#: Choices whose text looks like other parts of a spec, numbers that JSON lacks, and branches of trunks.
CHOICES = [
    {"lr": 0.1},
    {"a": {"x": 1}, "code": "c", "text": '"},"code":"'},
    {"nested": {"seed": 5, "step_rule": None}},
    {"a": 1, "seed": 5, "step_rule": 3},
    {"a": 1, "seed": 5, "z": ',"step_rule":'},
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


def amounts(**bounds):
    return st.floats(allow_nan=False, **bounds)


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b\n'", "c, \u2028"]),
        st.integers(0, 2),
        st.sampled_from([1.0, 0.1 + 0.2, 1e-300, 2.0**80 + 2**30]),
        st.sampled_from(["tune", "report"]),
        st.sampled_from(["finished", "diverged", "failed", "queued"]),
        st.sampled_from(CHOICES),
        st.dictionaries(st.sampled_from(["validation", "test", "other"]), amounts(), max_size=3),
        st.dictionaries(st.sampled_from(["examples", "joules"]), amounts(min_value=0), max_size=2),
        st.booleans(),
    ),
    max_size=24,
)


@settings(max_examples=30, deadline=None)
@given(MEMBERS)
def test_a_table_read_in_pieces_is_the_one_read_row_by_row(drawn):
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"{folder}/l.sqlite")
        try:
            expected = fill(ledger, drawn)
            for study_id, rows in expected.items():
                for purpose in (None, "tune", "report"):
                    with mock.patch.object(texts, "PIECE", 3):
                        frame = ledger.database.read(lambda db, s=study_id, p=purpose: run_frame(db, s, "name", p))
                    wanted = [row for row in rows if purpose in (None, row["purpose"])]
                    assert repr(frame.rows(named=True)) == repr(pl.DataFrame(wanted, schema=SCHEMA).rows(named=True))
        finally:
            ledger.close()


def fill(ledger, drawn):
    """Members as drawn, most of them of the study "most", and the rows of each study's table."""
    expected = {"most": [], "few": []}
    runs, members = [], []
    for at, (arm, number, rung, purpose, status, choices, qualities, resources, aside) in enumerate(drawn):
        spec = RunSpec("an algorithm", 1, "t", 1, {}, "examples", rung, None, choices, 10 + at, ("test",))
        study = "few" if aside and 6 * len(expected["few"]) < at else "most"
        said = {name: [value, "counted"] for name, value in resources.items()}
        own = {"run_id": spec.run_id, "status": status, "price": 1.0}
        open_ = status == "queued"
        texts_ = {
            "qualities": None if open_ else canonical_json(qualities),
            "resources": None if open_ else canonical_json(said),
        }
        runs.append({**own, **texts_, "spec": canonical_json(spec.to_dict()), "attempts": 0})
        cell = {"arm": arm, "round": number, "rung": rung, "purpose": purpose}
        members.append({**own, **cell, "study_id": study, "position": len(drawn) - at})
        if not open_:
            known = {"run_id": spec.run_id, "study": "name", "algorithm": "an algorithm", "task": "t", "status": status}
            own = {"seed": 10 + at, "cluster": spec.trunk_id or spec.run_id, "choices": canonical_json(choices)}
            results = {q: qualities.get(q) for q in ("validation", "test")} | resources
            expected[study].insert(0, {name: (known | cell | own | results).get(name) for name in SCHEMA})

    def work(db):
        filed = [{"study_id": s, "name": s, "text": "", "path": "", "opened": 0.0} for s in expected]
        db.execute(schema.studies.insert(), filed)
        if runs:
            db.execute(schema.runs.insert(), runs)
            db.execute(schema.members.insert(), members)

    ledger.database.write(work)
    return expected

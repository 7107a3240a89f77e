"""Cautions about a study's own runs: a finished run that a constant guess beats is named, and no other."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.analysis import analyse
from isoloss.diagnosis import worse_than_guessing
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.study import Study, read_study
from isoloss.tasks import Task
from isoloss.tasks.base import Floor
from tests.conftest import ROOT


class Lower(Task):
    quality, unit, floor = "loss", "bits per byte", Floor("shared")
    trivial_quality: ClassVar[float] = 8.0

    def prepare(self) -> None: ...

    def facts(self) -> dict[str, Any]:
        return {}


class Higher(Lower):
    direction: ClassVar[Literal["lower", "higher"]] = "higher"
    best, trivial_quality = 1.0, 0.1


def table(*rows: dict[str, Any]) -> RunTable:
    given = {"arm": "old", "purpose": "report", "status": "finished", "rung": 1e9}
    filled = [given | {"run_id": str(i)} | row for i, row in enumerate(rows)]
    return RunTable(pl.DataFrame(filled, schema=SCHEMA))


@pytest.mark.parametrize(("task", "good", "bad"), [(Lower, 7.9, 8.1), (Higher, 0.11, 0.09)])
def test_a_run_worse_than_a_guess_is_named(task, good, bad):
    found = worse_than_guessing(
        table(
            {"test": good},
            {"test": bad, "rung": 1e10},
            {"test": good, "arm": "new"},
            {"validation": bad, "arm": "third"},
            {"test": None, "status": "diverged"},
            {"validation": bad, "purpose": "tune"},
        ),
        task,
    )
    assert [d.details["arm"] for d in found] == ["old", "third"]
    assert found[0].details["run_ids"] == ["1"] and found[0].details["rungs"] == [1e10]
    assert "1 of 2 runs" in found[0].message and "\n" not in found[0].message


@given(st.lists(st.floats(0.5, 20), max_size=8))
def test_every_such_run_and_no_other(qualities):
    found = worse_than_guessing(table(*({"test": q} for q in qualities)), Lower)
    named = {i for d in found for i in d.details["run_ids"]}
    assert named == {str(i) for i, q in enumerate(qualities) if q > 8}


@pytest.fixture(scope="module")
def digits() -> tuple[Study, pl.DataFrame]:
    """A study of images and its published run table."""
    path = ROOT / "results" / "rotated-digits" / "runs.csv"
    frame = pl.read_csv(path, infer_schema_length=None)
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in SCHEMA.items() if name not in frame.columns]
    study, _ = read_study(ROOT / "studies" / "geometry" / "rotated-digits.toml")
    return study, frame.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def reported(arm: str, *rungs: float) -> pl.Expr:
    return (pl.col("purpose") == "report") & (pl.col("arm") == arm) & pl.col("rung").is_in(rungs)


def test_runs_without_an_error_are_counted_as_half_of_one(digits):
    study, frame = digits
    top = max(study.ladder.rungs)
    quality = pl.when(reported("p4", top)).then(0.0).otherwise(pl.col("test")).alias("test")
    plain, none = (analyse(study, RunTable(f), draws=100) for f in (frame, frame.with_columns(quality)))
    assert not any("not a positive number" in line for line in none.missing)
    assert len(none.comparisons) == len(plain.comparisons) > 0
    (said,) = [d for d in none.diagnostics if d.code == "no-errors"]
    assert "p4" in said.message and len(said.details["run_ids"]) == study.report.seeds
    assert "no-errors" not in {d.code for d in plain.diagnostics}


def test_a_change_that_changes_nothing_is_named(digits):
    study, frame = digits
    pair = study.comparisons[0]
    copied = frame.filter(pl.col("arm") == pair.baseline).with_columns(
        arm=pl.lit(pair.candidate), run_id=pl.col("run_id").str.reverse()
    )
    same = pl.concat([frame.filter(pl.col("arm") != pair.candidate), copied])
    for rows, expected in ((frame, False), (same, True)):
        found = [d for d in analyse(study, RunTable(rows), draws=100).diagnostics if d.code == "same-results"]
        assert bool(found) == expected
    assert found[0].severity == "error" and pair.candidate in found[0].message


def test_a_sweep_of_one_value_is_no_tuning(digits):
    study, frame = digits
    arm = study.comparisons[0].baseline
    raw = study.model_dump(mode="json")
    raw["arms"][arm]["sweep"] = {"lr": {"values": [0.01]}}
    found = analyse(Study(**raw), RunTable(frame), draws=100).diagnostics
    (said,) = [d for d in found if d.code == "untuned-arm"]
    assert said.details["arms"] == [arm]

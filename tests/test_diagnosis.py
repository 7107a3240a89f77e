"""Cautions about a study's own runs: a finished run that a constant guess beats is named, and no other."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.diagnosis import worse_than_guessing
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.tasks import Task
from isoloss.tasks.base import Floor


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

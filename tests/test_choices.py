"""The run table's own ``choices`` column reads as a column a choice."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.ledger.external import read_frame
from isoloss.ledger.importers.choices import spread
from isoloss.verbs.isoflop import isoflop

SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | st.text(max_size=5)


@given(st.lists(st.dictionaries(st.sampled_from(["lr", "width", "norm"]), SCALARS, max_size=3), min_size=1, max_size=5))
def test_every_choice_can_be_read_back(rows):
    frame = pl.DataFrame({"arm": ["a"] * len(rows), "choices": [json.dumps(r) for r in rows]})
    wide = spread(frame)
    assert wide.height == len(rows)
    for name in {k for r in rows for k, v in r.items() if v is not None}:
        for said, row in zip(wide[name], rows, strict=True):
            value = row.get(name)
            if value is None:
                assert said is None
            elif isinstance(said, str) and not isinstance(value, str):
                assert json.loads(said) == value
            else:
                assert said == value


@pytest.mark.parametrize("text", ["high", "[1]", "{", "3", "{}"])
def test_a_column_of_that_name_that_is_something_else_is_left_alone(text):
    frame = pl.DataFrame({"choices": [text, text]})
    assert spread(frame).equals(frame)


def test_a_name_that_the_table_has_keeps_its_own_column(tmp_path):
    path = tmp_path / "runs.csv"
    pl.DataFrame({"steps": [5.0], "choices": ['{"steps": 4, "betas": [0.9, 0.99]}']}).write_csv(path)
    frame = read_frame(path)
    assert frame["steps"].to_list() == [5.0] and frame["betas"].to_list() == ["[0.9, 0.99]"]


def test_isoflop_takes_the_best_of_a_sweep_per_budget_and_size(tmp_path):
    rows = []
    for budget in (1e9, 4e9, 1.6e10):
        best = (budget / 6 / 20) ** 0.5
        for factor in (0.25, 0.5, 1, 2, 4):
            n = best * factor
            for lr, worse in ((0.1, 0.5), (0.01, 0.0), (0.001, 0.3 * factor)):
                loss = 2 + 50 * budget**-0.2 * (1 + 0.02 * (n / best - 1 if factor > 1 else best / n - 1)) + worse
                rows.append({"rung": budget, "lr": lr, "parameters": n, "examples": budget / 6 / n, "validation": loss})
    path = tmp_path / "runs.csv"
    pl.DataFrame(rows).write_csv(path)
    clean = tmp_path / "clean.csv"
    pl.DataFrame(rows).filter(pl.col("lr") == 0.01).write_csv(clean)
    options = {"quality": "validation", "budget": "rung", "parameters": "parameters", "tokens": "examples"}
    found, wanted = isoflop(path, best_of=["lr"], **options), isoflop(clean, **options)
    assert found.fitted.n_line.exponent == pytest.approx(wanted.fitted.n_line.exponent)
    assert found.fitted.n_line.exponent == pytest.approx(0.5, abs=0.02)

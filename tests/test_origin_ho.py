"""Ho et al.'s model on a table of one's own: the planted pace comes back, and tables that can't tell it are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isoloss import api
from isoloss.errors import TableError
from isoloss.origin.ho import refit

TRUTH = {"alpha_year": 0.02, "alpha_param": 0.07, "beta_year": 0.03, "beta_data": 0.06}


def table(tmp_path: Path, papers: int = 120) -> Path:
    rng = np.random.default_rng(0)
    paper = np.repeat(np.arange(papers), 2)
    year = np.repeat(rng.uniform(2012, 2024, papers), 2)
    n = np.exp(rng.normal(18, 2.5, len(paper)))
    d = np.exp(rng.normal(21, 2.0, len(paper)))
    bench = rng.integers(0, 3, len(paper))
    y = year - year.mean()
    loss = np.exp(0.6 - 0.02 * y - 0.07 * (np.log(n) - 18) + 0.1 * bench) + np.exp(
        0.5 - 0.03 * y - 0.06 * (np.log(d) - 21) + 0.1 * bench
    )
    loss = loss * np.exp(0.02 * rng.standard_normal(len(paper)))
    path = tmp_path / "ho.csv"
    frame = {"perplexity": np.exp(loss), "year": year, "parameters": n, "tokens": d, "benchmark": bench, "paper": paper}
    pl.DataFrame(frame).write_csv(path)
    return path


def test_the_planted_pace_comes_back(tmp_path: Path) -> None:
    truth = np.exp(TRUTH["alpha_year"] / TRUTH["alpha_param"] + TRUTH["beta_year"] / TRUTH["beta_data"])
    row = refit(table(tmp_path), draws=60)
    low, high = row.interval
    assert row.per_year == pytest.approx(truth, rel=0.3)
    assert low < row.per_year < high and low < truth * 1.15 and high > truth * 0.85
    assert row.doubling_months == pytest.approx(12 * np.log(2) / np.log(row.per_year))
    assert refit(table(tmp_path), draws=60) == row


def test_the_row_stands_beside_the_others(tmp_path: Path) -> None:
    found = api.origin(ho=table(tmp_path, 40))
    assert [n.name for n in found.neighbours].count("Ho et al. 2024, refitted") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop("tokens"), "looks like tokens"),
        (lambda f: f.drop("perplexity"), "perplexity or a loss"),
        (lambda f: f.head(10), "10 usable rows"),
        (lambda f: f.with_columns(tokens=20 * pl.col("parameters")), "vary apart"),
    ],
)
def test_tables_that_cannot_tell_it_are_refused(tmp_path: Path, change, words: str) -> None:
    path = table(tmp_path)
    change(pl.read_csv(path)).write_csv(path)
    with pytest.raises(TableError, match=words) as raised:
        refit(path, draws=2)
    assert "\n" not in str(raised.value)

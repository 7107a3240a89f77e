"""A gain along one resource said in every other that was recorded: exact where it can be, never silently dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isoloss import api


def table(tmp_path: Path, factor: float, power: float) -> Path:
    """Muon needs 2x less compute at every loss, uses `factor` times the parameters at equal compute, N ~ C^power."""
    rng = np.random.default_rng(0)
    c = np.tile(np.repeat(1e15 * 4.0 ** np.arange(6), 3), 2)
    new = np.repeat([False, True], 18)
    loss = (1.8 + 60 * np.where(new, 2 * c, c) ** -0.1) * np.exp(0.001 * rng.standard_normal(len(c)))
    frame = pl.DataFrame(
        {
            "optimizer": np.where(new, "muon", "adamw"),
            "train_flops": c,
            "loss": loss,
            "seed": np.tile([0, 1, 2], 12),
            "params": np.where(new, factor, 1.0) * c**power,
            "wall_time": c / 1e12,
            "junk": rng.standard_normal(len(c)),
        }
    )
    path = tmp_path / "runs.csv"
    frame.write_csv(path)
    return path


@pytest.mark.parametrize(("factor", "power"), [(1.0, 0.5), (3.0, 0.5), (3.0, 0.0)])
def test_a_gain_is_carried_over_to_other_resources(tmp_path: Path, factor: float, power: float) -> None:
    curve = api.gain(table(tmp_path, factor, power), "adamw", "muon")
    found = {c.resource: c for c in curve.elsewhere if c.at == max(e.at for e in curve.elsewhere)}
    assert set(found) == {"params", "wall_time"}
    assert found["params"].ratio == pytest.approx(2.0**power / factor, rel=0.05)
    low, high = found["params"].interval
    assert low <= found["params"].ratio <= high
    assert found["wall_time"].ratio == pytest.approx(2.0, rel=0.05)
    codes = {d.code for d in curve.diagnostics}
    assert ("bought-elsewhere" in codes) == (factor == 3.0)


def test_a_resource_that_some_run_lacks_is_left_out(tmp_path: Path) -> None:
    path = table(tmp_path, 1.0, 0.5)
    frame = pl.read_csv(path)
    frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise(pl.col("params")).alias("params")
    ).write_csv(path)
    assert {c.resource for c in api.gain(path, "adamw", "muon").elsewhere} == {"wall_time"}
    assert api.gain_json(api.gain(path, "adamw", "muon"))["elsewhere"][0]["resource"] == "wall_time"


def test_resources_in_one_proportion_are_one_row_and_a_model_is_no_second_reason(tmp_path: Path) -> None:
    path = table(tmp_path, 3.0, 0.5)
    frame = pl.read_csv(path).rename({"params": "parameters", "wall_time": "seconds"})
    more = [(4 * pl.col("parameters")).alias("stored_bytes"), (9 * pl.col("parameters")).alias("modelled_joules")]
    scaled = pl.when(pl.col("optimizer") == "muon").then(8.0).otherwise(4.0)
    more.append((scaled * pl.col("parameters")).alias("bytes_moved"))
    frame.with_columns(more[:1] + more[2:]).write_csv(path)
    curve = api.gain(path, "adamw", "muon")
    assert {c.resource for c in curve.elsewhere} == {"parameters", "seconds", "bytes_moved"}
    (warned,) = [d for d in curve.diagnostics if d.code == "bought-elsewhere"]
    assert set(warned.details["times"]) == {"parameters", "bytes_moved"}
    only = frame.select(*("optimizer", "train_flops", "loss", "seed"), more[1])
    only.write_csv(path)
    curve = api.gain(path, "adamw", "muon")
    assert {c.resource for c in curve.elsewhere} == {"modelled_joules"}
    assert "bought-elsewhere" not in {d.code for d in curve.diagnostics}


def test_what_two_kinds_of_machine_measured_is_not_compared() -> None:
    from isoloss.analysis import _check_machines
    from isoloss.errors import TableError

    runs = pl.DataFrame({"run_id": ["a", "b", "c"], "arm": ["old", "new", "other"]})
    _check_machines("joules", runs, ("old", "new"), {"a": "laptop", "b": "laptop", "c": "server"})
    _check_machines("joules", runs, ("old", "new"), {})
    with pytest.raises(TableError, match=r"joules were measured on 2 kinds of machine \(laptop; server\)"):
        _check_machines("joules", runs, ("old", "other"), {"a": "laptop", "b": "laptop", "c": "server"})

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

"""The best setting of a sweep per arm and rung, taken on request and with its winner's curse named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic
from isoloss.ledger.columns import listed


def best_settings(
    path: Path,
    frame: pl.DataFrame,
    arm: str,
    cell: pl.Series,
    resource: NDArray[np.float64],
    quality: NDArray[np.float64],
    columns: Sequence[str],
) -> tuple[NDArray[np.intp], tuple[Diagnostic, ...]]:
    """Rows of the setting of `columns` with the lowest mean quality in each `cell` (arm and rung), and cautions.

    A diverged run (inf) makes its setting's mean infinite. The minimum of noisy means is too good by chance, the more
    so the more settings an arm tried: diagnostics ``winners-curse``, ``unequal-trials`` (another number of settings
    per arm) and ``best-at-edge`` (a numeric setting whose best value is the least or the greatest that was tried).
    Raises `TableError` for an absent column.
    """
    for column in columns:
        if column not in frame.columns:
            raise TableError(f"--best-of: {path}", f"has no column '{column}'", f"columns: {listed(frame.columns)}")
    settings = frame.select(columns).with_columns(
        cell.alias("_cell"),
        frame[arm].cast(pl.String).alias("_arm"),
        pl.Series("_quality", quality),
        pl.Series("_at", resource),
    )
    settings = settings.with_row_index("_row")
    tried = settings.group_by("_cell", *columns, maintain_order=True).agg(
        pl.col("_quality").mean(), pl.col("_arm").first(), pl.col("_at").mean()
    )
    chosen = tried.sort("_quality", maintain_order=True).unique("_cell", keep="first", maintain_order=True)
    kept = settings.join(chosen.select("_cell", *columns), on=["_cell", *columns], how="semi", nulls_equal=True)
    keep = np.sort(kept["_row"].to_numpy()).astype(np.intp)
    return keep, tuple(_cautions(tried, chosen, columns))


def _cautions(tried: pl.DataFrame, chosen: pl.DataFrame, columns: Sequence[str]) -> list[Diagnostic]:
    found = []
    of = " and ".join(f"'{c}'" for c in columns)
    counts = tried.group_by("_arm", "_cell").len().group_by("_arm").agg(pl.col("len").mean()).sort("_arm")
    trials = {str(a): round(float(n), 2) for a, n in counts.iter_rows()}
    if tried.height > chosen.height:
        said = (
            f"The best mean over {of} was taken per arm and rung on the same runs that are reported, so qualities are "
            "too good by chance. Choose on other seeds than you report."
        )
        found.append(Diagnostic("winners-curse", "warning", said, {"columns": list(columns), "settings": trials}))
    if len(trials) > 1 and max(trials.values()) > min(trials.values()):
        said = f"Settings of {of} tried per rung: " + ", ".join(f"{a} {n:g}" for a, n in trials.items()) + "."
        found.append(Diagnostic("unequal-trials", "warning", said, {"settings": trials}))
    for column in columns:
        if not tried.schema[column].is_numeric():
            continue
        span = tried.group_by("_cell").agg(low=pl.col(column).min(), high=pl.col(column).max())
        at = chosen.join(span, on="_cell").filter(pl.col("low") < pl.col("high"))
        edge = at.filter((pl.col(column) == pl.col("low")) | (pl.col(column) == pl.col("high")))
        if edge.height:
            places = [f"{a} at {c:.3g}" for a, c in edge.sort("_arm", "_at").select("_arm", "_at").iter_rows()]
            shown = ", ".join(places[:6]) + (", ..." if len(places) > 6 else "")
            said = f"The best '{column}' is the least or the greatest that was tried for {shown}."
            found.append(Diagnostic("best-at-edge", "warning", said, {"column": column, "at": places}))
    return found

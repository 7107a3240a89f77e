"""NanoGPT speed-runs: time and FLOPs to one validation loss, record by record."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from isoloss.reproduce.openai import doubling_months
from isoloss.reproduce.table import Cell, Reproduction, Row, Sheet, ours_only, published, read, row

NAME = "speedrun"
TRACKS = {"small": "nanogpt_speedrun_records.csv", "medium": "nanogpt_medium_speedrun_records.csv"}
COLUMNS = {"minutes": "record_time_min", "flops": "training_flops"}


def records(folder: Path, file: str, column: str) -> pl.DataFrame:
    """Days and values of the records for which `column` is known."""
    frame = read(folder, file, ("record_num", "date", column), NAME).drop_nulls(["date", column])
    days = [date.fromisoformat(d).toordinal() for d in frame["date"].cast(pl.String)]
    return frame.select(
        "record_num", pl.Series("day", days, dtype=pl.Float64), pl.col(column).cast(float).alias("value")
    )


def reproduce(folder: Path) -> Reproduction:
    """Ratios of the first record to the last (equal loss by the rules of the race), and the pace by least squares."""
    rows: list[Row] = []
    cells: list[tuple[Cell, ...]] = []
    for track, file in TRACKS.items():
        for key, column in COLUMNS.items():
            found = records(folder, file, column)
            value = found["value"].to_numpy()
            ratio, what = float(value[0] / value[-1]), "time" if key == "minutes" else "FLOPs"
            label = f"{track} track: times less {what}, records {found['record_num'][0]} to {found['record_num'][-1]}"
            rows.append(row(NAME, key, label, ratio) if track == "small" else ours_only(label, ratio))
            months, ends = doubling_months(found["day"].to_numpy(), value)
            half = int(np.searchsorted(found["day"].to_numpy(), (found["day"][0] + found["day"][-1]) / 2))
            late = doubling_months(found["day"].to_numpy()[half:], value[half:])[0]
            cells.append((track, what, found.height, months, f"{ends[0]:.1f} to {ends[1]:.1f}", late))
    about = published(NAME)
    findings = (
        "A record is a record: no run is repeated and every one is the best of many tries, so a ratio has no "
        "interval and the "
        "interval of a pace is that of a line through a selected path, whose points depend on one another.",
        f"On the small track time falls {rows[0].ours:.1f} times and FLOPs {rows[1].ours:.1f} times: little of the "
        "gain is "
        "faster use of the machine.",
        f"The small track halved its time every {cells[0][3]:.1f} months over the whole race and every "
        f"{cells[0][5]:.1f} in its "
        "second half: a single exponential is a poor summary.",
    )
    return Reproduction(
        NAME, about["title"], about["paper"], about["claim"],
        "Plain ratios (gains of mode exact), and a straight line of log2 of each record on its date.",
        tuple(rows),
        (
            Sheet(
                "Months in which a record halves",
                ("track", "resource", "records", "months", "95%", "second half of the race"),
                tuple(cells),
            ),
        ),
        findings,
    )  # fmt: skip

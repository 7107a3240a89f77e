"""Hernandez & Brown 2020: compute to reach AlexNet's level, by year."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from isoloss.reproduce.table import Array, Interval, Reproduction, Sheet, ours_only, published, read, row

NAME = "openai"
_COMPUTE = "Compute (teraflops-s/days)"
_MONTH = 365.25 / 12  # days


def ratio(old: str, new: str) -> tuple[float, Interval]:
    """``old / new`` of two printed amounts, and what it may be between given their rounding.

    >>> ratio("3.1", "0.069")[0]
    44.92753623188406
    """
    ends = [_rounding(old), _rounding(new)]
    return float(old) / float(new), (ends[0][0] / ends[1][1], ends[0][1] / ends[1][0])


def doubling_months(when: Array, compute: Array) -> tuple[float, Interval]:
    """Months in which the compute halves: least squares of ``log2(1 / compute)`` on time (days), t interval."""
    fit = stats.linregress(when / _MONTH, -np.log2(compute))
    half = float(stats.t.ppf(0.975, len(when) - 2)) * float(fit.stderr)
    return 1 / float(fit.slope), (1 / (float(fit.slope) + half), 1 / (float(fit.slope) - half))


def reproduce(folder: Path) -> Reproduction:
    """Ratios of published training compute at equal quality (no law: single published runs), and their growth.

    Source: arXiv 2005.04305. The interval of a ratio is that of the rounding of its two amounts, nothing else.
    """
    frame = read(
        folder, "efficiency_sota.csv", ("Metric", "Publication Date", "Publication", _COMPUTE), "openai-efficiency"
    )
    frame = frame.with_columns(pl.col(_COMPUTE).cast(pl.String))
    rows, cells = [], []
    said = "single published figures: the interval is rounding alone"
    contradicts = "the table contradicts itself: its reduction factor is not the ratio of its two amounts of compute"
    named = {"AlexNet": "alexnet", "ResNet-50": "resnet", "Seq2Seq": "seq2seq", "GNMT": "gnmt"}
    for metric, key in named.items():
        mine = frame.filter(pl.col("Metric") == metric)
        first, last = mine.row(0, named=True), mine.row(-1, named=True)
        value, ends = ratio(first[_COMPUTE], last[_COMPUTE])
        why = contradicts if key == "resnet" else said
        rows.append(row(NAME, key, f"{first['Publication']} to {last['Publication']}, times less", value, ends, why))
    alexnet = frame.filter(pl.col("Metric") == "AlexNet")
    when = np.array([_day(d) for d in alexnet["Publication Date"]], float)
    compute = alexnet[_COMPUTE].cast(float).to_numpy()
    months, ends = doubling_months(when, compute)
    rows.append(row(NAME, "doubling", "halving time over the six AlexNet records, months", months, ends))
    pace = (when[-1] - when[0]) / _MONTH / np.log2(compute[0] / compute[-1])
    rows.append(ours_only("halving time from the first and last record, months", float(pace)))
    for k in range(len(compute)):
        keep = np.arange(len(compute)) != k
        without, bounds = doubling_months(when[keep], compute[keep])
        cells.append((alexnet["Publication"][k], without, f"{bounds[0]:.1f} to {bounds[1]:.1f}"))
    about = published(NAME)
    findings = (
        f"Six records give {months:.1f} months with a 95% interval of {ends[0]:.1f} to {ends[1]:.1f}; the paper "
        "prints 16 "
        "and no interval.",
        "Records are a selection (only improvements enter) and each rests on one training recipe of its paper, so "
        "that the "
        "interval is that of the line, not of the field; batch size, augmentation and tuning differ between the "
        "papers.",
        "44.9 is the ratio of the two printed amounts; 44 is within their rounding.",
    )
    return Reproduction(
        NAME, about["title"], about["paper"], about["claim"],
        "Plain ratios of the compute column within each benchmark (gains of mode exact: equal quality by "
        "construction), and a "
        "straight line through log2 of the AlexNet records against their dates.",
        tuple(rows),
        (Sheet("Halving time with one record left out", ("left out", "months", "95%"), tuple(cells)),),
        findings,
    )  # fmt: skip


def _rounding(printed: str) -> tuple[float, float]:
    half = 0.5 * 10.0 ** -len(printed.rstrip("0").partition(".")[2]) if float(printed) % 1 else 0.5
    return float(printed) - half, float(printed) + half


def _day(text: str) -> int:
    month, day, year = (int(part) for part in text.split("/"))
    return date(year, month, day).toordinal()

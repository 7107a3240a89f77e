"""What a design can tell: its smallest resolvable gain, by what noise and steepness, and what it can never tell."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from isoloss.gains.power import smallest_resolvable_gain
from isoloss.study import Study
from isoloss.tasks import Task

#: Relative seed noise of quality, and local exponent, assumed where nobody has measured any.
ASSUMED_SD = 0.005
ASSUMED_EXPONENT = 0.08


def resolution(study: Study, task: type[Task], frame: pl.DataFrame) -> tuple[float | None, str]:
    """The smallest gain that `study` tells from 1 at one rung with 80% power, and what the figure rests on; None where
    no rung has two report seeds."""
    seeds = max(study.report_seeds(rung) for rung in study.ladder.rungs)
    if seeds < 2:
        return None, "one report seed a rung shows no noise"
    sd, exponent, source = expected(study, task, frame)
    return smallest_resolvable_gain(study.report.seeds, sd, exponent, rungs=len(study.ladder.rungs)), source


def expected(study: Study, task: type[Task], frame: pl.DataFrame) -> tuple[float, float, str]:
    """Relative seed noise of quality and local exponent: of the study's own runs; else what the task's results show;
    else assumed."""
    own = measured_noise(frame)
    if own is not None:
        return *own, f"seed noise {own[0]:.1%} and local exponent {own[1]:.3f} measured on this study's runs"
    if task.expected is None:
        said = f"assuming {ASSUMED_SD:.1%} seed noise and a local exponent of {ASSUMED_EXPONENT}: guesses, for no"
        return ASSUMED_SD, ASSUMED_EXPONENT, f"{said} result on {study.task.name} is at hand"
    sd = task.expected.noise
    exponent = task.expected.exponents.get(study.ladder.resource)
    if exponent is None:
        said = f"expecting {sd:.1%} seed noise ({task.expected.source}) and guessing a local exponent of"
        return sd, ASSUMED_EXPONENT, f"{said} {ASSUMED_EXPONENT}, measured for no ladder over {study.ladder.resource}"
    return sd, exponent, f"expecting {sd:.1%} seed noise and a local exponent of {exponent:g} ({task.expected.source})"


def measured_noise(frame: pl.DataFrame) -> tuple[float, float] | None:
    """Pooled SD between seeds of ln quality, and the median over arms of ``-d ln quality / d ln budget``, of the report
    runs in `frame` (columns of `isoloss.ledger.table`); None unless two rungs have several seeds."""
    runs = frame.filter((pl.col("purpose") == "report") & (pl.col("status") == "finished") & (pl.col("test") > 0))
    groups = runs.group_by("arm", "rung", maintain_order=True).agg(
        pl.col("test").log().var().alias("var"), pl.len(), pl.col("test").mean()
    )
    groups = groups.filter(pl.col("len") > 1)
    if groups.height < 2 or groups["rung"].n_unique() < 2:
        return None
    sd = math.sqrt(float(np.average(groups["var"].to_numpy(), weights=(groups["len"] - 1).to_numpy())))
    slopes = []
    for _, rows in groups.group_by("arm"):
        if rows.height > 1:
            slopes.append(-np.polyfit(np.log(rows["rung"].to_numpy()), np.log(rows["test"].to_numpy()), 1)[0])
    return sd, max(float(np.median(slopes)), 1e-3) if slopes else ASSUMED_EXPONENT


def limits(study: Study) -> list[str]:
    """What no run of `study` can tell, for want of seeds or rungs."""
    found = []
    if max(study.report_seeds(rung) for rung in study.ladder.rungs) < 2:
        found.append(
            "One report seed a rung: no interval can come of it, and the verdict will be unknown; set report.seeds to "
            "3 or more."
        )
    if len(study.ladder.rungs) < 3:
        found.append(
            "Two rungs: no law can come of it, for any two points lie on one; gains are measured between them, without "
            "a check of the trend. List three rungs or more."
        )
    return found

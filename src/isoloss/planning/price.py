"""What a study costs before it is run: FLOPs by formula, minutes by measured rates, and what it can tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import polars as pl

from isoloss.ledger.table import RunTable
from isoloss.planning.plan import PlannedRun
from isoloss.planning.propose import propose
from isoloss.planning.resolution import limits, resolution
from isoloss.planning.specs import Values, arm_algorithm, grid, planned
from isoloss.planning.tuning import tuned
from isoloss.study import Study
from isoloss.tasks import tasks

#: Arm and rung.
Cell = tuple[str, float]
#: Counted FLOPs this far from the formula's are worth a word.
PRICE_TOLERANCE = 0.02
#: The round that tries the predicted choices, where only the first rungs are swept whole.
CHECKING = 3


@dataclass(frozen=True)
class RoundPrice:
    """What a round would run: runs, training FLOPs."""

    phase: str
    runs: int
    flops: float


@dataclass(frozen=True)
class PlanSummary:
    """What a study would run from here on. Widening is not known before tuning: `rounds` lists it when due.

    `minutes`: estimate on this machine, None where no rate is known; `smallest_gain`: what the design can resolve with
    80% power at one rung, None where it can have no interval; `cautions`: what is worth a word before it is run.
    """

    study: str
    question: str
    resource: str
    rungs: tuple[float, ...]
    arms: dict[str, dict[str, Any]]
    rounds: tuple[RoundPrice, ...]
    flops: float
    done_runs: int
    workers: int
    minutes: float | None
    smallest_gain: float | None
    smallest_gain_from: str
    cautions: tuple[str, ...] = ()


def ahead(study: Study, table: RunTable) -> tuple[list[RoundPrice], list[PlannedRun]]:
    """The rounds that are due or foreseeable, and their runs (report runs priced at the middle of each grid)."""
    due = propose(study, table)
    rounds = [RoundPrice(due.phase, len(due.runs), due.flops)] if due.runs else []
    runs = list(due.runs)
    if study.carried_rungs and due.round < CHECKING:
        later = _checking_estimate(study)
        rounds.append(RoundPrice("checking", len(later), sum(r.flops for r in later)))
        runs += later
    if due.phase not in ("reporting", "done"):
        later = _reporting_estimate(study)
        rounds.append(RoundPrice("reporting", len(later), sum(r.flops for r in later)))
        runs += later
    return rounds, runs


def samples(study: Study, runs: Iterable[PlannedRun]) -> dict[Cell, list[PlannedRun]]:
    """Of each arm and rung among `runs`, the first and last trial of its grid: runs to time for `summarise`."""
    cells = dict.fromkeys((r.arm, r.rung) for r in runs)
    ends = {(arm, rung): (grid(study, arm)[0], grid(study, arm)[-1]) for arm, rung in cells}
    return {cell: [planned(study, *cell, values, 1, "tune") for values in both] for cell, both in ends.items()}


def known_seconds(table: RunTable) -> dict[Cell, float]:
    """Mean seconds of a run by arm and rung, as far as the table knows."""
    means = table.frame.filter(pl.col("status") == "finished").group_by("arm", "rung").agg(pl.col("seconds").mean())
    return {(row["arm"], row["rung"]): row["seconds"] for row in means.drop_nulls().iter_rows(named=True)}


def is_off(ratio: float) -> bool:
    """Whether counted FLOPs over those of the algorithm's formula are too far from 1."""
    return abs(math.log(ratio)) > math.log1p(PRICE_TOLERANCE)


def price_caution(arm: str, ratio: float) -> str:
    """What is wrong where `is_off`, and what it costs."""
    return (
        f"{arm}: counted FLOPs are {ratio:.3f} times those of its algorithm's formula (train_flops): mend the formula, "
        "or prices and budgets of this arm are wrong by as much."
    )


def unequal_cautions(study: Study) -> list[str]:
    """Comparisons whose sides are tuned by unequal numbers of trials a rung."""
    tried = {name: len(grid(study, name)) for name in study.arms}
    pairs = [(c.baseline, c.candidate) for c in study.comparisons if c.mode != "exact"]
    return [
        f"Tuned unequally: {candidate} by {tried[candidate]} trials a rung, {baseline} by {tried[baseline]}; the gain "
        f"may be one of tuning. [tuning] gives seeds and budget, each arm's own `sweep` its trials."
        for baseline, candidate in dict.fromkeys(pairs)
        if tried[baseline] != tried[candidate]
    ]


def summarise(
    study: Study,
    table: RunTable,
    seconds: Mapping[Cell, float],
    workers: int,
    ratios: Mapping[str, float] = MappingProxyType({}),
) -> PlanSummary:
    """The plan of a study from what its ledger already holds; `seconds`: (arm, rung) -> of one run on one worker;
    `ratios`: arm -> counted FLOPs over its formula's, where runs were timed."""
    rounds, runs = ahead(study, table)
    known = all((r.arm, r.rung) in seconds for r in runs)
    total = sum(seconds[r.arm, r.rung] for r in runs) if known else None
    smallest, source = resolution(study, tasks.get(study.task.name), table.frame)
    return PlanSummary(
        study=study.name,
        question=study.question,
        resource=study.ladder.resource,
        rungs=study.ladder.rungs,
        arms={
            name: {"algorithm": arm_algorithm(study, name)[0], "trials": len(grid(study, name)) if arm.sweep else 0}
            for name, arm in study.arms.items()
        },
        rounds=tuple(rounds),
        flops=sum(r.flops for r in runs),
        done_runs=table.frame.height,
        workers=workers,
        minutes=None if total is None else total / workers / 60,
        smallest_gain=smallest,
        smallest_gain_from=source,
        cautions=(
            *limits(study),
            *unequal_cautions(study),
            *(price_caution(arm, ratio) for arm, ratio in ratios.items() if is_off(ratio)),
        ),
    )


def _reporting_estimate(study: Study) -> list[PlannedRun]:
    """Report runs priced at the middle of each grid: which trial will be chosen is not known yet."""
    return [
        planned(study, arm, rung, _middle(study, arm), s, "report")
        for rung in study.ladder.rungs
        for arm in study.arms
        for s in range(1, study.report_seeds(rung) + 1)
    ]


def _checking_estimate(study: Study) -> list[PlannedRun]:
    """Trials around predictions that are not known yet, priced as report runs are."""
    return [
        planned(study, arm, rung, _middle(study, arm), s, "tune")
        for rung in study.carried_rungs
        for arm in tuned(study)
        for s in range(1, study.tuning.check * study.tuning.seeds + 1)
    ]


def _middle(study: Study, arm: str) -> Values:
    values = grid(study, arm)
    return values[len(values) // 2]

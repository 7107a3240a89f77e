"""The verb that says what to run next, from anybody's runs or from a study and its ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import IsolossError, StudyError, TableError, located

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.gains.arms import ArmRuns
    from isoloss.ledger.external import ExternalRuns
    from isoloss.planning.next_runs import NextRuns, Target
    from isoloss.planning.shop import Choices
    from isoloss.verbs.studies import OpenStudy


@dataclass(frozen=True)
class NextReport:
    """What to run next for each comparison; budgets are amounts of `resource`, costs of `cost_in`."""

    resource: str
    cost_in: str
    proposals: tuple[NextRuns, ...]


def next_runs(
    runs: str | os.PathLike[str],
    baseline: str | None = None,
    candidate: str | None = None,
    *,
    target: Target = "both",
    spend: float | None = None,
    budgets: Sequence[float] = (),
    most: int = 64,
    resource: str | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    seed_column: str | None = None,
    rung_column: str | None = None,
    where: Sequence[str] = (),
    best_of: Sequence[str] = (),
    best: float | None = None,
    floor: str | float | None = None,
    ledger: str | None = None,
    draws: int = 4000,
) -> NextReport:
    """The next runs that would settle the verdict of `gain` most cheaply (`isoloss.planning.next_runs`).

    `runs` is what `gain` reads, and then costs are amounts of its resource and choices are the columns that agree
    within every arm and rung; or a study file (.toml), whose comparisons (those that `baseline` and `candidate` leave)
    are read from its ledger: then costs are training FLOPs and choices are the tuned ones, carried to the nearest
    rung. Raises `TableError`, `StudyError` or `UnknownNameError` in one line.
    """
    if Path(runs).suffix.lower() == ".toml":
        table_only = {
            "--resource": resource, "--quality": quality, "--arm-column": arm_column, "--seed-column": seed_column,
            "--rung-column": rung_column, "--where": where, "--best-of": best_of, "--best": best,
        }  # fmt: skip
        given = next((flag for flag, value in table_only.items() if value), None)
        if given is not None:
            raise StudyError(given, "belongs to a table of runs, and a study says it itself", "leave it away")
        return _of_study(runs, baseline, candidate, ledger, floor, target, spend, budgets, most, draws)
    if baseline is None or candidate is None:
        raise TableError(runs, "which arms?", "name them with --baseline and --candidate")
    from isoloss.ledger.external import read_runs, select_arms
    from isoloss.planning.next_runs import next_runs as propose

    table = read_runs(
        Path(runs), where=where, arms=(baseline, candidate), arm=arm_column, resource=resource, quality=quality,
        seed=seed_column, rung=rung_column,
    )  # fmt: skip
    (old, new), _ = select_arms(table, (baseline, candidate), best, best_of)
    with located(table.path):
        found = propose(
            old, new, target=target, budgets=budgets, spend=spend, most=most, draws=draws,
            choices=_table_choices(table, (old, new)), floor="shared" if floor is None else floor,
        )  # fmt: skip
    return NextReport(table.roles["resource"], table.roles["resource"], (found,))


def next_json(report: NextReport) -> dict[str, Any]:
    """The answer of ``isoloss next --json``."""
    from isoloss.gains.result import to_json

    return dict(to_json(report))


def _table_choices(table: ExternalRuns, arms: tuple[ArmRuns, ArmRuns]) -> Choices:
    """(arm, budget) -> what the other columns say of every run there, for columns that agree within every cell.

    Columns that hold an amount or a quality are results, not choices; nothing can be told where no cell has two runs.
    """
    import numpy as np
    import polars as pl

    from isoloss.ledger.columns import GUESSES, plain_name
    from isoloss.runs import RESOURCES

    results = {*RESOURCES, *(name for role in GUESSES for name in GUESSES[role] if role != "arm")}
    named = [c for c in table.frame.columns if c not in table.roles.values() and plain_name(c) not in results]
    labels = table.frame[table.roles["arm"]].cast(pl.String)
    amounts, raw = table.numbers("resource"), table.frame[table.roles["quality"]]
    cells: list[tuple[tuple[str, float], pl.DataFrame]] = []
    for arm in arms:
        for rung in np.unique(arm.rung):
            here = np.isin(amounts, arm.resource[arm.rung == rung]) & (labels == arm.name).to_numpy()
            budget = float(f"{np.exp(np.mean(np.log(arm.resource[arm.rung == rung]))):.12g}")
            cells.append(((arm.name, budget), table.frame.filter(pl.Series(here) & raw.is_not_null())))
    agreed = [c for c in named if all(cell[c].n_unique() == 1 and cell[c][0] is not None for _, cell in cells)]
    if not any(cell.height > 1 for _, cell in cells):
        return {}
    return {key: {c: cell[c][0] for c in agreed} for key, cell in cells}


def _of_study(
    path: str | os.PathLike[str],
    baseline: str | None,
    candidate: str | None,
    ledger: str | None,
    floor: str | float | None,
    target: Target,
    spend: float | None,
    budgets: Sequence[float],
    most: int,
    draws: int,
) -> NextReport:
    import polars as pl

    from isoloss.analysis import arm_runs
    from isoloss.ledger.store import Ledger
    from isoloss.planning.next_runs import next_runs as propose
    from isoloss.planning.propose import propose as next_round
    from isoloss.planning.specs import study_task
    from isoloss.verbs.studies import ledger_url, open_study

    opened = open_study(path)
    study, task = opened.study, study_task(opened.study)
    store = Ledger(ledger_url(ledger), create=False)
    try:
        table = store.table(study)
    finally:
        store.close()
    due = next_round(study, table)
    if due.runs:
        what = f"{len(due.runs)} runs of its {due.phase} round are outstanding"
        raise StudyError(path, what, f"finish them first: isoloss run {path}")
    along = [c for c in study.comparisons if c.mode == "curve" and c.resource in (None, study.ladder.resource)]
    wanted = [c for c in along if baseline in (None, c.baseline) and candidate in (None, c.candidate)]
    if not wanted:
        pairs = ", ".join(f"{c.candidate} against {c.baseline}" for c in along) or "none"
        raise StudyError(path, "has no such comparison along its ladder", f"it has: {pairs}")
    reported = table.frame.filter(pl.col("purpose") == "report")
    choices = _study_choices(opened, reported)
    declared = task.floor.kind if task.floor.value is None else task.floor.value
    asked = next(f for f in (floor, study.floor, declared) if f is not None)
    found = tuple(
        propose(
            arm_runs(study, task, reported, pair.baseline),
            arm_runs(study, task, reported, pair.candidate),
            target=target,
            budgets=budgets,
            price=lambda arm, budget: _study_price(opened, choices, arm, budget),
            spend=spend,
            most=most,
            draws=draws,
            choices=choices,
            floor=asked,
        )
        for pair in wanted
    )
    return NextReport(study.ladder.resource, "train_flops", found)


def _study_choices(opened: OpenStudy, reported: Any) -> Choices:
    """(arm, rung) -> the swept choices of its report runs, which tuning chose."""
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for row in reported.iter_rows(named=True):
        swept = opened.study.arms[row["arm"]].sweep
        said = json.loads(row["choices"])
        found.setdefault((row["arm"], float(row["rung"])), {name: said[name] for name in swept if name in said})
    return found


def _study_price(opened: OpenStudy, choices: Choices, arm: str, budget: float) -> float:
    """Training FLOPs of one run by the algorithm's own formula; ``inf`` where it can't be run at this budget."""
    import math

    from isoloss.planning.specs import planned

    known = [(abs(math.log(rung / budget)), rung) for name, rung in choices if name == arm]
    values = dict(choices[arm, min(known)[1]]) if known else {}
    try:
        return float(planned(opened.study, arm, budget, values, 1, "report").flops)
    except IsolossError:
        return math.inf

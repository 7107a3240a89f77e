"""From a study and its ledger to everything its page says: comparisons, tuning, costs elsewhere, diagnostics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from isoloss.diagnosis import diagnose
from isoloss.errors import TableError
from isoloss.gains import ArmRuns, compare
from isoloss.gains.analysis import ArmSummary, Carried, StudyResult, Trial
from isoloss.gains.elsewhere import costs_elsewhere, lines_of
from isoloss.gains.result import GainCurve
from isoloss.ledger.table import RunTable
from isoloss.planning.propose import propose
from isoloss.planning.specs import arm_algorithm, study_task
from isoloss.planning.tuning import Tuning, edges, rows_by_id, tuned
from isoloss.planning.tuning import best as best_trial
from isoloss.runs import MACHINE_RESOURCES, RESOURCES
from isoloss.study import Study
from isoloss.tasks import Task

#: Runs that are compared one by one must have qualities this close, relatively: equal but for the order of sums.
EXACT_TOLERANCE = 1e-5
#: Not what a run costs: how often it was updated, and another count of the same compute.
_NO_COST = frozenset({"steps", "six_nd_flops"})


def analyse(
    study: Study,
    table: RunTable,
    *,
    curves: Mapping[str, Mapping[str, list[float]]] | None = None,
    provenance: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    machines: Mapping[str, str] | None = None,
    draws: int = 4000,
) -> StudyResult:
    """The result of `study` as far as `table` goes; pure but for the registries.

    `machines`: run id -> kind of machine; what is measured on machines of two kinds is not compared.
    """
    task = study_task(study)
    floor = study.floor if study.floor is not None else _task_floor(task)
    plan = propose(study, table)
    missing = []
    if plan.runs:
        missing.append(
            f"{len(plan.runs)} runs of the {plan.phase} round are outstanding: run the study again to go on."
        )
    reported = table.frame.filter(pl.col("purpose") == "report")
    comparisons: list[GainCurve] = []
    arms: dict[tuple[str, str], ArmRuns] = {}
    for pair in study.comparisons:
        resource = pair.resource or study.ladder.resource
        crashed = [_crashed(table, name) for name in (pair.baseline, pair.candidate)]
        if any(crashed):
            lost = ", ".join(filter(None, crashed))
            missing.append(f"{pair.candidate} against {pair.baseline}: {lost}; mend that and run the study again")
            continue
        try:
            if resource in MACHINE_RESOURCES:
                _check_machines(resource, reported, (pair.baseline, pair.candidate), machines or {})
            for name in (pair.baseline, pair.candidate):
                if (name, resource) not in arms:
                    arms[name, resource] = arm_runs(study, task, reported, name, resource)
            curve = compare(
                arms[pair.baseline, resource],
                arms[pair.candidate, resource],
                resource=resource,
                quality=task.quality,
                floor=floor,
                mode=pair.mode,
                draws=draws,
                tolerance=EXACT_TOLERANCE,
            )
            twin = study.is_twin(pair)
            # an A/A copy has seeds of its own on purpose
            said = tuple(d for d in curve.diagnostics if not (twin and d.code == "unpaired-seeds"))
            comparisons.append(replace(curve, innovation=pair.innovation, twin=twin, diagnostics=said))
        except TableError as error:
            missing.append(f"{pair.candidate} against {pair.baseline}: {error}")
    lines = {key: lines_of(arm) for key, arm in arms.items()}
    costs = tuple(
        c
        for curve in comparisons
        for c in costs_elsewhere(curve, lines[curve.baseline, curve.resource], lines[curve.candidate, curve.resource])
    )
    tuning = Tuning(study, rows_by_id(table))
    trials = tuple(_trials(tuning, task))
    carried = tuple(_carried(tuning))
    summary = {
        name: ([float(x) for x in c["train_flops"]], [float(x) for x in c["train_loss"]])
        for name, c in (curves or {}).items()
        if c.get("train_flops")
    }
    return StudyResult(
        study=study.name,
        question=study.question,
        resource=study.ladder.resource,
        resource_unit=RESOURCES[study.ladder.resource][0],
        quality=task.quality,
        quality_unit=task.unit,
        direction=task.direction,
        best=task.best,
        floor=str(floor),
        comparisons=tuple(comparisons),
        costs=costs,
        arms=tuple(_arms(study, table)),
        trials=trials,
        diagnostics=tuple(diagnose(study, table, trials, carried, costs, comparisons)),
        missing=tuple(missing),
        counts=dict(Counter(table.frame["status"].to_list())),
        facts=dict(facts or {}),
        provenance=dict(provenance or {}),
        runs=tuple(table.frame.select([c for c in table.frame.columns if c != "study"]).iter_rows(named=True)),
        curves=summary,
        carried=carried,
    )


def _crashed(table: RunTable, arm: str) -> str:
    """That all runs of `arm` so far failed, with their number; empty where one did not, or none was made."""
    status = table.frame.filter(pl.col("arm") == arm)["status"]
    return f"all {len(status)} runs of {arm} failed" if len(status) and (status == "failed").all() else ""


def _check_machines(resource: str, reported: pl.DataFrame, arms: tuple[str, ...], machines: Mapping[str, str]) -> None:
    """Raise `TableError` unless the reported runs of `arms` come from machines of one kind, as far as known."""
    ran = reported.filter(pl.col("arm").is_in(arms))["run_id"].to_list()
    kinds = sorted({machines[run_id] for run_id in ran if run_id in machines})
    if len(kinds) > 1:
        what = f"{resource} were measured on {len(kinds)} kinds of machine ({'; '.join(kinds)[:160]})"
        raise TableError(f"comparisons: {' and '.join(arms)}", what, "run the study on one kind")


def arm_runs(study: Study, task: Task, reported: pl.DataFrame, arm: str, resource: str = "") -> ArmRuns:
    """The reported runs of an arm as arrays: quality on the test split, lower better, ``inf`` for a miss.

    `resource`: what is spent, the ladder's where it is left out. Raises `TableError` where finished runs did not
    record it.
    """
    resource = resource or study.ladder.resource
    frame = reported.filter(pl.col("arm") == arm)
    finished = frame["status"].to_numpy() == "finished"
    # no error among n examples is known to be below 1/n and no more: half of that, as a logarithm needs something
    least = (task.resolution or 0.0) / 2
    losses = [task.loss(q) or least for q in frame["test"].cast(pl.Float64).fill_null(np.nan)]
    quality = np.where(finished, losses, np.inf)
    amount = frame[resource].cast(pl.Float64).fill_null(np.nan).to_numpy()
    planned = frame["rung"].to_numpy()
    per_budget = 1.0
    if resource != study.ladder.resource:
        known = finished & (amount > 0)
        if not known.any() or (finished & ~known).any():
            raise TableError(f"comparisons: arm '{arm}'", f"has runs without {resource}", "compare another resource")
        per_budget = float(np.median(amount[known] / planned[known]))
    return ArmRuns(
        name=arm,
        # one that failed or diverged early stopped short of its budget: a miss at the rung that it was meant for
        resource=np.where(finished & np.isfinite(amount), amount, per_budget * planned).astype(np.float64),
        quality=quality.astype(np.float64),
        rung=np.searchsorted(np.array(study.ladder.rungs), planned).astype(np.int64),
        pair=frame["seed"].cast(pl.String).to_numpy().astype(np.str_),
        cluster=frame["cluster"].to_numpy().astype(np.str_),
        others=_others(resource, frame, finished),
    )


def _others(resource: str, frame: pl.DataFrame, finished: np.ndarray) -> dict[str, np.ndarray]:
    """What the runs used of every resource that doesn't depend on the machine, where all finished ones recorded it."""
    found = {}
    for name in RESOURCES:
        if name == resource or name in MACHINE_RESOURCES | _NO_COST or name not in frame.columns:
            continue
        amount = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if finished.any() and np.all(amount[finished] > 0):
            found[name] = amount
    return found


def _task_floor(task: Task) -> str | float:
    if task.floor.kind == "known":
        assert task.floor.value is not None
        return task.floor.value
    return task.floor.kind


def _trials(tuning: Tuning, task: Task) -> list[Trial]:
    study, found = tuning.study, []
    for rung in study.ladder.rungs:
        for arm in tuned(study):
            trials = [t for t in tuning.trials(arm, rung) if not math.isnan(t.loss)]
            if not trials:
                continue
            final = [t for t in tuning.finalists(arm, rung) if not math.isnan(t.loss)]
            chosen = best_trial(final) if final else best_trial(trials)
            predicted = tuning.check(arm, rung)[:1] if rung in study.carried_rungs else []
            # of trials that all crashed none is best
            at_edge = {} if tuning.lost(arm, rung) else edges(study.arms[arm].sweep, trials, chosen)
            second_look = {tuple(t.values.items()): t for t in final}
            for t in trials:
                shown = second_look.get(tuple(t.values.items()), t)
                is_chosen = t.values == chosen.values
                found.append(
                    Trial(
                        arm=arm,
                        rung=rung,
                        values={k: float(v) for k, v in t.values.items()},
                        quality=task.loss(shown.loss) if math.isfinite(shown.loss) else None,
                        seeds=len(shown.run_ids),
                        chosen=is_chosen,
                        edges=tuple(at_edge) if is_chosen else (),
                        added=t.added,
                        predicted=t.values in predicted,
                        dropped=t.dropped,
                    )
                )
    return found


def _carried(tuning: Tuning) -> list[Carried]:
    study, found = tuning.study, []
    for arm in tuned(study):
        laws = tuning.laws(arm)
        for rung in study.carried_rungs if laws else ():
            final = [t for t in tuning.finalists(arm, rung) if not math.isnan(t.loss)]
            for name, law in (laws or {}).items() if final else ():
                predicted, chosen = tuning.check(arm, rung)[0][name], best_trial(final).values[name]
                slopes = (law.slope, law.raw_slope, law.slope_se)
                line = law.unheld(rung), law.unheld(rung) != law.at(rung)
                found.append(Carried(arm, name, rung, *slopes, float(predicted), float(chosen), *line))
    return found


def _arms(study: Study, table: RunTable) -> list[ArmSummary]:
    from isoloss.algorithms import algorithms

    found = []
    for name, arm in study.arms.items():
        algorithm, choices = arm_algorithm(study, name)
        card = algorithms.get(algorithm).card
        rows = table.frame.filter(pl.col("arm") == name)
        tune, report = (rows.filter(pl.col("purpose") == p) for p in ("tune", "report"))
        found.append(
            ArmSummary(
                name=name,
                algorithm=algorithm,
                version=card.version,
                year=card.year,
                source=card.source,
                claim=card.claim,
                settings=choices,
                tune_runs=tune.height,
                tune_flops=float(tune["train_flops"].fill_null(0).sum()),
                report_runs=report.height,
                report_flops=float(report["train_flops"].fill_null(0).sum()),
                innovations=arm.innovations,
                without=arm.without,
                twin=arm.twin,
            )
        )
    return found

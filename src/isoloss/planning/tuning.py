"""Equal tuning: which trials exist, which is best, how a sweep widens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from isoloss.ledger.table import RunTable
from isoloss.planning.specs import Values, grid, planned
from isoloss.study import Axis, Study, geometric_middle
from isoloss.tasks import tasks

#: run id -> row of the run table
Rows = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class TrialState:
    """A trial at a rung: its swept `values` and what its seeds gave.

    `loss` is the mean `Task.loss` of the validation quality, ``inf`` where any seed diverged or failed (a miss counts
    as infinite), NaN while a seed is outstanding. `run_ids` are its tuning runs.
    """

    values: Values
    loss: float
    run_ids: tuple[str, ...]
    added: bool = False


def rows_by_id(table: RunTable) -> Rows:
    """The table's rows by run id."""
    return {row["run_id"]: row for row in table.frame.iter_rows(named=True)}


def trial(
    study: Study, rows: Rows, arm: str, rung: float, values: Values, seeds: int, added: bool = False
) -> TrialState:
    """The state of one trial over tuning seeds 1..`seeds`."""
    task = tasks.get(study.task.name)
    ids = tuple(planned(study, arm, rung, values, s, "tune").spec.run_id for s in range(1, seeds + 1))
    losses = []
    for run_id in ids:
        row = rows.get(run_id)
        if row is None:
            losses.append(math.nan)
        elif row["status"] != "finished" or row["validation"] is None:
            losses.append(math.inf)
        else:
            losses.append(task.loss(float(row["validation"])))  # type: ignore[arg-type]
    return TrialState(values, sum(losses) / len(losses), ids, added)


def tuned(study: Study) -> list[str]:
    """The arms that sweep anything."""
    return [name for name, arm in study.arms.items() if arm.sweep]


def first_trials(study: Study, rows: Rows, arm: str, rung: float) -> list[TrialState]:
    """The grid's trials."""
    return [trial(study, rows, arm, rung, v, study.tuning.seeds) for v in grid(study, arm)]


def best(trials: list[TrialState]) -> TrialState:
    """The trial of least loss; the first of equals, so that the choice is a function of the table alone."""
    return min(trials, key=lambda t: (math.isnan(t.loss), t.loss))


def edges(axes: Mapping[str, Axis], trials: list[TrialState], chosen: TrialState) -> dict[str, float | int]:
    """Swept choices whose chosen value is the least or greatest tried, and the next value past it.

    A choice with one value, or at its natural limit, has no edge.
    """
    found: dict[str, float | int] = {}
    for name, axis in axes.items():
        tried = sorted({t.values[name] for t in trials})
        if len(tried) < 2:
            continue
        value = chosen.values[name]
        if value == tried[0]:
            beyond = axis.beyond(value, "low")
        elif value == tried[-1]:
            beyond = axis.beyond(value, "high")
        else:
            continue
        if beyond is not None and beyond != value:
            found[name] = beyond
    return found


def widened_values(study: Study, rows: Rows, rung: float) -> dict[str, list[Values]]:
    """Arm -> the values of its extra trials at `rung`: past the edge where the best lies at one, and for every arm
    as many in all, halfway between its best and its neighbours. Empty lists where no arm is at an edge."""
    trials = {arm: first_trials(study, rows, arm, rung) for arm in tuned(study)}
    chosen = {arm: best(t) for arm, t in trials.items()}
    outward: dict[str, list[Values]] = {
        arm: [
            {**chosen[arm].values, name: value}
            for name, value in edges(study.arms[arm].sweep, trials[arm], chosen[arm]).items()
        ]
        for arm in trials
    }
    extra = max((len(v) for v in outward.values()), default=0)
    return {arm: [*outward[arm], *_between(study.arms[arm].sweep, trials[arm], chosen[arm])][:extra] for arm in trials}


def all_trials(study: Study, rows: Rows, arm: str, rung: float) -> list[TrialState]:
    """Grid and widening trials of an arm at a rung, finalists judged on all their seeds."""
    trials = first_trials(study, rows, arm, rung)
    if study.tuning.widen and not any(math.isnan(t.loss) for t in _everyone(study, rows, rung)):
        extra = widened_values(study, rows, rung)[arm]
        trials += [trial(study, rows, arm, rung, v, study.tuning.seeds, added=True) for v in extra]
    return trials


def finalists(study: Study, rows: Rows, arm: str, rung: float) -> list[TrialState]:
    """The trials that get more seeds, judged on the mean over all of them; the single best without a second look."""
    ranked = sorted(all_trials(study, rows, arm, rung), key=lambda t: (math.isnan(t.loss), t.loss))
    if study.tuning.finalists < 2:
        return ranked[:1]
    seeds = study.tuning.seeds + study.tuning.finalist_seeds
    return [trial(study, rows, arm, rung, t.values, seeds, t.added) for t in ranked[: study.tuning.finalists]]


def _everyone(study: Study, rows: Rows, rung: float) -> list[TrialState]:
    return [t for arm in tuned(study) for t in first_trials(study, rows, arm, rung)]


def _between(axes: Mapping[str, Axis], trials: list[TrialState], chosen: TrialState) -> list[Values]:
    """Refinements around `chosen`: for each choice, halfway to the lower and the upper neighbour, then quarters."""
    found: list[Values] = []
    seen = {json.dumps(dict(t.values), sort_keys=True) for t in trials}
    for depth in (1, 2):
        for name, axis in axes.items():
            tried = sorted({t.values[name] for t in trials})
            at = tried.index(chosen.values[name])
            for neighbour in tried[max(at - 1, 0) : at] + tried[at + 1 : at + 2]:
                value = float(neighbour)
                for _ in range(depth):
                    value = geometric_middle(chosen.values[name], value)
                values = {**chosen.values, name: axis.rounded(value)}
                key = json.dumps(values, sort_keys=True)
                if key not in seen:
                    seen.add(key)
                    found.append(values)
    return found

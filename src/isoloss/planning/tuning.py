"""Equal tuning: which trials exist, which is best, how a sweep widens, what is carried up the ladder."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from isoloss.ledger.table import RunTable
from isoloss.planning.carry import ChoiceLaw, between, fit_choice, nearest, outward
from isoloss.planning.specs import Values, grid, planned, possible
from isoloss.study import Axis, Study
from isoloss.tasks import tasks

#: run id -> row of the run table
Rows = Mapping[str, Mapping[str, object]]
T = TypeVar("T")


@dataclass(frozen=True)
class TrialState:
    """A trial at a rung: its swept `values` and what its seeds gave.

    `loss` is the mean `Task.loss` of the validation quality, ``inf`` where any seed diverged or failed (a miss counts
    as infinite), NaN while a seed is outstanding. `run_ids` are its tuning runs; `dropped`: one was given up early.
    """

    values: Values
    loss: float
    run_ids: tuple[str, ...]
    added: bool = False
    dropped: bool = False


def rows_by_id(table: RunTable) -> Rows:
    """The table's rows by run id."""
    return {row["run_id"]: row for row in table.frame.iter_rows(named=True)}


def tuned(study: Study) -> list[str]:
    """The arms that sweep anything."""
    return [name for name, arm in study.arms.items() if arm.sweep]


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


def check_axis(study: Study, arm: str) -> str:
    """The swept choice of `arm` that is tried around its prediction."""
    axes = study.arms[arm].sweep
    return next(name for name in (study.tuning.check_axis, "lr", next(iter(axes))) if name in axes)


class Tuning:
    """The tuning of a study as far as its table goes; pure, each question worked out once."""

    def __init__(self, study: Study, rows: Rows) -> None:
        self.study, self.rows = study, rows
        self._task = tasks.get(study.task.name)
        self._known: dict[tuple[object, ...], object] = {}

    def first(self, arm: str, rung: float) -> list[TrialState]:
        """The trials that a rung begins with: the grid's; beyond the swept rungs those around the prediction, none
        while the swept rungs are unfinished."""
        values = grid(self.study, arm) if rung in self.study.swept_rungs else self.check(arm, rung)
        return self._once(("first", arm, rung), lambda: [self._trial(arm, rung, v) for v in values])

    def lost(self, arm: str, rung: float) -> bool:
        """Whether every first trial of an arm failed at a rung or, beyond the swept rungs, at all of those: none can be
        chosen. A trial that diverged is a result, one that failed (crashed) is none."""
        return self._once(("lost", arm, rung), lambda: self._lost(arm, rung))

    def extra(self, rung: float) -> dict[str, list[Values]]:
        """Arm -> the values of its extra trials at `rung`: past the edge where the best lies at one, and for every arm
        as many in all, halfway between its best and its neighbours. Empty lists where no arm is at an edge; no arm that
        is `lost`."""
        return self._once(("extra", rung), lambda: self._extra(rung))

    def trials(self, arm: str, rung: float) -> list[TrialState]:
        """First and widening trials of an arm at a rung, the latter once every arm's first trials are in."""
        return self._once(("trials", arm, rung), lambda: self._trials(arm, rung))

    def finalists(self, arm: str, rung: float) -> list[TrialState]:
        """The trials that get more seeds, judged on the mean over all of them; the best one without a second look."""
        ranked = sorted(self.trials(arm, rung), key=lambda t: (math.isnan(t.loss), t.loss))
        tuning = self.study.tuning
        if tuning.finalists < 2 or self.lost(arm, rung):
            return ranked[:1]
        seeds = tuning.seeds + tuning.finalist_seeds
        return self._once(
            ("finalists", arm, rung),
            lambda: [self._trial(arm, rung, t.values, seeds, t.added) for t in ranked[: tuning.finalists]],
        )

    def laws(self, arm: str) -> dict[str, ChoiceLaw] | None:
        """Swept choice -> its law across the swept rungs, from the best trials there; None while any is unfinished.

        A rung where every trial missed says nothing; if all did, the law is the middle of the grid.
        """
        return self._once(("laws", arm), lambda: self._laws(arm))

    def check(self, arm: str, rung: float) -> list[Values]:
        """The trials around the prediction at `rung`, the prediction first; empty while the law is unknown."""
        return self._once(("check", arm, rung), lambda: self._check(arm, rung))

    def complete(self, rungs: tuple[float, ...]) -> bool:
        """Whether the first trials of all arms at `rungs` have ended, but for those that are `lost`."""
        return all(
            (first := self.first(arm, rung)) and not any(math.isnan(t.loss) for t in first)
            for rung in rungs
            for arm in tuned(self.study)
            if not self.lost(arm, rung)
        )

    def _once(self, key: tuple[object, ...], work: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = work()
        return self._known[key]  # type: ignore[return-value]

    def _trial(
        self, arm: str, rung: float, values: Values, seeds: int | None = None, added: bool = False
    ) -> TrialState:
        counted = range(1, (seeds or self.study.tuning.seeds) + 1)
        ids = tuple(planned(self.study, arm, rung, values, s, "tune").spec.run_id for s in counted)
        losses = []
        for run_id in ids:
            row = self.rows.get(run_id)
            if row is None:
                losses.append(math.nan)
            elif row["status"] != "finished" or row["validation"] is None:
                losses.append(math.inf)
            else:
                losses.append(self._task.loss(float(row["validation"])))  # type: ignore[arg-type]
        dropped = any(row["status"] == "dropped" for i in ids if (row := self.rows.get(i)) is not None)
        return TrialState(values, sum(losses) / len(losses), ids, added, dropped)

    def _lost(self, arm: str, rung: float) -> bool:
        if rung in self.study.carried_rungs and self._lost_below(arm):
            return True
        ids = [i for t in self.first(arm, rung) for i in t.run_ids]
        return bool(ids) and all((row := self.rows.get(i)) is not None and row["status"] == "failed" for i in ids)

    def _lost_below(self, arm: str) -> bool:
        return all(self.lost(arm, rung) for rung in self.study.swept_rungs)

    def _extra(self, rung: float) -> dict[str, list[Values]]:
        study = self.study
        first = {arm: self.first(arm, rung) for arm in tuned(study) if not self.lost(arm, rung)}
        chosen = {arm: best(t) for arm, t in first.items()}
        # a value past the edge that the algorithm can't run at this rung is a natural limit
        outside: dict[str, list[Values]] = {
            arm: [
                {**chosen[arm].values, name: value}
                for name, value in edges(study.arms[arm].sweep, first[arm], chosen[arm]).items()
                if possible(study, arm, rung, {**chosen[arm].values, name: value})
            ]
            for arm in first
        }
        most = max((len(v) for v in outside.values()), default=0)
        if not most:
            return {arm: [] for arm in first}
        inside = {arm: _between(study.arms[arm].sweep, first[arm], chosen[arm]) for arm in first}
        return {
            arm: list(
                itertools.islice(
                    itertools.chain(outside[arm], (v for v in inside[arm] if possible(study, arm, rung, v))), most
                )
            )
            for arm in first
        }

    def _trials(self, arm: str, rung: float) -> list[TrialState]:
        first = self.first(arm, rung)
        if not self.study.tuning.widen or not self.complete((rung,)):
            return first
        return [*first, *(self._trial(arm, rung, v, added=True) for v in self.extra(rung).get(arm, ()))]

    def _laws(self, arm: str) -> dict[str, ChoiceLaw] | None:
        study, budgets, found = self.study, [], []
        for rung in study.swept_rungs:
            finals = self.finalists(arm, rung)
            if not self.complete((rung,)) or any(math.isnan(t.loss) for t in (*self.trials(arm, rung), *finals)):
                return None
            chosen = best(finals)
            if math.isfinite(chosen.loss):
                budgets.append(rung)
                found.append(chosen.values)
        if not found:
            middle = grid(study, arm)
            budgets, found = [study.swept_rungs[-1]], [middle[len(middle) // 2]]
        return {
            name: fit_choice(budgets, [values[name] for values in found], axis.ratio)
            for name, axis in study.arms[arm].sweep.items()
        }

    def _check(self, arm: str, rung: float) -> list[Values]:
        laws, axes = self.laws(arm), self.study.arms[arm].sweep
        if laws is None or self._lost_below(arm):
            return []
        centre = self._predicted(arm, rung, {name: laws[name].at(rung) for name in axes})
        name = check_axis(self.study, arm)
        tried: list[Values] = []
        for value in outward(axes[name], centre[name]):
            values = {**centre, name: value}
            if len(tried) < self.study.tuning.check and (not tried or possible(self.study, arm, rung, values)):
                tried.append(values)
        if len(tried) > 1:  # limits left too few steps: fill up inside, so that every arm has as many trials
            inside = between(axes[name], [v[name] for v in tried], centre[name])
            for value in inside:
                values = {**centre, name: value}
                new = values not in tried and possible(self.study, arm, rung, values)
                if new and len(tried) < self.study.tuning.check:
                    tried.append(values)
        return tried

    def _predicted(self, arm: str, rung: float, wanted: Mapping[str, float]) -> Values:
        """The allowed values nearest to `wanted`, one choice moved at a time where the algorithm refuses them."""
        axes = self.study.arms[arm].sweep
        options = {name: list(itertools.islice(nearest(axes[name], wanted[name]), 9)) for name in axes}
        first: Values = {name: options[name][0] for name in axes}
        moved = ({**first, name: value} for name in reversed(list(axes)) for value in options[name])
        return next((v for v in moved if possible(self.study, arm, rung, v)), first)


def _between(axes: Mapping[str, Axis], trials: list[TrialState], chosen: TrialState) -> Iterator[Values]:
    """Refinements around `chosen`: for each choice, halfway to the lower and the upper neighbour, then quarters."""
    seen = {json.dumps(dict(t.values), sort_keys=True) for t in trials}
    inside = {
        name: list(between(axis, sorted({t.values[name] for t in trials}), chosen.values[name]))
        for name, axis in axes.items()
    }
    for depth in range(3):
        for name, values in inside.items():
            share = len(values) // 3
            for value in values[depth * share : (depth + 1) * share]:
                refined = {**chosen.values, name: value}
                key = json.dumps(refined, sort_keys=True)
                if key not in seen:
                    seen.add(key)
                    yield refined

"""The rounds of a study: ``propose(study, table) -> Plan``, a pure function."""

from __future__ import annotations

from collections.abc import Iterable

from isoloss.ledger.table import RunTable
from isoloss.planning.plan import Phase, Plan, PlannedRun
from isoloss.planning.specs import Values, check_innovations, middle, planned, possible
from isoloss.planning.stacks import Stack, stacks
from isoloss.planning.tuning import Rows, Tuning, best, rows_by_id, tuned
from isoloss.runs import Purpose
from isoloss.study import Study


def propose(study: Study, table: RunTable) -> Plan:
    """The runs of the next round that the table does not hold yet, longest first so that workers finish together.

    Rounds: the tuning grid (its middle first, where others are dropped by it); widening (where a best value lies at an
    edge, equal extra trials for every arm of that rung); finalists on further seeds (if asked); where only the first
    rungs are swept, the same three for the rungs beyond, with trials around the predicted choices in place of the grid;
    the chosen trials on fresh seeds, but none where all of an arm's failed. A round is proposed whole once the one
    before is complete, so the same table always gives the same plan.
    """
    check_innovations(study)
    rows = rows_by_id(table)
    number = -1
    for number, (phase, runs) in enumerate(_rounds(study, rows)):
        wanted = {r.spec.run_id: r for r in runs}  # two arms may share a run: it is trained once
        missing = [r for run_id, r in wanted.items() if run_id not in rows]
        if missing:
            return Plan(study.study_id, number, phase, *_ordered(missing, list(wanted.values())))
    return Plan(study.study_id, number + 1, "done", ())


def _ordered(missing: list[PlannedRun], wanted: list[PlannedRun]) -> tuple[tuple[PlannedRun, ...], tuple[Stack, ...]]:
    """The missing runs, and their stacks among all that are wanted, each longest first."""
    prices = {r.spec.run_id: r.flops for r in wanted}
    open_ids = {r.spec.run_id for r in missing}
    found = [s for s in stacks(wanted) if any(spec.run_id in open_ids for spec in s)]
    found.sort(key=lambda s: -sum(prices[spec.run_id] for spec in s))
    return tuple(sorted(missing, key=lambda r: -r.flops)), tuple(found)


def members(study: Study, table: RunTable) -> list[tuple[int, PlannedRun]]:
    """Every run that the study has wanted so far with its round, in the study's own order."""
    rows = rows_by_id(table)
    found: list[tuple[int, PlannedRun]] = []
    for number, (_, runs) in enumerate(_rounds(study, rows)):
        found += [(number, r) for r in runs]
        if any(r.spec.run_id not in rows for r in runs):
            break
    return found


def unreported(study: Study, table: RunTable) -> dict[str, list[float]]:
    """Arm -> the rungs at which every tuning trial failed, so that there is none to give fresh seeds."""
    tuning = Tuning(study, rows_by_id(table))
    found = {arm: [rung for rung in study.ladder.rungs if tuning.lost(arm, rung)] for arm in tuned(study)}
    return {arm: rungs for arm, rungs in found.items() if rungs}


def _rounds(study: Study, rows: Rows) -> Iterable[tuple[Phase, list[PlannedRun]]]:
    # each is worked out only once the rounds before it are complete
    tuning = Tuning(study, rows)
    if study.tuning.drop is not None:
        yield "tuning", list(_references(study))
    stages: list[tuple[Phase, tuple[float, ...]]] = [("tuning", study.swept_rungs)]
    if study.carried_rungs:
        stages.append(("checking", study.carried_rungs))
    for phase, rungs in stages:
        yield phase, list(_first(study, tuning, rungs))
        yield "widening", list(_widening(study, tuning, rungs)) if study.tuning.widen else []
        yield "finalists", list(_finalists(study, tuning, rungs)) if study.tuning.finalists > 1 else []
    yield "reporting", list(_reporting(study, tuning))


def _runs(
    study: Study, arm: str, rung: float, values: Values, seeds: Iterable[int], purpose: Purpose
) -> list[PlannedRun]:
    return [planned(study, arm, rung, values, s, purpose) for s in seeds]


def _references(study: Study) -> Iterable[PlannedRun]:
    """The trials that others are dropped by."""
    for rung in study.swept_rungs:
        for arm in tuned(study):
            values = middle(study, arm)
            if possible(study, arm, rung, values):
                yield from _runs(study, arm, rung, values, range(1, study.tuning.seeds + 1), "tune")


def _first(study: Study, tuning: Tuning, rungs: Iterable[float]) -> Iterable[PlannedRun]:
    for rung in rungs:
        for arm in tuned(study):
            for trial in tuning.first(arm, rung):
                yield from _runs(study, arm, rung, trial.values, range(1, study.tuning.seeds + 1), "tune")


def _widening(study: Study, tuning: Tuning, rungs: Iterable[float]) -> Iterable[PlannedRun]:
    for rung in rungs:
        for arm, extra in tuning.extra(rung).items():
            for values in extra:
                yield from _runs(study, arm, rung, values, range(1, study.tuning.seeds + 1), "tune")


def _finalists(study: Study, tuning: Tuning, rungs: Iterable[float]) -> Iterable[PlannedRun]:
    seeds = range(study.tuning.seeds + 1, study.tuning.seeds + study.tuning.finalist_seeds + 1)
    for rung in rungs:
        for arm in tuned(study):
            for t in [] if tuning.lost(arm, rung) else tuning.finalists(arm, rung):
                yield from _runs(study, arm, rung, t.values, seeds, "tune")


def _reporting(study: Study, tuning: Tuning) -> Iterable[PlannedRun]:
    for rung in study.ladder.rungs:
        for arm, definition in study.arms.items():
            if definition.sweep and tuning.lost(arm, rung):
                continue
            values = best(tuning.finalists(arm, rung)).values if definition.sweep else {}
            yield from _runs(study, arm, rung, values, range(1, study.report_seeds(rung) + 1), "report")

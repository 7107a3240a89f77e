"""From an arm, a rung and values of the swept choices to a fully resolved run."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from isoloss.algorithms import Algorithm, Rung, algorithms
from isoloss.algorithms.innovation import change, innovations
from isoloss.blame import blamed, line_of
from isoloss.errors import IsolossError, StudyError
from isoloss.planning.plan import PlannedRun
from isoloss.registry import loaded, plugin_files
from isoloss.runs import Drop, Purpose, RunSpec, StepRule
from isoloss.study import Number, Study
from isoloss.tasks import Task, tasks

#: Tuning seeds start here, report seeds at 1: a seed that chose a hyper-parameter is never reported.
TUNING_SEEDS = 1001
SEED_BLOCK = 10_000

Values = Mapping[str, Number]


def study_task(study: Study) -> Task:
    """The study's task with its options, data not loaded. Raises `StudyError` for a wrong option or resource."""
    cls = tasks.get(study.task.name, "task.name")
    try:
        task = cls(cls.Options(**study.task.options))
    except ValidationError as error:
        raise StudyError(f"study '{study.name}': task.options", _said(error, cls.Options.model_fields)) from None
    if study.ladder.resource not in task.resources:
        raise StudyError(
            f"study '{study.name}': ladder.resource",
            f"task '{study.task.name}' has no ladder over {study.ladder.resource}",
            f"it has: {', '.join(task.resources)}",
        )
    return task


def grid(study: Study, arm: str) -> list[Values]:
    """All combinations of the arm's swept values, in the order of the file."""
    axes = study.arms[arm].sweep
    return [dict(zip(axes, combo, strict=True)) for combo in itertools.product(*(a.grid() for a in axes.values()))]


def planned(study: Study, arm: str, rung: float, values: Values, seed: int, purpose: Purpose) -> PlannedRun:
    """The run of `arm` at `rung` with `values`; `seed` counts from 1 within its purpose."""
    definition = study.arms[arm]
    task, options, name, choices = _resolve(loaded(), study.model_dump_json(), arm, rung, tuple(values.items()))
    algorithm = algorithms.get(name)()
    first = TUNING_SEEDS if purpose == "tune" else 1
    spec = RunSpec(
        algorithm=name,
        algorithm_version=algorithm.card.version,
        task=study.task.name,
        task_version=task.card.version,
        task_options=options,
        resource=study.ladder.resource,
        budget=rung,
        step_rule=_rule(study),
        choices=choices.model_dump(mode="json"),
        seed=first + seed - 1 + SEED_BLOCK * definition.seed_block,
        evaluate=("validation",) if purpose == "tune" else ("validation", "test"),
        numerics=study.numerics_of(arm),
        code=_code(algorithms.code(name), tasks.code(study.task.name), algorithm.code(choices)),
        drop=_drop(study, arm, rung, values, seed) if purpose == "tune" else None,
    )
    return PlannedRun(spec, arm, rung, purpose, _price(name, algorithm, task, choices))


def _price(name: str, algorithm: Algorithm, task: Task, choices: Any) -> float:
    """Training FLOPs by the algorithm's formula. Raises `StudyError` where a plug-in's can't be used though no line of
    the plug-in fails, as where it returns nothing."""
    try:
        return float(algorithm.train_flops(task, choices))
    except Exception as error:
        if isinstance(error, IsolossError) or not algorithms.code(name) or line_of(error, plugin_files()):
            raise
        said = blamed(error, plugin_files(), type(algorithm).__module__)
        what = f"its training FLOPs can't be worked out: {said}"
        raise StudyError(f"algorithm '{name}'", what, "mend its train_flops or step_flops") from error


def middle(study: Study, arm: str) -> Values:
    """The trial of the grid that others are compared with, where trials are dropped: the middle one."""
    trials = grid(study, arm)
    return trials[len(trials) // 2]


def _drop(study: Study, arm: str, rung: float, values: Values, seed: int) -> Drop | None:
    """When the tuning run is dropped: beyond the swept rungs trials are near the predicted one, and finalists were
    chosen already, so that none of these is."""
    above = study.tuning.drop
    if above is None or rung not in study.swept_rungs or seed > study.tuning.seeds:
        return None
    reference = middle(study, arm)
    if values == reference or not possible(study, arm, rung, reference):
        return None
    return Drop(planned(study, arm, rung, reference, seed, "tune").spec.run_id, above)


def possible(study: Study, arm: str, rung: float, values: Values) -> bool:
    """Whether the algorithm can run `values` at `rung` (a batch may be too large for a small budget)."""
    try:
        planned(study, arm, rung, values, 1, "tune")
    except StudyError:
        return False
    return True


def arm_algorithm(study: Study, arm: str) -> tuple[str, dict[str, Any]]:
    """The algorithm's name and the fixed choices of `arm`: its innovations' with its settings on top.

    Raises `StudyError` where an innovation does not apply, or where the settings undo one.
    """
    definition = study.arms[arm]
    where = f"study '{study.name}': arms.{arm}"
    name, choices = change(definition.algorithm, definition.innovations, definition.without, where)
    for entry in definition.innovations:
        for key, value in innovations.get(entry).old.items():
            if key in choices and choices[key] != value and definition.settings.get(key, choices[key]) == value:
                raise StudyError(f"{where}.settings.{key}", f"{value!r} undoes innovation '{entry}'", "keep one")
    return name, {**choices, **definition.settings}


def check_innovations(study: Study) -> None:
    """Raise `StudyError` where a comparison names an innovation that is not what its two arms differ in: the baseline
    must have the innovation's old choices, the candidate its new ones. Swept choices are not looked at."""
    for i, pair in enumerate(study.comparisons):
        if pair.innovation is None:
            continue
        entry = innovations.get(pair.innovation, f"study '{study.name}': comparisons[{i}].innovation")
        for arm, wanted, which in ((pair.baseline, entry.old, "old"), (pair.candidate, entry.new, "new")):
            name, fixed = arm_algorithm(study, arm)
            choices = _choices(name, fixed, f"study '{study.name}': arms.{arm}")
            held = {**choices.model_dump(), "algorithm": name}
            for key, value in wanted.items():
                if key in study.arms[arm].sweep or held.get(key) == value:
                    continue
                where, own = f"study '{study.name}': comparisons[{i}].innovation", f"innovation '{entry.name}'"
                if key not in held:
                    what = f"{own} has {key} = {value!r} as its {which} choice, which '{name}' does not have"
                    raise StudyError(where, what, f"'{name}' has: {', '.join(choices.model_dump())}")
                what = f"{own} has {key} = {value!r} as its {which} choice, arms.{arm} has {held[key]!r}"
                raise StudyError(where, what, f"set it to {value!r} there, or name another innovation or other arms")


def _code(*digests: str) -> str:
    # an algorithm and a task from one plug-in file have one digest
    return "+".join(d for d in dict.fromkeys(digests) if d)


def _rule(study: Study) -> StepRule | None:
    rule = study.ladder.step_rule
    return None if rule is None else StepRule(rule.kind, rule.value)


@cache
def _resolve(
    _plugins: tuple[str, ...], study_json: str, arm: str, rung: float, values: tuple[tuple[str, Number], ...]
) -> tuple[Task, dict[str, Any], str, Any]:
    """Task, its options with the content pinned, the algorithm's name, and its choices resolved at `rung`.

    With other plug-ins, as after a file was edited under a notebook, a study's names mean something else.
    """
    study = Study.model_validate_json(study_json)
    definition = study.arms[arm]
    where = f"study '{study.name}': arms.{arm}"
    clash = set(definition.settings) & set(definition.sweep)
    if clash:
        raise StudyError(where, f"'{min(clash)}' is both in settings and in sweep", "keep one")
    name, fixed = arm_algorithm(study, arm)
    choices = _choices(name, {**fixed, **dict(values)}, where)
    task = study_task(study)
    try:
        resolved = algorithms.get(name)().resolve(task, Rung(study.ladder.resource, rung, _rule(study)), choices)
    except StudyError as error:  # an algorithm knows the field, not whose it is
        raise StudyError(f"{where}: {error.where}", error.what, error.remedy) from None
    return task, task.pinned().model_dump(mode="json"), name, resolved


def _choices(name: str, given: Mapping[str, Any], where: str) -> Any:
    """The algorithm's choices. Raises `StudyError` for one that it does not know or refuses."""
    cls = algorithms.get(name, f"{where}.algorithm")
    try:
        return cls.Choices(**given)
    except ValidationError as error:
        field = _field(error)
        if field in cls.Choices.model_fields and field not in given:
            what = f"the default of choice '{field}' of '{name}' is refused: {_said(error, cls.Choices.model_fields)}"
            raise StudyError(where, what, "mend the default in its file, or set the choice") from None
        raise StudyError(where, _said(error, cls.Choices.model_fields)) from None


def _field(error: ValidationError) -> str:
    return ".".join(str(p) for p in error.errors(include_url=False)[0]["loc"])


def _said(error: ValidationError, known: Mapping[str, Any]) -> str:
    fault, field = error.errors(include_url=False)[0], _field(error)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
        return f"unknown choice '{field}'; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}")
    said = str(fault["msg"]).removeprefix("Value error, ")
    # a fault of several choices together has no field and the whole of them as its input
    return f"{field}: {said} (got {str(fault.get('input'))[:60]!r})" if field else said

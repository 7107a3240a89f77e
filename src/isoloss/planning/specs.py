"""From an arm, a rung and values of the swept choices to a fully resolved run."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from isoloss.algorithms import Algorithm, Rung, algorithms
from isoloss.errors import StudyError
from isoloss.planning.plan import PlannedRun
from isoloss.runs import Purpose, RunSpec, StepRule
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
    task, algorithm, choices = _resolve(study.model_dump_json(), arm, rung, tuple(values.items()))
    first = TUNING_SEEDS if purpose == "tune" else 1
    spec = RunSpec(
        algorithm=definition.algorithm,
        algorithm_version=algorithm.card.version,
        task=study.task.name,
        task_version=task.card.version,
        task_options=task.options.model_dump(mode="json"),
        resource=study.ladder.resource,
        budget=rung,
        step_rule=_rule(study),
        choices=choices.model_dump(mode="json"),
        seed=first + seed - 1 + SEED_BLOCK * definition.seed_block,
        evaluate=("validation",) if purpose == "tune" else ("validation", "test"),
        code=algorithms.code(definition.algorithm) or tasks.code(study.task.name),
    )
    return PlannedRun(spec, arm, rung, purpose, algorithm.train_flops(task, choices))


def _rule(study: Study) -> StepRule | None:
    rule = study.ladder.step_rule
    return None if rule is None else StepRule(rule.kind, rule.value)


@cache
def _resolve(
    study_json: str, arm: str, rung: float, values: tuple[tuple[str, Number], ...]
) -> tuple[Task, Algorithm, Any]:
    study = Study.model_validate_json(study_json)
    definition = study.arms[arm]
    where = f"study '{study.name}': arms.{arm}"
    cls = algorithms.get(definition.algorithm, f"{where}.algorithm")
    clash = set(definition.settings) & set(definition.sweep)
    if clash:
        raise StudyError(where, f"'{min(clash)}' is both in settings and in sweep", "keep one")
    try:
        choices = cls.Choices(**definition.settings, **dict(values))
    except ValidationError as error:
        raise StudyError(where, _said(error, cls.Choices.model_fields)) from None
    task = study_task(study)
    algorithm = cls()
    return task, algorithm, algorithm.resolve(task, Rung(study.ladder.resource, rung, _rule(study)), choices)


def _said(error: ValidationError, known: Mapping[str, Any]) -> str:
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(p) for p in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
        return f"unknown choice '{field}'; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}")
    return f"{field}: {fault['msg'].removeprefix('Value error, ')} (got {str(fault.get('input'))[:60]!r})"

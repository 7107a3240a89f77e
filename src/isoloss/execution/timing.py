"""How fast runs go on this machine, from their first steps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoloss.algorithms import Rung, algorithms
from isoloss.blame import blamed
from isoloss.errors import IsolossError, StudyError
from isoloss.planning.plan import PlannedRun
from isoloss.registry import plugin_files
from isoloss.runs import Context, Outcome, RunSpec, StepRule
from isoloss.tasks import tasks

#: Steps timed: enough that the first, counted one does not weigh.
STEPS = 60


def smoke_run(
    name: str, evaluate: tuple[str, ...] = (), changes: Mapping[str, Any] | None = None, budget: float | None = None
) -> tuple[RunSpec, Outcome, float]:
    """Train the seconds-long run of the algorithm's card: its spec, outcome, and training FLOPs by formula.

    `changes` are choices on top of the card's, `budget` is in place of its budget.
    """
    algorithm = algorithms.get(name)()
    smoke = dict(algorithm.card.smoke)
    task_class = tasks.get(smoke["task"])
    task = task_class(task_class.Options(**smoke.get("options", {})))
    task.prepare()
    rule = StepRule(**smoke["step_rule"]) if smoke.get("step_rule") else None
    rung = Rung(smoke["resource"], float(budget or smoke["budget"]), rule)
    choices = algorithm.resolve(task, rung, algorithm.Choices(**{**smoke.get("choices", {}), **(changes or {})}))
    spec = RunSpec(
        algorithm=name,
        algorithm_version=algorithm.card.version,
        task=smoke["task"],
        task_version=task.card.version,
        task_options=task.options.model_dump(mode="json"),
        resource=rung.resource,
        budget=rung.budget,
        step_rule=rule,
        choices=choices.model_dump(mode="json"),
        seed=1,
        evaluate=evaluate,
    )
    return spec, algorithm.run(task, spec, Context()), algorithm.train_flops(task, choices)


@dataclass(frozen=True)
class Timing:
    """Estimated `seconds` of a run on this machine, and its FLOPs as counted over those of its algorithm's formula
    (None where it counts none)."""

    seconds: float
    price_ratio: float | None


class Stopwatch:
    """Times runs, those of equal shape once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float | None] | None] = {}

    def time(self, run: PlannedRun) -> Timing | None:
        """How long `run` takes on this machine, from its first `STEPS` steps at its own shapes, scaled by FLOPs.

        An algorithm whose choices have no ``steps`` is timed on its contract run; None where its card has none either.
        Raises `StudyError` where a plug-in's run fails.
        """
        key = _shape(run.spec)
        try:
            if key not in self._known:
                self._known[key] = _rate(run.spec)
        except IsolossError:
            raise
        except Exception as error:
            if not run.spec.code:  # a fault of this package is to be seen whole
                raise
            fault = blamed(error, plugin_files(), algorithms.get(run.spec.algorithm).__module__)
            what = f"failed when it was timed at {run.rung:g}: {fault}"
            raise StudyError(f"arms.{run.arm}", what, "mend the plug-in") from error
        found = self._known[key]
        return None if found is None else Timing(found[0] * run.flops, found[1])


def _short(spec: RunSpec) -> dict[str, int]:
    """Its counts of steps, cut to what is timed."""
    stepped = algorithms.get(spec.algorithm).stepped
    return {k: min(STEPS, v) for k, v in spec.choices.items() if k in stepped and isinstance(v, int)}


def _shape(spec: RunSpec) -> str:
    """What runs of equal seconds per FLOP have in common."""
    short = _short(spec)
    if not short:  # timed on the card's own run
        return spec.algorithm
    alike = algorithms.get(spec.algorithm).timed_alike
    choices = {k: v for k, v in spec.choices.items() if k not in alike} | short
    same = (spec.algorithm, spec.task, spec.task_options, choices, spec.numerics, spec.code)
    return json.dumps(same, sort_keys=True, default=dict)


def _rate(spec: RunSpec) -> tuple[float, float | None] | None:
    """Seconds per FLOP of the formula, and `price_ratio`, of a shorter run."""
    algorithm = algorithms.get(spec.algorithm)()
    task_class = tasks.get(spec.task)
    task = task_class(task_class.Options(**spec.task_options))
    task.prepare()
    short = _short(spec)
    if not short and not algorithm.card.smoke:
        return None
    if short:
        few = dataclasses.replace(spec, choices={**spec.choices, **short}, evaluate=())
        warm_up = {**few.choices, **dict.fromkeys(short, 2)}
        algorithm.run(task, dataclasses.replace(few, choices=warm_up), Context())
        flops = algorithm.train_flops(task, algorithm.Choices(**few.choices))
        outcome = algorithm.run(task, few, Context())
    else:
        _, outcome, flops = smoke_run(spec.algorithm)
    spent = sum(v for phase, v in outcome.seconds.items() if phase not in ("setup", "meter"))
    return spent / flops, price_ratio(outcome, flops)


def price_ratio(outcome: Outcome, flops: float) -> float | None:
    """Counted training FLOPs over `flops`, those of the formula; None for a run that did not finish or counts none."""
    amount = outcome.resources.get("train_flops")
    if outcome.status != "finished" or amount is None or amount.how != "counted" or not flops > 0:
        return None
    return amount.value / flops if amount.value > 0 else None

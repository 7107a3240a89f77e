"""How fast an algorithm runs on this machine, from its contract run."""

from __future__ import annotations

from isoloss.algorithms import Rung, algorithms
from isoloss.runs import Context, Outcome, RunSpec, StepRule
from isoloss.tasks import tasks


def smoke_run(name: str, evaluate: tuple[str, ...] = ()) -> tuple[RunSpec, Outcome, float]:
    """Train the seconds-long run of the algorithm's card: its spec, outcome, and training FLOPs by formula."""
    algorithm = algorithms.get(name)()
    smoke = dict(algorithm.card.smoke)
    task_class = tasks.get(smoke["task"])
    task = task_class(task_class.Options())
    task.prepare()
    rule = StepRule(**smoke["step_rule"]) if smoke.get("step_rule") else None
    rung = Rung(smoke["resource"], float(smoke["budget"]), rule)
    choices = algorithm.resolve(task, rung, algorithm.Choices(**smoke.get("choices", {})))
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


def smoke_rate(name: str) -> float:
    """FLOP/s of the algorithm's contract run on this machine, set-up apart: an underestimate for larger rungs."""
    _, outcome, flops = smoke_run(name)
    spent = sum(v for phase, v in outcome.seconds.items() if phase != "setup")
    return flops / max(spent, 1e-9)

"""What share of one training run goes to data, logging, checkpoints, meters and the ledger: the bar is 3%.

    python benchmarks/speed/overhead.py [--seconds 60] [--width 64]

Trains one language model on one thread for about so long, with a checkpoint every ten seconds (six times as often as
by default), and records it in a ledger. `data` is the time in the pipeline, `record` the time at the curve's points,
`meter` what watching the first steps took beyond as many steps unwatched, with what measuring the machine's matmul rate
and reading counters took; `checkpoint` the time that training waited for copies; `ledger` queueing, claiming and
recording.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isoloss import api
from isoloss.algorithms import Rung, algorithms
from isoloss.execution.worker import environment, use_one_thread
from isoloss.ledger.store import Ledger, new_owner
from isoloss.planning.plan import PlannedRun
from isoloss.runs import Context, Outcome, RunSpec
from isoloss.study import Study
from isoloss.tasks import tasks
from isoloss.training import rate
from isoloss.training.accounts import MachineMeter
from isoloss.training.keeper import Keeper

BAR = 0.03
STUDY = "studies/quickstart.toml"  # whose ledger entries the run's are written as
TIMED = {
    "checkpoint": [(Keeper, "resume"), (Keeper, "passed"), (Keeper, "trained"), (Keeper, "ended")],
    "meter": [(MachineMeter, "__init__"), (MachineMeter, "facts")],
}


def timed(spent: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def around(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args, **options)
        finally:
            spent[name] += time.perf_counter() - began

    return around


def language_run(width: int, steps: int) -> tuple[Any, RunSpec]:
    """A Transformer of `width` on 512 bytes a step, and its task."""
    task, cls = tasks.get("language/sotu")(), algorithms.get("language/transformer-modern")
    task.prepare()
    asked = cls.Choices(width=width, steps=steps, batch_tokens=512)
    choices = cls().resolve(task, Rung("train_flops", 1e12), asked)
    spec = RunSpec(
        "language/transformer-modern", cls.card.version, "language/sotu", task.card.version,
        task.options.model_dump(mode="json"), "train_flops", 1e12, None, choices.model_dump(mode="json"), 1,
        ("validation",),
    )  # fmt: skip
    return task, spec


def main(seconds: float = 60.0, width: int = 64) -> float:
    """Print the shares; the sum of them."""
    use_one_thread()
    algorithm = algorithms.get("language/transformer-modern")()
    with tempfile.TemporaryDirectory() as folder:
        task, probe = language_run(width, 40)
        pace = algorithm.run(task, replace(probe, seed=2), Context()).seconds["compute"] / 40
        task, spec = language_run(width, max(100, round(seconds / pace)))
        spent: Counter[str] = Counter()
        held = [(owner, name, getattr(owner, name)) for calls in TIMED.values() for owner, name in calls]
        for phase, calls in TIMED.items():
            for owner, name in calls:
                setattr(owner, name, timed(spent, phase, getattr(owner, name)))
        rate._rates.clear()  # as in a fresh process that finds no rate of today
        try:
            began = time.perf_counter()
            outcome = algorithm.run(task, spec, Context(cache=Path(folder), checkpoint_seconds=10))
            wall = time.perf_counter() - began
        finally:
            for owner, name, call in held:
                setattr(owner, name, call)
        study = api.open_study(STUDY)
        ledger = Ledger(str(Path(folder) / "ledger.sqlite"))
        try:
            ledger.open_study(study.study, study.text, str(study.path))  # once a study, not once a run
            began = time.perf_counter()
            record(ledger, study.study, spec, outcome)
            spent["ledger"] = time.perf_counter() - began
        finally:
            ledger.close()
    assert outcome.status == "finished", outcome.error
    for phase in ("data", "record", "meter"):
        spent[phase] += outcome.seconds[phase]
    total = wall + spent["ledger"]
    parameters = outcome.resources["parameters"].value
    steps = spec.choices["steps"]
    print(f"run         {parameters:,.0f} parameters, width {width}, {steps} steps of 512 bytes, one thread")
    print(f"wall        {total:8.2f} s   of it evaluation {outcome.seconds['evaluate']:.2f} s")
    for phase in ("data", "record", "checkpoint", "meter", "ledger"):
        print(f"{phase:<10}  {spent[phase]:8.3f} s   {spent[phase] / total:7.2%}")
    share = sum(spent.values()) / total
    print(
        f"together    {sum(spent.values()):8.3f} s   {share:7.2%}   {'within' if share <= BAR else 'ABOVE'} {BAR:.0%}"
    )
    print(f"utilisation {outcome.resources['utilisation'].value:8.1%}     of {rate.known_rates()} FLOP/s")
    return share


def record(ledger: Ledger, study: Study, spec: RunSpec, outcome: Outcome) -> None:
    """What a driver does around one run: queue it, claim it, record it, read the table."""
    run = PlannedRun(spec=spec, arm=next(iter(study.arms)), rung=spec.budget, purpose="report", flops=1e12)
    ledger.enqueue(study, [(0, run)])
    ledger.claim(study, new_owner(), 1, {})
    ledger.finish(spec.run_id, outcome, environment())
    ledger.table(study)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--width", type=int, default=64)
    given = parser.parse_args()
    main(given.seconds, given.width)

"""Which runs of a round are trained together, as one batched computation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from isoloss.algorithms import algorithms
from isoloss.planning.plan import PlannedRun
from isoloss.runs import RunSpec

Stack = tuple[RunSpec, ...]


def stacks(runs: Sequence[PlannedRun]) -> list[Stack]:
    """The `runs` of a round, each in one stack, alone where its algorithm says nothing else.

    Runs of one stack are the same function of parameters and data (`Algorithm.stack`); they are taken in the round's
    own order, as many as fit, so that one round always has the same stacks.
    """
    found: list[list[RunSpec]] = []
    open_: dict[Hashable, list[RunSpec]] = {}
    for run in {r.spec.run_id: r for r in runs}.values():
        spec = run.spec
        algorithm = algorithms.get(spec.algorithm)()
        told = algorithm.stack(algorithm.Choices(**spec.choices), spec.numerics, run.flops)
        if told is None:
            found.append([spec])
            continue
        key, most = told
        whole = (spec.algorithm, spec.task, str(dict(spec.task_options)), spec.code, str(dict(spec.numerics)), key)
        if len(open_.get(whole, ())) in (0, most):
            open_[whole] = []
            found.append(open_[whole])
        open_[whole].append(spec)
    return [tuple(specs) for specs in found]

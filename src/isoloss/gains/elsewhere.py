"""What a gain along the ladder comes to in every other recorded resource, at equal quality.

A run at ladder budget C also used ``r(C)`` of another resource. The baseline reaches a quality with C, the candidate
with ``C / G(C)``; so the candidate needs ``R = r_old(C) / r_new(C / G(C))`` times less of it. `r` is interpolated
linearly between the rungs' geometric means in (ln C, ln r), and held beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isoloss.gains.arms import ArmRuns
from isoloss.gains.result import Cost, Diagnostic, GainCurve
from isoloss.gains.wording import times
from isoloss.runs import RESOURCES

Array = NDArray[np.float64]
#: ``ln`` of the ladder resource and of another one at an arm's rungs, both (R,).
Line: TypeAlias = tuple[Array, Array]

BOUGHT = 1.05  # times as much of another resource that is worth a warning
#: Made of other resources by a model: shown, but no reason to warn a second time.
MODELLED = frozenset({"modelled_joules"})


def lines_of(arm: ArmRuns) -> dict[str, Line]:
    """Each other resource's line over the rungs of an arm; runs that diverged are left out."""
    finite = np.isfinite(arm.quality)
    rungs = np.unique(arm.rung[finite])
    found = {}
    for name, amount in arm.others.items():
        means = [
            [np.mean(np.log(v[finite & (arm.rung == rung)])) for v in (arm.resource, amount)]
            for rung in rungs.tolist()
        ]  # fmt: skip
        x, y = np.array(means).T
        order = np.argsort(x)
        found[name] = (x[order], y[order])
    return found


def costs_elsewhere(curve: GainCurve, old: Mapping[str, Line], new: Mapping[str, Line]) -> list[Cost]:
    """The ratio of every resource that both arms recorded, at each measured gain of the baseline's budgets.

    Intervals are those of the gain carried over; scatter of the resource itself between runs is not in them. Of
    resources in one proportion in both arms (parameters, their stored bytes, active ones where all are) the first is
    kept.
    """
    found: list[Cost] = []
    seen: set[tuple[bytes, ...]] = set()
    points = [p for p in curve.points if p.index == "old" and p.region == "measured" and p.gain]
    for resource in old:
        if resource not in new or resource == curve.resource:
            continue
        unity = old[resource][1][0]
        lines = [line for arm in (old, new) for line in (arm[resource][0], arm[resource][1] - unity)]
        key = tuple((np.round(line, 9) + 0.0).tobytes() for line in lines)  # no negative zero
        if key in seen:
            continue
        seen.add(key)
        unit = RESOURCES.get(resource, ("", ""))[0]
        for point in points:
            assert point.gain is not None
            ratios = [_ratio(old[resource], new[resource], point.at, g) for g in (point.gain, *(point.interval or ()))]
            ends = (min(ratios[1:]), max(ratios[1:])) if len(ratios) > 1 else None
            cost = Cost(curve.baseline, curve.candidate, resource, unit, point.at, ratios[0], ends, curve.resource)
            found.append(cost)
    return found


def _ratio(old: Line, new: Line, at: float, gain: float) -> float:
    with np.errstate(divide="ignore", over="ignore"):
        candidate = np.log(at) - np.log(gain)
    return float(np.exp(np.interp(np.log(at), *old) - np.interp(candidate, *new)))


def bought_elsewhere(curves: Sequence[GainCurve], costs: Sequence[Cost]) -> list[Diagnostic]:
    """A caution for each gain whose candidate needs more of another resource at the largest budget (over 1.05×)."""
    found = []
    for curve in curves:
        mine = [c for c in costs if c.belongs_to(curve)]
        if curve.verdict.level != "gain" or not mine:
            continue
        top = max(c.at for c in mine)
        dear = {
            c.resource: 1 / c.ratio for c in mine if c.at == top and c.ratio < 1 / BOUGHT and c.resource not in MODELLED
        }
        if dear:
            amounts = sorted(dear.items(), key=lambda item: -item[1])
            said = ", ".join(f"{times(v)}× the {k.replace('_', ' ')}" for k, v in amounts)
            found.append(
                Diagnostic(
                    "bought-elsewhere",
                    "warning",
                    f"To match {curve.baseline}, {curve.candidate} needs {said}: part of its gain is bought in what "
                    "the ladder does not count.",
                    {"baseline": curve.baseline, "candidate": curve.candidate, "times": dear},
                )
            )
    return found

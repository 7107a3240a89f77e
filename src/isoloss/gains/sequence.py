"""A sequence of algorithms that somebody ran: its chain of gains from one joint set of draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.chain import Chain, chain_at
from isoloss.gains.compare import compare
from isoloss.gains.estimate import amount
from isoloss.gains.function import ByBudget
from isoloss.gains.joint import JointArms, draw_arms
from isoloss.gains.result import Diagnostic, Verdict
from isoloss.gains.wording import times

INDICES: tuple[ByBudget, ...] = ("old", "new")


@dataclass(frozen=True)
class ArmSequence:
    """What a sequence of arms gained: `chains` under both indexes at each budget, and the verdict on its two ends.

    `floor` is the treatment under which laws stood in beyond the ladders and gave the growth rates.
    """

    names: tuple[str, ...]
    resource: str
    quality: str
    chains: tuple[Chain, ...]
    floor: str
    verdict: Verdict
    diagnostics: tuple[Diagnostic, ...]
    level: float


def sequence(
    arms: Sequence[ArmRuns],
    *,
    resource: str,
    quality: str,
    at: Sequence[float] = (),
    floor: str | float = "shared",
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
    budget_growth: float | None = None,
) -> ArmSequence:
    """The chain of gains along `arms` (oldest first), at budgets `at` under both indexes.

    By default at the smallest and largest budget at which every arm is measured; where there is none, at the top rung
    of the indexing arm. Arms not measured at the quality in question are read from power laws with one joint `floor`,
    and said to be. Raises TableError.
    """
    if len(arms) < 2:
        raise TableError("chain", f"has {len(arms)} arm(s)", "name two or more, oldest first")
    joint = draw_arms(arms, draws, seed).with_laws(floor)
    chains = []
    for index in INDICES:
        budgets = [float(np.log(_budget(c))) for c in at] or _window(joint, 0 if index == "old" else -1, level)
        chains += [chain_at(joint, index, amount(c), level=level, budget_growth=budget_growth) for c in budgets]
    ends = compare(
        arms[0],
        arms[-1],
        resource=resource,
        quality=quality,
        floor=floor,
        level=level,
        draws=min(draws, 2000),
        seed=seed,
    )
    found = list(ends.diagnostics)
    found += _diagnostics(chains)
    return ArmSequence(joint.names, resource, quality, tuple(chains), joint.floor, ends.verdict, tuple(found), level)


def _budget(value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise TableError("--at", f"{value:g} is not a positive budget", "e.g. --at 1e16")
    return value


def _window(joint: JointArms, arm: int, level: float) -> list[float]:
    """Ends of the stretch of an arm's ladder over which nearly every draw has every arm measured; else its top rung."""
    x = joint.ladders[arm].log_c
    grid = np.linspace(x[0], x[-1], 65)
    curves = [joint.curve(k) for k in range(len(joint.names))]
    sample = curves[arm].at(grid)
    inside = np.all([(sample <= c.y[:, :1]) & (sample >= c.y[:, -1:]) for c in curves], axis=0)
    here = np.flatnonzero(inside.mean(axis=0) >= 1 - (1 - level) / 10)
    if not here.size:
        return [float(x[-1])]
    ends = [float(grid[here[0]]), float(grid[here[-1]])]
    return ends if ends[1] > ends[0] else ends[:1]


def _diagnostics(chains: Sequence[Chain]) -> list[Diagnostic]:
    found = []
    apart = [
        (max(c.product.gain / c.whole.gain, c.whole.gain / c.product.gain), c)
        for c in chains
        if c.product.gain and c.whole.gain and len(c.steps) > 1
    ]
    if apart:
        most, chain = max(apart, key=lambda pair: pair[0])
        if most > 1.05:
            message = (
                f"Read at one budget ({chain.index} index) the steps multiply to {times(chain.product.gain or 0)}×; "
                f"with the budget carried over they compose to {times(chain.whole.gain or 0)}×."
            )
            details = {
                "index": chain.index,
                "at": chain.at,
                "product": chain.product.gain,
                "composed": chain.whole.gain,
            }
            found.append(Diagnostic("product-at-same-budget", "info", message, details))
    far = max((p.decades_out for c in chains for p in (c.whole, *(s.point for s in c.steps))), default=0.0)
    if far > 1:
        message = f"A step was read {far:.1f} decades beyond the data; beyond two no point estimate is given."
        found.append(Diagnostic("wide-extrapolation", "warning", message, {"decades": far}))
    return found

"""Many innovations at one chosen budget: each gain read there, ranked, and its share of the sum of logarithms.

A budget is always somebody's. It is that of each comparison's old arm (`old`), of its new arm (`new`), or of one named
arm of the same study: then it is carried from arm to arm, each needing the budget at which it is as good, by the gains
between them. What is carried is the estimate; a link that was extrapolated makes everything behind it extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isoloss.gains.portable import ByBudget, Portable
from isoloss.gains.result import GainPoint, Interval, Region

#: From what is known best to what is not known.
REGIONS: tuple[Region, ...] = ("measured", "extrapolated", "withheld", "undefined")


@dataclass(frozen=True)
class Link:
    """One comparison of a study, as the standings read it; `card` tells studies apart."""

    card: str
    baseline: str
    candidate: str
    resource: str
    portable: Portable


@dataclass(frozen=True)
class Setting:
    """What is asked: a `budget` of `resource`, and whose it is: ``old``, ``new`` or the name of an arm."""

    budget: float
    reference: str = "old"
    resource: str = "train_flops"


@dataclass(frozen=True)
class Standing:
    """One innovation at a setting.

    `at` is the budget that the gain is read at under `index` (the setting's own, or what it is carried to along `via`);
    `option` tells which of its measurements was read. `rank` counts from 1, the largest gain first, and `share` is
    ``ln G`` over the sum of ``ln G`` of all gains above one; both are None without a gain, `share` also below one.
    """

    index: ByBudget
    at: float
    gain: float | None
    interval: Interval | None
    region: Region
    decades_out: float
    fan: Interval | None
    option: int
    via: tuple[str, ...] = ()
    rank: int | None = None
    share: float | None = None


@dataclass(frozen=True)
class Carried:
    """The budget at which one arm is as good as the arm that was asked about, and how that is known."""

    budget: float
    region: Region
    decades_out: float
    via: tuple[str, ...]


def carry(links: Sequence[Link], arm: str, budget: float) -> dict[str, Carried]:
    """The budgets at which the arms of one study match `arm` at `budget`, by the fewest links that have a gain."""
    found = {arm: Carried(budget, "measured", 0.0, (arm,))}
    queue = [arm]
    for here in queue:
        mine = found[here]
        for link in links:
            index: ByBudget = "old" if link.baseline == here else "new"
            other = link.candidate if index == "old" else link.baseline
            if here not in (link.baseline, link.candidate) or other in found:
                continue
            point = link.portable.at(index, mine.budget)
            if point.gain is None:
                continue
            spent = mine.budget / point.gain if index == "old" else mine.budget * point.gain
            found[other] = Carried(spent, *_worse(mine, point), (*mine.via, other))
            queue.append(other)
    return found


def standing(options: Sequence[Link], links: Sequence[Link], setting: Setting) -> Standing | None:
    """One innovation at `setting`: of its measurements the first whose gain is known best; None where none applies.

    `options` come in the order in which they are to be quoted, `links` are all comparisons of all studies.
    """
    best: Standing | None = None
    for k, link in enumerate(options):
        if link.resource != setting.resource:
            continue
        found = _read(k, link, links, setting)
        if found is not None and (best is None or _worth(found.region) < _worth(best.region)):
            best = found
    return best


def ranked(found: Sequence[Standing | None]) -> list[Standing | None]:
    """`found` with ranks and shares, in the order given; equal gains rank in that order."""
    gains = [s.gain if s is not None else None for s in found]
    order = sorted((k for k, g in enumerate(gains) if g is not None), key=lambda k: -(gains[k] or 0.0))
    total = sum(math.log(g) for g in gains if g is not None and g > 1)
    out = list(found)
    for rank, k in enumerate(order, 1):
        here, gain = found[k], gains[k]
        if here is not None and gain is not None:
            out[k] = replace(here, rank=rank, share=math.log(gain) / total if gain > 1 else None)
    return out


def _read(option: int, link: Link, links: Sequence[Link], setting: Setting) -> Standing | None:
    index: ByBudget = "new" if setting.reference == "new" else "old"
    start = Carried(setting.budget, "measured", 0.0, ())
    if setting.reference not in ("old", "new"):
        near = [other for other in links if (other.card, other.resource) == (link.card, link.resource)]
        arms = carry(near, setting.reference, setting.budget)
        ends = [(arms[arm], i) for arm, i in ((link.baseline, "old"), (link.candidate, "new")) if arm in arms]
        if not ends or not any(setting.reference in (other.baseline, other.candidate) for other in near):
            return None
        start, index = min(ends, key=lambda end: len(end[0].via))  # type: ignore[assignment]
    point = link.portable.at(index, start.budget)
    region, out = _worse(start, point)
    fan = next(iter(point.fan.values()), None)
    return Standing(index, start.budget, point.gain, point.interval, region, out, fan, option, start.via)


def _worse(carried: Carried, point: GainPoint) -> tuple[Region, float]:
    region = max(carried.region, point.region, key=_worth)
    return region, max(carried.decades_out, point.decades_out)


def _worth(region: Region) -> int:
    return REGIONS.index(region)

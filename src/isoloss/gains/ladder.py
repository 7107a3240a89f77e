"""One arm's runs grouped into rungs: the few numbers a rung that every estimate below is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns, Names

Array = NDArray[np.float64]

EXPLODED = 10.0  # times the first rung's median quality: a finite loss beyond it counts as diverged
STEEPEST = 1000.0  # by how much quality may fall from the first rung to the second


@dataclass(frozen=True, eq=False)
class Ladder:
    """Rungs of one arm, in order of resource.

    `log_c` (R,) is ``ln`` of the geometric mean resource; `log_q` (R,) the mean of ``ln quality`` (the median, where
    some run of the rung diverged); `runs` (R,) how many finite runs; `values`, `pairs` and `clusters` the runs
    themselves, sorted by pair. `lost` names the rungs that are left out because half or more of their runs diverged;
    `exploded` is the worst finite loss that was taken for a divergence, 0 if none was.
    """

    name: str
    rung: NDArray[np.int64]
    log_c: Array
    log_q: Array
    runs: NDArray[np.int64]
    variance_factor: Array
    values: tuple[Array, ...]
    pairs: tuple[Names, ...]
    budget_spread: float
    diverged: int
    lost: tuple[int, ...]
    clusters: tuple[Names, ...] = ()
    exploded: float = 0.0

    def keep(self, which: NDArray[np.intp]) -> Ladder:
        """The same ladder with only the rungs at positions `which`."""
        return replace(
            self,
            rung=self.rung[which],
            log_c=self.log_c[which],
            log_q=self.log_q[which],
            runs=self.runs[which],
            variance_factor=self.variance_factor[which],
            values=tuple(self.values[i] for i in which),
            pairs=tuple(self.pairs[i] for i in which),
            clusters=tuple(self.clusters[i] for i in which),
        )

    @cached_property
    def trunks(self) -> int:
        """How many clusters have runs on more than one rung: runs branched from one trunk."""
        every: Any = np.sort(np.concatenate(self.clusters))
        if np.all(every[1:] != every[:-1]):
            return 0
        rungs = np.unique(np.concatenate(self.distinct), return_counts=True)[1]
        return int(np.sum(rungs > 1))

    @cached_property
    def distinct(self) -> list[Names]:
        """The clusters of each rung, each once."""
        return [_known(names) for names in self.clusters]


def _known(names: Names) -> Names:
    once: Any = np.unique(names)
    known: Names = once[once != ("" if once.dtype.kind == "U" else -1)]
    return known


def check_runs(arm: ArmRuns) -> None:
    """Refuse an arm that no comparison can use; raises TableError naming the arm, the value and the remedy."""
    where = f"arm '{arm.name}'"
    n = len(arm.resource)
    if n == 0:
        raise TableError(where, "has no finished runs", "check its name, or wait until runs finish")
    lengths = {len(v) for v in (arm.quality, arm.rung, arm.pair, arm.cluster)}
    if lengths != {n}:
        raise TableError(where, f"columns differ in length: {sorted(lengths | {n})}", "give one entry per run")
    resource, quality = np.asarray(arm.resource, float), np.asarray(arm.quality, float)
    bad = ~(np.isfinite(resource) & (resource > 0))
    if bad.any():
        value = resource[bad][0]
        raise TableError(where, f"resource {value:g} is not a positive number", "remove or correct that run")
    bad = ~(quality > 0)
    if bad.any():
        value = quality[bad][0]
        raise TableError(
            where,
            f"quality {value:g} is not a positive number",
            "give a positive, lower-is-better measure (1 - accuracy for an accuracy; half an error where none was "
            "made) and inf for a diverged run",
        )


def ladder_of(arm: ArmRuns, mode: str = "curve") -> Ladder:
    """Group an arm's runs by rung; the cost grows linearly with the runs, up to one sort.

    A miss counts as infinite: a rung with a diverged run is summarised by the median over all its runs, which is
    infinite when half or more diverged; such a rung is left out of the curve and named in `lost`. A finite loss more
    than `EXPLODED` times the median of the first rung counts as diverged too: no schedule that has converged ends
    that far above its cheapest budget. In ``frontier`` mode only rungs that no cheaper rung beats are kept. Raises
    TableError when fewer than two rungs remain, or when all qualities are equal.
    """
    check_runs(arm)
    where = f"arm '{arm.name}'"
    pair, cluster = (v if v.dtype.kind in "iU" else v.astype(str) for v in map(np.asarray, (arm.pair, arm.cluster)))
    order = np.lexsort((pair, np.asarray(arm.rung)))
    rung, pair, cluster = np.asarray(arm.rung)[order], pair[order], cluster[order]
    resource, quality = np.asarray(arm.resource, float)[order], np.asarray(arm.quality, float)[order]
    rungs, start = np.unique(rung, return_index=True)
    if len(rungs) < 2:
        raise TableError(where, "has one rung only", "run it at two or more budgets to compare along a ladder")
    quality, exploded = _exploded(quality, resource, start)
    finite = np.isfinite(quality)
    if finite.sum() > 2 and np.ptp(quality[finite]) == 0:
        what = f"all {finite.sum()} qualities equal {quality[finite][0]:g}"
        raise TableError(where, what, "check the quality column: a curve that never falls supports no gain")
    total = np.diff(np.r_[start, len(quality)])
    runs = np.add.reduceat(finite.astype(np.int64), start)
    n = np.maximum(runs, 1)
    log_q = np.add.reduceat(np.log(np.where(finite, quality, 1.0)), start) / n
    log_c = np.add.reduceat(np.where(finite, np.log(resource), 0.0), start) / n
    for k in np.flatnonzero(runs < total):
        log_q[k] = np.log(np.median(quality[start[k] : start[k] + total[k]]))
    factor = np.where(runs < total, np.pi / 2, 1.0) / n  # a median's variance against a mean's
    used = np.isfinite(log_q)
    lost = tuple(int(r) for r in rungs[~used])
    if used.sum() < 2:
        at = ", ".join(f"{np.median(resource[rung == r]):.3g}" for r in lost)
        what = f"has {used.sum()} usable rung(s): half or more of its runs failed or diverged at {at}"
        raise TableError(where, what, "mend what failed, or stabilise it with a lower learning rate")
    most = np.maximum.reduceat(np.where(finite, resource, 0.0), start)[used]
    least = np.minimum.reduceat(np.where(finite, resource, np.inf), start)[used]
    ends = np.cumsum(runs)[:-1]
    values, pairs, clusters = (np.split(v[finite], ends) for v in (quality, pair, cluster))
    by_cost = np.flatnonzero(used)[np.lexsort((log_q[used], log_c[used]))]
    ladder = Ladder(
        arm.name,
        rungs[by_cost].astype(np.int64),
        log_c[by_cost],
        log_q[by_cost],
        runs[by_cost],
        factor[by_cost],
        tuple(values[k] for k in by_cost),
        tuple(pairs[k] for k in by_cost),
        float(np.max(most / least)),
        int(np.sum(~finite)),
        lost,
        tuple(clusters[k] for k in by_cost),
        exploded,
    )
    if mode == "frontier":
        best = np.minimum.accumulate(ladder.log_q)
        on = np.flatnonzero(np.r_[True, ladder.log_q[1:] < best[:-1]])
        ladder = ladder.keep(on)
        if len(on) < 2:
            raise TableError(where, "has a frontier of one point only", "add runs that spend more and reach better")
    if np.any(np.diff(ladder.log_c) < 1e-9):
        i = int(np.argmin(np.diff(ladder.log_c)))
        what = f"rungs {ladder.rung[i]} and {ladder.rung[i + 1]} spent the same resource"
        raise TableError(where, what, "give runs of equal budget the same rung")
    return ladder


def _exploded(quality: Array, resource: Array, start: NDArray[np.intp]) -> tuple[Array, float]:
    """Qualities with exploded ones made infinite, and the worst of those (0 if none)."""
    stop = np.r_[start[1:], len(quality)]
    first, second = np.argsort(resource[start], kind="stable")[:2]
    medians = [float(np.median(quality[start[k] : stop[k]])) for k in (first, second)]
    # should the first rung itself have exploded, the second one bounds what can be believed of it
    limit = EXPLODED * min(medians[0], STEEPEST * medians[1])
    high = np.isfinite(quality) & (quality > limit)
    return np.where(high, np.inf, quality), float(quality[high].max()) if high.any() else 0.0

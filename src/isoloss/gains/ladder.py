"""One arm's runs grouped into rungs: the few numbers a rung that every estimate below is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ladder:
    """Rungs of one arm, in order of resource.

    `log_c` (R,) is ``ln`` of the geometric mean resource; `log_q` (R,) the mean of ``ln quality`` (the median, where
    some run of the rung diverged); `runs` (R,) how many finite runs; `values` and `pairs` the runs themselves, sorted
    by pair. `lost` names the rungs that are left out because half or more of their runs diverged.
    """

    name: str
    rung: NDArray[np.int64]
    log_c: Array
    log_q: Array
    runs: NDArray[np.int64]
    variance_factor: Array
    values: tuple[Array, ...]
    pairs: tuple[tuple[str, ...], ...]
    budget_spread: float
    diverged: int
    lost: tuple[int, ...]

    def keep(self, which: NDArray[np.intp]) -> Ladder:
        """The same ladder with only the rungs at positions `which`."""
        return Ladder(
            self.name,
            self.rung[which],
            self.log_c[which],
            self.log_q[which],
            self.runs[which],
            self.variance_factor[which],
            tuple(self.values[i] for i in which),
            tuple(self.pairs[i] for i in which),
            self.budget_spread,
            self.diverged,
            self.lost,
        )


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
            "give a positive, lower-is-better measure (1 - accuracy for an accuracy) and inf for a diverged run",
        )


def ladder_of(arm: ArmRuns, mode: str = "curve") -> Ladder:
    """Group an arm's runs by rung.

    A miss counts as infinite: a rung with a diverged run is summarised by the median over all its runs, which is
    infinite when half or more diverged; such a rung is left out of the curve and named in `lost`. In ``frontier``
    mode only rungs that no cheaper rung beats are kept. Raises TableError when fewer than two rungs remain.
    """
    check_runs(arm)
    resource, quality = np.asarray(arm.resource, float), np.asarray(arm.quality, float)
    rungs, lost, rows = np.unique(np.asarray(arm.rung)), [], []
    spread = 1.0
    for rung in rungs:
        here = np.flatnonzero(np.asarray(arm.rung) == rung)
        here = here[np.argsort(np.asarray(arm.pair)[here].astype(str), kind="stable")]
        q = quality[here]
        finite = np.isfinite(q)
        middle = float(np.median(q)) if not finite.all() else 0.0
        if not np.isfinite(middle):
            lost.append(int(rung))
            continue
        used = here[finite]
        log_q = float(np.mean(np.log(q))) if finite.all() else float(np.log(middle))
        factor = 1.0 if finite.all() else np.pi / 2  # a median's variance against a mean's
        c = resource[used]
        spread = max(spread, float(c.max() / c.min()))
        pairs = tuple(str(p) for p in np.asarray(arm.pair)[used])
        rows.append((rung, float(np.mean(np.log(c))), log_q, len(used), factor / len(used), quality[used], pairs))
    where = f"arm '{arm.name}'"
    if len(rungs) < 2:
        raise TableError(where, "has one rung only", "run it at two or more budgets to compare along a ladder")
    if len(rows) < 2:
        what = f"has {len(rows)} usable rung(s) after divergence (half or more runs diverged at rungs {lost})"
        raise TableError(where, what, "stabilise those runs, for instance with a lower learning rate")
    rows.sort(key=lambda r: (r[1], r[2]))
    columns = list(zip(*rows, strict=True))
    ladder = Ladder(
        arm.name,
        np.array(columns[0], np.int64),
        np.array(columns[1], float),
        np.array(columns[2], float),
        np.array(columns[3], np.int64),
        np.array(columns[4], float),
        tuple(columns[5]),
        tuple(columns[6]),
        spread,
        int(np.sum(np.isinf(quality))),
        tuple(lost),
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

"""The input of every comparison: one arm's finished runs as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Names = NDArray[np.str_] | NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ArmRuns:
    """Runs of one arm along one ladder, one entry a run, whole runs whose schedule ended there.

    `resource` (n,) in the resource's own unit, > 0; `quality` (n,) lower is better, ``inf`` for a diverged run (a
    miss counts as infinite); `rung` (n,) index of the ladder step, shared by both arms where budgets were planned;
    `pair` (n,) names the seed, so that runs of two arms with equal (rung, pair) saw the same data order;
    `cluster` (n,) names the unit that is resampled whole (the run itself unless runs share a trunk). Names
    are texts ("" is none) or whole numbers (-1 is none), which in a million runs are told apart much faster.
    `others` holds what every run used of other recorded resources, each (n,) > 0.
    """

    name: str
    resource: NDArray[np.float64]
    quality: NDArray[np.float64]
    rung: NDArray[np.int64]
    pair: Names
    cluster: Names
    others: dict[str, NDArray[np.float64]] = field(default_factory=dict)

"""Runs that repeat a setting: the seed noise they show, pooled over settings, and whether the law fits within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
SMALLEST_SD = 1e-9  # of the target, in scaled units
_SAME = 9  # digits of a column that two runs of one setting have in common


@dataclass(frozen=True, eq=False)
class Replicates:
    """Noise of one run about the mean of its setting.

    `sd` (R,) is each row's standard deviation in units of the fit's target, pooled over settings with `dof` degrees of
    freedom and following the relative sizes it was given; `setting` (R,) numbers the settings, `clustered` counts
    clusters of several rows (whose rows aren't independent).
    """

    sd: Array
    dof: int
    setting: NDArray[np.intp]
    clustered: int

    @property
    def identical(self) -> bool:
        """Whether runs of one setting agree to rounding: copies, or no noise to draw from."""
        return bool(np.max(self.sd) < SMALLEST_SD)

    def lack_of_fit(self, residual: Array, parameters: int) -> float | None:
        """p-value of an F test of the setting means about the law against the noise within settings, None if unspared.

        Small: the law misses the means by more than seeds do, and `sd` alone is too narrow an account of the error.
        """
        weight = np.where(self.sd > 0, np.maximum(self.sd, 1e-100) ** -2.0, 0.0)
        total = np.bincount(self.setting, weight)
        spare = int(np.sum(total > 0)) - parameters
        if spare <= 0:
            return None
        mean = np.bincount(self.setting, weight * residual) / np.maximum(total, 1e-300)
        return float(special.fdtrc(spare, self.dof, float(total @ mean**2) / spare))


def find_replicates(
    columns: Mapping[str, Any], target: Array, weight: Array, member: NDArray[np.intp]
) -> Replicates | None:
    """Replicates among rows of equal `columns`, or None where no setting is repeated.

    `target` (R,) is the loss or its logarithm, `weight` (R,) the inverse of its relative variance, `member` (R,) the
    cluster of each row. The variance is ``sum weight (t - mean)^2`` over all settings by the sum of (runs - 1), by the
    row's weight; rows of weight 0 are no replicates.
    """
    keep = weight > 0
    stacked = np.stack([_rounded(np.asarray(v, float)) for v in columns.values()])
    _, setting = np.unique(stacked, axis=1, return_inverse=True)
    setting = setting.reshape(-1)
    count = np.bincount(setting, keep)
    dof = int(np.sum(np.maximum(count - 1, 0)))
    if dof == 0:
        return None
    total = np.maximum(np.bincount(setting, weight), 1e-300)
    off = target - (np.bincount(setting, weight * target) / total)[setting]
    variance = float(weight @ off**2) / dof
    sd = np.sqrt(variance / np.where(keep, weight, np.inf))
    return Replicates(sd, dof, setting, int(np.sum(np.bincount(member) > 1)))


def _rounded(values: Array) -> Array:
    digits = np.floor(np.log10(np.abs(values) + 1e-300))
    return np.round(values / 10.0**digits, _SAME) * 10.0**digits

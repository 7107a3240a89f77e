"""The public result of fitting one scaling law to one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Formula = Callable[[Mapping[str, Any], Mapping[str, Any]], Array]


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A scaling law with its parameters and the bootstrap draws of them.

    `params` are the unrounded optimum and `draws[name]` (B,) its refits on resampled data, in the units of the
    columns that were fitted. `objective` is the minimised sum over rows. `diagnostics` holds facts about the fit
    (rows, starts that agree, parameters at a bound, resampling unit, ...) under plain names.
    """

    name: str
    params: dict[str, float]
    draws: dict[str, Array]
    objective: float
    formula: Formula = field(repr=False)
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def predict(self, columns: Mapping[str, Any]) -> Array:
        """Predicted loss at `columns` (the names that were fitted), one value a row."""
        return self.formula(self.params, {k: np.asarray(v, float) for k, v in columns.items()})

    def predict_draws(self, columns: Mapping[str, Any]) -> Array:
        """Predicted loss of every draw, shape (B, rows)."""
        params = {k: v[:, None] for k, v in self.draws.items()}
        return self.formula(params, {k: np.asarray(v, float) for k, v in columns.items()})

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of one parameter over the draws; NaN ends without draws."""
        if self.draws[name].size == 0:
            return float("nan"), float("nan")
        low, high = np.quantile(self.draws[name], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

"""Fit one law to one table: a global search for the optimum, then refits of resamples from it, as one batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.check import check_table
from isoloss.laws.descend import Problem, find_objective, limits
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.law import Law
from isoloss.laws.optimum import influence, refits, scaled, search
from isoloss.laws.pinned import pinned_law
from isoloss.laws.registry import find_law
from isoloss.laws.resample import draw_copies

Array = NDArray[np.float64]


def fit(
    law: str | Law,
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str | None = None,
    delta: float | None = None,
    weights: Any | None = None,
    resample: str = "auto",
    pinned: Mapping[str, float] | None = None,
    seed: int = 0,
) -> FittedLaw:
    """Fit a law to `loss` (rows,) > 0 against `columns` (each (rows,)), with `bootstrap` refits.

    Rows are whole runs; `clusters` names runs that share a trunk, which are resampled together. `objective` is
    ``squared``, ``squared-log``, ``huber`` or ``huber-log`` (of L or of ln L; Huber's threshold is `delta`), by default
    the law's own. `weights` (rows,) multiply the rows' terms. `resample` is ``pairs``, ``wild``, ``none`` or ``auto``
    (see `isoloss.laws.resample`). `pinned` fixes parameters, a floor for one. The same call gives the same numbers on
    any number of threads. Raises TableError, or UnknownNameError for a law that isn't there.
    """
    law = find_law(law) if isinstance(law, str) else copy.copy(law)
    law, x, y = check_table(law, columns, loss)
    table, units = scaled(law, x, y)
    law = pinned_law(law, dict(pinned or {}), units, float(y.min()))
    row_weight = _weights(weights, len(y))
    goal = find_objective(objective or law.objective, delta)
    data = law.prepare(table)
    problem = Problem(law, data, (y / units.loss)[None], row_weight[None], goal)
    best, facts = search(problem)
    residual, leverage = influence(problem, best)
    rng = np.random.default_rng([seed, 3])
    copies = draw_copies(resample, clusters, bootstrap, residual, leverage, len(best), rng)
    theta = refits(problem, best, copies.weight, copies.shift, bootstrap if resample != "none" else 0)
    names = [p.name for p in law.parameters]
    at_bound = [n for n, stuck in zip(names, _at_bound(law, best), strict=True) if stuck]
    value = float(goal.total(facts.pop("misfit")))
    if not goal.log:
        value *= units.loss**2 if goal.delta is None else units.loss
    return FittedLaw(
        name=law.name,
        params={k: float(v) for k, v in units.params(law, best).items()},
        draws={k: np.asarray(v) for k, v in units.params(law, theta).items()},
        objective=value,
        law=law,
        units=units,
        theta=best,
        theta_draws=theta,
        diagnostics={
            "objective": goal.name,
            "delta": goal.delta,
            "rows": len(y),
            **facts,
            "parameters_at_bound": at_bound,
            "rms_residual": float(np.sqrt(np.mean(residual**2))),
            **copies.facts,
        },
    )


def _at_bound(law: Law, theta: Array) -> NDArray[np.bool_]:
    low, high = limits(law)
    slack = 1e-6 * (high - low)
    return ((theta <= low + slack) | (theta >= high - slack)) & (low < high)


def _weights(weights: Any | None, rows: int) -> Array:
    if weights is None:
        return np.ones(rows)
    w = np.asarray(weights, float)
    if w.shape != (rows,) or not np.all(np.isfinite(w) & (w >= 0)) or not w.any():
        raise TableError("weights", "must be one finite number >= 0 a row, not all 0", "check the column")
    return w * rows / w.sum()

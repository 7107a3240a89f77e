"""Fit one law to one table: a global search for the optimum, then refits of resamples from it, as one batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.check import check_table
from isoloss.laws.descend import Problem, find_objective, limits, minimise
from isoloss.laws.fitted import FittedLaw, Units
from isoloss.laws.law import Law
from isoloss.laws.pinned import pinned_law
from isoloss.laws.registry import find_law
from isoloss.laws.resample import draw_copies

Array = NDArray[np.float64]
POLISHED = 64  # starts that are followed to their minimum: half the best of the grid, half spread over all of it
AGREEMENT = 1e-6  # relative to the lowest misfit


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


def scaled(law: Law, columns: Mapping[str, Array], loss: Array) -> tuple[dict[str, Array], Units]:
    """Columns over the law's scales of them under its own names, and the units to come back with."""
    wanted = tuple(columns) if law.columns == ("*",) else law.columns
    law.columns = wanted
    units = Units(*law.scales(columns, loss))
    return {k: columns[k] / units.columns[k] for k in wanted}, units


def search(problem: Problem) -> tuple[Array, dict[str, Any]]:
    """The lowest minimum (P,) from the law's grid of starts, and how many polished starts agree on it."""
    law, goal = problem.law, problem.objective
    y, weight = problem.y[0], problem.weight[0]
    target = np.log(y) if law.link == "log" else y
    # what the grid is solved for is linear in L (or in ln L), so a residual of the other is turned into it
    exchange = 1.0 if goal.log == (law.link == "log") else (y**-2.0 if goal.log else y**2)
    starts = law.starts(problem.data, target, weight * exchange)
    low, high = limits(law)
    starts = np.clip(starts, low, high)
    misfit = np.concatenate([problem.state(part, problem.target())[2] for part in _parts(starts, len(y))])
    order = np.argsort(misfit, kind="stable")
    order = order[np.isfinite(misfit[order])]
    if order.size == 0:
        raise TableError("loss", f"law {law.name} can't be evaluated at any start", "check the units of the columns")
    spread = order[:: max(1, len(order) // (POLISHED // 2))]
    chosen = np.unique(np.r_[order[: POLISHED // 2], spread])
    found = minimise(problem, starts[chosen])
    lowest = int(np.argmin(found.misfit))
    agree = found.misfit <= found.misfit[lowest] * (1 + AGREEMENT) + 1e-18
    facts = {
        "misfit": float(found.misfit[lowest]),
        "starts": len(starts),
        "starts_polished": len(chosen),
        "starts_agreeing": int(agree.sum()),
        "gradient_norm": float(found.gradient[lowest]),
        "converged": bool(found.converged[lowest]),
    }
    return found.theta[lowest], facts


def refits(problem: Problem, best: Array, weight: Array, shift: Array | None, draws: int) -> Array:
    """Optimum (draws, P) of every resample, started from the optimum of the table."""
    if draws == 0:
        return np.zeros((0, len(best)))
    y = problem.y
    if shift is not None:
        residual = problem.state(best[None], problem.target())[0]
        target = problem.target() - residual + shift
        y = np.exp(target) if problem.objective.log else np.maximum(target, 1e-3 * y.min())
    copies = Problem(problem.law, problem.data, y, problem.weight * weight, problem.objective)
    return minimise(copies, np.repeat(best[None], draws, axis=0)).theta


def influence(problem: Problem, theta: Array) -> tuple[Array, Array]:
    """Residuals (R,) of the target and the leverage (R,) of each row in the linearised fit."""
    residual, jac, _ = problem.state(theta[None], problem.target())
    low, high = limits(problem.law)
    free = (theta > low) & (theta < high)
    design = (np.sqrt(problem.weight[0]) * jac[0][free]).T
    q, _ = np.linalg.qr(design / np.maximum(np.linalg.norm(design, axis=0), 1e-300))
    return residual[0], np.clip(np.sum(q**2, axis=1), 0.0, 1.0)


def _parts(theta: Array, rows: int) -> list[Array]:
    return np.array_split(theta, max(1, theta.size * rows // 2_000_000))


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

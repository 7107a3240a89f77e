"""The optimum of a law on one table: scales, a global search from a grid of starts, refits, influence of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.descend import Problem, limits, minimise
from isoloss.laws.fitted import Units
from isoloss.laws.law import Law

Array = NDArray[np.float64]
POLISHED = 64  # starts that are followed to their minimum: half the best of the grid, half spread over all of it
AGREEMENT = 1e-6  # relative to the lowest misfit


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

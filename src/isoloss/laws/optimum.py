"""The optimum of a law on one table: scales, a global search from a grid of starts, refits, influence of the rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.check import check_table
from isoloss.laws.descend import Problem, find_objective, limits, minimise
from isoloss.laws.fitted import Units
from isoloss.laws.law import Law
from isoloss.laws.pinned import pinned_law
from isoloss.laws.registry import find_law
from isoloss.laws.resample import Influence

Array = NDArray[np.float64]
POLISHED = 64  # starts that are followed to their minimum: half the best of the grid, half spread over all of it
LARGEST_SHIFT = 30.0  # of ln L or of the scaled loss in a draw: more would overflow and say nothing else
AGREEMENT = 1e-6  # relative to the lowest misfit


@dataclass(frozen=True, eq=False)
class Posed:
    """A law and a checked table, ready to be fitted: `columns` and `loss` in the table's units, `problem` scaled.

    `free` counts the parameters that aren't pinned, `starts` (S, P) are where a search of it begins.
    """

    law: Law
    columns: dict[str, Array]
    loss: Array
    units: Units
    problem: Problem
    free: int
    starts: Array
    starts_in_grid: int


def pose(
    law: str | Law,
    columns: Mapping[str, Any],
    loss: Any,
    *,
    objective: str | None = None,
    delta: float | None = None,
    weights: Any | None = None,
    pinned: Mapping[str, float] | None = None,
) -> Posed:
    """Check a table, bring it to scale and rank the law's starts; the arguments are those of `isoloss.laws.fit`."""
    law = find_law(law) if isinstance(law, str) else copy.copy(law)
    law, x, y = check_table(law, columns, loss)
    table, units = scaled(law, x, y)
    law = pinned_law(law, dict(pinned or {}), units, float(y.min()))
    goal = find_objective(objective or law.objective, delta)
    problem = Problem(law, law.prepare(table), (y / units.loss)[None], _weights(weights, len(y))[None], goal)
    free = sum(p.low < p.high for p in law.parameters)
    starts, total = ranked_starts(problem)
    return Posed(law, x, y, units, problem, free, starts, total)


def scaled(law: Law, columns: Mapping[str, Array], loss: Array) -> tuple[dict[str, Array], Units]:
    """Columns over the law's scales of them under its own names, and the units to come back with."""
    wanted = tuple(columns) if law.columns == ("*",) else law.columns
    law.columns = wanted
    units = Units(*law.scales(columns, loss))
    return {k: columns[k] / units.columns[k] for k in wanted}, units


def search(problem: Problem) -> tuple[Array, dict[str, Any]]:
    """The lowest minimum (P,) from the law's grid of starts, and how many polished starts agree on it."""
    return lowest(problem, *ranked_starts(problem))


def ranked_starts(problem: Problem) -> tuple[Array, int]:
    """Starts (S, P) worth polishing, half the best of the grid and half spread over it; the grid's size."""
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
    return starts[np.unique(np.r_[order[: POLISHED // 2], spread])], len(starts)


def lowest(problem: Problem, starts: Array, in_grid: int) -> tuple[Array, dict[str, Any]]:
    """The lowest minimum (P,) that `starts` lead to, and how many of them agree on it."""
    found = minimise(problem, starts)
    least = int(np.argmin(found.misfit))
    agree = found.misfit <= found.misfit[least] * (1 + AGREEMENT) + 1e-18
    facts = {
        "misfit": float(found.misfit[least]),
        "starts": in_grid,
        "starts_polished": len(starts),
        "starts_agreeing": int(agree.sum()),
        "gradient_norm": float(found.gradient[least]),
        "converged": bool(found.converged[least]),
    }
    return found.theta[least], facts


def refits(problem: Problem, best: Array, weight: Array, shift: Array | None, draws: int) -> Array:
    """Optimum (draws, P) of every resample, started from the optimum of the table."""
    if draws == 0:
        return np.zeros((0, len(best)))
    y = problem.y
    if shift is not None:
        residual = problem.state(best[None], problem.target())[0]
        target = problem.target() - residual + np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT)
        y = np.exp(target) if problem.objective.log else np.maximum(target, 1e-3 * y.min())
    copies = Problem(problem.law, problem.data, y, problem.weight * weight, problem.objective)
    return minimise(copies, np.repeat(best[None], draws, axis=0)).theta


def influence(problem: Problem, theta: Array) -> tuple[Array, Influence]:
    """Residuals (R,) of the target and the rows' hold on the linearised fit, parameters at a bound held."""
    residual, jac, _ = problem.state(theta[None], problem.target())
    low, high = limits(problem.law)
    free = (theta > low) & (theta < high)
    root = np.sqrt(problem.weight[0])
    design = (root * jac[0][free]).T
    left, size, _ = np.linalg.svd(design / np.maximum(np.linalg.norm(design, axis=0), 1e-300), full_matrices=False)
    return residual[0], Influence(left[:, size > 1e-10 * size.max(initial=1e-300)], root)


def _parts(theta: Array, rows: int) -> list[Array]:
    return np.array_split(theta, max(1, theta.size * rows // 2_000_000))


def _weights(weights: Any | None, rows: int) -> Array:
    if weights is None:
        return np.ones(rows)
    w = np.asarray(weights, float)
    if w.shape != (rows,) or not np.all(np.isfinite(w) & (w >= 0)) or not w.any():
        raise TableError("weights", "must be one finite number >= 0 a row, not all 0", "check the column")
    return w * rows / w.sum()

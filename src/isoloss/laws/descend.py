"""Minimise a law's misfit on many weighted or perturbed copies of one table at once.

Levenberg-Marquardt with projection onto the bounds, vectorised over problems. For the Huber loss the weights of the
normal equations go from iterated reweighting (a majoriser: every step falls, slowly) to the active set alone (Newton's
method: quadratic once the set of small residuals has settled) as the damping shrinks; a step is kept only if it lowers
the misfit. Problems that have converged leave the batch.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Law

Array = NDArray[np.float64]
HUBER_DELTA = 1e-3
_CHUNK = 24_000  # numbers of one (problems, rows) array at once: a few such arrays stay in cache
_NEWTON = 1e-2  # damping below which a step is nearly Newton's, so that what it promises is what there is to gain
_SETTLED = 3  # steps in a row that lower the misfit by less than the tolerance


@dataclass(frozen=True)
class Objective:
    """Sum over rows of ``rho(residual)``: of L or of ``ln L``, squared or Huber's with threshold `delta`."""

    name: str
    log: bool
    delta: float | None

    @property
    def threshold(self) -> float:
        """Where the loss turns from quadratic to linear; infinite for squared residuals."""
        return np.inf if self.delta is None else self.delta

    def total(self, half: Array) -> Array:
        """The objective as published, from sums of ``r^2 / 2`` near zero: squares are not halved."""
        return half if self.delta is not None else 2 * half


OBJECTIVES = ("squared", "squared-log", "huber", "huber-log")


def find_objective(name: str, delta: float | None = None) -> Objective:
    """An objective by name; `delta` is Huber's threshold, 1e-3 by default. Raises TableError."""
    if name not in OBJECTIVES:
        raise TableError("--objective", f"'{name}' is not known", f"use {', '.join(OBJECTIVES)}")
    if not name.startswith("huber"):
        if delta is not None:
            raise TableError("--delta", f"has no meaning for the objective {name}", "use huber or huber-log")
        return Objective(name, name.endswith("log"), None)
    value = HUBER_DELTA if delta is None else float(delta)
    if not (np.isfinite(value) and value > 0):
        raise TableError("--delta", f"{value:g} is not positive", "it is a residual, such as 0.001")
    return Objective(name, name.endswith("log"), value)


@dataclass(frozen=True, eq=False)
class Problem:
    """Data for one law: losses `y` and weights (1, R) or (B, R), and what the law prepared from the columns."""

    law: Law
    data: Any
    y: Array
    weight: Array
    objective: Objective

    def part(self, rows: Any) -> Problem:
        """Some of the B problems."""
        y = self.y if len(self.y) == 1 else self.y[rows]
        weight = self.weight if len(self.weight) == 1 else self.weight[rows]
        return Problem(self.law, self.data, y, weight, self.objective)

    def target(self) -> Array:
        """What residuals are taken of: L or ln L."""
        return np.log(self.y) if self.objective.log else self.y

    @np.errstate(invalid="ignore", divide="ignore", over="ignore")  # a law below 0 or out of range misfits infinitely
    def state(self, theta: Array, target: Array) -> tuple[Array, Array, Array]:
        """Residuals (B, R), derivative of the fitted values (B, P, R), and half-square misfit (B,)."""
        fitted, jac = self.law.evaluate(theta, self.data)
        if self.objective.log and self.law.link == "identity":
            jac /= fitted[:, None]
            fitted = np.log(fitted)
        elif not self.objective.log and self.law.link == "log":
            fitted = np.exp(np.clip(fitted, -700, 700))
            jac *= fitted[:, None]
        r = target - fitted
        delta = self.objective.threshold
        if np.isinf(delta):
            rho = 0.5 * r * r
        else:
            clipped = np.clip(r, -delta, delta)
            rho = clipped * (r - 0.5 * clipped)
        misfit = np.einsum("br,br->b", np.broadcast_to(self.weight, rho.shape), rho)
        return r, jac, np.where(np.isfinite(misfit), misfit, np.inf)


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where each problem ended: `theta` (B, P), `misfit` (B,), whether it `converged`, and the projected `gradient`."""

    theta: Array
    misfit: Array
    converged: NDArray[np.bool_]
    gradient: Array


def limits(law: Law) -> tuple[Array, Array]:
    """Bounds (P,) and (P,) in the engine's coordinates."""
    ends = np.array([p.bounds for p in law.parameters])
    return ends[:, 0], ends[:, 1]


def minimise(problem: Problem, theta: Array, steps: int = 200, tolerance: float = 1e-12) -> Minimum:
    """Descend from `theta` (B, P) on all problems, in chunks over the machine's cores.

    Each problem's answer depends on nothing but itself, so neither chunks nor threads change it.
    """
    size = max(1, _CHUNK // problem.y.shape[1])
    chunks = [np.arange(i, min(i + size, len(theta))) for i in range(0, len(theta), size)]

    def one(rows: NDArray[np.intp]) -> Minimum:
        return _minimise(problem.part(rows), theta[rows], steps, tolerance)

    if len(chunks) == 1:
        return one(chunks[0])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(one, chunks))
    return Minimum(
        np.concatenate([f.theta for f in found]),
        np.concatenate([f.misfit for f in found]),
        np.concatenate([f.converged for f in found]),
        np.concatenate([f.gradient for f in found]),
    )


def _minimise(problem: Problem, start: Array, steps: int, tolerance: float) -> Minimum:
    low, high = limits(problem.law)
    delta = problem.objective.threshold
    theta = np.clip(start, low, high)
    target = problem.target()
    r, jac, misfit = problem.state(theta, target)
    b, p = theta.shape
    out = Minimum(theta.copy(), misfit.copy(), np.zeros(b, bool), np.full(b, np.inf))
    live = np.arange(b)
    damping, settled = np.full(b, 1e-2), np.zeros(b, int)
    diagonal = np.arange(p)
    for step in range(steps + 1):
        if np.isinf(delta):
            weighted = jac * problem.weight[:, None]
            pull = r
        else:
            size = np.abs(r)
            pull = np.clip(r, -delta, delta)
            blend = np.where(size <= delta, 1.0, (np.minimum(damping, 1.0)[:, None] * delta) / np.maximum(size, delta))
            weighted = jac * (problem.weight * blend)[:, None]
        normal = weighted @ jac.transpose(0, 2, 1)
        gradient = (jac @ (problem.weight * pull)[:, :, None])[:, :, 0]  # of minus the misfit
        stuck = ((theta <= low) & (gradient < 0)) | ((theta >= high) & (gradient > 0))
        gradient = np.where(stuck, 0.0, gradient)
        scale = np.maximum(normal[:, diagonal, diagonal], 1e-300)
        done = settled >= _SETTLED
        if step == steps or done.all() or (done.mean() > 0.3 and len(live) > 8):
            out.theta[live], out.misfit[live], out.converged[live] = theta, misfit, done
            out.gradient[live] = np.linalg.norm(gradient, axis=1)
            keep = np.flatnonzero(~done)
            if step == steps or len(keep) == 0:
                return out
            problem, live, theta, misfit = problem.part(keep), live[keep], theta[keep], misfit[keep]
            target = target if len(target) == 1 else target[keep]
            r, jac, damping, settled = r[keep], jac[keep], damping[keep], settled[keep]
            normal, gradient, scale, stuck = normal[keep], gradient[keep], scale[keep], stuck[keep]
        root = np.sqrt(scale)
        normal = normal / (root[:, :, None] * root[:, None, :])
        normal = np.where(stuck[:, :, None] | stuck[:, None, :], 0.0, normal)
        normal[:, diagonal, diagonal] = 1.0 + damping[:, None] + 1e-12
        move = np.linalg.solve(normal, (gradient / root)[:, :, None])[:, :, 0] / root
        promised = np.einsum("bp,bp->b", move, gradient)
        trial = np.clip(theta + np.clip(move, -1.0, 1.0), low, high)
        r2, jac2, misfit2 = problem.state(trial, target)
        better = (misfit2 < misfit) & (settled < _SETTLED)  # what has settled stays, whoever else is in the batch
        gain = np.subtract(misfit, misfit2, out=np.zeros_like(misfit), where=better)
        idle = np.where(better | (damping > 1e3), 1, 0)
        settled = np.where(gain > tolerance * misfit, 0, settled + idle)
        settled[(promised < tolerance * misfit) & (damping < _NEWTON)] = _SETTLED
        if better.all():
            theta, misfit, r, jac = trial, misfit2, r2, jac2
        elif better.any():
            theta[better], misfit[better], r[better], jac[better] = (
                trial[better],
                misfit2[better],
                r2[better],
                jac2[better],
            )
        damping = np.clip(np.where(better, damping * 0.2, damping * 6), 1e-10, 1e8)
    return out

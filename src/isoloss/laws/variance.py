"""Noise of runs about a law: how large, whether it changes with the loss, and how much of it is evaluation error.

Seed noise need not be constant: its standard deviation may follow the loss, ``s L^gamma``, or the part above the floor,
``s (L - E)^gamma``; a known evaluation error `eval_sd` adds in squares. Least squares weighted by the inverse variance
is iterated with the estimate of the variance until neither moves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from isoloss.errors import TableError
from isoloss.laws.descend import Problem, minimise
from isoloss.laws.noise import Noise
from isoloss.laws.optimum import influence

Array = NDArray[np.float64]
ENOUGH = 12  # degrees of freedom from which gamma is estimated
WIDEST = 100.0  # ratio of the largest to the smallest weight
NOISES = ("constant", "components")
_GAMMA = np.linspace(0.0, 3.0, 61)
_ROUNDS = 30
_CONVINCED = 2.0  # log likelihood by which noise that follows L - E must beat noise that follows L


def constant_noise(problem: Problem, residual: Array, parameters: int) -> Noise:
    """Noise of equal size in the target's units for every row of weight 1."""
    weight = problem.weight[0]
    dof = max(1, int(np.sum(weight > 0)) - parameters)
    return Noise(float(np.sqrt(weight @ residual**2 / dof)), float(dof), problem.objective.log)


def components(
    problem: Problem, best: Array, parameters: int, eval_sd: Array | None, unit: float
) -> tuple[Problem, Array, Noise, dict[str, Any]]:
    """Weigh rows by the inverse of their noise until weights and optimum agree: new problem, optimum, noise, facts.

    `eval_sd` (R,) and the law's values are in scaled units, `unit` is the scale of the loss. gamma is estimated, with
    a normal prior 1 +- 1, from `ENOUGH` degrees of freedom on; with fewer, noise is a constant share of the loss
    (gamma 1) for an objective in ln L and constant in L (gamma 0) for one in L. For Huber's loss, whose linear part is
    a Laplacian's, weights are the inverse standard deviation. Raises TableError.
    """
    rows = len(problem.y[0])
    own = problem.weight[0]
    extra = np.zeros(rows) if eval_sd is None else eval_sd
    dof = max(1, rows - parameters)
    robust = problem.objective.delta is not None
    noise, weight, moved, rounds = Noise(0.0, dof, problem.objective.log), own, np.inf, 0
    for rounds in range(1, _ROUNDS + 1):
        residual, hold = influence(problem, best)
        loss = fitted_loss(problem, best)
        floor = floor_of(problem, best)
        share = np.clip(1 - np.sum(hold.basis**2, axis=1), 1 / rows, 1.0)
        off = residual**2 * (loss**2 if problem.objective.log else 1.0) / share
        noise = _likeliest(off, loss, floor, extra, dof, problem.objective.log)
        variance = noise.sd(loss, floor, extra) ** 2
        target = own / (np.sqrt(variance) if robust else variance)
        target = np.maximum(target, target.max() / WIDEST)
        target = target * rows / target.sum()
        moved = float(np.max(np.abs(np.log(target / np.maximum(weight, 1e-300)))))
        weight = target if rounds < 4 else np.sqrt(weight * target)  # damped, should two states alternate
        problem = replace(problem, weight=weight[None])
        best = minimise(problem, best[None]).theta[0]
        if moved < 1e-4:
            break
    power = 1.0 if noise.gamma is None else 1.0 - noise.gamma
    facts = {
        "seed_sd": noise.s * unit**power,
        "gamma": noise.gamma,
        "gamma_estimated": dof >= ENOUGH,
        "level": "above floor" if noise.above_floor else "loss",
        "eval_share": float(np.mean(extra**2 / noise.sd(loss, floor, extra) ** 2 / (loss**2 if noise.log else 1.0))),
        "weight_ratio": float(weight.max() / weight.min()),
        "rounds": rounds,
        "converged": moved < 1e-3,
    }
    return problem, best, noise, facts


def fitted_loss(problem: Problem, theta: Array) -> Array:
    """Loss (R,) at the rows, in scaled units."""
    value = problem.law.evaluate(theta[None], problem.data)[0][0]
    return np.exp(value) if problem.law.link == "log" else value


def floor_of(problem: Problem, theta: Array) -> float:
    """The floor in scaled units; 0 for a law without one."""
    return float(sum(np.exp(theta[i]) for i, p in enumerate(problem.law.parameters) if p.vanishes and p.log))


def spread_tests(problem: Problem, theta: Array, columns: dict[str, Array]) -> dict[str, float]:
    """p-values that squared residuals are unrelated to the level of the loss and to each column.

    ``R r^2`` of the regression of the squared, leverage-corrected residuals on the logarithm of the variable, against
    chi-square with one degree of freedom (Breusch & Pagan 1979 in the form of Koenker 1981). Empty below eight rows.
    """
    residual, hold = influence(problem, theta)
    if len(residual) < 8:
        return {}
    off = problem.weight[0] * residual**2
    off = off / np.clip(1 - np.sum(hold.basis**2, axis=1), 1 / len(off), 1.0)
    out = {}
    for name, values in {"loss": fitted_loss(problem, theta), **columns}.items():
        x = np.log(values)
        if np.ptp(x) > 1e-9 and np.ptp(off) > 0:
            r = float(np.corrcoef(x, off)[0, 1])
            out[name] = float(special.chdtrc(1, len(off) * r * r))
    return out


def checked_eval_sd(eval_sd: Any, rows: int) -> Array:
    """Standard errors of evaluation (rows,) >= 0; raises TableError."""
    v = np.broadcast_to(np.asarray(eval_sd, float), (rows,)) if np.ndim(eval_sd) == 0 else np.asarray(eval_sd, float)
    if v.shape != (rows,) or not np.all(np.isfinite(v) & (v >= 0)):
        raise TableError("eval_sd", "must be one finite number >= 0 a row", "leave it out where it isn't known")
    return v


def _likeliest(off: Array, loss: Array, floor: float, extra: Array, dof: int, log: bool) -> Noise:
    """The seed noise that makes squared residuals `off` (R,) of L likeliest, given the evaluation variances."""
    held = 1.0 if log else 0.0
    gammas = _GAMMA if dof >= ENOUGH else np.array([held])
    found = []
    for above in (False, True) if floor > 0 and dof >= ENOUGH else (False,):
        level = np.maximum(loss - floor, 1e-3 * loss) if above else loss
        shape = level[None] ** (2 * gammas[:, None])
        top = np.mean(off / shape, axis=1, keepdims=True)
        steps = np.log(np.maximum(top, 1e-300)) + np.linspace(-8.0, 1.0, 120)  # of ln s^2
        variance = np.exp(steps)[:, :, None] * shape[:, None] + extra**2
        prior = -0.5 * (gammas[:, None] - 1.0) ** 2
        score = -0.5 * np.sum(np.log(variance) + off / variance, axis=2) + prior
        i, j = np.unravel_index(int(np.argmax(score)), score.shape)
        found.append((float(score[i, j]), Noise(float(np.exp(0.5 * steps[i, j])), dof, log, float(gammas[i]), above)))
    first, last = found[0], found[-1]
    return last[1] if last[0] > first[0] + _CONVINCED else first[1]

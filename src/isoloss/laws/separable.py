"""Sums of power laws, ``L = E + sum_k A_k x_k^-alpha_k``: one optimum from a grid, and batched refits of resamples.

Given the exponents the law is linear in ``E >= 0`` and ``A_k >= 0``, so a grid over the exponents with a
non-negative linear solve inside (variable projection, Golub & Pereyra 1973) finds the basin; the best grid points are
then polished in all parameters, in the log form of Hoffmann et al. (2022). Refits of a bootstrap run as one batch of
Levenberg-Marquardt steps from the optimum. Throughout, ``theta = (ln E, ln A_1.., alpha_1..)`` is (B, 1 + 2K) and
`x` (K, R) holds centred ``ln x_k`` of R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from isoloss.errors import TableError
from isoloss.laws.resample import resample_weights

Array = NDArray[np.float64]
OBJECTIVES = ("squared", "huber-log")
HUBER_DELTA = 1e-3
STARTS = 8
NO_FLOOR = -700.0  # ln E of a law without a floor; its derivative vanishes, so it stays there
LOWEST, HIGHEST = 1e-3, 5.0
_EXPONENTS = np.geomspace(0.03, 2.0, 24)
_ELEMENTS = 400_000  # draws times rows handled at once


@dataclass(frozen=True, eq=False)
class SeparableFit:
    """Optimum in row 0 and the refits in the others: `floor` (1 + B,), `scale` and `exponent` (1 + B, K)."""

    floor: Array
    scale: Array
    exponent: Array
    objective: float
    facts: dict[str, Any]


def fit_separable(
    log_x: Array,
    loss: Array,
    floor: float | None,
    objective: str,
    bootstrap: int,
    clusters: Any | None,
    seed: int,
) -> SeparableFit:
    """Fit ``L = E + sum_k A_k x_k^-alpha_k`` to rows ``ln x`` (K, R) and `loss` (R,) > 0.

    `floor` None estimates ``E >= 0``; 0 leaves it out. `objective` is ``squared`` (sum of squared differences of L) or
    ``huber-log`` (sum of Huber losses, delta 1e-3, of differences of ln L). `facts` reports starts that agree, the
    norm of the gradient and which parameters lie at a bound.
    """
    if objective not in OBJECTIVES:
        raise TableError("objective", f"'{objective}' is not known", f"use {' or '.join(OBJECTIVES)}")
    delta = HUBER_DELTA if objective == "huber-log" else None
    centre = log_x.mean(axis=1)
    x = log_x - centre[:, None]
    starts = _grid(x, loss, floor is None, delta)
    polished = _descend(starts, np.ones((len(starts), len(loss))), x, loss, delta, 60)
    solutions = [_polish(theta, x, loss, delta) for theta in polished]
    theta, value, gradient = min(solutions, key=lambda s: s[1])
    agreeing = sum(s[1] <= value * (1 + 1e-6) + 1e-15 for s in solutions)
    weights, facts = resample_weights(len(loss), clusters, bootstrap, np.random.default_rng([seed, 3]))
    chunks = np.array_split(weights, max(1, -(-weights.size // _ELEMENTS)))
    refits = [_descend(np.repeat(theta[None], len(w), axis=0), w, x, loss, delta, 40) for w in chunks]
    every = np.concatenate([theta[None], *refits])
    k = len(x)
    exponent = every[:, 1 + k :]
    e = np.exp(every[:, 0]) if floor is None else np.zeros(len(every))
    stuck = (exponent[0] < LOWEST * 1.01) | (exponent[0] > HIGHEST * 0.99)
    return SeparableFit(
        floor=e,
        scale=np.exp(every[:, 1 : 1 + k] + exponent * centre),
        exponent=exponent,
        objective=value,
        facts={
            "objective": objective,
            "delta": delta,
            "rows": len(loss),
            "starts": len(starts),
            "starts_agreeing": int(agreeing),
            "gradient_norm": gradient,
            "floor_at_bound": bool(floor is None and e[0] < 1e-6 * loss.min()),
            "exponents_at_bound": [int(i) for i in np.flatnonzero(stuck)],
            **facts,
        },
    )


def check_positive(name: str, values: Any, rows: int, scales: int) -> Array:
    """A column as finite positive floats with enough distinct scales; raises TableError naming it."""
    v = np.asarray(values, float)
    if len(v) != rows:
        raise TableError(name, f"has {len(v)} values for {rows} rows", "give one per run")
    if not np.all(np.isfinite(v) & (v > 0)):
        raise TableError(name, "holds values that are not finite and positive", "correct or remove those runs")
    distinct = len(np.unique(np.round(np.log(v), 2)))
    if distinct < scales:
        raise TableError(name, f"takes {distinct} distinct scale(s)", f"run at least {scales}")
    return v


def check_loss(loss: Any) -> Array:
    """Losses as finite positive floats that differ; raises TableError."""
    y = np.asarray(loss, float)
    y = check_positive("loss", y, len(y), 0)
    if len(y) == 0 or np.ptp(y) <= 1e-12 * y.max():
        raise TableError("loss", "is empty or the same in every row", "check the column")
    return y


def _grid(x: Array, y: Array, floor: bool, delta: float | None) -> Array:
    """The best grid points as starts (S, 1 + 2K), at most one per neighbourhood."""
    weight = np.ones_like(y) if delta is None else 1 / y
    powers = np.exp(-_EXPONENTS[:, None, None] * x) * weight  # (grid, K, R)
    found = []
    for place in product(range(len(_EXPONENTS)), repeat=len(x)):
        terms = [powers[i, k] for k, i in enumerate(place)]
        linear, miss = optimize.nnls(np.stack([weight, *terms] if floor else terms, axis=1), y * weight)
        found.append((miss, np.array(place), linear if floor else np.r_[0.0, linear]))
    found.sort(key=lambda f: f[0])
    chosen: list[tuple[float, NDArray[np.int64], Array]] = []
    for f in found:
        if all(np.abs(f[1] - c[1]).sum() >= 2 for c in chosen):
            chosen.append(f)
        if len(chosen) == STARTS:
            break
    starts = [np.r_[np.log(np.maximum(f[2], 1e-4 * y.min())), _EXPONENTS[f[1]]] for f in chosen]
    if not floor:
        for start in starts:
            start[0] = NO_FLOOR
    return np.array(starts)


def _residual(theta: Array, x: Array, y: Array, delta: float | None) -> tuple[Array, Array, Array]:
    """Residuals (B, R), their derivative (B, 1 + 2K, R) up to sign, and the loss of each row."""
    k = len(x)
    terms = np.exp(theta[:, 1 : 1 + k, None] - theta[:, 1 + k :, None] * x)
    e = np.broadcast_to(np.exp(theta[:, :1, None]), (len(theta), 1, len(y)))
    fitted = e[:, 0] + terms.sum(axis=1)
    slope = np.concatenate([e, terms, -x * terms], axis=1)
    if delta is None:
        r = y - fitted
        return r, slope, r**2
    r = np.log(y) - np.log(fitted)
    size = np.abs(r)
    return r, slope / fitted[:, None, :], np.where(size <= delta, 0.5 * r**2, delta * (size - 0.5 * delta))


def _descend(theta: Array, weight: Array, x: Array, y: Array, delta: float | None, steps: int) -> Array:
    """Levenberg-Marquardt on B weighted problems at once, Huber losses by iterated reweighting."""
    theta, k = theta.copy(), len(x)
    damping = np.full(len(theta), 1e-3)
    r, slope, rho = _residual(theta, x, y, delta)
    value = np.sum(weight * rho, axis=1)
    for _ in range(steps):
        w = weight if delta is None else weight * delta / np.maximum(np.abs(r), delta)
        weighted = slope * w[:, None, :]
        normal = weighted @ slope.transpose(0, 2, 1)
        gradient = (weighted @ r[:, :, None])[:, :, 0]
        scale = np.einsum("bii->bi", normal)
        ridge = damping[:, None] * scale + 1e-12 * scale.max(axis=1, keepdims=True)
        step = np.linalg.solve(normal + np.eye(1 + 2 * k) * ridge[:, :, None], gradient[:, :, None])[:, :, 0]
        trial = theta + np.clip(step, -1.0, 1.0)
        trial[:, 1 + k :] = np.clip(trial[:, 1 + k :], LOWEST, HIGHEST)
        r2, slope2, rho2 = _residual(trial, x, y, delta)
        value2 = np.sum(weight * rho2, axis=1)
        better = value2 <= value
        theta, value = np.where(better[:, None], trial, theta), np.where(better, value2, value)
        r, slope = np.where(better[:, None], r2, r), np.where(better[:, None, None], slope2, slope)
        damping = np.clip(np.where(better, damping * 0.2, damping * 8), 1e-9, 1e6)
    return theta


def _polish(theta: Array, x: Array, y: Array, delta: float | None) -> tuple[Array, float, float]:
    """Quasi-Newton to convergence from one start: (theta, objective, norm of the gradient)."""
    unit = 1e3  # keeps the optimiser's tolerances below the objective, which sums small losses

    def value(t: Array) -> tuple[float, Array]:
        r, slope, rho = _residual(t[None], x, y, delta)
        pull = -2 * r[0] if delta is None else -np.clip(r[0], -delta, delta)
        return unit * float(rho.sum()), unit * (slope[0] @ pull)

    k = len(x)
    lowest = NO_FLOOR if theta[0] < -50 else -50.0
    limits = [(lowest, 50.0), *[(-50.0, 50.0)] * k, *[(LOWEST, HIGHEST)] * k]
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10, "maxcor": 20}
    found = optimize.minimize(value, theta, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return np.asarray(found.x), float(found.fun) / unit, float(np.linalg.norm(found.jac)) / unit

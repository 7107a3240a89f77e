"""``L(N, D) = E + A N^-alpha + B D^-beta``: the parametric law of Hoffmann et al. (2022, approach 3).

Given the exponents the law is linear in (E, A, B) >= 0, so a grid over the two exponents with a non-negative linear
solve inside (variable projection) finds the basin; the best grid points are then polished in all five parameters, in
the log form of the paper. Refits of the bootstrap run as one batch of Levenberg-Marquardt steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from isoloss.errors import TableError
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.resample import resample_weights

Array = NDArray[np.float64]
OBJECTIVES = ("squared", "huber-log")
HUBER_DELTA = 1e-3
STARTS = 8
_EXPONENTS = np.geomspace(0.03, 2.0, 24)
_LOWEST, _HIGHEST = 1e-3, 5.0
_CHUNK = 200
_NAMES = ("E", "A", "B", "alpha", "beta")


def fit_chinchilla(
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str = "huber-log",
    delta: float = HUBER_DELTA,
    seed: int = 0,
) -> FittedLaw:
    """Fit ``L = E + A N^-alpha + B D^-beta`` to columns ``N`` (parameters) and ``D`` (examples or tokens), (rows,).

    `objective` is ``huber-log`` (the sum over rows of the Huber loss of ``ln L - ln L_hat`` with `delta`) or
    ``squared`` (the sum of squared differences of L). `bootstrap` refits resample rows or `clusters`. Raises
    TableError when the table can't identify the law: N and D tied to one another, fewer than three scales on an
    axis, losses that are not positive or all equal. Source: Hoffmann et al. 2022 eq. 2-3; Besiroglu et al. 2024.
    """
    if objective not in OBJECTIVES:
        raise TableError("objective", f"'{objective}' is not known", f"use {' or '.join(OBJECTIVES)}")
    n, d, y = _checked(columns, loss)
    x, z = n - n.mean(), d - d.mean()
    starts = _grid(x, z, y, objective)
    robust = delta if objective == "huber-log" else None
    ones = np.ones((len(starts), len(y)))
    polished, _ = _descend(starts, ones, x, z, y, robust, 60)
    solutions = [_polish(theta, x, z, y, robust) for theta in polished]
    best = min(solutions, key=lambda s: s[1])
    agreeing = sum(s[1] <= best[1] * (1 + 1e-6) + 1e-15 for s in solutions)
    weights, facts = resample_weights(len(y), clusters, bootstrap, np.random.default_rng([seed, 3]))
    drawn = np.concatenate(
        [
            _descend(np.repeat(best[0][None], len(w), axis=0), w, x, z, y, robust, 40)[0]
            for w in np.array_split(weights, max(1, -(-bootstrap // _CHUNK)))
        ]
    )
    params = _natural(best[0][None], n.mean(), d.mean())
    draws = _natural(drawn, n.mean(), d.mean())
    at_bound = [k for k in ("alpha", "beta") if not _LOWEST * 1.01 < params[k][0] < _HIGHEST * 0.99]
    at_bound += ["E"] if params["E"][0] < 1e-6 * y.min() else []
    return FittedLaw(
        name="chinchilla",
        params={k: float(v[0]) for k, v in params.items()},
        draws=draws,
        objective=float(best[1]),
        formula=_formula,
        diagnostics={
            "objective": objective,
            "delta": robust,
            "rows": len(y),
            "starts": len(starts),
            "starts_agreeing": int(agreeing),
            "gradient_norm": float(best[2]),
            "at_bound": at_bound,
            **facts,
        },
    )


def _formula(params: Mapping[str, Any], columns: Mapping[str, Any]) -> Array:
    n, d = columns["N"], columns["D"]
    return params["E"] + params["A"] * n ** -params["alpha"] + params["B"] * d ** -params["beta"]


def _checked(columns: Mapping[str, Any], loss: Any) -> tuple[Array, Array, Array]:
    """``ln N``, ``ln D`` and L, or one line that says why they can't identify the law."""
    for name in ("N", "D"):
        if name not in columns:
            raise TableError("columns", f"no column {name} among {sorted(columns)}", "give N and D, one value per run")
    n, d, y = (np.asarray(v, float) for v in (columns["N"], columns["D"], loss))
    if not len(n) == len(d) == len(y):
        raise TableError("columns", f"N, D and loss have {len(n)}, {len(d)} and {len(y)} rows", "give one per run")
    if not np.all(np.isfinite(y) & (y > 0)):
        raise TableError("loss", "holds values that are not finite and positive", "remove diverged runs")
    for name, v in (("N", n), ("D", d)):
        if not np.all(np.isfinite(v) & (v > 0)):
            raise TableError(name, "holds values that are not finite and positive", "correct or remove those runs")
        scales = len(np.unique(np.round(np.log(v), 2)))
        if scales < 3:
            raise TableError(name, f"takes {scales} distinct scale(s)", f"run at least 3 values of {name}")
    if np.ptp(y) <= 1e-12 * y.max():
        raise TableError("loss", "is the same in every row", "check the column")
    n, d = np.log(n), np.log(d)
    design = np.stack([np.ones_like(n), n], axis=1)
    off = d - design @ np.linalg.lstsq(design, d, rcond=None)[0]
    if np.sqrt(np.mean(off**2)) < 0.05:
        what = "N and D are collinear in logs (a single tokens-per-parameter ratio), so only L(C) is identified"
        raise TableError("columns", what, "fit power-floor on C, or vary D at fixed N")
    if len(y) < 6:
        raise TableError("loss", f"{len(y)} rows can't determine five parameters", "give at least 6 runs")
    return n, d, y


def _grid(x: Array, z: Array, y: Array, objective: str) -> Array:
    """The best grid points as starts (S, 5) in ``(ln E, ln A, ln B, alpha, beta)``, at most one per neighbourhood."""
    weight = 1 / y if objective == "huber-log" else np.ones_like(y)
    target, found = y * weight, []
    for i, alpha in enumerate(_EXPONENTS):
        u = np.exp(-alpha * x) * weight
        for j, beta in enumerate(_EXPONENTS):
            basis = np.stack([weight, u, np.exp(-beta * z) * weight], axis=1)
            linear, miss = optimize.nnls(basis, target)
            found.append((miss, i, j, linear))
    found.sort(key=lambda f: f[0])
    chosen: list[tuple[float, int, int, Array]] = []
    for f in found:
        if all(abs(f[1] - c[1]) + abs(f[2] - c[2]) >= 2 for c in chosen):
            chosen.append(f)
        if len(chosen) == STARTS:
            break
    low = 1e-4 * y.min()
    return np.array([[*np.log(np.maximum(f[3], low)), _EXPONENTS[f[1]], _EXPONENTS[f[2]]] for f in chosen])


def _terms(theta: Array, x: Array, z: Array) -> tuple[Array, Array, Array]:
    e = np.exp(theta[:, 0, None]) * np.ones_like(x)
    return e, np.exp(theta[:, 1, None] - theta[:, 3, None] * x), np.exp(theta[:, 2, None] - theta[:, 4, None] * z)


def _residual(theta: Array, x: Array, z: Array, y: Array, delta: float | None) -> tuple[Array, Array, Array]:
    """Residuals (B, R), their derivative (B, R, 5) up to sign, and the loss of each."""
    e, a, b = _terms(theta, x, z)
    fitted = e + a + b
    slope = np.stack([e, a, b, -x * a, -z * b], axis=2)
    if delta is None:
        r = y - fitted
        return r, slope, r**2
    r = np.log(y) - np.log(fitted)
    size = np.abs(r)
    return r, slope / fitted[:, :, None], np.where(size <= delta, 0.5 * r**2, delta * (size - 0.5 * delta))


def _descend(
    theta: Array, weight: Array, x: Array, z: Array, y: Array, delta: float | None, steps: int
) -> tuple[Array, Array]:
    """Levenberg-Marquardt on B problems at once, Huber losses by iterated reweighting; returns (theta, objective)."""
    theta = theta.copy()
    damping = np.full(len(theta), 1e-3)
    r, slope, rho = _residual(theta, x, z, y, delta)
    value = np.sum(weight * rho, axis=1)
    for _ in range(steps):
        w = weight if delta is None else weight * delta / np.maximum(np.abs(r), delta)
        weighted = slope * w[:, :, None]
        normal = np.einsum("bri,brj->bij", weighted, slope, optimize=True)
        gradient = np.einsum("bri,br->bi", weighted, r, optimize=True)
        scale = np.einsum("bii->bi", normal)
        normal = normal + np.eye(5) * (damping[:, None] * scale + 1e-12 * scale.max(axis=1, keepdims=True))[:, :, None]
        step = np.clip(np.linalg.solve(normal, gradient[:, :, None])[:, :, 0], -1.0, 1.0)
        trial = theta + step
        trial[:, 3:] = np.clip(trial[:, 3:], _LOWEST, _HIGHEST)
        r2, slope2, rho2 = _residual(trial, x, z, y, delta)
        value2 = np.sum(weight * rho2, axis=1)
        better = value2 <= value
        theta = np.where(better[:, None], trial, theta)
        r, slope = np.where(better[:, None], r2, r), np.where(better[:, None, None], slope2, slope)
        value = np.where(better, value2, value)
        damping = np.clip(np.where(better, damping * 0.2, damping * 8), 1e-9, 1e6)
    return theta, value


def _polish(theta: Array, x: Array, z: Array, y: Array, delta: float | None) -> tuple[Array, float, float]:
    """Quasi-Newton to convergence from one start: (theta, objective, norm of the gradient)."""

    def value(t: Array) -> tuple[float, Array]:
        r, slope, rho = _residual(t[None], x, z, y, delta)
        pull = -2 * r[0] if delta is None else -np.clip(r[0], -delta, delta)
        return float(rho.sum()) * 1e3, 1e3 * (pull @ slope[0])

    limits = [(-30.0, 30.0)] * 3 + [(_LOWEST, _HIGHEST)] * 2
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10, "maxcor": 20}
    found = optimize.minimize(value, theta, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return np.asarray(found.x), float(found.fun) / 1e3, float(np.linalg.norm(found.jac)) / 1e3


def _natural(theta: Array, n: float, d: float) -> dict[str, Array]:
    """From centred logs to E, A, B, alpha, beta in the units of the columns, and the compute-optimal exponent of N."""
    alpha, beta = theta[:, 3], theta[:, 4]
    values = (np.exp(theta[:, 0]), np.exp(theta[:, 1] + alpha * n), np.exp(theta[:, 2] + beta * d), alpha, beta)
    return dict(zip(_NAMES, values, strict=True))

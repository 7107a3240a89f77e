"""The power law with a floor, ``L(C) = E + A C^-alpha``, fitted to several arms and many resamples at once.

The floor may be shared by the arms, free in each, or pinned. Given the floor, the arms separate, and given the
exponents the law is linear in ``A``; so a grid over the floor with a two-parameter Gauss-Newton fit at each point finds
the basin, and Gauss-Newton in all parameters, the floor's column projected off the others, its bottom, each vectorised
over the resamples. That is variable projection (Golub & Pereyra 1973) along the one direction in which the problem is
badly conditioned, without starts to choose.

Residuals are differences of ``ln L``, weighted by their inverse variances. While noise is small that is weighted least
squares of L itself; where it is large (errors that scatter by tens of percent) it keeps the fit free of units and of
the pull of single high draws, and without a floor it is a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_EXPONENT = 5.0
MIN_EXPONENT = 1e-6
NEAREST_FLOOR = 1e-3  # the floor stays this share of the best rung mean below it
_GRID = 15
_STEPS = 16
_SETTLED = 1e-6  # in ln(1 - E / best loss)
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class PowerFits:
    """Fits of K arms to B resamples.

    `floor`, `reducible`, `exponent` are (B, K); `reducible` is ``A exp(-alpha centre)``, the part of the loss above
    the floor at ``ln C = centre`` (K,), which stays in range where ``A`` itself would overflow. `chi2` (B,) is the
    weighted sum of squared residuals over arms and `parameters` the number that were fitted.
    """

    centre: Array
    floor: Array
    reducible: Array
    exponent: Array
    chi2: Array
    parameters: int
    floor_at_bound: NDArray[np.bool_]
    exponent_at_bound: NDArray[np.bool_]

    def log_loss(self, arm: int, log_c: Array) -> Array:
        """``ln L`` of one arm at ``ln C`` of shape (P,) or (B, P); returns (B, P)."""
        return np.log(self.floor[:, arm, None] + self.excess(arm, log_c))

    def excess(self, arm: int, log_c: Array) -> Array:
        """``A C^-alpha`` of one arm at ``ln C`` of shape (P,) or (B, P); returns (B, P)."""
        with np.errstate(over="ignore"):  # far below the data a law's loss is infinite
            return self.reducible[:, arm, None] * np.exp(-self.exponent[:, arm, None] * (log_c - self.centre[arm]))

    def invert(self, arm: int, loss: Array) -> Array:
        """``ln C`` at which one arm reaches `loss` (B, P); ``inf`` where that is at or below its floor."""
        above = loss - self.floor[:, arm, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = (np.log(self.reducible[:, arm, None]) - np.log(above)) / self.exponent[:, arm, None]
        return np.where(above > 0, self.centre[arm] + steps, np.inf)

    def scale(self) -> Array:
        """``A`` (B, K) in units of loss times resource to the power ``alpha``."""
        return self.reducible * np.exp(self.exponent * self.centre)


def fit_power_laws(
    log_c: Sequence[Array],
    log_loss: Sequence[Array],
    weight: Sequence[Array],
    floor: str | float = "shared",
) -> PowerFits:
    """Weighted least squares of ``ln L(C) = ln(E + A C^-alpha)`` for K arms, on B resamples at once.

    `log_c[k]` (R_k,), `log_loss[k]` (B, R_k) and `weight[k]`, the inverse variance of each ``ln L``: (R_k,), or
    (B, R_k) where it differs between the resamples. `floor` is ``"shared"`` (one E for all arms), ``"free"`` (one
    each) or a number at which it is pinned (0 for a pure power law). Bounds: ``0 <= E < min(L)``, ``A > 0``,
    ``0 < alpha <= 5``. Deterministic.
    """
    centre = np.array([float(np.mean(x)) for x in log_c])
    x = [np.asarray(c, float) - m for c, m in zip(log_c, centre, strict=True)]
    y = [np.atleast_2d(np.asarray(v, float)) for v in log_loss]
    w = [np.asarray(v, float) for v in weight]
    arms = range(len(x))
    if floor == "free":
        parts = [_fit_shared(x[k : k + 1], y[k : k + 1], w[k : k + 1]) for k in arms]
    elif floor == "shared":
        parts = [_fit_shared(x, y, w)]
    else:
        pinned = np.full(y[0].shape[0], float(floor))
        parts = [(pinned, np.zeros(pinned.shape, bool), *_given_floor(x, y, w, pinned, 12))]
    e = np.concatenate([np.repeat(p[0][:, None], p[3].shape[1], axis=1) for p in parts], axis=1)
    bound = np.concatenate([np.repeat(p[1][:, None], p[3].shape[1], axis=1) for p in parts], axis=1)
    chi2 = np.sum([p[2] for p in parts], axis=0)
    reducible = np.concatenate([p[3] for p in parts], axis=1)
    exponent = np.concatenate([p[4] for p in parts], axis=1)
    floors = {"free": len(x), "shared": 1}.get(str(floor), 0)
    at_bound = (exponent <= MIN_EXPONENT * 1.01) | (exponent >= MAX_EXPONENT * 0.999)
    return PowerFits(centre, e, reducible, exponent, chi2, 2 * len(x) + floors, bound, at_bound)


_Given = tuple[Array, Array, Array]


def _fit_shared(
    x: Sequence[Array], y: Sequence[Array], w: Sequence[Array]
) -> tuple[Array, NDArray[np.bool_], Array, Array, Array]:
    """Fit one floor common to all arms, in ``t = -ln(1 - E / best loss)``: from no floor to one just below.

    A grid of t finds the basin, Gauss-Newton in all parameters at once its bottom; the few rows where that leaves the
    basin or does not settle go through golden section instead, which can't fail.
    """
    best = np.exp(np.min([np.min(v, axis=1) for v in y], axis=0))
    span = -np.log(NEAREST_FLOOR)
    grid = np.linspace(0.0, span, _GRID)
    profile = np.stack([_given_floor(x, y, w, best * (1 - np.exp(-t)), 2)[0] for t in grid])
    k = np.argmin(profile, axis=0)
    low, high = grid[np.maximum(k - 1, 0)], grid[np.minimum(k + 1, _GRID - 1)]
    t, settled = _descend(x, y, w, best, grid[k], low, high, span)
    rest = np.flatnonzero(~settled)
    if rest.size:
        t[rest] = _golden(x, [v[rest] for v in y], [_rows(v, rest) for v in w], best[rest], low[rest], high[rest])
    t = np.where(t < 1e-3, 0.0, t)
    floor = best * (1 - np.exp(-t))
    return floor, (t <= 0) | (t > span * 0.999), *_given_floor(x, y, w, floor, 10)


def _descend(
    x: Sequence[Array],
    y: Sequence[Array],
    w: Sequence[Array],
    best: Array,
    t: Array,
    low: Array,
    high: Array,
    span: float,
) -> tuple[Array, NDArray[np.bool_]]:
    """Joint Gauss-Newton from `t` (B,) within the basin ``[low, high]``: ``(t, whether it settled there)``.

    Per arm the step in ``(ln a, slope)`` is a weighted line through the residuals; the floor's own column
    ``dE/dt / excess`` is projected off those lines, which leaves one scalar equation for its step, over all arms.
    """
    t, fits = t.copy(), _given_floor(x, y, w, best * (1 - np.exp(-t)), 2)
    log_a, slope = list(np.log(fits[1]).T), list(-fits[2].T)
    settled = np.zeros(t.shape, bool)
    for _ in range(_STEPS):
        floor, d_floor = best * (1 - np.exp(-t)), best * np.exp(-t)
        top, bottom, lines = 0.0, 0.0, []
        for k, (xk, yk, wk) in enumerate(zip(x, y, w, strict=True)):
            excess = np.exp(log_a[k][:, None] + slope[k][:, None] * xk)
            fitted = floor[:, None] + excess
            share = excess / fitted
            z, g = (yk - np.log(fitted)) / share, d_floor[:, None] / excess
            v = wk * share**2
            of_z, of_g = _line(xk, z, v), _line(xk, g, v)
            g_off = g - of_g[0][:, None] - of_g[1][:, None] * xk
            top = top + np.einsum("br,br->b", v * g_off, z)
            bottom = bottom + np.einsum("br,br->b", v * g_off, g_off)
            lines.append((of_z, of_g))
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.nan_to_num(np.clip(top / bottom, -1.0, 1.0))
        moved = np.clip(t + step, low, high)
        step = np.where(settled, 0.0, moved - t)  # rows that have settled stay: none depends on its neighbours
        for k, (of_z, of_g) in enumerate(lines):
            change = np.where(settled, 0.0, np.clip(of_z[1] - step * of_g[1], -0.5, 0.5))
            slope[k] = np.clip(slope[k] + change, -MAX_EXPONENT, -MIN_EXPONENT)
            log_a[k] = log_a[k] + np.where(settled, 0.0, np.clip(of_z[0] - step * of_g[0], -1.0, 1.0))
        t = t + step
        # a row that rests on an end of its basin has settled only where that end is a true bound of the floor
        inside = ((t > low) | (low == 0)) & ((t < high) | (high >= span))
        settled |= (np.abs(step) < _SETTLED) & inside
        if settled.all():
            break
    return t, settled


def _golden(x: Sequence[Array], y: Sequence[Array], w: Sequence[Array], best: Array, low: Array, high: Array) -> Array:
    """Golden section over the profile of the floor within ``[low, high]`` (B,)."""

    def chi2(t: Array) -> Array:
        return _given_floor(x, y, w, best * (1 - np.exp(-t)), 3)[0]

    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fa, fb = chi2(a), chi2(b)
    for _ in range(22):
        left = fa < fb
        low, high = np.where(left, low, a), np.where(left, b, high)
        probe = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        fp = chi2(probe)
        a, b, fa, fb = (
            np.where(left, probe, b),
            np.where(left, a, probe),
            np.where(left, fp, fb),
            np.where(left, fa, fp),
        )
    return 0.5 * (low + high)


def _given_floor(x: Sequence[Array], y: Sequence[Array], w: Sequence[Array], floor: Array, steps: int) -> _Given:
    """``(chi2 (B,), reducible (B, K), exponent (B, K))`` of the arms, which separate once the floor is known."""
    fits = [_one_arm(xk, yk, wk, floor[:, None], steps) for xk, yk, wk in zip(x, y, w, strict=True)]
    chi2 = np.sum([f[0] for f in fits], axis=0)
    return chi2, np.stack([f[1] for f in fits], axis=1), np.stack([f[2] for f in fits], axis=1)


def _one_arm(x: Array, y: Array, w: Array, floor: Array, steps: int) -> _Given:
    """Minimise ``sum w (y - ln(E + a exp(-alpha x)))^2`` given E: a straight-line start, then Gauss-Newton in both."""
    share = np.maximum(1 - floor * np.exp(-y), NEAREST_FLOOR)  # of the loss that lies above the floor
    log_a, slope = _line(x, y + np.log(share), w * share**2)
    slope = np.clip(slope, -MAX_EXPONENT, -MIN_EXPONENT)
    for _ in range(steps):
        excess = np.exp(log_a[:, None] + slope[:, None] * x)
        fitted = floor + excess
        share = excess / fitted
        d_log_a, d_slope = _line(x, (y - np.log(fitted)) / share, w * share**2)
        slope = np.clip(slope + np.clip(d_slope, -0.5, 0.5), -MAX_EXPONENT, -MIN_EXPONENT)
        log_a = log_a + np.clip(d_log_a, -1.0, 1.0)
    a = np.exp(log_a)
    fitted = floor + a[:, None] * np.exp(slope[:, None] * x)
    return np.einsum("br,br->b", np.broadcast_to(w, y.shape), (y - np.log(fitted)) ** 2), a, -slope


def _line(x: Array, z: Array, w: Array) -> tuple[Array, Array]:
    """Weighted straight line ``z = p + q x`` per row: ``(p, q)``."""
    # einsum: the rows are a handful of rungs long, where a reduction over the last axis is several times slower
    s = np.einsum("br->b", w)
    mx = w @ x / s
    mz = np.einsum("br,br->b", w, z) / s
    dx = x - mx[:, None]
    w_dx = w * dx
    q = np.einsum("br,br->b", w_dx, z) / np.einsum("br,br->b", w_dx, dx)
    return mz - q * mx, q


def _rows(w: Array, rows: NDArray[np.intp]) -> Array:
    """Weights of some resamples."""
    return w if w.ndim == 1 else w[rows]

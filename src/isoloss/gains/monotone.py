"""Quality against resource with no law: isotonic rung means joined by a monotone cubic, for many draws at once.

In ``(ln C, ln quality)`` a power law is a straight line and a power law with a floor is gently convex. Straight
chords would then bias a gain by ``h^2 f'' / 8 f'`` (2% at fourfold rungs, 5% at tenfold ones, larger than the seed
noise of a good ladder), so the rungs are joined by the monotone cubic of Fritsch & Butland (1984), which follows the
bend, never overshoots, and asks for no law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def isotonic_decreasing(y: Array, weight: Array) -> Array:
    """Weighted least-squares non-increasing fit of every row of `y` (B, R), weights (R,): pool adjacent violators.

    Uses the min-max form ``max_{k>=i} min_{j<=i} mean(y[j..k])`` (Robertson, Wright & Dykstra 1988), vectorised over
    rows. Rows that already decrease come back unchanged.
    """
    fit = y.copy()
    rows = np.flatnonzero(np.any(np.diff(y, axis=1) > 0, axis=1))
    if rows.size == 0:
        return fit
    bad, r = y[rows], y.shape[1]
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(bad * weight, axis=1)], axis=1)
    mass = np.concatenate([[0.0], np.cumsum(weight)])
    best = np.full(bad.shape, -np.inf)
    for k in range(r):
        starts = np.arange(k + 1)
        means = (total[:, k + 1, None] - total[:, starts]) / (mass[k + 1] - mass[starts])
        best[:, : k + 1] = np.maximum(best[:, : k + 1], np.minimum.accumulate(means, axis=1))
    fit[rows] = np.minimum.accumulate(best, axis=1)
    return fit


def _knot_slopes(x: Array, y: Array) -> Array:
    """Monotone derivative at each knot (B, R): weighted harmonic means inside, limited three-point ends."""
    h = np.diff(x)
    d = np.diff(y, axis=1) / h
    if d.shape[1] == 1:
        return np.repeat(d, 2, axis=1)
    slope = np.empty(y.shape)
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    left, right = d[:, :-1], d[:, 1:]
    same = left * right > 0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        harmonic = (w1 + w2) / (w1 / left + w2 / right)
    slope[:, 1:-1] = np.where(same, harmonic, 0.0)
    for end, near, far, h0, h1 in ((0, d[:, 0], d[:, 1], h[0], h[1]), (-1, d[:, -1], d[:, -2], h[-1], h[-2])):
        s = ((2 * h0 + h1) * near - h0 * far) / (h0 + h1)
        s = np.where(s * near <= 0, 0.0, s)
        slope[:, end] = np.where((near * far <= 0) & (np.abs(s) > 3 * np.abs(near)), 3 * near, s)
    return slope


@dataclass(frozen=True, eq=False)
class MonotoneCurve:
    """A non-increasing curve through knots `x` (R,) and `y` (B, R), with derivative `slope` (B, R) at the knots."""

    x: Array
    y: Array
    slope: Array

    def at(self, x: Array) -> Array:
        """Values (B, P) at `x` (P,), held constant beyond the ends."""
        x = np.clip(np.asarray(x, float), self.x[0], self.x[-1])
        j = np.clip(np.searchsorted(self.x, x, side="right") - 1, 0, len(self.x) - 2)
        t = (x - self.x[j]) / (self.x[j + 1] - self.x[j])
        return _hermite(t, *self._piece(j))[0]

    def slope_at(self, x: float) -> Array:
        """Derivative (B,) at one `x` inside the knots."""
        j = int(np.clip(np.searchsorted(self.x, x, side="right") - 1, 0, len(self.x) - 2))
        h = self.x[j + 1] - self.x[j]
        t = np.array([(x - self.x[j]) / h])
        return _hermite(t, *self._piece(np.array([j])))[1][:, 0] / h

    def inverse(self, y: Array) -> tuple[Array, Array]:
        """Least `x` at which the curve is down to `y` (B, P), as bounds ``(low, high)``.

        Inside the range both are the solution. A level above the first knot was passed somewhere below the
        ladder: ``(-inf, x[0])``. A level below the last knot was never reached: ``(x[-1], inf)``.
        """
        r = len(self.x)
        above = np.zeros(y.shape, np.int64)
        for k in range(r):
            above += self.y[:, k, None] > y
        j = np.clip(above - 1, 0, r - 2)
        rows = np.arange(self.y.shape[0])[:, None]
        h = (self.x[1:] - self.x[:-1])[j]
        piece = self.y[rows, j], self.y[rows, j + 1], self.slope[rows, j] * h, self.slope[rows, j + 1] * h
        x = self.x[j] + h * _solve(y, *piece)
        early, never = y > self.y[:, :1], y < self.y[:, -1:]
        low = np.where(early, -np.inf, np.where(never, self.x[-1], x))
        high = np.where(early, self.x[0], np.where(never, np.inf, x))
        return low, high

    def _piece(self, j: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        h = self.x[j + 1] - self.x[j]
        return self.y[:, j], self.y[:, j + 1], self.slope[:, j] * h, self.slope[:, j + 1] * h


def monotone_curve(x: Array, y: Array, weight: Array) -> MonotoneCurve:
    """The monotone curve through rung values `y` (B, R) at `x` (R,), increasing; `weight` (R,) pools violators."""
    y = isotonic_decreasing(y, weight)
    return MonotoneCurve(x, y, _knot_slopes(x, y))


def _hermite(t: Array, y0: Array, y1: Array, d0: Array, d1: Array) -> tuple[Array, Array]:
    """Cubic Hermite value and derivative at ``t`` in [0, 1]; exact at both ends."""
    rise = y1 - y0
    b, c = 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise
    # rounding must not carry a falling piece past its own ends, or its inverse finds nothing there
    value = np.clip(np.where(t >= 1, y1, y0 + t * (d0 + t * (b + t * c))), np.minimum(y0, y1), np.maximum(y0, y1))
    return value, d0 + t * (2 * b + t * 3 * c)


def _solve(target: Array, y0: Array, y1: Array, d0: Array, d1: Array) -> Array:
    """``t`` in [0, 1] where the non-increasing cubic equals `target`: Newton, kept inside a shrinking bracket."""
    rise = y1 - y0
    t = np.clip(np.where(rise < 0, (target - y0) / np.where(rise < 0, rise, 1.0), 0.0), 0.0, 1.0)
    low, high = np.zeros(t.shape), np.ones(t.shape)
    tolerance, beyond = 1e-13 * (1 + np.abs(target)), (target > y0) | (target < y1)
    for _ in range(24):  # 5 do for most; a piece that ends flat halves its error a few times first
        value, derivative = _hermite(t, y0, y1, d0, d1)
        miss = value - target
        if np.all((np.abs(miss) < tolerance) | beyond):
            break
        low, high = np.where(miss > 0, t, low), np.where(miss <= 0, t, high)
        step = t - miss / np.where(derivative < 0, derivative, -1e-300)
        t = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return t

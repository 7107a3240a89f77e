"""The minimum of a loss profile: where, over model size at one budget, is the loss least?

A profile is n runs of one budget at ``x = ln N``. Three curves may stand for it: a ``parabola`` (least squares;
Hoffmann et al. 2022, approach 2), a ``cubic`` (which follows the skew of a profile whose exponents of N and D differ)
and an ``akima`` interpolant through the runs (Porian et al. 2024), which assumes no shape and averages no noise. B
noisy copies of a profile are handled as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator

Array = NDArray[np.float64]
Shape = Literal["parabola", "cubic", "akima"]
SHAPES: tuple[str, ...] = get_args(Shape)
#: Fewest distinct sizes that determine each curve.
FEWEST_SIZES = {"parabola": 3, "cubic": 4, "akima": 4}
#: Of ln N: an interpolant through two runs closer than this would amplify their noise.
SAME_SIZE = 0.02
_STEPS = 40  # of the interpolant between two sizes


@dataclass(frozen=True, eq=False)
class Minima:
    """Minima of B profiles over the sampled range of x: place, value, and second derivative there, each (B,).

    `inside` is whether the minimum is a stationary point between the ends of the range; where it is not, the place is
    the lower end and says only that the optimum lies there or beyond.
    """

    x: Array
    loss: Array
    curvature: Array
    inside: NDArray[np.bool_]


def minima(x: Array, loss: Array, weight: Array, shape: Shape) -> Minima:
    """Minima of profiles `loss` (B, n) at sizes `x` (n,), with `weight` (n,) the inverse variances of the runs."""
    if shape == "akima":
        return _interpolated(x, loss, weight)
    design, centre, half = _design(x, shape)
    c = loss @ _solver(design, weight).T
    low, high = (x.min() - centre) / half, (x.max() - centre) / half
    c2, c3 = c[:, 2], c[:, 3] if shape == "cubic" else np.zeros(len(c))
    with np.errstate(divide="ignore", invalid="ignore"):
        # the root with a positive second derivative, in the form that tends to the parabola's as c3 vanishes
        u = -c[:, 1] / (c2 + np.sqrt(c2**2 - 3 * c[:, 1] * c3))
        bend = 2 * c2 + 6 * c3 * u
        inside = np.isfinite(u) & (bend > 0) & (u > low) & (u < high)

    def value(at: Array) -> Array:
        return c[:, 0] + at * (c[:, 1] + at * (c2 + at * c3))

    ends = np.full(len(c), low), np.full(len(c), high)
    u = np.where(inside, u, np.where(value(ends[0]) < value(ends[1]), low, high))
    return Minima(centre + half * u, value(u), (2 * c2 + 6 * c3 * u) / half**2, inside)


def curvature_variance(x: Array, weight: Array, shape: Shape, at: float) -> float:
    """Variance of the fitted second derivative at ``x = at`` for runs whose variances are ``1 / weight``."""
    design, centre, half = _design(x, shape)
    u = (at - centre) / half
    row = np.array([0.0, 0.0, 2.0, 6.0 * u])[: design.shape[1]] / half**2 @ _solver(design, weight)
    return float(np.sum(row**2 / weight))


def same_sizes(x: Array) -> NDArray[np.int64]:
    """Number of the size of each run: runs within `SAME_SIZE` of the next smaller one count as one size."""
    order = np.argsort(x, kind="stable")
    index = np.empty(len(x), np.int64)
    index[order] = np.concatenate([[0], np.cumsum(np.diff(x[order]) > SAME_SIZE)])
    return index


def residuals(x: Array, loss: Array, weight: Array, shape: Shape) -> tuple[Array, int]:
    """Residuals (n,) of one profile about its curve, and their degrees of freedom.

    An interpolant leaves none, so for ``akima`` each run is set against the straight line between its two neighbours
    in size, less what the bend of the profile there explains (a cubic through two neighbours a side), and scaled to
    the variance of one run. Source: Gasser, Sroka & Jennen-Steinmetz 1986 (Biometrika 73), with a cubic for the line.
    """
    if shape != "akima":
        design, _, _ = _design(x, shape)
        rest = loss - design @ (_solver(design, weight) @ loss)
        return rest, len(x) - design.shape[1]
    x, loss, _ = _means(x, loss[None], weight)
    found = []
    for i in range(2, len(x) - 2):
        near = np.array([i - 2, i - 1, i + 1, i + 2])
        lever = np.array([np.prod([(x[i] - x[k]) / (x[j] - x[k]) for k in near if k != j]) for j in near])
        found.append((loss[0, i] - lever @ loss[0, near]) / np.sqrt(1 + lever @ lever))
    # neighbouring pseudo-residuals share runs: about half of them are worth a degree of freedom
    return np.array(found), len(found) // 2


def _design(x: Array, shape: Shape) -> tuple[Array, float, float]:
    centre, half = float(x.mean()), float(np.ptp(x)) / 2
    u = (x - centre) / half
    return np.vander(u, 4 if shape == "cubic" else 3, increasing=True), centre, half


def _solver(design: Array, weight: Array) -> Array:
    root = np.sqrt(weight)
    return np.asarray(np.linalg.pinv(design * root[:, None]) * root, float)


def _means(x: Array, loss: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Sizes (s,), weighted mean losses (B, s) over the runs of each, and summed weights, in order of size."""
    member = same_sizes(x)
    share = np.zeros((int(member.max()) + 1, len(x)))
    share[member, np.arange(len(x))] = weight
    total = share.sum(axis=1)
    share /= total[:, None]
    return share @ x, loss @ share.T, total


def _interpolated(x: Array, loss: Array, weight: Array) -> Minima:
    sizes, mean, _ = _means(x, loss, weight)
    curve = Akima1DInterpolator(sizes, mean.T)
    grid = np.unique(np.concatenate([np.linspace(a, b, _STEPS + 1) for a, b in pairwise(sizes)]))
    value = curve(grid)  # (grid, B)
    k = np.argmin(value, axis=0)
    inside = (k > 0) & (k < len(grid) - 1)
    draw = np.arange(value.shape[1])
    return Minima(grid[k], value[k, draw], curve(grid, 2)[k, draw], inside)

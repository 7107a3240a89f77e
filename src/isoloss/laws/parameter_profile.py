"""Profile likelihood of one parameter: how the misfit rises as it is held at other values and the rest is refitted.

The deviance ``d(v) = -2 max ln p(losses | parameter = v)``, the noise's scale estimated at every v, is compared with
its least: for squared residuals ``d(v) - d_min = n ln(S(v) / S_min)``, and the interval holds the values with
``S(v) <= S_min (1 + F / (n - P))``, F the quantile of Fisher's distribution with 1 and n - P degrees of freedom. For
Huber's loss the same threshold is set to the deviance of his distribution. Unlike percentiles, the interval does not
depend on how the parameter is measured, and shows where data give no bound.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.descend import Problem, minimise
from isoloss.laws.law import Law, Parameter
from isoloss.laws.noise import deviance
from isoloss.laws.optimum import Posed, lowest, pose

Array = NDArray[np.float64]
COARSE, FINE = 40, 16
_ANCHORS = 8


@dataclass(frozen=True, eq=False)
class ParameterProfile:
    """Misfit along one parameter: `values` (K,) in the table's units, `misfit` (K,) half squares of scaled residuals.

    `rise` (K,) is the deviance above its least, `dof` = rows - parameters. `limits` are the values between which the
    parameter may lie at all (a floor: 0 and the lowest loss). `theta` (K, P) are the refitted optima.
    """

    name: str
    best: float
    values: Array
    misfit: Array
    rise: Array
    rows: int
    dof: int
    limits: tuple[float, float]
    theta: Array

    def threshold(self, level: float = 0.95) -> float:
        """Rise of the deviance up to which a value belongs to the interval."""
        return float(self.rows * np.log1p(stats.f.ppf(level, 1, self.dof) / self.dof))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Ends of the likelihood-ratio interval; an end at one of `limits` is open (see `open_ends`)."""
        inside = self.rise <= self.threshold(level)
        centre = int(np.argmin(self.rise))
        ends = []
        for step, limit in ((-1, self.limits[0]), (1, self.limits[1])):
            k = centre
            while 0 <= k + step < len(inside) and inside[k + step]:
                k += step
            out = k + step
            if not 0 <= out < len(inside):
                ends.append(limit)
                continue
            # the root of the rise is nearly straight in the parameter
            a, b, cut = (float(np.sqrt(max(v, 0.0))) for v in (self.rise[k], self.rise[out], self.threshold(level)))
            share = (cut - a) / (b - a) if np.isfinite(b) and b > a else 0.0
            ends.append(float(self.values[k] + share * (self.values[out] - self.values[k])))
        return ends[0], ends[1]

    def open_ends(self, level: float = 0.95) -> tuple[bool, bool]:
        """Whether the data leave the interval open below and above, up to the bound of the parameter."""
        low, high = self.interval(level)
        return low <= self.limits[0], high >= self.limits[1]

    def sentence(self, level: float = 0.95) -> str:
        """The interval in words, open ends said."""
        (low, high), (below, above) = self.interval(level), self.open_ends(level)
        ends = f"{'(' if below else '['}{low:.4g}, {high:.4g}{')' if above else ']'}"
        open_to = [word for word, yes in (("below", below), ("above", above)) if yes]
        note = f", not bounded {' or '.join(open_to)} by the data" if open_to else ""
        return f"{self.name} = {self.best:.4g}, {level:.0%} profile interval {ends}{note}"


class _Held(Law):
    """A law whose parameter `index` stays where each problem starts: its derivative is hidden from the descent."""

    name, summary, source, formula = "held", "a law with one parameter held", "isoloss", "f(columns; parameters)"

    def __init__(self, law: Law, index: int) -> None:
        self.law, self.index = law, index
        self.columns, self.parameters, self.link, self.scaled = law.columns, law.parameters, law.link, law.scaled

    def prepare(self, columns: Any) -> Any:
        return self.law.prepare(columns)

    def evaluate(self, theta: Array, data: Any) -> tuple[Array, Array]:
        value, jac = self.law.evaluate(theta, data)
        jac[:, self.index] = 0.0
        return value, jac


def profile(
    law: str | Law,
    columns: Mapping[str, Any],
    loss: Any,
    parameter: str = "E",
    *,
    objective: str | None = None,
    delta: float | None = None,
    weights: Any | None = None,
    pinned: Mapping[str, float] | None = None,
) -> ParameterProfile:
    """Profile one parameter of a law, by default its floor ``E``; rows count as independent runs.

    The arguments are those of `isoloss.laws.fit`. Raises TableError for a factor of a term (it is fitted in scaled
    units) and for a table without a degree of freedom to spare, UnknownNameError for a parameter that isn't there.
    """
    posed = pose(law, columns, loss, objective=objective, delta=delta, weights=weights, pinned=pinned)
    law, problem = posed.law, posed.problem
    index = _find(law, parameter)
    p = law.parameters[index]
    rows = int(np.sum(problem.weight > 0))
    if rows <= posed.free:
        what = f"{rows} rows leave no degree of freedom for {posed.free} parameters"
        raise TableError("--profile", what, "run more, or fit a law with fewer parameters")
    best, _ = lowest(problem, posed.starts, posed.starts_in_grid)
    held = Problem(_Held(law, index), problem.data, problem.y, problem.weight, problem.objective)
    low, high = p.bounds
    if p.vanishes:
        high = min(high, float(np.log(problem.y.min() * (1 - 1e-6))))
    grid = _grid(p, low, high, float(best[index]))
    known = _anchors(posed, index, low, high, best)
    theta, misfit = _along(held, grid, index, known)
    spare = rows - posed.free
    threshold = rows * np.log1p(stats.f.ppf(0.99, 1, spare) / spare)
    for _ in range(2):  # finer where the rise crosses what intervals need
        rise = _rise(problem, misfit)
        near = np.flatnonzero((rise[:-1] <= threshold) | (rise[1:] <= threshold))
        wide = near[np.argsort(grid[near + 1] - grid[near])[::-1][:FINE]]
        more = _middle(p, grid[wide], grid[wide + 1])
        extra, extra_misfit = _along(held, more, index, np.concatenate([known, theta]))
        order = np.argsort(np.r_[grid, more], kind="stable")
        grid, misfit = np.r_[grid, more][order], np.r_[misfit, extra_misfit][order]
        theta = np.concatenate([theta, extra])[order]
    values = posed.units.params(law, theta)[parameter]
    ends = posed.units.params(law, np.array([_at(best, index, low), _at(best, index, high)]))[parameter]
    return ParameterProfile(
        parameter,
        float(posed.units.params(law, theta[int(np.argmin(misfit))])[parameter]),
        values,
        misfit,
        _rise(problem, misfit),
        rows,
        spare,
        (float(ends[0]), float(posed.loss.min()) if p.vanishes else float(ends[1])),
        theta,
    )


def _find(law: Law, parameter: str) -> int:
    names = [p.name for p in law.parameters]
    if parameter not in names:
        raise UnknownNameError("--profile", "parameter", parameter, names)
    p = law.parameters[names.index(parameter)]
    if p.low == p.high:
        raise TableError(f"--profile {parameter}", "is pinned", "leave it free")
    if p.linear and law.scaled and not p.vanishes:
        able = ", ".join(q.name for q in law.parameters if q.vanishes or not q.linear)
        raise TableError(f"--profile {parameter}", "is a factor of a term and has no profile", f"profile one of {able}")
    return names.index(parameter)


def _grid(p: Parameter, low: float, high: float, best: float) -> Array:
    """Values in the engine's coordinate: even in the value of a floor, geometric for other positive ones."""
    if p.vanishes and p.log:
        top = np.exp(high)
        inner = np.log(np.linspace(top / COARSE, top, COARSE))
        return np.unique(np.r_[low, inner, best])
    if not p.log and low > 0:
        return np.unique(np.r_[np.geomspace(low, high, COARSE), best])
    return np.unique(np.r_[np.linspace(low, high, COARSE), best])


def _middle(p: Parameter, a: Array, b: Array) -> Array:
    return np.log(0.5 * (np.exp(a) + np.exp(b))) if p.vanishes and p.log else 0.5 * (a + b)


def _at(theta: Array, index: int, value: float) -> Array:
    out = theta.copy()
    out[index] = value
    return out


def _anchors(posed: Posed, index: int, low: float, high: float, best: Array) -> Array:
    """Global optima with the parameter pinned at a few values: where refits at nearby values start."""
    p, found = posed.law.parameters[index], [best]
    grid = _grid(p, low, high, float(best[index]))
    for value in grid[np.linspace(0, len(grid) - 1, _ANCHORS).astype(int)]:
        pinned = copy.copy(posed.law)
        law_value = float(np.exp(value)) if p.log else float(value)
        held = type(p)(p.name, law_value, law_value, p.log, p.linear, () if p.linear else (law_value,), p.vanishes)
        pinned.parameters = (*pinned.parameters[:index], held, *pinned.parameters[index + 1 :])
        whole = posed.problem
        problem = Problem(pinned, whole.data, whole.y, whole.weight, whole.objective)
        starts = posed.starts.copy()
        starts[:, index] = value
        found.append(lowest(problem, starts, len(starts))[0])
    return np.array(found)


def _along(held: Problem, grid: Array, index: int, known: Array) -> tuple[Array, Array]:
    """Optimum (K, P) and misfit (K,) at each value of `grid`, the lowest of those that the starts `known` lead to."""
    k, s = len(grid), len(known)
    if k == 0:
        return np.zeros((0, known.shape[1])), np.zeros(0)
    starts = np.repeat(known[None], k, axis=0)
    starts[:, :, index] = grid[:, None]
    found = minimise(held, starts.reshape(k * s, -1))
    misfit = found.misfit.reshape(k, s)
    pick = np.argmin(misfit, axis=1)
    return found.theta.reshape(k, s, -1)[np.arange(k), pick], misfit[np.arange(k), pick]


def _rise(problem: Problem, misfit: Array) -> Array:
    value = deviance(misfit, problem.weight[0], problem.objective.threshold)
    return value - value.min()

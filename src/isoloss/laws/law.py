"""What a scaling law is to the fitting engine: named parameters and one function with its derivative.

A law is one file of `isoloss.laws.forms` (or anybody's) that subclasses `Law` and registers itself; see
`isoloss.laws.forms.power_terms` for the shortest example and ``docs/laws.md`` for one of your own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
MOST_STARTS = 6000
_ELEMENTS = 2_000_000  # numbers of one (starts, parameters, rows) array at once
_LEAST = 1e-4  # start of a term that least squares would leave out, as a share of the losses


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    `low` and `high` bound its value in scaled units (every column and the loss divided by their geometric means).
    A `log` parameter is positive and moved by its logarithm; one that may vanish (a floor) is reported as 0 at
    `low`. `linear` says that the law is linear in it given the others (in ``ln L`` for a law with a log link), so that
    its start is solved for; any other parameter is started from each of `grid`.
    """

    name: str
    low: float
    high: float
    log: bool = True
    linear: bool = False
    grid: tuple[float, ...] = ()
    vanishes: bool = False

    def inside(self, value: Any) -> Any:
        """A value as the engine moves it: its logarithm for a `log` parameter."""
        return np.log(value) if self.log else value

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds in the engine's coordinate."""
        return float(self.inside(self.low)), float(self.inside(self.high))


def coefficient(name: str, *, vanishes: bool = False) -> Parameter:
    """A positive factor of one term, such as ``A`` of ``A N^-alpha``; a floor when it `vanishes`."""
    return Parameter(name, 1e-9, 1e9, linear=True, vanishes=vanishes)


def exponent(name: str, low: float = 1e-3, high: float = 5.0, first: float = 0.02, last: float = 2.0) -> Parameter:
    """A positive exponent, started from a geometric grid."""
    return Parameter(name, low, high, log=False, grid=tuple(np.geomspace(first, last, 68).tolist()))


class Law(ABC):
    """A scaling law ``L = f(columns; parameters)``.

    `columns` names what it is a function of (``*`` for one column of any name). With link ``log``, `evaluate` gives
    ``ln L``. `scaled` laws see columns and losses divided by their geometric means, which conditions the fit, and give
    their parameters back in the columns' units by `natural`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    formula: str
    columns: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    link: Literal["identity", "log"] = "identity"
    scaled: bool = True
    objective: ClassVar[str] = "squared-log"
    may_repeat: ClassVar[frozenset[str]] = frozenset()  # columns that may take fewer than three values

    @abstractmethod
    def prepare(self, columns: Columns) -> Any:
        """What `evaluate` needs of the columns, each (R,), computed once a fit."""

    @abstractmethod
    def evaluate(self, theta: Array, data: Any) -> tuple[Array, Array]:
        """Value (B, R) and its derivative (B, P, R) with respect to `theta` (B, P), in the engine's coordinates."""

    def scales(self, columns: Columns, loss: Array) -> tuple[dict[str, float], float]:
        """What each of its columns and the loss are divided by before a fit: geometric means, or 1 if not `scaled`.

        A law in which two columns must keep a common unit, or one has its own (a count of experts), says so here.
        """
        if not self.scaled:
            return dict.fromkeys(self.columns, 1.0), 1.0
        return {c: middle(columns[c]) for c in self.columns}, middle(loss)

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        """Parameters in the units of the table, from those in scaled units and the scales of `columns` and `loss`."""
        return params

    def take(self, data: Any, rows: NDArray[np.intp]) -> Any:
        """`data` for some of the rows only."""
        return {k: v[..., rows] for k, v in data.items()}

    def starts(self, data: Any, y: Array, weight: Array) -> Array:
        """Starts (S, P): a grid over the non-linear parameters, the linear ones solved for by least squares.

        `y` (R,) is the loss (its logarithm for a log link) and `weight` (R,) multiplies squared residuals of it.
        """
        free = [i for i, p in enumerate(self.parameters) if not p.linear]
        grids = [self.parameters[i].grid for i in free]
        total = float(np.prod([float(len(g)) for g in grids]))
        thin = max(1.0, (total / MOST_STARTS) ** (1 / max(1, len(grids))))
        grids = [g if thin == 1.0 else tuple(np.array(g)[_thinned(len(g), thin)].tolist()) for g in grids]
        place = np.array(list(product(*grids))) if grids else np.zeros((1, 0))
        theta = np.zeros((len(place), len(self.parameters)))
        for column, i in enumerate(free):
            theta[:, i] = self.parameters[i].inside(place[:, column])
        linear = [i for i, p in enumerate(self.parameters) if p.linear and p.low < p.high]
        fixed = [i for i, p in enumerate(self.parameters) if p.linear and p.low == p.high]
        if not linear:
            theta[:, fixed] = [self.parameters[i].bounds[0] for i in fixed]
            return theta
        for part in np.array_split(
            np.arange(len(theta)), max(1, theta.shape[0] * y.size * theta.shape[1] // 2_000_000)
        ):
            # with respect to ln c at c = 1, or to c: the term itself; what is left of the value has no factor
            value, jac = self.evaluate(theta[part], data)
            logs = [i for i, p in enumerate(self.parameters) if p.linear and p.log]
            known = value - jac[:, logs].sum(axis=1)
            known += np.einsum("skr,k->sr", jac[:, fixed], [self.parameters[i].low for i in fixed])
            positive = np.array([self.parameters[i].log for i in linear])
            solved = solve_terms(jac[:, linear], y - known, weight, positive)
            size = np.sqrt(np.mean(jac[:, linear] ** 2, axis=2))
            least = _LEAST * np.sqrt(np.mean(y**2)) / np.maximum(size, 1e-300)
            theta[part[:, None], linear] = np.where(positive, np.log(np.maximum(solved, least)), solved)
        theta[:, fixed] = [self.parameters[i].bounds[0] for i in fixed]
        return theta


def middle(values: Array) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def _thinned(n: int, thin: float) -> NDArray[np.intp]:
    return np.unique(np.round(np.linspace(0, n - 1, max(2, int(n / thin)))).astype(np.intp))


def solve_terms(terms: Array, y: Array, weight: Array, positive: NDArray[np.bool_]) -> Array:
    """Weighted least squares of `y` (S, R) on `terms` (S, K, R), with ``c_k >= 0`` where `positive`: (S, K).

    Exact for the few terms of a law: every subset of terms that may vanish is solved, and the best feasible one kept.
    """
    s, k, _ = terms.shape
    weighted = terms * weight
    normal = weighted @ terms.transpose(0, 2, 1)
    moment = np.einsum("skr,sr->sk", weighted, y)
    size = np.maximum(np.einsum("skk->sk", normal), 1e-300)
    normal = normal / np.sqrt(size[:, :, None] * size[:, None, :])
    moment = moment / np.sqrt(size)
    best, lowest = np.zeros((s, k)), np.full(s, np.inf)
    for keep in product((True, False), repeat=k):
        on = np.array(keep)
        if not on.any() or not np.all(on | positive):
            continue
        system = normal[:, on][:, :, on] + 1e-10 * np.eye(int(on.sum()))
        found = np.linalg.solve(system, moment[:, on, None])[:, :, 0]
        miss = -np.einsum("sk,sk->s", found, moment[:, on])  # of the sum of squares, up to a constant
        good = np.all((found >= 0) | ~positive[on], axis=1) & (miss < lowest)
        lowest = np.where(good, miss, lowest)
        full = np.zeros((s, k))
        full[:, on] = found
        best = np.where(good[:, None], full, best)
    return best / np.sqrt(size)

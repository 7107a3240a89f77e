"""Smoothly broken power laws: straight pieces in log-log joined by breaks of any sharpness, above a floor."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Columns, Law, Parameter, coefficient, solve_terms
from isoloss.laws.registry import law

Array = NDArray[np.float64]
_FLOORS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.995)  # of the lowest loss
_WIDTHS = (0.05, 0.2, 0.5, 1.0)
_MOST_PLACES = 300  # of the breaks


@law
class Broken(Law):
    """``y = a + b x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i)``, one factor for each of `breaks`.

    The slope in log-log goes from ``-c0`` to ``-(c0 + c_1)`` around ``x = d_1``, over a width of about ``f_1`` in
    ``ln x``; the slopes have either sign, so bumps and double descent are in the family. Breaks are given in the order
    of `d`. Raises TableError for a number of breaks that isn't 1 to 4.
    """

    name = "broken"
    summary = "a smoothly broken power law above a floor (BNSL), in one column"
    source = "Caballero et al. 2023, arXiv 2210.14891, eq. 1"
    formula = "a + b * x**-c0 * (1 + (x / d1)**(1 / f1))**(-c1 * f1)"

    def __init__(self, breaks: int = 1) -> None:
        if not 1 <= breaks <= 4:
            raise TableError("breaks", f"{breaks} is not 1 to 4", "take as few as the table shows")
        self.columns = ("*",)
        self.breaks = breaks
        bends = (f"(1 + (x / d{i})**(1 / f{i}))**(-c{i} * f{i})" for i in range(1, breaks + 1))
        self.formula = " * ".join(("a + b * x**-c0", *bends))
        slopes = tuple(Parameter(f"c{i}", -5.0, 5.0, log=False) for i in range(breaks + 1))
        places = tuple(Parameter(f"d{i + 1}", 1e-6, 1e6) for i in range(breaks))
        widths = tuple(Parameter(f"f{i + 1}", 0.02, 3.0) for i in range(breaks))
        self.parameters = (coefficient("a", vanishes=True), coefficient("b"), *slopes, *places, *widths)

    def prepare(self, columns: Columns) -> dict[str, Array]:
        return {"x": np.log(columns[self.columns[0]])}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        x, k = data["x"], self.breaks
        slope, place = theta[:, 3 : 3 + k, None], theta[:, 3 + k : 3 + 2 * k, None]
        width = np.exp(theta[:, 3 + 2 * k :, None])
        z = (x - place) / width  # (B, breaks, R)
        soft = np.logaddexp(0.0, z)  # ln(1 + (x/d)^(1/f))
        past = np.exp(z - soft)  # how far beyond the break, 0 to 1
        floor = np.exp(theta[:, 0, None])
        term = np.exp(theta[:, 1, None] - theta[:, 2, None] * x - np.sum(slope * width * soft, axis=1))
        jac = np.empty((len(theta), theta.shape[1], x.size))
        jac[:, 0] = floor
        jac[:, 1] = term
        jac[:, 2] = -x * term
        jac[:, 3 : 3 + k] = -width * soft * term[:, None]
        jac[:, 3 + k : 3 + 2 * k] = slope * past * term[:, None]
        jac[:, 3 + 2 * k :] = -slope * width * (soft - z * past) * term[:, None]
        return floor + term, jac

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """A grid over floor, breaks and one width; given them ``ln(y - a)`` is linear in ``ln b`` and the slopes."""
        x, k = data["x"], self.breaks
        inner = np.linspace(x.min(), x.max(), max(14, k + 4))[1:-1]
        places = list(combinations(inner.tolist(), k))
        places = places[:: max(1, len(places) // _MOST_PLACES)]
        theta = []
        for share, width in product(_FLOORS, _WIDTHS):
            rest = y - share * y.min()
            at = np.array(places)
            bend = -width * np.logaddexp(0.0, (x - at[:, :, None]) / width)
            level = np.broadcast_to(np.stack((np.ones_like(x), -x)), (len(at), 2, x.size))
            terms = np.concatenate((level, bend), axis=1)
            target = np.broadcast_to(np.log(rest), (len(at), x.size))
            solved = solve_terms(terms, target, weight * rest**2, np.zeros(k + 2, bool))
            floor = np.full((len(at), 1), np.log(max(share * y.min(), self.parameters[0].low)))
            theta.append(np.concatenate((floor, solved, at, np.full((len(at), k), np.log(width))), axis=1))
        return np.concatenate(theta)

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        x, k = columns[self.columns[0]], self.breaks
        out = {"a": params["a"] * loss, "b": params["b"] * loss * x ** params["c0"], "c0": params["c0"]}
        place = np.stack([np.asarray(params[f"d{i + 1}"]) * x for i in range(k)])
        order = np.argsort(place, axis=0, kind="stable")
        for letter in "cdf":
            values = place if letter == "d" else np.stack([np.asarray(params[f"{letter}{i + 1}"]) for i in range(k)])
            for i, row in enumerate(np.take_along_axis(values, order, axis=0)):
                out[f"{letter}{i + 1}"] = row
        return {p.name: out[p.name] for p in self.parameters}

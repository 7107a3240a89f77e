"""A metric that chance bounds above: from the level U of a guess it falls to a floor E along a sigmoid."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Columns, Law, Parameter, exponent
from isoloss.laws.registry import law

Array = NDArray[np.float64]


@law
class Bounded(Law):
    """``L = E + (U - E) / (1 + (x / x0)^alpha)``: half the way from chance to the floor at ``x = x0``.

    For ``x >> x0`` it is a power law with exponent `alpha` above the floor; for ``x << x0`` it stays at chance, where a
    power law without a bound would promise more than the metric can show. `chance` is the known quality of a guess in
    the table's units (0.9 for the error of ten balanced classes); None estimates it, for which the table must hold runs
    near it. Raises TableError for a chance that is not positive.
    """

    name = "bounded"
    summary = "from the chance level of a bounded metric to its floor, in one column"
    source = (
        "M4, Alabdulmohsin, Neyshabur & Zhai 2022, arXiv 2209.06640 (the idea of a sigmoid between both bounds); "
        "the form is Hill's 1910 dose-response curve"
    )
    formula = "E + (U - E) / (1 + (x / x0)**alpha)"
    scaled = False

    def __init__(self, chance: float | None = None) -> None:
        if chance is not None and not (np.isfinite(chance) and chance > 0):
            raise TableError("chance", f"{chance:g} is not positive", "give the error of a guess, such as 0.9")
        self.columns = ("*",)
        low, high = (1e-9, 1e9) if chance is None else (chance, chance)
        self.parameters = (
            Parameter("E", 1e-9, 1e9, linear=True, vanishes=True),
            Parameter("U", low, high, linear=True),
            Parameter("x0", 1e-30, 1e40),
            exponent("alpha", high=10.0),
        )

    def prepare(self, columns: Columns) -> dict[str, Array]:
        return {"x": np.log(columns[self.columns[0]])}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        floor, chance = np.exp(theta[:, 0, None]), np.exp(theta[:, 1, None])
        z = theta[:, 3, None] * (data["x"] - theta[:, 2, None])
        learnt = np.exp(-np.logaddexp(0.0, -z))  # share of the way to the floor
        left = np.exp(-np.logaddexp(0.0, z))
        bend = (chance - floor) * learnt * left
        jac = np.stack(
            (floor * learnt, chance * left, bend * theta[:, 3, None], -bend * (data["x"] - theta[:, 2, None])), axis=1
        )
        return floor * learnt + chance * left, jac

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """As any law's, with half-way points spread over the table's own range and a decade beyond."""
        x = data["x"]
        here = copy.copy(self)
        half = tuple(np.exp(np.linspace(x.min() - np.log(10), x.max() + np.log(10), 40)).tolist())
        here.parameters = tuple(
            replace(p, grid=half) if p.name == "x0" and p.low < p.high else p for p in self.parameters
        )
        return super(Bounded, here).starts(data, y, weight)

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        x = columns[self.columns[0]]
        return {"E": params["E"] * loss, "U": params["U"] * loss, "x0": params["x0"] * x, "alpha": params["alpha"]}

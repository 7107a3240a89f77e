"""Sums of power laws, ``L = E + sum_k A_k x_k^-alpha_k``: the power law, with and without a floor, and Chinchilla's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isoloss.laws.law import Columns, Law, Parameter, coefficient, exponent
from isoloss.laws.registry import law

Array = NDArray[np.float64]


class PowerTerms(Law):
    """``L = E + sum_k A_k x_k^-alpha_k``, with the floor E left out where there is none."""

    def __init__(self, columns: tuple[str, ...], names: tuple[tuple[str, str], ...], floor: bool) -> None:
        self.columns = columns
        self.names = names
        self.floor = floor
        floors: tuple[Parameter, ...] = (coefficient("E", vanishes=True),) if floor else ()
        scales = tuple(coefficient(a) for a, _ in names)
        self.parameters = floors + scales + tuple(exponent(alpha) for _, alpha in names)

    def prepare(self, columns: Columns) -> dict[str, Array]:
        return {"x": np.log(np.stack([columns[c] for c in self.columns]))}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        x, f = data["x"], int(self.floor)  # x (K, R) is ln of the scaled columns
        k = len(x)
        jac = np.empty((len(theta), f + 2 * k, x.shape[1]))
        terms = jac[:, f : f + k]
        np.multiply(theta[:, f + k :, None], -x, out=terms)
        terms += theta[:, f : f + k, None]
        np.exp(terms, out=terms)
        np.multiply(terms, -x, out=jac[:, f + k :])
        value = terms.sum(axis=1)
        if f:
            floor = np.exp(theta[:, :1])
            jac[:, 0] = floor
            value += floor
        return value, jac

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        out = dict(params)
        if self.floor:
            out["E"] = params["E"] * loss
        for column, (scale, alpha) in zip(self.columns, self.names, strict=True):
            out[scale] = params[scale] * loss * columns[column] ** params[alpha]
        return out


@law
class Power(PowerTerms):
    """``L = A x^-alpha``."""

    name = "power"
    summary = "a power law without a floor, in one column"
    source = "Hestness et al. 2017, arXiv 1712.00409"
    formula = "A * x**-alpha"

    def __init__(self) -> None:
        super().__init__(("*",), (("A", "alpha"),), False)


@law
class PowerFloor(PowerTerms):
    """``L = E + A x^-alpha``."""

    name = "power-floor"
    summary = "a power law above an irreducible floor, in one column"
    source = "Henighan et al. 2020, arXiv 2010.14701, eq. 1.1"
    formula = "E + A * x**-alpha"

    def __init__(self) -> None:
        super().__init__(("*",), (("A", "alpha"),), True)


@law
class Chinchilla(PowerTerms):
    """``L(N, D) = E + A N^-alpha + B D^-beta``."""

    name = "chinchilla"
    summary = "parameters N and tokens D apart, above an irreducible floor"
    source = "Hoffmann et al. 2022, arXiv 2203.15556, eq. 2 (objective: eq. 3)"
    formula = "E + A * N**-alpha + B * D**-beta"
    objective = "huber-log"

    def __init__(self) -> None:
        super().__init__(("N", "D"), (("A", "alpha"), ("B", "beta")), True)

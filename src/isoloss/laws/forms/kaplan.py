"""Kaplan's joint law, ``L(N, D) = [(Nc/N)^(alpha_N/alpha_D) + Dc/D]^alpha_D``: no floor, one bottleneck at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isoloss.laws.law import Columns, Law, Parameter, exponent, solve_terms
from isoloss.laws.registry import law

Array = NDArray[np.float64]


@law
class Kaplan(Law):
    """``L(N, D) = [ (Nc / N)^(alpha_N / alpha_D) + Dc / D ]^alpha_D``.

    With data without end it is ``(Nc/N)^alpha_N``, with parameters without end ``(Dc/D)^alpha_D``. It has no floor, so
    it can't hold far beyond the table.
    """

    name = "kaplan"
    summary = "parameters N and tokens D in one bottleneck, without a floor"
    source = "Kaplan et al. 2020, arXiv 2001.08361, eq. 1.5"
    formula = "((Nc / N)**(alpha_N / alpha_D) + Dc / D)**alpha_D"
    columns = ("N", "D")
    parameters = (
        Parameter("Nc", 1e-30, 1e30),
        Parameter("Dc", 1e-30, 1e30),
        exponent("alpha_N", low=0.01),
        exponent("alpha_D", low=0.01),
    )
    link = "log"

    def prepare(self, columns: Columns) -> dict[str, Array]:
        return {"n": np.log(columns["N"]), "d": np.log(columns["D"])}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        nc, dc, alpha_n, alpha_d = (theta[:, i, None] for i in range(4))
        below_n, below_d = nc - data["n"], dc - data["d"]
        u = alpha_n / alpha_d * below_n
        both = np.logaddexp(u, below_d)
        share = np.exp(u - both)  # of the bracket that is due to N
        jac = np.stack(
            (alpha_n * share, alpha_d * np.exp(below_d - both), share * below_n, both - share * u),
            axis=1,
        )
        return alpha_d * both, jac

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """A grid over the exponents; ``L^(1/alpha_D)`` is linear in ``Nc^(alpha_N/alpha_D)`` and ``Dc``."""
        grid = np.geomspace(0.02, 2.0, 48)
        alpha_n, alpha_d = (v.reshape(-1, 1) for v in np.meshgrid(grid, grid, indexing="ij"))
        ratio = alpha_n / alpha_d
        # both terms over the left-hand side, and over their largest value, so that no power leaves the range of floats
        logs = np.stack((-ratio * data["n"] - y / alpha_d, -data["d"] - y / alpha_d), axis=1)
        top = logs.max(axis=2)
        terms = np.exp(logs - top[:, :, None])
        solved = solve_terms(terms, np.ones((len(terms), y.size)), weight, np.array([True, True]))
        coefficient = np.log(np.maximum(solved, 1e-4 * np.maximum(solved.max(axis=1, keepdims=True), 1e-4))) - top
        return np.concatenate((coefficient[:, :1] / ratio, coefficient[:, 1:], alpha_n, alpha_d), axis=1)

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        alpha_n, alpha_d = params["alpha_N"], params["alpha_D"]
        return {
            "Nc": params["Nc"] * columns["N"] * loss ** (1 / alpha_n),
            "Dc": params["Dc"] * columns["D"] * loss ** (1 / alpha_d),
            "alpha_N": alpha_n,
            "alpha_D": alpha_d,
        }

"""Chinchilla's law when data repeat: repeated tokens and parameters beyond what the unique data feed count for less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Columns, Law, Parameter, coefficient, exponent, middle, solve_terms
from isoloss.laws.registry import law

Array = NDArray[np.float64]
_REPEATS = tuple(np.geomspace(1.0, 100.0, 5).tolist())


@law
class DataConstrained(Law):
    """``L(N, D, U) = E + A N'^-alpha + B D'^-beta`` of a model of N parameters that sees D tokens, U of them unique.

    With ``U_D = min(D, U)`` unique tokens, ``R_D = D/U_D - 1`` repetitions of each, and ``U_N = min(N, N_opt(U_D))``
    parameters of which ``R_N = N/U_N - 1`` times as many are in excess::

        D' = U_D + U_D R*_D (1 - exp(-R_D / R*_D))
        N' = U_N + U_N R*_N (1 - exp(-R_N / R*_N))
        N_opt(D) = [alpha A / (beta B)]^(1/alpha) D^(beta/alpha)

    `N_opt(D)` is the compute-optimal size for D fresh tokens of the same law (the minimum of the loss at a fixed
    ``N D``), so it moves with the parameters. The law is Chinchilla's where nothing repeats and ``N <= N_opt(D)``; as
    published, parameters beyond `N_opt` count for less even on fresh data. The exponents are free of each other, where
    the publication sets both to 0.353.
    """

    name = "data-constrained"
    summary = "parameters N and tokens D of which U are unique: what repeated data and excess parameters are worth"
    source = "Muennighoff et al. 2023, arXiv 2305.16264, section 3.1, eq. 5 and appendix A"
    formula = (
        "E + A * (U_N + U_N * R_N_star * (1 - exp(-R_N / R_N_star)))**-alpha"
        " + B * (U_D + U_D * R_D_star * (1 - exp(-R_D / R_D_star)))**-beta"
    )
    columns = ("N", "D", "U")
    objective = "huber-log"
    may_repeat = frozenset(("U",))
    parameters = (
        coefficient("E", vanishes=True),
        coefficient("A"),
        coefficient("B"),
        exponent("alpha", low=0.01),
        exponent("beta", low=0.01),
        Parameter("R_N_star", 1e-2, 1e4, grid=_REPEATS),
        Parameter("R_D_star", 1e-2, 1e4, grid=_REPEATS),
    )

    def scales(self, columns: Columns, loss: Array) -> tuple[dict[str, float], float]:
        """Tokens seen and unique tokens keep one unit."""
        tokens = middle(columns["D"])
        return {"N": middle(columns["N"]), "D": tokens, "U": tokens}, middle(loss)

    def prepare(self, columns: Columns) -> dict[str, Array]:
        unique = np.minimum(columns["D"], columns["U"])
        return {"n": np.log(columns["N"]), "u": np.log(unique), "r": columns["D"] / unique - 1.0}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        floor = np.exp(theta[:, 0, None])
        ln_a, ln_b, alpha, beta, rn, rd = (theta[:, i, None] for i in range(1, 7))
        optimal = (np.log(alpha / beta) + ln_a - ln_b + beta * data["u"]) / alpha  # ln N_opt(U_D)
        excess = np.maximum(data["n"] - optimal, 0.0)
        # the worth of N parameters, and how it moves with ln N_opt (0 where there is no excess) and with ln R*
        n_worth, n_flat, n_star = _worth(np.expm1(np.minimum(excess, 600.0)), rn)
        d_worth, _, d_star = _worth(data["r"], rd)
        parameters = np.exp(ln_a - alpha * (data["n"] - excess + n_worth))
        tokens = np.exp(ln_b - beta * (data["u"] + d_worth))
        by_optimal = np.where(excess > 0, -alpha * parameters * n_flat, 0.0)
        jac = np.empty((len(theta), 7, data["n"].size))
        jac[:, 0] = floor
        jac[:, 1] = parameters + by_optimal / alpha
        jac[:, 2] = tokens - by_optimal / alpha
        jac[:, 3] = by_optimal * (1 / alpha - optimal) / alpha - parameters * (data["n"] - excess + n_worth)
        jac[:, 4] = by_optimal * (data["u"] - 1 / beta) / alpha - tokens * (data["u"] + d_worth)
        jac[:, 5] = -alpha * parameters * n_star
        jac[:, 6] = -beta * tokens * d_star
        return floor + parameters + tokens, jac

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """A grid over exponents and both R*; factors are solved for with N' = N, then with the N' that they imply.

        Raises TableError for a table without repetition, in which `R_D_star` means nothing.
        """
        if data["r"].max() < 0.05:
            what = "no run repeats its data (D <= U), so R_D_star is not identified"
            raise TableError("U", what, "fit chinchilla, or check that U counts unique tokens")
        grid = np.geomspace(0.05, 1.5, 15)
        star = np.log(_REPEATS)
        alpha, beta, rn, rd = (v.reshape(-1, 1) for v in np.meshgrid(grid, grid, star, star, indexing="ij"))
        theta = np.concatenate((np.zeros((len(alpha), 3)), alpha, beta, rn, rd), axis=1)
        tokens = np.exp(-beta * (data["u"] + _worth(data["r"], rd)[0]))
        size: Array = np.broadcast_to(data["n"], tokens.shape)
        for _ in range(3):
            terms = np.stack((np.ones_like(tokens), np.exp(-alpha * size), tokens), axis=1)
            solved = solve_terms(terms, np.broadcast_to(y, tokens.shape), weight, np.ones(3, bool))
            theta[:, :3] = np.log(np.maximum(solved, 1e-4))
            optimal = (np.log(alpha / beta) + theta[:, 1, None] - theta[:, 2, None] + beta * data["u"]) / alpha
            excess = np.maximum(data["n"] - optimal, 0.0)
            size = data["n"] - excess + _worth(np.expm1(np.minimum(excess, 600.0)), rn)[0]
        return theta

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        return {
            **params,
            "E": params["E"] * loss,
            "A": params["A"] * loss * columns["N"] ** params["alpha"],
            "B": params["B"] * loss * columns["D"] ** params["beta"],
        }


def _worth(repeats: Array, ln_star: Array) -> tuple[Array, Array, Array]:
    """``ln w`` with ``w = 1 + R* (1 - exp(-R/R*))``, and what moves with it.

    Of a quantity ``u w`` in which ``u (1 + R)`` is given: the derivatives of ``ln(u w)`` by ``ln u`` and by ``ln R*``.
    """
    star = np.exp(ln_star)
    ratio = repeats / star
    fade = np.exp(-ratio)
    worth = 1.0 - star * np.expm1(-ratio)
    return np.log(worth), 1.0 - fade * (1.0 + repeats) / worth, star * (-np.expm1(-ratio) - ratio * fade) / worth

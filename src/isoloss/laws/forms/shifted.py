"""The shifted power law, ``L = E + A (x + c)^-alpha``: level at small scale, a power law above a floor beyond."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isoloss.laws.law import Columns, Law, Parameter, coefficient, exponent
from isoloss.laws.registry import law

Array = NDArray[np.float64]


@law
class Shifted(Law):
    """``L = E + A (x + c)^-alpha`` with ``c >= 0``: ``E + A c^-alpha`` is the loss of an untrained model."""

    name = "shifted"
    summary = "a power law above a floor whose column is shifted, so that it saturates at small scale too"
    source = "Zhai et al. 2022, arXiv 2106.04560, section 2.2"
    formula = "E + A * (x + c)**-alpha"
    columns = ("*",)
    parameters = (
        coefficient("E", vanishes=True),
        coefficient("A"),
        Parameter("c", 1e-9, 1e6, grid=(1e-9, *np.geomspace(1e-3, 1e3, 25).tolist()), vanishes=True),
        exponent("alpha"),
    )

    def prepare(self, columns: Columns) -> dict[str, Array]:
        return {"x": np.asarray(columns[self.columns[0]])}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        floor, shift = np.exp(theta[:, 0, None]), np.exp(theta[:, 2, None])
        alpha, moved = theta[:, 3, None], data["x"] + shift
        log_moved = np.log(moved)
        term = np.exp(theta[:, 1, None] - alpha * log_moved)
        jac = np.stack(
            (np.broadcast_to(floor, term.shape), term, -alpha * term * shift / moved, -term * log_moved), axis=1
        )
        return floor + term, jac

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        x = columns[self.columns[0]]
        return {
            "E": params["E"] * loss,
            "A": params["A"] * loss * x ** params["alpha"],
            "c": params["c"] * x,
            "alpha": params["alpha"],
        }

"""What pre-training is worth in data: the power law of effective data transferred, ``D_T = k D_F^alpha N^beta``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isoloss.laws.law import Columns, Law, Parameter, solve_terms
from isoloss.laws.registry import law

Array = NDArray[np.float64]


@law
class Transfer(Law):
    """``D_T = k D_F^alpha N^beta``: the examples that a model of N parameters is spared by its pre-training.

    The quantity that is fitted, in place of a loss, is `D_T`: how much more fine-tuning data a model from scratch
    needs for the loss that the pre-trained one reaches on `D_F`, less `D_F`. It is found run by run as the gain in data
    of pre-training over scratch is, ``D_T = (G - 1) D_F`` at equal N.
    """

    name = "transfer"
    summary = "effective data transferred by pre-training, a product of powers of fine-tuning data and parameters"
    source = "Hernandez et al. 2021, arXiv 2102.01293, eq. 1.2"
    formula = "k * D_F**alpha * N**beta"
    columns = ("D_F", "N")
    parameters = (
        Parameter("k", 1e-30, 1e30),
        Parameter("alpha", -5.0, 5.0, log=False),
        Parameter("beta", -5.0, 5.0, log=False),
    )
    link = "log"

    def prepare(self, columns: Columns) -> dict[str, Array]:
        d = np.log(columns["D_F"])
        return {"rows": np.stack((np.ones_like(d), d, np.log(columns["N"])))}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        rows = data["rows"]
        # summed term by term: a matrix product rounds by the size of the batch
        value = theta[:, 0, None] + theta[:, 1, None] * rows[1] + theta[:, 2, None] * rows[2]
        return value, np.tile(rows, (len(theta), 1, 1))

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """The least-squares solution itself: ``ln D_T`` is linear in everything."""
        return solve_terms(data["rows"][None], y[None], weight, np.zeros(3, bool))

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        k = params["k"] * loss * columns["D_F"] ** -params["alpha"] * columns["N"] ** -params["beta"]
        return {**params, "k": k}

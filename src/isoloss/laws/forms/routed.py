"""Routed networks: bilinear in the logarithms of dense parameters and of a saturating count of experts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Columns, Law, Parameter, middle
from isoloss.laws.registry import law

Array = NDArray[np.float64]
_LN10 = float(np.log(10))


@law
class Routed(Law):
    """``log10 L = a log10 N + b log10 Ê + c log10 N log10 Ê + d``, with Ê the saturating count of experts.

    ``1/Ê = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max`` goes from `E_start` at one expert (a dense model) to
    `E_max` as experts are added without end; the ranges of both do not meet, so that ``E_start < E_max``. `N` counts
    the parameters that one token passes, and `experts` the choices of a routed layer, 1 for a dense model.
    """

    name = "routed"
    summary = "mixtures of experts: dense parameters N and experts, with a product term and saturation"
    source = "Clark et al. 2022, arXiv 2202.01169, eq. 1 and 2"
    formula = (
        "10**(a * log10(N) + b * log10(Ê) + c * log10(N) * log10(Ê) + d), "
        "1 / Ê = 1 / (experts - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max"
    )
    columns = ("N", "experts")
    parameters = (
        *(Parameter(name, -20.0, 20.0, log=False, linear=True) for name in "abcd"),
        Parameter("E_start", 1.0, 30.0, grid=tuple(np.geomspace(1.0, 16.0, 14).tolist())),
        Parameter("E_max", 32.0, 1e6, grid=tuple(np.geomspace(40.0, 1e5, 18).tolist())),
    )
    link = "log"

    def scales(self, columns: Columns, loss: Array) -> tuple[dict[str, float], float]:
        """Experts are counted from one, whatever the table's middle."""
        return {"N": middle(columns["N"]), "experts": 1.0}, middle(loss)

    def prepare(self, columns: Columns) -> dict[str, Array]:
        few = np.flatnonzero(columns["experts"] < 1)
        if few.size:
            raise TableError("experts", f"row {few[0] + 1} has fewer than 1", "a dense model counts as 1")
        return {"n": np.log10(columns["N"]), "more": np.asarray(columns["experts"]) - 1.0}

    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        a, b, c, d = (theta[:, i, None] for i in range(4))
        n = data["n"]
        first, last = np.exp(-theta[:, 4, None]), np.exp(-theta[:, 5, None])  # 1/E_start, 1/E_max
        gap = first - last
        served = 1.0 / (data["more"] + 1.0 / gap)
        inverse = served + last
        e = -np.log10(inverse)
        bent = (served / gap) ** 2  # d served / d gap
        per_e = b + c * n
        jac = np.stack(
            (
                np.broadcast_to(n, e.shape),
                e,
                n * e,
                np.ones_like(e),
                per_e * bent * first / inverse / _LN10,
                per_e * (1.0 - bent) * last / inverse / _LN10,
            ),
            axis=1,
        )
        jac *= _LN10
        return _LN10 * (a * n + per_e * e + d), jac

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """As any law's; raises TableError for a table in which the number of experts hardly varies."""
        counts = len(np.unique(data["more"]))
        if counts < 4:
            what = f"takes {counts} value(s), which can't show where the gain of experts sets in and saturates"
            raise TableError("experts", what, "run at least 4, dense included, or fit a law of N alone to each")
        return super().starts(data, y, weight)

    def natural(self, params: dict[str, Array], columns: Mapping[str, float], loss: float) -> dict[str, Array]:
        shift = np.log10(columns["N"])
        return {
            **params,
            "b": params["b"] - params["c"] * shift,
            "d": params["d"] - params["a"] * shift + np.log10(loss),
        }

"""``L(N, D) = E + A N^-alpha + B D^-beta``: the parametric law of Hoffmann et al. (2022, approach 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.separable import check_loss, check_positive, fit_separable

Array = NDArray[np.float64]
MIN_SPREAD = 0.05  # of ln D about its trend in ln N: less is a single tokens-per-parameter ratio


def fit_chinchilla(
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str = "huber-log",
    seed: int = 0,
) -> FittedLaw:
    """Fit ``L = E + A N^-alpha + B D^-beta`` to columns ``N`` (parameters) and ``D`` (examples or tokens), (rows,).

    `objective` is ``huber-log`` (the sum over rows of the Huber loss, delta 1e-3, of ``ln L - ln L_hat``) or
    ``squared``. `bootstrap` refits resample rows or `clusters`. Raises TableError when the table can't identify the
    law: N and D tied to one another, fewer than three scales on an axis, losses that are not positive or all equal.
    Source: Hoffmann et al. 2022 (arXiv 2203.15556) eq. 2-3; Besiroglu et al. 2024 (arXiv 2404.10102).
    """
    y = check_loss(loss)
    log_x = []
    for name in ("N", "D"):
        if name not in columns:
            raise TableError("columns", f"no column {name} among {sorted(columns)}", "give N and D, one value per run")
        log_x.append(np.log(check_positive(name, columns[name], len(y), 3)))
    trend = np.polynomial.polynomial.polyfit(log_x[0], log_x[1], 1)
    off = log_x[1] - np.polynomial.polynomial.polyval(log_x[0], trend)
    if np.sqrt(np.mean(off**2)) < MIN_SPREAD:
        what = "N and D are collinear in logs (a single tokens-per-parameter ratio), so only L(C) is identified"
        raise TableError("columns", what, "fit power-floor on C, or vary D at fixed N")
    if len(y) < 6:
        raise TableError("loss", f"{len(y)} rows can't determine five parameters", "give at least 6 runs")
    found = fit_separable(np.stack(log_x), y, None, objective, bootstrap, clusters, seed)
    values = {
        "E": found.floor,
        "A": found.scale[:, 0],
        "B": found.scale[:, 1],
        "alpha": found.exponent[:, 0],
        "beta": found.exponent[:, 1],
    }
    return FittedLaw(
        name="chinchilla",
        params={k: float(v[0]) for k, v in values.items()},
        draws={k: v[1:] for k, v in values.items()},
        objective=found.objective,
        formula=_formula,
        diagnostics=found.facts,
    )


def _formula(params: Mapping[str, Any], columns: Mapping[str, Any]) -> Array:
    n, d = columns["N"], columns["D"]
    return params["E"] + params["A"] * n ** -params["alpha"] + params["B"] * d ** -params["beta"]

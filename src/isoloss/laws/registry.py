"""Laws by name, for ``isoloss fit --law NAME``: one table in, one fitted law with draws out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.chinchilla import fit_chinchilla
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.separable import check_loss, check_positive, fit_separable

Array = NDArray[np.float64]


def fit_power(columns: Mapping[str, Any], loss: Any, **options: Any) -> FittedLaw:
    """Fit ``L = A x^-alpha`` to one column; options as `fit`."""
    return _fit_one_column("power", 0.0, 2, columns, loss, **options)


def fit_power_floor(columns: Mapping[str, Any], loss: Any, **options: Any) -> FittedLaw:
    """Fit ``L = E + A x^-alpha`` with ``E >= 0`` to one column; options as `fit`."""
    return _fit_one_column("power-floor", None, 3, columns, loss, **options)


LAWS: dict[str, Callable[..., FittedLaw]] = {
    "power": fit_power,
    "power-floor": fit_power_floor,
    "chinchilla": fit_chinchilla,
}


def fit(
    law: str,
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str | None = None,
    seed: int = 0,
) -> FittedLaw:
    """Fit a law of `LAWS` to `loss` (rows,) against `columns` (each (rows,)), with `bootstrap` refits.

    ``power`` and ``power-floor`` take one column of any name, ``chinchilla`` the columns ``N`` and ``D``. Rows are
    whole runs; `clusters` names runs that share a trunk, which are resampled together. `objective` is ``squared``
    or ``huber-log``; by default the first for the one-column laws and the second for ``chinchilla``. Raises
    TableError, or UnknownNameError for a law that isn't there.
    """
    if law not in LAWS:
        raise UnknownNameError("--law", "law", law, LAWS)
    chosen = {} if objective is None else {"objective": objective}
    return LAWS[law](columns, loss, bootstrap=bootstrap, clusters=clusters, seed=seed, **chosen)


def _fit_one_column(
    name: str,
    floor: float | None,
    scales: int,
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str = "squared",
    seed: int = 0,
) -> FittedLaw:
    if len(columns) != 1:
        raise TableError("columns", f"law {name} takes one column, not {sorted(columns)}", "name the resource to fit")
    column, given = next(iter(columns.items()))
    y = check_loss(loss)
    c = check_positive(column, given, len(y), scales)
    found = fit_separable(np.log(c)[None], y, floor, objective, bootstrap, clusters, seed)
    values = {"A": found.scale[:, 0], "alpha": found.exponent[:, 0]}
    if floor is None:
        values = {"E": found.floor, **values}

    def formula(params: Mapping[str, Any], at: Mapping[str, Any]) -> Array:
        return params.get("E", 0.0) + params["A"] * at[column] ** -params["alpha"]

    return FittedLaw(
        name=name,
        params={k: float(v[0]) for k, v in values.items()},
        draws={k: v[1:] for k, v in values.items()},
        objective=found.objective,
        formula=formula,
        diagnostics=found.facts,
    )

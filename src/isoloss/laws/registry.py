"""Laws by name, for ``isoloss fit --law NAME``: one table in, one fitted law with draws out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.chinchilla import HUBER_DELTA, OBJECTIVES, fit_chinchilla
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.power import PowerFits, fit_power_laws
from isoloss.laws.resample import resample_weights

Array = NDArray[np.float64]


def fit_power(columns: Mapping[str, Any], loss: Any, **options: Any) -> FittedLaw:
    """Fit ``L = A x^-alpha`` to one column; options as `fit`."""
    return _fit_one_column("power", 0.0, 2, columns, loss, **options)


def fit_power_floor(columns: Mapping[str, Any], loss: Any, **options: Any) -> FittedLaw:
    """Fit ``L = E + A x^-alpha`` with ``0 <= E < min(L)`` to one column; options as `fit`."""
    return _fit_one_column("power-floor", "shared", 3, columns, loss, **options)


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
    floor: str | float,
    scales: int,
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str = "squared",
    seed: int = 0,
) -> FittedLaw:
    if objective not in OBJECTIVES:
        raise TableError("objective", f"'{objective}' is not known", f"use {' or '.join(OBJECTIVES)}")
    if len(columns) != 1:
        raise TableError("columns", f"law {name} takes one column, not {sorted(columns)}", "name the resource to fit")
    column, values = next(iter(columns.items()))
    c, y = np.asarray(values, float), np.asarray(loss, float)
    if len(c) != len(y):
        raise TableError("columns", f"{column} and loss have {len(c)} and {len(y)} rows", "give one per run")
    for what, v in ((column, c), ("loss", y)):
        if not np.all(np.isfinite(v) & (v > 0)):
            raise TableError(what, "holds values that are not finite and positive", "correct or remove those runs")
    distinct = len(np.unique(np.round(np.log(c), 2)))
    if distinct < scales:
        raise TableError(column, f"takes {distinct} distinct scale(s)", f"run at least {scales} for law {name}")
    if np.ptp(y) <= 1e-12 * y.max():
        raise TableError("loss", "is the same in every row", "check the column")
    weight, facts = resample_weights(len(y), clusters, bootstrap, np.random.default_rng([seed, 3]))
    fits = _robust(np.log(c), y, np.concatenate([np.ones((1, len(y))), weight]), floor, objective)
    named = {"A": fits.scale()[:, 0], "alpha": fits.exponent[:, 0]}
    if floor == "shared":
        named = {"E": fits.floor[:, 0], **named}
    at_bound = (["alpha"] if fits.exponent_at_bound[0, 0] else []) + (["E"] if fits.floor_at_bound[0, 0] else [])

    def formula(params: Mapping[str, Any], given: Mapping[str, Any]) -> Array:
        return params.get("E", 0.0) + params["A"] * given[column] ** -params["alpha"]

    residual = np.log(y) - fits.log_loss(0, np.log(c))[0] if objective == "huber-log" else None
    return FittedLaw(
        name=name,
        params={k: float(v[0]) for k, v in named.items()},
        draws={k: v[1:] for k, v in named.items()},
        objective=float(fits.chi2[0]) if residual is None else float(np.sum(_huber(residual))),
        formula=formula,
        diagnostics={
            "objective": objective,
            "delta": HUBER_DELTA if objective == "huber-log" else None,
            "rows": len(y),
            "at_bound": at_bound,
            **facts,
        },
    )


def _robust(log_c: Array, y: Array, weight: Array, floor: str | float, objective: str) -> PowerFits:
    """Least squares on the loss, or Huber on its logarithm by iterated reweighting."""
    loss = np.broadcast_to(y, weight.shape)
    if objective == "squared":
        return fit_power_laws([log_c], [loss], [weight], floor)
    fits = fit_power_laws([log_c], [loss], [weight / y**2], floor)
    for _ in range(20):
        miss = np.abs(np.log(y) - fits.log_loss(0, log_c))
        fits = fit_power_laws([log_c], [loss], [weight / y**2 * HUBER_DELTA / np.maximum(miss, HUBER_DELTA)], floor)
    return fits


def _huber(r: Array) -> Array:
    size = np.abs(r)
    return np.where(size <= HUBER_DELTA, 0.5 * r**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))

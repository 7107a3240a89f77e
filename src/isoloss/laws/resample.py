"""Copies of one table for its refits: whole runs drawn again, or residuals flipped, as rows of one batch.

``pairs`` draws clusters with replacement; a row of the batch is a row of weights. With few clusters some of those
resamples would lack the scales that a law needs, so ``wild`` keeps the design and multiplies the residuals of each
cluster by one random weight (Webb 2023's six points, Cameron, Gelbach & Miller 2008), with each residual blown up by
its leverage (HC2) and the draw as a whole by ``sqrt(dof / chi2_dof)``, so that few clusters give t-like tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError

Array = NDArray[np.float64]
SCHEMES = ("auto", "pairs", "wild", "none")
FEW_CLUSTERS = 20
_WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))


@dataclass(frozen=True, eq=False)
class Resamples:
    """Weights (1, R) or (B, R) and what is added to the fitted targets (B, R), None where the losses stay."""

    weight: Array
    shift: Array | None
    facts: dict[str, Any]


def members(rows: int, clusters: Any | None) -> tuple[NDArray[np.intp], int]:
    """Cluster index of each row and their number; a row is its own cluster when `clusters` is None."""
    names = np.arange(rows) if clusters is None else np.asarray(clusters)
    if len(names) != rows:
        raise TableError("clusters", f"{len(names)} names for {rows} rows", "give one cluster name per row")
    _, member = np.unique(names, return_inverse=True)
    count = int(member.max()) + 1
    if count < 2:
        raise TableError("clusters", "all rows are in one cluster", "resample rows, or name the runs apart")
    return member, count


def draw_copies(
    scheme: str,
    clusters: Any | None,
    draws: int,
    residual: Array,
    leverage: Array,
    parameters: int,
    rng: np.random.Generator,
) -> Resamples:
    """`draws` copies of a table with `residual` (R,) about its fit, in units of the target, and `leverage` (R,).

    ``auto`` takes ``pairs`` from 20 clusters on and ``wild`` below. Raises TableError.
    """
    if scheme not in SCHEMES:
        raise TableError("--resample", f"'{scheme}' is not known", f"use {', '.join(SCHEMES)}")
    rows = len(residual)
    member, count = members(rows, clusters)
    facts: dict[str, Any] = {"clusters": count, "resampling": "none"}
    if draws == 0 or scheme == "none":
        return Resamples(np.ones((1, rows)), np.zeros((0, rows)), facts)
    if scheme == "pairs" or (scheme == "auto" and count >= FEW_CLUSTERS):
        weight = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)[:, member]
        weight *= rows / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
        return Resamples(weight, None, {**facts, "resampling": "clusters with replacement"})
    dof = max(1, count - parameters)
    sign = rng.choice(np.r_[-_WEBB, _WEBB], size=(draws, count))[:, member]
    spread = np.sqrt(dof / rng.chisquare(dof, (draws, 1)))
    blown = residual / np.sqrt(np.clip(1 - leverage, 1 / rows, 1.0))
    return Resamples(np.ones((1, rows)), blown * sign * spread, {**facts, "resampling": "wild clusters", "dof": dof})

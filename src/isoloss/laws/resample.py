"""Bootstrap by weights: every resample is a row of weights, so that all refits run as one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError

FEW_CLUSTERS = 10


def resample_weights(
    rows: int, clusters: Any | None, draws: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Weights (draws, rows) that sum to `rows`, equal within a cluster, and the facts to report about them.

    With at least ten clusters (a row is its own cluster when `clusters` is None) these are the counts of sampling
    clusters with replacement. With fewer, some resamples would lack the scales that a law needs, so the smooth
    weights of the Bayesian bootstrap (Rubin 1981) are drawn instead; neither covers well with so few.
    """
    names = np.arange(rows) if clusters is None else np.asarray(clusters)
    if len(names) != rows:
        raise TableError("clusters", f"{len(names)} names for {rows} rows", "give one cluster name per row")
    _, member = np.unique(names, return_inverse=True)
    count = int(member.max()) + 1
    if count < 2:
        raise TableError("clusters", "all rows are in one cluster", "resample rows, or name the runs apart")
    if count >= FEW_CLUSTERS:
        weight = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
    else:
        weight = rng.exponential(size=(draws, count))
    weight = weight[:, member]
    weight *= rows / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    kind = "clusters with replacement" if count >= FEW_CLUSTERS else "Bayesian bootstrap, few clusters"
    return weight, {"clusters": count, "resampling": kind if draws else "none"}

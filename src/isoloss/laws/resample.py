"""Copies of one table for its refits, as rows of one batch: clusters weighed again, residuals flipped, or noise drawn.

``pairs`` weighs the clusters at random: independent standard exponentials (the Bayesian bootstrap, Rubin 1981), which
unlike drawing with replacement keep every scale in every resample. ``wild`` keeps the design and multiplies the
residuals of each cluster by one of Webb's six points (Webb 2023; Cameron, Gelbach & Miller 2008), after undoing what
the fit has taken out of them, by a power of leverage between HC2 and HC3 (CR2 and CR3 for clusters of several rows,
Bell & McCaffrey 2002), the one whose intervals were measured to cover. ``parametric`` adds normal noise whose variance
was pooled over the runs that repeat a setting. In the last two, the draw as a whole is spread by
``sqrt(dof / chi2_dof)``, so that few degrees of freedom give t-like tails.

**Pairing.** What is drawn for a cluster depends on the `seed` and on the cluster's name alone, and the spread on the
seed alone. So two arms that are fitted with the same seed and name their clusters alike (``clusters=`` the training
seed or data order that they share) move together draw by draw, and a difference of their draws is free of what is
common to them; a joint fit does the same within one table. Tables fitted without `clusters` are drawn independently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.replicates import Replicates

Array = NDArray[np.float64]
SCHEMES = ("auto", "pairs", "wild", "parametric", "posterior", "none")
MANY_CLUSTERS = 100  # from here on `auto` weighs clusters; below, pairs cover less (docs/uncertainty.md)
FEW_SPARE = 4  # degrees of freedom about the law: with fewer, `auto` takes the noise from replicates if there are any
_WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
_POWER = 0.75  # of 1 - leverage: 1/2 is HC2, 1 is HC3
_SPREAD = 1  # streams of random numbers that aren't a cluster's


@dataclass(frozen=True, eq=False)
class Influence:
    """How the rows hold a fit: orthonormal `basis` (R, P) of the weighted design, and root of the weights `root` (R,).

    ``basis @ basis.T`` is the hat matrix of the linearised fit.
    """

    basis: Array
    root: Array

    def undone(self, residual: Array, member: NDArray[np.intp]) -> Array:
        """Residuals (R,) blown up by ``(I - H_gg)^-3/4`` within each cluster, for the noise that the fit took in."""
        order = np.argsort(member, kind="stable")
        size = np.bincount(member)
        share = np.clip(1 - np.sum(self.basis**2, axis=1), 1 / len(residual), 1.0)
        out = residual / share**_POWER
        for group in np.split(order, np.cumsum(size)[:-1]) if size.max() > 1 else ():
            if len(group) == 1:
                continue
            q, root = self.basis[group], np.maximum(self.root[group], 1e-12)
            value, vector = np.linalg.eigh(np.eye(len(group)) - q @ q.T)
            power = (vector / np.clip(value, 1 / len(residual), 1.0) ** _POWER) @ vector.T
            out[group] = power @ (root * residual[group]) / root
        return out


@dataclass(frozen=True, eq=False)
class Resamples:
    """Weights (1, R) or (B, R) and what is added to the fitted targets (B, R), None where the losses stay."""

    weight: Array
    shift: Array | None
    facts: dict[str, Any]


def members(rows: int, clusters: Any | None) -> tuple[NDArray[np.intp], list[str]]:
    """Cluster index of each row and the clusters' names; a row is its own cluster when `clusters` is None."""
    if clusters is None:
        return np.arange(rows), [str(i) for i in range(rows)]
    names = np.asarray(clusters)
    if len(names) != rows:
        raise TableError("clusters", f"{len(names)} names for {rows} rows", "give one cluster name per row")
    found, member = np.unique(names.astype(str), return_inverse=True)
    if len(found) < 2:
        raise TableError("clusters", "all rows are in one cluster", "resample rows, or name the runs apart")
    return member, found.tolist()


def choose(scheme: str, clusters: int, parameters: int, replicates: Replicates | None) -> tuple[str, str]:
    """The scheme that `scheme` stands for, and why; raises TableError for one that isn't there."""
    if scheme not in SCHEMES:
        raise TableError("--resample", f"'{scheme}' is not known", f"use {', '.join(SCHEMES)}")
    if scheme != "auto":
        return scheme, "asked for"
    if clusters >= MANY_CLUSTERS:
        return "pairs", f"{clusters} clusters: enough to weigh them again"
    spare = clusters - parameters
    usable = replicates is not None and replicates.clustered == 0 and not replicates.identical
    if spare < FEW_SPARE and replicates is not None and usable and replicates.dof >= spare:
        return "parametric", f"{spare} degrees of freedom about the law, {replicates.dof} within settings"
    return "wild", f"{clusters} clusters: too few to weigh them again"


def draw_copies(
    scheme: str,
    clusters: Any | None,
    draws: int,
    residual: Array,
    influence: Influence,
    parameters: int,
    rng: np.random.Generator,
    replicates: Replicates | None = None,
) -> Resamples:
    """`draws` copies of a table with `residual` (R,) about its fit, in units of the target.

    ``auto`` takes ``pairs`` from `MANY_CLUSTERS` clusters on; below, ``wild``, or ``parametric`` where the law leaves
    fewer than `FEW_SPARE` degrees of freedom and replicates have no fewer. Raises TableError.
    """
    rows = len(residual)
    member, names = members(rows, clusters)
    scheme, why = choose(scheme, len(names), parameters, replicates)
    facts: dict[str, Any] = {"clusters": len(names), "resampling": "none"}
    if draws == 0 or scheme == "none":
        return Resamples(np.ones((1, rows)), np.zeros((0, rows)), facts)
    facts["resampling_because"] = why
    base = int(rng.integers(2**62))
    # rows that nobody named are not those of another table: its residuals tell the two apart
    salt = 0 if clusters is not None else crc32(np.argsort(residual, kind="stable").astype(np.int64).tobytes())
    if scheme == "pairs":
        weight = np.stack([_stream(base, salt, n).standard_exponential(draws) for n in names], axis=1)[:, member]
        weight *= rows / weight.sum(axis=1, keepdims=True)
        return Resamples(weight, None, {**facts, "resampling": "pairs"})
    if scheme == "posterior":
        raise TableError("--resample", "a posterior is for one law on one table", "use wild for a joint fit")
    if scheme == "parametric":
        if replicates is None or replicates.dof == 0:
            raise TableError("--resample", "parametric needs runs that repeat a setting", "use wild, or run more seeds")
        if replicates.identical:
            what = "runs that repeat a setting have identical losses, which shows no noise at all"
            raise TableError("--resample", what, "remove copies of one run, or use wild")
        if replicates.clustered > 0:
            what = f"parametric takes rows as independent, but {replicates.clustered} clusters hold several"
            raise TableError("--resample", what, "use wild")
        noise = np.stack([_stream(base, salt, n).standard_normal(draws) for n in names], axis=1)[:, member]
        dof = float(replicates.dof)
        shift = replicates.sd * noise * _spread(base, salt, dof, draws)
        return Resamples(np.ones((1, rows)), shift, {**facts, "resampling": "parametric", "dof": dof})
    dof = max(1.0, float(len(names) - parameters))
    points = np.r_[-_WEBB, _WEBB]
    sign = np.stack([points[_stream(base, salt, n).integers(6, size=draws)] for n in names], axis=1)[:, member]
    shift = influence.undone(residual, member) * sign * _spread(base, salt, dof, draws)
    return Resamples(np.ones((1, rows)), shift, {**facts, "resampling": "wild", "dof": dof})


def _stream(base: int, salt: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([base, salt, 0, crc32(name.encode())]))


def _spread(base: int, salt: int, dof: float, draws: int) -> Array:
    rng = np.random.default_rng([base, salt, _SPREAD])
    return np.sqrt(dof / rng.chisquare(dof, (draws, 1)))

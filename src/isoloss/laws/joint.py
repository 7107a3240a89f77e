"""Fit one law to several arms at once, with chosen parameters in common, and weigh the ways of sharing them.

Arms that are scored on one data stream share its entropy, so their floor is one parameter; whether exponents are
common too is a question for the data. Every way is refitted on the same resamples: a cluster that two arms have in
common (a seed, a data order) is drawn for both, so that differences between arms lose what is common to them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.check import check_table
from isoloss.laws.descend import Problem, find_objective, minimise
from isoloss.laws.fitted import FittedLaw, Units
from isoloss.laws.law import Law
from isoloss.laws.optimum import influence, refits, scaled, search
from isoloss.laws.pinned import pinned_law
from isoloss.laws.registry import find_law
from isoloss.laws.replicates import find_replicates
from isoloss.laws.resample import draw_copies, members
from isoloss.laws.tied import TiedLaw
from isoloss.laws.variance import Noise, constant_noise

Array = NDArray[np.float64]
MOST_WEIGHT = 100.0  # of one arm's rows over another's


@dataclass(frozen=True, eq=False)
class JointFit:
    """Laws of several arms (`arms`, with paired draws) that have the parameters in `shared` in common.

    `objective` is the minimised sum over all rows, `parameters` how many were fitted, `aicc` the small-sample Akaike
    criterion (smaller is better; from squared residuals as Gaussian noise, from Huber's as Laplacian). `own` (K, P)
    holds each arm's optimum by itself.
    """

    shared: tuple[str, ...]
    arms: dict[str, FittedLaw]
    objective: float
    parameters: int
    rows: int
    aicc: float
    diagnostics: dict[str, Any]
    own: Array


@dataclass(frozen=True)
class Sharing:
    """One way of sharing parameters: how well it fits, and the p-value of an F test of it against sharing nothing."""

    shared: tuple[str, ...]
    objective: float
    parameters: int
    aicc: float
    p: float | None


@dataclass(frozen=True, eq=False)
class _Table:
    """Checked rows of all arms, in units common to them."""

    law: Law
    names: tuple[str, ...]
    columns: dict[str, Array]
    y: Array
    units: Units


def fit_joint(
    law: str | Law,
    columns: Mapping[str, Any],
    loss: Any,
    arm: Any,
    *,
    shared: Sequence[str] = ("E",),
    pinned: Mapping[str, float] | None = None,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str | None = None,
    delta: float | None = None,
    resample: str = "auto",
    seed: int = 0,
    own: Array | None = None,
) -> JointFit:
    """Fit `law` to the rows of every arm named in `arm` (rows,), the parameters in `shared` being common to them.

    Rows are weighed by the inverse variance of their arm about its own fit. The rest is as in
    `isoloss.laws.fit`. `own` (K, P) may give the arms' own optima where they are known (`JointFit.own`). Each arm's
    table must be able to determine the law by itself. Raises
    TableError naming the arm, or UnknownNameError for a parameter that the law lacks.
    """
    table = _checked(law, columns, loss, arm, pinned)
    goal = find_objective(objective or table.law.objective, delta)
    names = [p.name for p in table.law.parameters]
    for name in shared:
        if name not in names:
            raise UnknownNameError("--share", "parameter", name, names)
    tied = TiedLaw(table.law, table.names, frozenset(shared))
    data = tied.prepare(table.columns)
    rows = len(table.y)
    problem = Problem(tied, data, (table.y / table.units.loss)[None], np.ones((1, rows)), goal)
    facts: dict[str, Any] = {}
    if own is None:
        own, facts = _own_fits(problem, table)
    problem = replace(problem, weight=_weights(problem, table, own)[None])
    starts = tied.around(own, float(problem.y.min()))
    found = minimise(problem, starts)
    lowest = int(np.argmin(found.misfit))
    best = found.theta[lowest]
    residual, leverage = influence(problem, best)
    free = sum(p.low < p.high for p in tied.parameters)
    rng = np.random.default_rng([seed, 3])
    member, _ = members(rows, clusters)
    settings = {**{c: table.columns[c] for c in table.law.columns}, "arm": table.columns["arm"] + 1.0}
    repeats = find_replicates(settings, problem.target()[0], problem.weight[0], member)
    copies = draw_copies(resample, clusters, bootstrap, residual, leverage, free, rng, repeats)
    theta = refits(problem, best, copies.weight, copies.shift, bootstrap if resample != "none" else 0)
    half = float(found.misfit[lowest])
    value = float(goal.total(found.misfit[lowest : lowest + 1])[0])
    if not goal.log:
        value *= table.units.loss**2 if goal.delta is None else table.units.loss
    facts |= {"objective": goal.name, "delta": goal.delta, "rows": rows, "starts": len(starts), **copies.facts}
    facts["starts_agreeing"] = int(np.sum(found.misfit <= half * (1 + 1e-6) + 1e-18))
    arms = {
        name: FittedLaw(
            name=table.law.name,
            params={k: float(v) for k, v in table.units.params(table.law, best[place]).items()},
            draws={k: np.asarray(v) for k, v in table.units.params(table.law, theta[:, place]).items()},
            objective=value,
            law=table.law,
            units=table.units,
            theta=best[place],
            theta_draws=theta[:, place],
            noise=_noise(problem, table, k, residual, free),
            diagnostics={"rows": int(np.sum(table.columns["arm"] == k))},
        )
        for k, (name, place) in enumerate(zip(table.names, tied.place, strict=True))
    }
    return JointFit(tuple(shared), arms, value, free, rows, _aicc(half, rows, free, goal.delta is not None), facts, own)


def ways_of_sharing(
    law: str | Law,
    columns: Mapping[str, Any],
    loss: Any,
    arm: Any,
    *,
    pinned: Mapping[str, float] | None = None,
    objective: str | None = None,
    delta: float | None = None,
    own: Array | None = None,
) -> tuple[Sharing, ...]:
    """Nothing shared, the floor, the exponents, and both: how well each fits the same rows, best `aicc` first.

    `own` is as in `fit_joint`.
    """
    form = find_law(law) if isinstance(law, str) else law
    floors = tuple(p.name for p in form.parameters if p.vanishes)
    exponents = tuple(p.name for p in form.parameters if not p.linear)
    ways = dict.fromkeys(((), floors, exponents, floors + exponents))
    options: dict[str, Any] = {"pinned": pinned, "bootstrap": 0, "objective": objective, "delta": delta}
    fits: list[JointFit] = []
    for way in ways:
        fits.append(fit_joint(form, columns, loss, arm, shared=way, own=own, **options))
        own = fits[0].own  # searched for once
    free = fits[0]
    found = [Sharing(f.shared, f.objective, f.parameters, f.aicc, _f_test(f, free)) for f in fits]
    return tuple(sorted(found, key=lambda s: s.aicc))


def _checked(
    law: str | Law, columns: Mapping[str, Any], loss: Any, arm: Any, pinned: Mapping[str, float] | None
) -> _Table:
    law = find_law(law) if isinstance(law, str) else copy.copy(law)
    labels = np.asarray(arm).astype(str)
    y = np.asarray(loss, float)
    if labels.shape != y.shape:
        raise TableError("arm", f"has {labels.size} values for {y.size} rows", "give one per run")
    names = tuple(dict.fromkeys(labels.tolist()))
    if len(names) < 2:
        raise TableError("arm", f"names {len(names)} arm(s)", "a joint fit needs at least two")
    given = {k: np.asarray(v, float) for k, v in columns.items()}
    for name in names:
        mine = labels == name
        try:
            check_table(law, {k: v[mine] for k, v in given.items()}, y[mine])
        except TableError as error:
            raise TableError(f"arm '{name}', {error.where}", error.what, error.remedy) from None
    law, x, y = check_table(law, given, y)
    table, units = scaled(law, x, y)
    law = pinned_law(law, dict(pinned or {}), units, float(y.min()))
    index = np.array([names.index(label) for label in labels.tolist()])
    return _Table(law, names, {**table, "arm": index}, y, units)


def _parts(problem: Problem, table: _Table) -> list[Problem]:
    """Each arm's rows as a problem of their own."""
    data = problem.data
    return [
        Problem(table.law, part, problem.y[:, rows], problem.weight[:, rows], problem.objective)
        for rows, part in zip(data["rows"], data["parts"], strict=True)
    ]


def _own_fits(problem: Problem, table: _Table) -> tuple[Array, dict[str, Any]]:
    """Each arm's own optimum (K, P), and the share of its starts that agree on it."""
    found = [search(part) for part in _parts(problem, table)]
    agree = [facts["starts_agreeing"] / facts["starts_polished"] for _, facts in found]
    return np.array([best for best, _ in found]), {"starts_agreeing_per_arm": agree}


def _weights(problem: Problem, table: _Table, own: Array) -> Array:
    """Weights (R,) of mean 1: rows count by the noise of their arm about its own fit, which differs several-fold.

    The inverse variance for squared residuals, the inverse standard deviation for Huber's, whose linear part is a
    Laplacian's.
    """
    weight = np.ones(problem.y.shape[1])
    power = 2.0 if problem.objective.delta is None else 1.0
    for part, rows, best in zip(_parts(problem, table), problem.data["rows"], own, strict=True):
        residual = part.state(best[None], part.target())[0][0]
        spare = max(1, len(rows) - sum(p.low < p.high for p in table.law.parameters))
        weight[rows] = np.sqrt(residual @ residual / spare) ** -power if residual.any() else np.inf
    weight = np.minimum(weight, MOST_WEIGHT * np.min(weight))
    return weight / weight.mean() if np.isfinite(weight).all() else np.ones(len(weight))


def _noise(problem: Problem, table: _Table, arm: int, residual: Array, free: int) -> Noise:
    """Noise of one run of an arm; of the parameters, each arm is charged its share."""
    part = _parts(problem, table)[arm]
    rows = problem.data["rows"][arm]
    even = replace(part, weight=np.ones((1, len(rows))))
    return constant_noise(even, residual[rows], round(free / len(table.names)))


def _aicc(half: float, n: int, k: int, laplace: bool) -> float:
    fit = 2 * n * np.log(max(half, 1e-300) / n) if laplace else n * np.log(max(2 * half, 1e-300) / n)
    k += 1  # the noise
    return float(fit + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n - k - 1 > 0 else np.inf))


def _f_test(fit: JointFit, free: JointFit) -> float | None:
    """p-value of the constraint from the rise of the sum of squares; None for Huber's loss or without any to spare."""
    constraints, dof = free.parameters - fit.parameters, fit.rows - free.parameters
    if constraints <= 0 or dof <= 0 or fit.diagnostics["delta"] is not None or free.objective <= 0:
        return None
    ratio = max(fit.objective - free.objective, 0.0) / constraints / (free.objective / dof)
    return float(stats.f.sf(ratio, constraints, dof))

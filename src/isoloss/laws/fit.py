"""Fit one law to one table: a global search for the optimum, then refits of resamples from it, as one batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.descend import Problem, limits
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.holdout import rolling
from isoloss.laws.law import Law
from isoloss.laws.optimum import Posed, influence, lowest, pose, refits
from isoloss.laws.posterior import posterior_draws
from isoloss.laws.replicates import find_replicates
from isoloss.laws.resample import Influence, draw_copies, members
from isoloss.laws.variance import NOISES, checked_eval_sd, components, constant_noise, spread_tests

Array = NDArray[np.float64]


def fit(
    law: str | Law,
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    clusters: Any | None = None,
    objective: str | None = None,
    delta: float | None = None,
    weights: Any | None = None,
    noise: str = "constant",
    eval_sd: Any | None = None,
    resample: str = "auto",
    pinned: Mapping[str, float] | None = None,
    held_out: int = 3,
    seed: int = 0,
) -> FittedLaw:
    """Fit a law to `loss` (rows,) > 0 against `columns` (each (rows,)), with `bootstrap` draws of the parameters.

    Rows are whole runs; `clusters` names runs that share a trunk (or a seed, across arms), which are resampled
    together. `objective` is ``squared``, ``squared-log``, ``huber`` or ``huber-log`` (of L or of ln L; Huber's
    threshold is `delta`), by default the law's own. `weights` (rows,) multiply the rows' terms. With noise
    ``components``, rows are weighed by the inverse of a variance that is estimated along with the law: a seed component
    that may follow the loss, and `eval_sd` (rows,), known standard errors of the losses (see `isoloss.laws.variance`).
    `resample` is ``pairs``, ``wild``, ``parametric``, ``posterior``, ``none`` or ``auto`` (`isoloss.laws.resample`,
    `isoloss.laws.posterior`). `pinned` fixes parameters, a floor for one. `held_out` is the number of
    cuts below which the law is fitted again and scored above (`isoloss.laws.holdout`). The same call gives the same
    numbers on any number of threads. Raises TableError, UnknownNameError for a law that isn't there, or MissingError
    for a posterior without the extra ``bayes``.
    """
    if noise not in NOISES:
        raise TableError("--noise", f"'{noise}' is not known", f"use {', '.join(NOISES)}")
    if eval_sd is not None and noise != "components":
        raise TableError("eval_sd", "has no meaning with constant noise", 'use noise="components"')
    posed = pose(law, columns, loss, objective=objective, delta=delta, weights=weights, pinned=pinned)
    law, units, problem, goal, y = posed.law, posed.units, posed.problem, posed.problem.objective, posed.loss
    best, facts = lowest(problem, posed.starts, posed.starts_in_grid)
    value = float(goal.total(facts.pop("misfit")))
    extra = None if eval_sd is None else checked_eval_sd(eval_sd, len(y)) / units.loss
    if noise == "components":
        problem, best, model, facts["noise"] = components(problem, best, posed.free, extra, units.loss)
        value = float(goal.total(problem.state(best[None], problem.target())[2][0]))
    residual, hold = influence(problem, best)
    if noise == "constant":
        model = constant_noise(problem, residual, posed.free)
    if not goal.log:
        value *= units.loss**2 if goal.delta is None else units.loss
    theta, drawn = _draws(posed, problem, best, residual, hold, resample, bootstrap, clusters, seed)
    ahead = rolling(posed, best, seed, most=held_out)
    names = [p.name for p in law.parameters]
    stuck = [n for n, at in zip(names, at_bound(law, best), strict=True) if at]
    return FittedLaw(
        name=law.name,
        params={k: float(v) for k, v in units.params(law, best).items()},
        draws={k: np.asarray(v) for k, v in units.params(law, theta).items()},
        objective=value,
        law=law,
        units=units,
        theta=best,
        theta_draws=theta,
        noise=model,
        diagnostics={
            "objective": goal.name,
            "delta": goal.delta,
            "rows": len(y),
            **facts,
            "parameters_at_bound": stuck,
            "rms_residual": float(np.sqrt(np.mean(residual**2))),
            "spread_p": spread_tests(problem, best, posed.columns),
            **drawn,
            "held_out": ahead.sentence(),
            "extrapolation": ahead.summary(),
        },
    )


def _draws(
    posed: Posed,
    problem: Problem,
    best: Array,
    residual: Array,
    hold: Influence,
    resample: str,
    draws: int,
    clusters: Any | None,
    seed: int,
) -> tuple[Array, dict[str, Any]]:
    """Draws (B, P) of the parameters and what is to be said of them."""
    member, names = members(len(residual), clusters)
    if resample == "posterior":
        if len(names) < len(member):
            raise TableError("--resample", "posterior takes rows as independent, not in clusters", "use wild")
        return posterior_draws(problem, best, draws, seed)
    weight = problem.weight[0]
    repeats = find_replicates(posed.columns, problem.target()[0], weight, member)
    rng = np.random.default_rng([seed, 3])
    copies = draw_copies(resample, clusters, draws, residual, hold, posed.free, rng, repeats)
    facts = dict(copies.facts)
    if repeats is not None:
        facts |= {"replicate_dof": repeats.dof, "lack_of_fit_p": repeats.lack_of_fit(residual, posed.free)}
    return refits(problem, best, copies.weight, copies.shift, draws if resample != "none" else 0), facts


def at_bound(law: Law, theta: Array) -> NDArray[np.bool_]:
    """Which parameters (P,) of the fit `theta` (P,) lie at an end of their range, those that are pinned apart."""
    low, high = limits(law)
    slack = 1e-6 * (high - low)
    return ((theta <= low + slack) | (theta >= high - slack)) & (low < high)

"""Draws from the Bayesian posterior of a law's parameters, in place of resamples.

The likelihood is the noise distribution of the objective (`isoloss.laws.noise`): normal for squared residuals, Huber's
for his loss; its scale is sampled too, with a flat prior of its logarithm. Priors are weak and stated in scaled units
(columns and loss over their geometric means):

- a floor: uniform between 0 and the lowest loss;
- a factor of a term: log-normal about 1, factor 20 for one standard deviation;
- a parameter with a grid of starts: (log-)normal, the ends of the grid two standard deviations away;
- any other: uniform between its bounds.

Sampled by `ENSEMBLES` independent affine-invariant ensembles (emcee; Foreman-Mackey et al. 2013) with differential
evolution moves (ter Braak & Vrugt 2008), until they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import MissingError, TableError
from isoloss.laws.descend import Problem, limits
from isoloss.laws.law import Parameter
from isoloss.laws.noise import log_likelihood

Array = NDArray[np.float64]
ENSEMBLES = 4
WALKERS = 40
STEPS = (500, 8000)  # sampled at first and, doubled, at most; the first half is thrown away
GOOD = (1.02, 400.0)  # R-hat below and effective draws above: converged
BAD = (1.1, 100.0)  # R-hat above or effective draws below: refused
_FACTOR = 3.0  # standard deviation of ln of a term's factor


@dataclass(frozen=True, eq=False)
class Posterior:
    """Log density over the free parameters and the log of the noise scale, for a batch of points (B, K + 1)."""

    problem: Problem
    best: Array
    free: NDArray[np.intp]

    def __call__(self, point: Array) -> Array:
        """Log posterior density (B,), up to a constant."""
        law = self.problem.law
        low, high = limits(law)
        theta = np.repeat(self.best[None], len(point), axis=0)
        theta[:, self.free] = point[:, :-1]
        inside = np.all((theta >= low) & (theta <= high), axis=1) & (np.abs(point[:, -1]) < 100)
        theta = np.clip(theta, low, high)
        scale = np.clip(point[:, -1], -100, 100)
        misfit = self.problem.state(theta, self.problem.target())[2]
        weight = self.problem.weight[0]
        value = log_likelihood(misfit, scale, weight, self.problem.objective.threshold)
        lowest = float(self.problem.y.min())
        for i in self.free:
            value = value + log_prior(law.parameters[i], theta[:, i], lowest)
        return np.where(inside & np.isfinite(value), value, -np.inf)


def log_prior(p: Parameter, x: Array, lowest: float) -> Array:
    """Log prior density (B,) of one parameter in the engine's coordinate; `lowest` is the lowest loss."""
    if p.vanishes and p.log:
        return np.where(x < np.log(lowest), x, -np.inf)
    if p.log and p.linear:
        return -0.5 * (x / _FACTOR) ** 2
    if len(p.grid) < 2:
        return np.zeros_like(x)
    ends = np.array([min(p.grid), max(p.grid)])
    if ends[0] > 0:
        place, size = np.log(ends).mean(), np.ptp(np.log(ends)) / 4
        value = x if p.log else np.log(np.maximum(x, 1e-300))
        return -0.5 * ((value - place) / size) ** 2 - (0.0 if p.log else value)
    return -0.5 * ((x - ends.mean()) / (np.ptp(ends) / 4)) ** 2


def posterior_draws(problem: Problem, best: Array, draws: int, seed: int) -> tuple[Array, dict[str, Any]]:
    """`draws` (B, P) of the parameters and facts: `r_hat` and `effective_draws` (worst), `converged`.

    Raises MissingError without emcee, TableError where the ensembles don't agree.
    """
    facts: dict[str, Any] = {"clusters": len(problem.y[0]), "resampling": "posterior"}
    if draws == 0:
        return np.zeros((0, len(best))), facts
    try:
        import emcee
    except ImportError as error:
        raise MissingError("--resample posterior", "needs emcee", "pip install 'isoloss[bayes]'") from error
    free = np.array([i for i, p in enumerate(problem.law.parameters) if p.low < p.high], np.intp)
    density = Posterior(problem, best, free)
    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)]
    samplers, states = [], []
    for k in range(ENSEMBLES):
        rng = np.random.default_rng([seed, 9, k])
        sampler = emcee.EnsembleSampler(WALKERS, len(free) + 1, density, moves=moves, vectorize=True)
        sampler.random_state = np.random.RandomState(rng.integers(2**32)).get_state()
        samplers.append(sampler)
        states.append(_start(density, rng))
    steps = STEPS[0]
    while True:
        for k, sampler in enumerate(samplers):
            states[k] = sampler.run_mcmc(states[k], steps, skip_initial_state_check=True)
        total = samplers[0].iteration
        kept = np.stack([s.get_chain(discard=total // 2) for s in samplers])  # (ensembles, steps, walkers, K + 1)
        worst, effective = agreement(kept)
        if (worst < GOOD[0] and effective > GOOD[1]) or total >= STEPS[1]:
            break
        steps = total
    facts |= {"r_hat": worst, "effective_draws": effective, "steps": int(total)}
    facts |= {"converged_posterior": worst < GOOD[0] and effective > GOOD[1]}
    if worst > BAD[0] or effective < BAD[1]:
        what = f"the posterior has not converged (R-hat {worst:.2f}, {effective:.0f} effective draws)"
        raise TableError("--resample", what, "use wild, or a law with fewer parameters")
    flat = kept.reshape(-1, kept.shape[-1])
    pick = np.linspace(0, len(flat) - 1, draws).round().astype(int)
    theta = np.repeat(best[None], draws, axis=0)
    theta[:, free] = flat[pick, :-1]
    return theta, facts


def agreement(chain: Array) -> tuple[float, float]:
    """Worst R-hat and effective draws over parameters, for `chain` (ensembles, steps, walkers, K).

    R-hat compares the means of both halves of every ensemble (Gelman & Rubin 1992, split as in Vehtari et al. 2021);
    effective draws are the walkers' steps over the integrated autocorrelation time of the ensembles' means.
    """
    e, n, w, k = chain.shape
    halves = chain[:, : n // 2 * 2].reshape(e * 2, n // 2 * w, k)
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    r_hat = np.sqrt(1 + between / np.maximum(within, 1e-300))
    effective = np.array([e * n * w / _autocorrelation(chain[..., i]) for i in range(k)])
    return float(r_hat.max()), float(effective.min())


def _autocorrelation(chain: Array) -> float:
    """Integrated autocorrelation time of `chain` (ensembles, steps, walkers), Sokal's window of five times itself."""
    n = chain.shape[1]
    x = chain - chain.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(x, 2 * n, axis=1)
    acf = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :n].mean(axis=(0, 2))
    time = 2 * np.cumsum(acf / max(float(acf[0]), 1e-300)) - 1
    window = np.flatnonzero(np.arange(n) >= 5 * time)
    return float(max(1.0, time[window[0] if window.size else n - 1]))


def _start(density: Posterior, rng: np.random.Generator) -> Array:
    """Walkers about the optimum, spread like the linearised fit with its priors."""
    problem, best, free = density.problem, density.best, density.free
    low, high = limits(problem.law)
    residual, jac, misfit = problem.state(best[None], problem.target())
    rows = residual.shape[1]
    tau = max(float(2 * misfit[0] / rows), 1e-12)
    part = jac[0][free] * np.sqrt(problem.weight[0])
    precision = part @ part.T / tau + np.eye(len(free)) / _FACTOR**2 * 4
    root = np.linalg.cholesky(np.linalg.inv(precision) + 1e-12 * np.eye(len(free)))
    point = np.zeros((WALKERS, len(free) + 1))
    top = np.minimum(
        high[free], [np.log(problem.y.min()) if problem.law.parameters[i].vanishes else np.inf for i in free]
    )
    for shrink in (1.0, 0.3, 0.1, 0.03):
        point[:, :-1] = best[free] + shrink * rng.standard_normal((WALKERS, len(free))) @ root.T
        slack = 1e-3 * np.minimum(1.0, top - low[free])
        jitter = slack * rng.uniform(0.1, 1.0, (WALKERS, len(free)))  # walkers that coincide can't move
        point[:, :-1] = np.clip(point[:, :-1], low[free] + jitter, top - jitter)
        point[:, -1] = np.log(tau) + 0.2 * rng.standard_normal(WALKERS)
        if np.all(np.isfinite(density(point))):
            return point
    raise TableError("--resample", "the posterior can't be evaluated about the optimum", "use wild")

"""Seed noise of two arms, and joint draws of their rung means that honour it.

Noise is pooled over rungs within each arm (seed noise differs several-fold between arms, and two seeds a rung say
little by themselves) and enters the draws with its own uncertainty: a scaled inverse chi-square for the variance, so
that few seeds give t-like intervals rather than normal ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from isoloss.gains.ladder import Ladder
from isoloss.laws.power import fit_power_laws

Array = NDArray[np.float64]
Source = Literal["replicates", "law residuals", "unknown"]

LARGEST_DEVIATION = 30.0  # of ln quality in a draw: more would overflow and say nothing else
SMALLEST_SD = 1e-6  # of ln quality: nothing is known better than that
IDENTICAL = 1e-12  # SD of ln quality below which replicates are copies of each other


@dataclass(frozen=True, eq=False)
class Noise:
    """Standard deviation of ``ln quality`` of one run, per arm, and how well it is known.

    At rung i an arm's runs scatter by ``sd * relative[i]``: `relative` is 1 if noise is a constant share of the
    quality and ``q_ref / q_i`` if it is constant in raw units; `raw_share` weighs the second against the first.
    `dof` are the degrees of freedom behind each `sd`; `correlation` is that of paired runs, `pair_dof` those behind it,
    and `common[i, j]` counts pairs shared by rung i of the first and j of the second arm. `trunk` is the correlation,
    per arm, of runs of one cluster (branches of one trunk) on different rungs. `identical` says of each arm whether
    it has repeats that do not differ at all, which tell nothing about noise.
    """

    sd: tuple[float, float]
    dof: tuple[float, float]
    relative: tuple[Array, Array]
    raw_share: float
    source: Source
    correlation: float
    pair_dof: int
    common: NDArray[np.int64]
    trunk: tuple[float, float] = (0.0, 0.0)
    identical: tuple[bool, bool] = (False, False)

    def mean_sd(self, arm: int, ladder: Ladder) -> Array:
        """Standard deviation (R,) of the rung means of ``ln quality`` of one arm."""
        return self.sd[arm] * self.relative[arm] * np.sqrt(ladder.variance_factor)

    def swapped(self) -> Noise:
        """The same noise with the arms the other way round."""
        return Noise(
            self.sd[::-1], self.dof[::-1], self.relative[::-1], self.raw_share, self.source,
            self.correlation, self.pair_dof, self.common.T, self.trunk[::-1], self.identical[::-1],
        )  # fmt: skip


def estimate_noise(first: Ladder, second: Ladder) -> Noise:
    """Pool seed noise per arm, weigh its two scales by likelihood, and estimate the correlation of paired runs.

    Is noise a constant share of the quality, or constant in raw units? A few dozen replicates rarely tell, and the
    wrong answer makes intervals at one end of the ladder too narrow; so the rung variance is an average under both,
    weighted by their likelihoods over both arms (equal weights before any data) times the variances themselves: the
    average leans to the larger one, because too narrow is the worse mistake (with plain weights, intervals at the top
    of an 8-rung ladder whose noise is constant in raw units covered 93.5% instead of 95%). An arm with no
    replicates, or whose replicates are all identical, takes the scatter of its rung means about a power law instead,
    with that fit's degrees of freedom; with too few rungs for that, the other arm's; with neither, the noise is
    ``unknown``. Branches of one trunk count for fewer degrees of freedom: ``dof / (1 + (R - 1) r^2)`` with r the
    correlation of the residuals of R rungs.
    """
    arms = (first, second)
    raw = tuple(np.exp(np.mean(a.log_q) - a.log_q) for a in arms)
    flat = tuple(np.ones(len(a.log_q)) for a in arms)
    dof = [float(np.sum(a.runs - 1)) for a in arms]
    identical = [d > 0 and _pooled_sd(a, h) < IDENTICAL for a, h, d in zip(arms, flat, dof, strict=True)]
    dof = [0.0 if same else d for d, same in zip(dof, identical, strict=True)]
    raw_share = float(expit(_likelihood(arms, raw) - _likelihood(arms, flat))) if min(dof) > 0 else 0.0
    sd = [_pooled_sd(a, h) for a, h in zip(arms, flat, strict=True)]
    relative = list(flat)
    for k, (a, h) in enumerate(zip(arms, raw, strict=True)):
        if sd[k] > 0:
            other = (_pooled_sd(a, h) * h / sd[k]) ** 2
            relative[k] = np.sqrt(((1 - raw_share) + raw_share * other**2) / ((1 - raw_share) + raw_share * other))
    trunk = [_trunk(a, h, s) if s > 0 else 0.0 for a, h, s in zip(arms, relative, sd, strict=True)]
    dof = [d / (1 + (len(a.log_q) - 1) * r * r) for d, a, r in zip(dof, arms, trunk, strict=True)]
    source: Source = "replicates"
    if min(dof) == 0:
        source = "law residuals"
        spare = _law_residuals(first, second)
        for k in (0, 1):
            if dof[k] == 0:
                sd[k], dof[k] = spare[k]
        for k in (0, 1):
            if dof[k] == 0:
                sd[k], dof[k] = sd[1 - k], dof[1 - k]
        if min(dof) == 0:
            source = "unknown"
    sd = [max(s, SMALLEST_SD) for s in sd]
    common, rho, pair_dof = _pairing(first, second, flat)
    return Noise(
        (sd[0], sd[1]), (dof[0], dof[1]), (relative[0], relative[1]), raw_share,
        source, rho, pair_dof, common, (trunk[0], trunk[1]), (identical[0], identical[1]),
    )  # fmt: skip


def draw_rung_means(
    first: Ladder, second: Ladder, noise: Noise, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Deviations of ``ln quality`` rung means, ``(draws, R_first)`` and ``(draws, R_second)``, drawn jointly."""
    if noise.source == "unknown":
        return np.zeros((draws, len(first.log_q))), np.zeros((draws, len(second.log_q)))
    z = [rng.standard_normal((draws, len(a.log_q))) for a in (first, second)]
    sd, rho = _draw_covariance(noise, draws, rng)
    for i, j in np.argwhere(noise.common > 0) if noise.pair_dof > 2 else ():
        c = rho * (noise.common[i, j] / np.sqrt(first.runs[i] * second.runs[j]))
        z[1][:, j] = c * z[0][:, i] + np.sqrt(1 - c**2) * z[1][:, j]
    z = [u @ _trunk_root(a, r) if r > 0 else u for u, a, r in zip(z, (first, second), noise.trunk, strict=True)]
    out = [
        np.clip(s[:, None] * u * noise.relative[k] * np.sqrt(a.variance_factor), -LARGEST_DEVIATION, LARGEST_DEVIATION)
        for k, (s, u, a) in enumerate(zip(sd, z, (first, second), strict=True))
    ]
    return out[0], out[1]


def _draw_covariance(noise: Noise, draws: int, rng: np.random.Generator) -> tuple[list[Array], Array]:
    """Draws of both arms' SD and of the correlation of their paired runs.

    Where every residual of one arm is paired with one of the other, the 2 x 2 covariance is drawn from the inverse
    Wishart law with ``dof + 1`` degrees of freedom, under which every linear combination of the arms, their difference
    above all, has the scaled inverse chi-square law with `dof` that its own sample variance would give. Otherwise the
    SDs are drawn apart and the correlation by Fisher's z.
    """
    nu = noise.pair_dof
    if nu > 2 and noise.dof == (nu, nu):
        a, b = (np.sqrt(rng.chisquare(nu + 1 - k, draws)) for k in (0, 1))
        c = rng.standard_normal(draws)
        # root of nu L W^-1 L' for a standard Wishart W (Bartlett 1933) and L the root of the estimated covariance
        root = np.sqrt(nu) * np.array([[1 / a, -c / (a * b)], [np.zeros(draws), 1 / b]])
        low = np.array([[1.0, 0.0], [noise.correlation, np.sqrt(1 - noise.correlation**2)]])
        m = np.einsum("ij,jkd->ikd", low, root)
        size = np.sqrt(np.sum(m * m, axis=1))
        rho = np.sum(m[0] * m[1], axis=0) / (size[0] * size[1])
        return [noise.sd[0] * size[0], noise.sd[1] * size[1]], rho
    sd = [noise.sd[k] * np.sqrt(noise.dof[k] / rng.chisquare(noise.dof[k], draws)) for k in (0, 1)]
    if nu <= 2:
        return sd, np.zeros(draws)
    return sd, np.tanh(np.arctanh(noise.correlation) + rng.standard_normal(draws) / np.sqrt(nu - 1))


def _shared_runs(ladder: Ladder) -> NDArray[np.int64]:
    """How many clusters each two rungs have in common (R, R), zero on the diagonal."""
    names = ladder.distinct
    out = np.zeros((len(names), len(names)), np.int64)
    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        out[i, j] = out[j, i] = len(np.intersect1d(names[i], names[j], assume_unique=True))
    return out


def _trunk(ladder: Ladder, relative: Array, sd: float) -> float:
    """Correlation, 0 to 1, of residuals on different rungs of runs that branch from one trunk; 0 without any."""
    if not ladder.trunks:
        return 0.0
    shared, total, dof = _shared_runs(ladder), 0.0, 0
    residuals = _residuals(ladder, relative)
    for i, j in np.argwhere(np.triu(shared) > 1):
        _, u, v = np.intersect1d(ladder.clusters[i], ladder.clusters[j], return_indices=True)
        total, dof = total + float(residuals[i][u] @ residuals[j][v]), dof + int(shared[i, j]) - 1
    return float(np.clip(total / (dof * sd**2), 0.0, 1.0)) if dof else 0.0


def _trunk_root(ladder: Ladder, r: float) -> Array:
    """``M`` (R, R) such that ``z M`` of independent z has the correlation that shared trunks give to rung means."""
    share = r * _shared_runs(ladder) / np.sqrt(np.outer(ladder.runs, ladder.runs))
    value, vector = np.linalg.eigh(share + np.eye(len(share)))
    return (vector * np.sqrt(np.maximum(value, 0.0))) @ vector.T


def _residuals(ladder: Ladder, relative: Array) -> list[Array]:
    return [(np.log(v) - np.mean(np.log(v))) / h for v, h in zip(ladder.values, relative, strict=True)]


def _pooled_sd(ladder: Ladder, relative: Array) -> float:
    dof = int(np.sum(ladder.runs - 1))
    if dof == 0:
        return 0.0
    return float(np.sqrt(sum(float(e @ e) for e in _residuals(ladder, relative)) / dof))


def _likelihood(arms: tuple[Ladder, Ladder], relative: tuple[Array, ...]) -> float:
    """Restricted log-likelihood of the replicates, up to a constant, with each arm's variance at its optimum."""
    total = 0.0
    for a, h in zip(arms, relative, strict=True):
        dof = float(np.sum(a.runs - 1))
        if dof > 0:
            total -= dof * np.log(max(_pooled_sd(a, h), SMALLEST_SD)) + float((a.runs - 1) @ np.log(h))
    return total


def _law_residuals(first: Ladder, second: Ladder) -> list[tuple[float, float]]:
    """``(sd of ln quality, degrees of freedom)`` per arm from the scatter of rung means about power laws."""
    arms = (first, second)
    sizes = [len(a.log_q) for a in arms]
    floor, parameters = ("shared", 5.0) if sum(sizes) - 5 >= 1 and min(sizes) >= 3 else (0.0, 4.0)
    if sum(sizes) - parameters < 1:
        return [(0.0, 0.0), (0.0, 0.0)]
    log_q, weight = [a.log_q[None] for a in arms], [1 / a.variance_factor for a in arms]
    fit = fit_power_laws([a.log_c for a in arms], log_q, weight, floor)
    squares = [
        float(np.sum((a.log_q - fit.log_loss(k, a.log_c)[0]) ** 2 / a.variance_factor)) for k, a in enumerate(arms)
    ]
    dof = [n - parameters / 2 for n in sizes]
    if min(dof) >= 2:
        return [(float(np.sqrt(s / d)), d) for s, d in zip(squares, dof, strict=True)]
    pooled = float(np.sqrt(sum(squares) / (sum(sizes) - parameters)))
    return [(pooled, sum(sizes) - parameters)] * 2


def _pairing(first: Ladder, second: Ladder, relative: tuple[Array, ...]) -> tuple[NDArray[np.int64], float, int]:
    """Pairs in common per rung, and their correlation about the rung means pooled over rungs."""
    common = np.zeros((len(first.log_q), len(second.log_q)), np.int64)
    xy = xx = yy = 0.0
    dof = 0
    for i, rung in enumerate(first.rung):
        for j in np.flatnonzero(second.rung == rung):
            names, there = first.pairs[i], second.pairs[j]  # both sorted
            last = np.searchsorted(there, names, side="right") - 1
            here = np.flatnonzero((last >= 0) & (there[last] == names))
            common[i, j] = distinct = len(here) and 1 + int(np.sum(names[here][1:] != names[here][:-1]))
            if distinct < 2 or distinct < len(here):
                continue
            u = np.log(first.values[i][here]) / relative[0][i]
            v = np.log(second.values[j][last[here]]) / relative[1][j]
            u, v = u - u.mean(), v - v.mean()
            xy, xx, yy, dof = xy + float(u @ v), xx + float(u @ u), yy + float(v @ v), dof + len(here) - 1
    if dof == 0 or xx == 0 or yy == 0:
        return common, 0.0, 0
    return common, float(np.clip(xy / np.sqrt(xx * yy), -0.99, 0.99)), dof

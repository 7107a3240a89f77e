"""Many candidates against one baseline: corrected p-values, simultaneous intervals, and the winner's curse.

The best of twenty useless ideas looks like a gain. Three answers, for three questions: which candidates differ from
the baseline at all (p-values corrected by Holm 1979 for any error, by Benjamini & Hochberg 1995 for a share of errors);
how large each gain may be, all intervals holding at once (max-|t|); and how large the winner's gain really is (shrunk
towards what the candidates have in common, Morris 1983, with its uncertainty).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from isoloss.errors import TableError
from isoloss.gains.result import Interval

Array = NDArray[np.float64]

LEAST_TO_SHRINK = 3  # candidates: with fewer, nothing can be learnt of how they scatter
_WIDTHS = 60


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjusted p-values (K,): at most `level` of ever naming a candidate wrongly.

    ``p~_(k) = max_{j <= k} min(1, (K - j + 1) p_(j))``, valid under any dependence. NaN stays NaN and isn't counted.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    return _adjusted(p, lambda q: np.maximum.accumulate(q * np.arange(len(q), 0, -1)))


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Adjusted p-values (K,) that control the expected share of false names, under independence or positive dependence.

    ``p~_(k) = min_{j >= k} min(1, K p_(j) / j)``. Comparisons that share a baseline depend positively when one-sided.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.04, 0.04]
    """
    return _adjusted(p, _step_up)


def benjamini_yekutieli(p: ArrayLike) -> Array:
    """Adjusted p-values (K,) that control the share of false names under any dependence: those of
    `benjamini_hochberg` times ``1 + 1/2 + ... + 1/K``.
    """
    return _adjusted(p, lambda q: _step_up(q) * np.sum(1 / np.arange(1, len(q) + 1)))


def p_no_gain(low: Array, high: Array) -> Array:
    """Two-sided p-values (K,) of ``G = 1`` from draws of ``ln G`` (B, K) known to lie in ``[low, high]``.

    ``(1 + 2 min(#{draws that may be <= 0}, #{draws that may be >= 0})) / (1 + B)``: a bound counts on both sides it
    allows, so censoring raises p and never lowers it. No smaller than ``1 / (1 + B)``: ask for more draws when many
    candidates are corrected.
    """
    below = np.sum(~(low > 0), axis=0)
    above = np.sum(~(high < 0), axis=0)
    return np.minimum(1.0, (1 + 2 * np.minimum(below, above)) / (1 + len(low)))


def p_within(low: Array, high: Array, rope: Interval) -> Array:
    """p-values (K,) of the null that G lies inside the region of practical equivalence `rope`, from draws as above.

    Small where the gain is beyond the region on one side (a gain or a loss that matters), not merely unlike 1.
    """
    ends = np.log(rope)
    gain = np.sum(~(low > ends[1]), axis=0)
    loss = np.sum(~(high < ends[0]), axis=0)
    return np.minimum(1.0, (1 + 2 * np.minimum(gain, loss)) / (1 + len(low)))


def p_beyond(low: Array, high: Array, rope: Interval) -> Array:
    """p-values (K,) of the null that G lies outside `rope` (two one-sided tests): small where no gain is shown."""
    ends = np.log(rope)
    gain = np.sum(~(high < ends[1]), axis=0)
    loss = np.sum(~(low > ends[0]), axis=0)
    return (1 + np.maximum(gain, loss)) / (1 + len(low))


def simultaneous(estimate: Array, low: Array, high: Array, level: float = 0.95) -> tuple[Array, Array, float]:
    """Ends (K,), (K,) of intervals that hold all K values of ``ln G`` at once with probability `level`, and ``c``.

    ``estimate_k ± c s_k`` with ``c`` the `level` quantile over draws of ``max_k |draw_k - estimate_k| / s_k`` and
    ``s_k`` half the central 68% range of the draws. Errors shared by the comparisons (one baseline) are in the joint
    draws, so nothing is lost to Bonferroni. A candidate whose estimate or range isn't finite has no part in ``c`` and
    gets no bound here.
    """
    tails = special.ndtr([-1, 1])
    s = 0.5 * (
        np.quantile(high, tails[1], axis=0, method="higher") - np.quantile(low, tails[0], axis=0, method="lower")
    )
    finite = np.isfinite(estimate) & np.isfinite(s) & (s > 0)
    lower, upper = np.full(len(estimate), -np.inf), np.full(len(estimate), np.inf)
    if not finite.any():
        return lower, upper, float("nan")
    with np.errstate(invalid="ignore"):
        t = np.maximum(np.abs(low - estimate), np.abs(high - estimate))[:, finite] / s[finite]
    critical = float(np.quantile(t.max(axis=1), level, method="higher"))
    lower[finite] = estimate[finite] - critical * s[finite]
    upper[finite] = estimate[finite] + critical * s[finite]
    return lower, upper, critical


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Log gains drawn towards their common mean. `estimate` (K,), `low`, `high` (K,) of the level that was asked.

    `mean` and `spread` describe the candidates: true ``ln G`` scatter about the first with that standard deviation
    (posterior means). `kept` (K,) is the share of each one's distance from the mean that survives.
    """

    estimate: Array
    low: Array
    high: Array
    mean: float
    spread: float
    kept: Array


def shrink(estimate: Array, draws: Array, level: float = 0.95, seed: int = 0) -> Shrunk:
    """What the candidates' true gains probably are, the best-looking one included: the answer to the winner's curse.

    ``ln G_k ~ N(mu, tau^2)`` seen with errors of joint covariance V, that of `draws` (B, K) about `estimate` (K,). With
    ``mu`` and ``tau`` unknown (flat priors; Gelman 2006), the posterior is averaged over a grid of ``tau``, so the
    intervals hold for the candidate that was picked for being best. Errors common to all, such as the baseline's, are
    in V and don't pass for a difference between candidates. Needs three candidates and finite values. Raises
    TableError otherwise.
    """
    k = len(estimate)
    if k < LEAST_TO_SHRINK:
        raise TableError("candidates", f"there are {k}", f"shrinking needs {LEAST_TO_SHRINK} or more")
    if not (np.isfinite(estimate).all() and np.isfinite(draws).all()):
        raise TableError("candidates", "a gain or a draw of one is only a bound", "leave censored candidates out")
    # the range of the middle, so that heavy tails of draws with few seeds don't pass for variance, rescaled to it
    core = (np.quantile(draws, 0.975, axis=0) - np.quantile(draws, 0.025, axis=0)) / (2 * special.ndtri(0.975))
    core = np.maximum(core, 1e-9)
    from scipy import stats  # a quarter of a second, which other comparisons do without

    ranks = special.ndtri((stats.rankdata(draws, axis=0) - 0.5) / len(draws))
    v = np.corrcoef(ranks, rowvar=False) * np.outer(core, core) + np.diag(1e-12 * core**2)
    widths = np.linspace(0.0, 1.0, _WIDTHS) ** 2 * max(4 * float(np.std(estimate)), 2 * float(core.max()))
    rows = [_given_spread(estimate, v, tau) for tau in widths]
    log_p = np.array([r[0] for r in rows])
    weight = np.exp(log_p - log_p.max()) * np.gradient(widths)
    weight /= weight.sum()
    means, covariances = np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    mean = weight @ means
    rng = np.random.default_rng([seed, 9])
    picked = rng.choice(_WIDTHS, 8000, p=weight)
    roots = np.linalg.cholesky(covariances + 1e-14 * np.eye(k))
    sample = means[picked] + np.einsum("bij,bj->bi", roots[picked], rng.standard_normal((len(picked), k)))
    low, high = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2], axis=0)
    centre = float(weight @ [r[3] for r in rows])
    away = estimate - centre
    kept = np.divide(mean - centre, away, out=np.ones(k), where=np.abs(away) > 1e-12)
    return Shrunk(mean, low, high, centre, float(weight @ widths), kept)


def _given_spread(y: Array, v: Array, tau: float) -> tuple[float, Array, Array, float]:
    """``(ln p(y | tau), posterior mean, posterior covariance, posterior mean of mu)`` with mu integrated out, flat."""
    k = len(y)
    total = v + tau**2 * np.eye(k)
    inverse = np.linalg.inv(total)
    ones = np.ones(k)
    precision = float(ones @ inverse @ ones)
    mu = float(ones @ inverse @ y) / precision
    r = y - mu
    log_p = -0.5 * (np.linalg.slogdet(total)[1] + np.log(precision) + r @ inverse @ r)
    gain = tau**2 * inverse
    rest = ones - gain @ ones
    covariance = gain @ v + np.outer(rest, rest) / precision
    return float(log_p), mu + gain @ r, 0.5 * (covariance + covariance.T), mu


def _step_up(p: Array) -> Array:
    """``min_{j >= k} K p_(j) / j`` of sorted p-values."""
    return np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]


def _checked(p: ArrayLike) -> Array:
    values = np.asarray(p, float)
    if values.ndim != 1 or np.any((values < 0) | (values > 1)):
        raise TableError("p-values", "are not a list of numbers between 0 and 1", "NaN marks an unknown one")
    return values


def _adjusted(p: ArrayLike, rule: Callable[[Array], Array]) -> Array:
    values = _checked(p)
    out = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    if len(order):
        out[order] = np.minimum(1.0, rule(values[order]))
    return out

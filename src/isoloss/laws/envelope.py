"""The lower envelope of training curves (approach 1): which size is best at each budget, read off whole runs.

Curves of loss against compute, one run each, cross one another: a small model leads at small budgets, a larger one
later. Where the lead passes from one size to another the optimum lies between the two, at their geometric mean as far
as the profile is symmetric in ``ln N``; a line through those crossings gives ``N* = G C^a``. Noise moves a crossing
along ``ln C`` while its sizes are exact, so the line is fitted as ``ln C`` on ``ln N`` and turned round: the other way,
errors in the regressor would flatten it. Where the lead changes only because a curve ends nothing is learnt, and such
changes are dropped: they bend the exponent of an envelope whose every point is counted. A mid-run point of a decaying
schedule is no end-point, so curves of one schedule tell of that schedule only.

The envelope is a minimum over noisy runs and so lies too low (the winner's curse). By how much is bounded by giving
every run its noise once more and taking the minimum again: where curves cross, two or more are level, and a minimum of
level runs is pulled down the most.
Source: Hoffmann et al. 2022 (arXiv 2203.15556) section 3.1, who count every point of the envelope instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.allocation_line import AllocationLine, Caution, interval
from isoloss.laws.budgets import positive

Array = NDArray[np.float64]

FEWEST_CROSSINGS = 3
BUDGETS = 400  # of the grid in ln C on which leaders are told apart
NEAR = 5  # runs next in size to a leader that tell of noise about the profile
SHORT_SHARE = 0.25  # of resamples without enough crossings, worth a warning


@dataclass(frozen=True)
class Crossing:
    """Where the lead passes between two runs: budget, geometric means of their sizes and tokens, and the loss."""

    runs: tuple[str, str]
    budget: float
    n: float
    d: float
    loss: float


@dataclass(frozen=True, eq=False)
class EnvelopeFit:
    """Crossings by rising budget, the lines through them, and how noisy the envelope is.

    `cut` counts changes of lead that are left out because a curve begins or ends there. `counted` is the exponent of
    N that counting every point of the envelope gives, for comparison with publications. `noise` is the standard
    deviation of ``ln loss`` of a run about its neighbours in size, differences of design included (NaN where it can't
    be told), and `curse` the share of the loss by which the envelope lies too low because of it, at most.
    """

    crossings: tuple[Crossing, ...]
    cut: int
    n_line: AllocationLine
    d_line: AllocationLine
    counted: float
    noise: float
    curse: float
    cautions: tuple[Caution, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class _Curves:
    """Runs on a common grid of ``ln C`` (G,): ``ln loss`` and ``ln D`` (R, G); inf and NaN outside a run's range."""

    names: tuple[str, ...]
    log_n: Array
    grid: Array
    log_loss: Array
    log_d: Array


@dataclass(frozen=True, eq=False)
class _Leads:
    """Changes of lead along the envelope: from run, to run, ``ln C``; and how many a curve's end made."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    log_c: Array
    cut: int


def fit_envelope(C: Any, N: Any, D: Any, loss: Any, runs: Any, *, bootstrap: int = 1000, seed: int = 0) -> EnvelopeFit:
    """Approach 1 on points of training curves: compute `C`, parameters `N`, tokens `D`, `loss`, and `runs` (rows,).

    Intervals resample whole runs. Units are free. Raises TableError for values that are not finite and positive, a
    run of two sizes, runs of a single point (use approach 2), and an envelope with fewer than three crossings.
    """
    curves = _curves(C, N, D, loss, runs)
    everyone = np.arange(len(curves.names))
    leads = _leads(curves, curves.log_loss, everyone)
    if len(leads.log_c) < FEWEST_CROSSINGS:
        what = f"curves of different sizes cross {len(leads.log_c)} time(s) in the lead, {FEWEST_CROSSINGS} are needed"
        ended = f" ({leads.cut} changes of lead where a curve ends)" if leads.cut else ""
        raise TableError("runs", what + ended, "give curves of more sizes, over a range of compute in which they cross")
    rng = np.random.default_rng([seed, 19])
    noise = _noise(curves)
    curse = _curse(curves, leads.log_c, noise, rng)
    z = _optima(curves, leads)
    drawn, lost = _draws(curves, bootstrap, rng)
    centre = float(leads.log_c.mean())
    n_line, d_line = _lines(leads.log_c, z, centre, drawn)
    height = [
        float(np.interp(c, curves.grid, curves.log_loss[i])) for c, i in zip(leads.log_c, leads.before, strict=True)
    ]
    crossings = tuple(
        Crossing((curves.names[i], curves.names[j]), *np.exp([c, n, d, y]).tolist())
        for i, j, c, n, d, y in zip(leads.before, leads.after, leads.log_c, z[0], z[1], height, strict=True)
    )
    cautions = _cautions(crossings, leads, n_line, lost)
    return EnvelopeFit(crossings, leads.cut, n_line, d_line, _counted(curves), noise, curse, cautions)


def _curves(C: Any, N: Any, D: Any, loss: Any, runs: Any) -> _Curves:
    y = positive("loss", loss, None)
    log_c, log_n, log_d = (np.log(positive(name, v, len(y))) for name, v in (("C", C), ("N", N), ("D", D)))
    label = np.asarray(runs).astype(str)
    if label.shape != y.shape:
        raise TableError("runs", f"has shape {label.shape} for {len(y)} rows", "give one name per row")
    names, member = np.unique(label, return_inverse=True)
    if len(names) == len(y):
        raise TableError("runs", "every run has a single point, so no curves cross", "use approach 2 on end-points")
    grid = np.linspace(log_c.min(), log_c.max(), BUDGETS)
    kept, log_loss, tokens, size = [], [], [], []
    for k, name in enumerate(names):
        mine = np.flatnonzero(member == k)
        if np.ptp(log_n[mine]) > 1e-6:
            raise TableError("runs", f"run '{name[:60]}' has more than one size", "name each run by its own name")
        x, first = np.unique(log_c[mine], return_index=True)
        if len(x) < 2:
            continue  # a single point crosses nothing
        kept.append(str(name))
        log_loss.append(np.interp(grid, x, np.log(y[mine[first]]), left=np.inf, right=np.inf))
        tokens.append(np.interp(grid, x, log_d[mine[first]], left=np.nan, right=np.nan))
        size.append(log_n[mine[0]])
    if len(kept) <= FEWEST_CROSSINGS:
        raise TableError("runs", f"{len(kept)} curve(s) of two points or more", f"give {FEWEST_CROSSINGS + 1} or more")
    return _Curves(tuple(kept), np.array(size), grid, np.stack(log_loss), np.stack(tokens))


def _leads(curves: _Curves, log_loss: Array, present: NDArray[np.int64]) -> _Leads:
    """Changes of lead among the runs `present`; the same two runs that cross again and again count once, midway."""
    value = log_loss[present]
    best = np.argmin(value, axis=0)
    g = np.flatnonzero(np.diff(best))
    i, j = best[g], best[g + 1]
    ends = np.where(np.isfinite(value), value, np.nan)
    here, there = ends[i, g] - ends[j, g], ends[i, g + 1] - ends[j, g + 1]  # < 0, then > 0; NaN where a curve ends
    real = np.isfinite(here) & np.isfinite(there)
    # two runs of one size that pass the lead to one another are noise about that size, not a change of optimum
    real &= np.abs(curves.log_n[present[i]] - curves.log_n[present[j]]) > 1e-3
    cut = int(np.sum(~np.isfinite(here) | ~np.isfinite(there)))
    g, i, j, here, there = g[real], i[real], j[real], here[real], there[real]
    share = np.divide(here, here - there, out=np.full(len(g), 0.5), where=here != there)
    log_c = curves.grid[g] + share * (curves.grid[1] - curves.grid[0])
    pair = np.stack([np.minimum(i, j), np.maximum(i, j)])
    _, first, member = np.unique(pair, axis=1, return_index=True, return_inverse=True)
    log_c = np.bincount(member.ravel(), log_c) / np.bincount(member.ravel()) if len(g) else log_c
    order = np.argsort(log_c)
    return _Leads(present[i[first]][order], present[j[first]][order], log_c[order], cut)


def _optima(curves: _Curves, leads: _Leads) -> Array:
    """``ln N*`` and ``ln D*`` at the crossings, (2, P): the means of the two runs."""
    tokens = [
        [_read(curves, k, c) for k, c in zip(side, leads.log_c, strict=True)] for side in (leads.before, leads.after)
    ]
    return np.stack(
        [0.5 * (curves.log_n[leads.before] + curves.log_n[leads.after]), 0.5 * np.sum(np.array(tokens), axis=0)]
    )


def _read(curves: _Curves, run: int, at: float) -> float:
    held = np.isfinite(curves.log_d[run])
    return float(np.interp(at, curves.grid[held], curves.log_d[run, held]))


def _draws(curves: _Curves, bootstrap: int, rng: np.random.Generator) -> tuple[list[tuple[Array, Array]], float]:
    """Crossings and optima of resampled runs, and the share of resamples that have too few for a line."""
    runs = len(curves.names)
    found = []
    for _ in range(bootstrap):
        present = np.unique(rng.integers(0, runs, runs))
        leads = _leads(curves, curves.log_loss, present)
        if len(leads.log_c) >= FEWEST_CROSSINGS:
            found.append((leads.log_c, _optima(curves, leads)))
    return found, 1 - len(found) / bootstrap if bootstrap else 0.0


def _lines(
    log_c: Array, z: Array, centre: float, drawn: list[tuple[Array, Array]]
) -> tuple[AllocationLine, AllocationLine]:
    """The lines of N and D: ``ln C`` and ``ln D`` are each regressed on the sizes, which are exact."""

    def fit(x: Array, v: Array) -> tuple[float, float, float, float]:
        dn = v[0] - v[0].mean()
        a = float(np.sum(dn**2) / np.sum(dn * x))
        b = a * float(np.sum(dn * v[1]) / np.sum(dn**2))
        step = centre - x.mean()
        return float(v[0].mean() + a * step), a, float(v[1].mean() + b * step), b

    point = fit(log_c, z)
    lines = np.array([fit(x, v) for x, v in drawn]).reshape(-1, 4)
    out = []
    for k in (0, 1):
        value, slope = point[2 * k], point[2 * k + 1]
        rest = z[k] - value - slope * (log_c - centre)
        scatter = float(np.sqrt(rest @ rest / (len(log_c) - 2)))
        out.append(AllocationLine(slope, value, centre, scatter, lines[:, 2 * k + 1], lines[:, 2 * k]))
    return out[0], out[1]


def _counted(curves: _Curves) -> float:
    """The exponent that every grid point of the envelope together gives, ends and all."""
    best = np.argmin(curves.log_loss, axis=0)
    held = np.isfinite(curves.log_loss.min(axis=0))
    x = curves.grid[held] - curves.grid[held].mean()
    return float(np.sum(x * curves.log_n[best[held]]) / np.sum(x**2))


def _noise(curves: _Curves) -> float:
    """SD of ``ln loss`` of a run: scatter about a parabola in ``ln N`` through the sizes nearest the best, pooled.

    A run's noise is much the same all along its curve, so budgets are no replicates of one another: each adds its
    squares, and the pooled value is an average over budgets.
    """
    squares, dof = 0.0, 0
    for y in curves.log_loss.T[:: BUDGETS // 20]:
        held = np.flatnonzero(np.isfinite(y))
        if len(held) < NEAR:
            continue
        best = held[np.argmin(y[held])]
        near = held[np.argsort(np.abs(curves.log_n[held] - curves.log_n[best]), kind="stable")[:NEAR]]
        if len(np.unique(np.round(curves.log_n[near], 3))) < 4:
            continue
        x = curves.log_n[near] - curves.log_n[near].mean()
        rest = y[near] - np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyfit(x, y[near], 2))
        squares, dof = squares + float(rest @ rest), dof + NEAR - 3
    return float(np.sqrt(squares / dof)) if dof else float("nan")


def _curse(curves: _Curves, log_c: Array, noise: float, rng: np.random.Generator, draws: int = 400) -> float:
    """How far ``ln`` of the envelope lies too low at most, averaged over `log_c` (P,)."""
    if not noise > 0:
        return 0.0
    value = curves.log_loss[:, np.abs(curves.grid[:, None] - log_c).argmin(axis=0)]  # (R, P)
    shaken = value + noise * rng.standard_normal((draws, len(value), 1))
    return float(np.mean(value.min(axis=0) - shaken.min(axis=1).mean(axis=0)))


def _cautions(crossings: tuple[Crossing, ...], leads: _Leads, line: AllocationLine, lost: float) -> tuple[Caution, ...]:
    out = []
    if len(crossings) < 6:
        out.append(
            Caution("few-crossings", f"{len(crossings)} crossings carry the exponent: it hangs on each of them.")
        )
    if leads.cut:
        said = f"{leads.cut} change(s) of lead come of a curve that begins or ends, and are left out."
        out.append(Caution("cut-curves", said))
    if lost > SHORT_SHARE:
        said = f"{lost:.0%} of resamples of the runs leave under {FEWEST_CROSSINGS} crossings; the interval lacks them."
        out.append(Caution("fragile-envelope", said))
    low, high = interval(line.exponent_draws)
    if low < 0 or high > 1:
        said = f"The exponent's interval, {low:.3g} to {high:.3g}, leaves 0 to 1: the envelope does not tell it."
        out.append(Caution("exponent-unknown", said))
    falls = sum(b.n < a.n for a, b in pairwise(crossings))
    if falls:
        said = f"The optimum falls with compute at {falls} crossing(s): noise or tuning decides who leads."
        out.append(Caution("disorderly-envelope", said))
    return tuple(out)

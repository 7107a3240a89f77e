"""Compute-optimal exponents several ways, side by side: what differs between them is what the data do not settle.

Approach 2 (profiles at equal compute, by parabola, cubic and interpolation) or approach 1 (the envelope of training
curves) stands beside approach 3, the law ``L = E + A N^-alpha + B D^-beta``, whose exponents are
``beta / (alpha + beta)`` and ``alpha / (alpha + beta)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.allocation_line import AllocationLine, interval
from isoloss.laws.envelope import EnvelopeFit, fit_envelope
from isoloss.laws.fit import fit
from isoloss.laws.frontier_law import frontier_law
from isoloss.laws.isoflop import IsoflopFit, fit_isoflop
from isoloss.laws.profile import SHAPES, Shape

Interval = tuple[float, float]
FARTHEST = 2.0  # decades beyond the budgets run at which a point estimate is withheld
_NOWHERE = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Way:
    """The exponents of N and D that one method gives, with 95% intervals; NaN, with the reason, where it gives none."""

    name: str
    n_exponent: float
    n_interval: Interval
    d_exponent: float
    d_interval: Interval
    said: str = ""


@dataclass(frozen=True)
class Allocation:
    """``N*`` and ``D*`` at one budget with 95% intervals, and how many decades that budget lies beyond those run.

    More than two decades out, `n` and `d` are NaN: only the intervals are given.
    """

    at: float
    n: float
    n_interval: Interval
    d: float
    d_interval: Interval
    decades_out: float


@dataclass(frozen=True, eq=False)
class CrossCheck:
    """The fit that was asked for, its answers at budgets, and every way side by side (the one asked for first)."""

    fitted: IsoflopFit | EnvelopeFit
    ways: tuple[Way, ...]
    allocations: tuple[Allocation, ...]


def cross_check(
    C: Any,
    N: Any,
    D: Any,
    loss: Any,
    *,
    approach: Literal[1, 2] = 2,
    shape: Shape = "parabola",
    budget: Any | None = None,
    runs: Any | None = None,
    noise: Any | None = None,
    width: float | None = None,
    at: Sequence[float] = (),
    bootstrap: int = 1000,
    seed: int = 0,
) -> CrossCheck:
    """Exponents of compute-optimal N and D by the approach asked for, beside the others that the runs allow.

    Arguments as in `isoloss.laws.isoflop.fit_isoflop` and `isoloss.laws.envelope.fit_envelope`; `at` are budgets. A
    TableError is raised for the approach asked for, and becomes a remark where another can't be taken.
    """
    options: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed}
    ways: list[Way] = []
    fitted: IsoflopFit | EnvelopeFit
    if approach == 2:
        options |= {"budget": budget, "runs": runs, "noise": noise, "width": width}
        fitted = fit_isoflop(C, N, D, loss, shape=shape, **options)
        ways.append(_way(f"profiles, {shape}", fitted.n_line, fitted.d_line))
        budgets = [p.budget for p in fitted.used]
        for other in SHAPES:
            if other != shape:
                ways.append(_other(C, N, D, loss, other, options))  # type: ignore[arg-type]
    elif approach == 1:
        if runs is None:
            raise TableError("--run", "approach 1 needs the name of the run of each row", "name its column")
        fitted = fit_envelope(C, N, D, loss, runs, **options)
        ways.append(_way("envelope, crossings", fitted.n_line, fitted.d_line))
        said = "no interval: its points are not independent"
        ways.append(Way("envelope, every point", fitted.counted, _NOWHERE, float("nan"), _NOWHERE, said))
        budgets = [c.budget for c in fitted.crossings]
    else:
        raise UnknownNameError("approach", "approach", str(approach), ("1", "2"))
    ways.append(_parametric(N, D, loss, runs, bootstrap, seed))
    allocations = tuple(_allocation(c, fitted.n_line, fitted.d_line, budgets) for c in at)
    return CrossCheck(fitted, tuple(ways), allocations)


def _way(name: str, n: AllocationLine, d: AllocationLine) -> Way:
    return Way(name, n.exponent, n.interval(), d.exponent, d.interval())


def _none(name: str, error: TableError) -> Way:
    return Way(name, float("nan"), _NOWHERE, float("nan"), _NOWHERE, " ".join(str(error).split()))


def _other(C: Any, N: Any, D: Any, loss: Any, shape: Shape, options: dict[str, Any]) -> Way:
    try:
        other = fit_isoflop(C, N, D, loss, shape=shape, **options)
    except TableError as error:
        return _none(f"profiles, {shape}", error)
    left = len(other.left_out)
    said = f"{left} budget(s) left out" if left else ""
    return replace(_way(f"profiles, {shape}", other.n_line, other.d_line), said=said)


def _parametric(N: Any, D: Any, loss: Any, runs: Any | None, bootstrap: int, seed: int) -> Way:
    name = "law of N and D"
    columns = {"N": np.asarray(N, float), "D": np.asarray(D, float)}
    try:
        law = fit("chinchilla", columns, loss, bootstrap=bootstrap, clusters=runs, objective="huber-log", seed=seed)
        point = float(frontier_law(law.params).exponent_n[0])
    except TableError as error:
        return _none(name, error)
    alpha, beta = law.draws["alpha"], law.draws["beta"]
    # a resample may lose one of the two terms, and with it any optimum
    lasting = (law.draws["A"] > 0) & (law.draws["B"] > 0) & (alpha > 0) & (beta > 0)
    draws = beta[lasting] / (alpha + beta)[lasting]
    lost = 1 - draws.size / bootstrap if bootstrap else 0.0
    low, high = interval(draws)
    said = f"{lost:.0%} of resamples lose a term and are left out" if lost > 0 else ""
    return Way(name, point, (low, high), 1 - point, (1 - high, 1 - low), said)


def _allocation(c: float, n: AllocationLine, d: AllocationLine, budgets: Sequence[float]) -> Allocation:
    if not 0 < c < float("inf"):
        raise TableError("at", f"a budget of {c}", "give a positive number of FLOPs")
    out = max(0.0, float(np.log10(c / max(budgets))), float(np.log10(min(budgets) / c)))
    hidden = out > FARTHEST
    return Allocation(
        at=c,
        n=float("nan") if hidden else float(n.at(c)),
        n_interval=interval(n.draws_at(c)[:, 0]),
        d=float("nan") if hidden else float(d.at(c)),
        d_interval=interval(d.draws_at(c)[:, 0]),
        decades_out=out,
    )

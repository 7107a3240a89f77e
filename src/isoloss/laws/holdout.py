"""What a law would have said of the top of its ladder: fitted below a cut, scored above it.

In-sample fit says nothing about extrapolation. Rows are put in order of one quantity (the resource, or the product of
the law's columns: ``N D`` for Chinchilla's), a law is fitted to the rungs up to a cut, and the rungs above are
predicted. ``leave_top_out`` is the cut below the last rung, ``rolling`` every cut that leaves the law determined. All
cuts, and all of their wild resamples, are one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.check import check_table
from isoloss.laws.descend import Problem, minimise
from isoloss.laws.optimum import Posed, influence, refits
from isoloss.laws.replicates import SMALLEST_SD

Array = NDArray[np.float64]
MOST_RUNGS = 10  # distinct values are binned into this many rungs
DRAWS = 200
_SAME = 0.02  # of the logarithm of the order: closer rows are of one rung
_STARTS = 24


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows above one cut (m of them), as predicted from the rows up to it.

    `log_error` is ``ln(loss / predicted)``, `decades` the distance above the fitted rungs in the ordering quantity,
    `covered` whether a 95% new-run interval holds the loss, `log_density` the log of the predictive density of ``ln
    loss`` (a Student t), `last` and `line` the errors of the baselines: the last fitted rung persists; a straight line
    in logs. `rung` numbers the rung of each row.
    """

    fitted: int
    rows: NDArray[np.intp]
    rung: NDArray[np.intp]
    decades: Array
    log_error: Array
    covered: NDArray[np.bool_]
    log_density: Array
    last: Array
    line: Array


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Folds of a rolling forecast from the shortest fit to the longest; the last leaves only the top rung out."""

    order: str
    folds: tuple[Fold, ...]
    skipped: str = ""

    @property
    def top(self) -> Fold | None:
        """Leave-top-rung-out."""
        return self.folds[-1] if self.folds else None

    def sentence(self) -> str:
        """How well the law foretold the top of this ladder, beside the two baselines."""
        if self.top is None:
            return f"Not scored on held-out rungs: {self.skipped}."
        s = _scores(self.folds)
        return (
            f"Fitted below {s['folds']} cut(s) and scored above, up to {s['decades']:.2g} decades away: "
            f"{100 * s['rms_log_error']:.2g}% error (last rung persists {100 * s['rms_last_rung_persists']:.2g}%, "
            f"line in logs {100 * s['rms_line_in_logs']:.2g}%), {100 * s['coverage']:.0f}% of 95% intervals hold."
        )

    def summary(self) -> dict[str, Any]:
        """Root mean square errors of ln L, coverage and distance, of the top rung and of all folds together."""
        if not self.folds:
            return {"skipped": self.skipped}
        groups = {"top_rung": self.folds[-1:], "rolling": self.folds}
        return {"order": self.order} | {name: _scores(folds) for name, folds in groups.items()}


def leave_top_out(posed: Posed, theta: Array, seed: int = 0, order: str | Array | None = None) -> HeldOut:
    """The fold that holds out the top rung only; see `rolling`."""
    return rolling(posed, theta, seed, most=1, order=order)


def rolling(posed: Posed, theta: Array, seed: int = 0, most: int = 4, order: str | Array | None = None) -> HeldOut:
    """Score a law above each of the highest `most` cuts, given its optimum `theta` on all rows (a start among others).

    `order` names a column of the law, or gives the ordering quantity itself (rows,) > 0, by default the product of the
    law's columns. Nothing is raised where too few scales lie below every cut: `skipped` says why.
    """
    if most < 1:
        return HeldOut("", (), "not asked for")
    name, value = _order(posed, order)
    rung, edges = _rungs(value)
    folds: list[tuple[int, NDArray[np.bool_]]] = []
    why = f"{len(edges)} rung(s) of {name}"
    for cut in range(len(edges) - 2, -1, -1):
        below = rung <= cut
        try:
            check_table(posed.law, {k: v[below] for k, v in posed.columns.items()}, posed.loss[below])
        except TableError as error:
            why = f"below the top {len(edges) - 1 - cut} rung(s), {error.where} {error.what}"
            break
        if np.sum(below) <= posed.free:
            why = f"below the top {len(edges) - 1 - cut} rung(s), {np.sum(below)} rows for {posed.free} parameters"
            break
        folds.append((cut, below))
        if len(folds) == most:
            break
    if not folds:
        return HeldOut(name, (), why)
    rng = np.random.default_rng([seed, 5])
    return HeldOut(name, tuple(_score(posed, theta, value, rung, *f, rng) for f in reversed(folds)))


def _score(
    posed: Posed, theta: Array, value: Array, rung: NDArray[np.intp], cut: int, below: NDArray[np.bool_], rng: Any
) -> Fold:
    whole = posed.problem
    masked = Problem(whole.law, whole.data, whole.y, whole.weight * below, whole.objective)
    starts = np.concatenate([theta[None], posed.starts])
    misfit = masked.state(starts, masked.target())[2]
    found = minimise(masked, starts[np.argsort(misfit, kind="stable")[:_STARTS]])
    best = found.theta[int(np.argmin(found.misfit))]
    residual, hold = influence(masked, best)
    dof = max(1, int(below.sum()) - posed.free)
    # a law that meets every run exactly still forecasts no better than rounding
    scatter = max(float(np.sqrt(masked.weight[0] @ residual**2 / dof)), SMALLEST_SD)
    webb = np.sqrt(np.array([0.5, 1.0, 1.5]))
    sign = rng.choice(np.r_[-webb, webb], size=(DRAWS, len(below)))
    spread = np.sqrt(dof / rng.chisquare(dof, (DRAWS, 1)))
    shift = hold.undone(residual, np.arange(len(below))) * sign
    draws = refits(masked, best, np.ones((1, len(below))), shift, DRAWS)
    above = np.flatnonzero(~below)
    ahead = whole.law.take(whole.data, above)
    centre, cloud = (_log_loss(posed, t, ahead) for t in (best[None], draws))
    relative = 1.0 if whole.objective.log else 1 / np.exp(centre[0])
    seen = np.log(whole.y[0, above])
    new = cloud + scatter * relative * rng.standard_normal(cloud.shape)
    new = centre + (new - centre) * spread
    low, high = np.quantile(new, [0.025, 0.975], axis=0)
    size = np.sqrt(np.mean((cloud - centre) ** 2, axis=0) + (scatter * relative) ** 2)
    error = seen - centre[0]
    top = rung[below].max()
    design = np.stack([np.ones(len(below)), *(np.log(v) for v in posed.columns.values())], axis=1)
    y = np.log(whole.y[0])
    slope = np.linalg.lstsq(design[below], y[below], rcond=None)[0]
    from scipy import stats  # a quarter of a second, which gains do without

    return Fold(
        int(below.sum()),
        above,
        rung[above],
        (value[above] - value[below].max()) / np.log(10),
        error,
        (seen >= low) & (seen <= high),
        stats.t.logpdf(error / size, dof) - np.log(size),
        seen - y[below & (rung == top)].mean(),
        seen - design[above] @ slope,
    )


def _scores(folds: tuple[Fold, ...]) -> dict[str, Any]:
    def rms(name: str) -> float:
        return float(np.sqrt(np.mean(np.concatenate([getattr(f, name) for f in folds]) ** 2)))

    return {
        "folds": len(folds),
        "rows": int(sum(len(f.rows) for f in folds)),
        "rms_log_error": rms("log_error"),
        "bias": float(np.mean(np.concatenate([f.log_error for f in folds]))),
        "coverage": float(np.mean(np.concatenate([f.covered for f in folds]))),
        "decades": float(max(f.decades.max() for f in folds)),
        "rms_last_rung_persists": rms("last"),
        "rms_line_in_logs": rms("line"),
    }


def _order(posed: Posed, name: str | Array | None) -> tuple[str, Array]:
    if isinstance(name, np.ndarray):
        if name.shape != posed.loss.shape or not np.all(np.isfinite(name) & (name > 0)):
            raise TableError("--order", "must be one positive number a row", "give the resource of each run")
        return "the given order", np.log(name)
    if name is not None and name not in posed.columns:
        raise TableError("--order", f"no column {name} among {sorted(posed.columns)}", "name a column of the law")
    names = [name] if name else [k for k in posed.columns if k not in posed.law.may_repeat] or list(posed.columns)
    return " * ".join(names), np.sum([np.log(posed.columns[k]) for k in names], axis=0)


def _rungs(value: Array) -> tuple[NDArray[np.intp], Array]:
    """Rung of each row, and the rungs' lowest values: distinct values, or equal bins of ln where there are many."""
    order = np.sort(value)
    edges = order[np.r_[True, np.diff(order) > _SAME]]
    if len(edges) > MOST_RUNGS:
        edges = np.linspace(order[0], order[-1], MOST_RUNGS + 1)[:-1]
        edges = edges[np.unique(np.searchsorted(edges, value, side="right") - 1)]
    return np.searchsorted(edges, value + 1e-12, side="right") - 1, edges


def _log_loss(posed: Posed, theta: Array, data: Any) -> Array:
    value = posed.law.evaluate(theta, data)[0]
    return value if posed.law.link == "log" else np.log(np.maximum(value, 1e-300))

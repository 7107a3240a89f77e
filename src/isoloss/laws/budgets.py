"""Runs grouped by compute budget: the input of an IsoFLOP analysis, checked, and the noise of a run in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from isoloss.errors import TableError
from isoloss.laws.profile import FEWEST_SIZES, Shape, residuals, same_sizes

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

SAME_BUDGET = 1.1  # runs whose compute differs by less than this ratio are one budget, where no column says
FEW_DOF = 10  # replicates with fewer degrees of freedom say less of the noise than the scatter about the curves does


@dataclass(frozen=True, eq=False)
class BudgetRuns:
    """Runs as ``ln C``, ``ln N``, ``ln D`` and loss, each (rows,), and the rows of each budget in rising order.

    `weight` (rows,) is proportional to the inverse variance of each loss; `run` (rows,) numbers the training run that
    a row was read from. `copies` counts rows left out because they repeat another to the last digit.
    """

    log_c: Array
    log_n: Array
    log_d: Array
    loss: Array
    weight: Array
    run: Rows
    budgets: tuple[Rows, ...]
    copies: int

    def log_budget(self, rows: Rows) -> float:
        """``ln C`` that stands for a budget: the median over its runs."""
        return float(np.median(self.log_c[rows]))

    def log_tokens(self, rows: Rows, log_n: Array) -> Array:
        """``ln D`` of a budget at sizes `log_n`, between its own runs' (moved from their compute to the budget's)."""
        order = rows[np.argsort(self.log_n[rows], kind="stable")]
        moved = self.log_d[order] - (self.log_c[order] - self.log_budget(rows))
        return np.interp(log_n, self.log_n[order], moved)


@dataclass(frozen=True)
class RunNoise:
    """Standard deviation of a run's loss in each budget, the degrees of freedom behind it, and where both come from.

    `sd` (K,) belongs to the budgets in order; `shared` is whether it is one value for all of them. With a noise that
    was ``given``, `sd` is 1, in units of what was given.
    """

    sd: tuple[float, ...]
    dof: tuple[float, ...]
    shared: bool
    source: Literal["given", "replicates", "residuals", "unknown"]


def budget_runs(
    C: Any,
    N: Any,
    D: Any,
    loss: Any,
    budget: Any | None,
    runs: Any | None,
    noise: Any | None,
    width: float | None,
) -> BudgetRuns:
    """Check the columns, drop copied rows and group the rest; see `isoloss.laws.isoflop.fit_isoflop` for their meaning.

    Raises TableError naming the column and row of a value that is not finite and positive.
    """
    y = positive("loss", loss, None)
    log_c, log_n, log_d = (np.log(positive(name, v, len(y))) for name, v in (("C", C), ("N", N), ("D", D)))
    if noise is None:
        weight = np.ones(len(y))
    else:
        weight = 1 / positive("noise", np.full(len(y), noise) if np.ndim(noise) == 0 else noise, len(y)) ** 2
    label = _column("budget", budget, len(y))
    name = _column("runs", runs, len(y))
    run = np.arange(len(y)) if name is None else np.unique(name, return_inverse=True)[1].astype(np.int64)
    _, first = np.unique(np.stack([log_c, log_n, log_d, y]), axis=1, return_index=True)
    kept = np.sort(first)
    mine = np.zeros(0) if label is None else label[kept]
    groups = _clustered(log_c, kept) if label is None else [kept[mine == b] for b in np.unique(mine)]
    groups.sort(key=lambda rows: float(np.median(log_c[rows])))
    if width is not None:
        if not 1 < width < np.inf:
            raise TableError("width", f"{width:g} is no factor", "give a number above 1, such as 4")
        groups = [rows[np.abs(log_n[rows] - _best(log_n[rows], y[rows])) <= np.log(width) + 1e-9] for rows in groups]
    return BudgetRuns(log_c, log_n, log_d, y, weight, run, tuple(groups), len(y) - len(kept))


def positive(name: str, values: Any, rows: int | None) -> Array:
    """A column as finite positive floats; raises TableError naming it and the first row at fault."""
    try:
        v = np.asarray(values, float)
    except (TypeError, ValueError):
        raise TableError(name, "is not a column of numbers", "name another column") from None
    if v.ndim != 1 or v.size == 0 or (rows is not None and len(v) != rows):
        raise TableError(name, f"has shape {v.shape}" + (f" for {rows} rows" if rows else ""), "give one value per run")
    wrong = ~(np.isfinite(v) & (v > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TableError(name, f"row {row + 1} is {v[row]:g}, not finite and positive", "mend or drop that run")
    return v


def run_noise(table: BudgetRuns, shape: Shape, given: bool) -> RunNoise:
    """Noise of a run in each budget: from replicates of a size, else from residuals about the curves.

    Residuals hold what the curve fails to follow as well, so they err on the wide side.
    """
    count = len(table.budgets)
    if given:
        return RunNoise((1.0,) * count, (float("inf"),) * count, True, "given")
    squares, dof = np.zeros(count), np.zeros(count)
    for k, rows in enumerate(table.budgets):
        size = same_sizes(table.log_n[rows])
        for one in np.unique(size):
            same = table.loss[rows[size == one]]
            squares[k], dof[k] = squares[k] + float(np.sum((same - same.mean()) ** 2)), dof[k] + len(same) - 1
    if dof.sum() >= FEW_DOF and squares.sum() > 0:
        return RunNoise(*_moderated(squares, dof), "replicates")
    squares, dof = np.zeros(count), np.zeros(count)
    for k, rows in enumerate(table.budgets):
        if len(np.unique(same_sizes(table.log_n[rows]))) < FEWEST_SIZES[shape]:
            continue
        rest, free = residuals(table.log_n[rows], table.loss[rows], table.weight[rows], shape)
        if free > 0:
            squares[k], dof[k] = float(rest @ rest) * (free / len(rest) if shape == "akima" else 1.0), free
    if dof.sum() == 0 or squares.sum() <= 1e-24 * float(np.mean(table.loss)) ** 2:
        return RunNoise((0.0,) * count, (0.0,) * count, True, "unknown")
    # rows read from one run share its noise: there are only so many independent pieces of it
    rows = np.concatenate([r for r, free in zip(table.budgets, dof, strict=True) if free > 0])
    pieces = len(np.unique(table.run[rows])) / len(rows)
    return RunNoise(*_moderated(squares, dof, pieces), "residuals")


def _moderated(squares: Array, dof: Array, pieces: float = 1.0) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """SD and degrees of freedom of each budget, borrowing from the others as far as their variances agree.

    Variances that differ no more than chance are pooled; else each is drawn towards their common prior, an inverse
    chi-square whose own degrees of freedom come from the spread of the log variances. So a budget with wild runs
    doesn't make the others look wild. Source: Smyth 2004 (Stat. Appl. Genet. Mol. Biol. 3), section 6.
    """
    held = dof > 0
    d, s2 = dof[held], np.maximum(squares[held] / dof[held], 1e-12 * squares.sum() / dof.sum())
    log_s2 = np.log(s2) - special.digamma(d / 2) + np.log(d / 2)
    spread = float(np.var(log_s2, ddof=1) - np.mean(special.polygamma(1, d / 2))) if len(d) > 1 else 0.0
    if spread <= 1e-6:
        sd, total = float(np.sqrt(squares.sum() / dof.sum())), max(1.0, float(dof.sum()) * pieces)
        return (sd,) * len(dof), (total,) * len(dof), True
    # trigamma falls from infinity to 0, so a bracket this wide holds its inverse
    prior = 2 * float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - spread, 1e-6, 1e7))
    prior_s2 = float(np.exp(np.mean(log_s2) + special.digamma(prior / 2) - np.log(prior / 2)))
    moderate = (prior * prior_s2 + squares) / (prior + dof)
    return tuple(np.sqrt(moderate).tolist()), tuple(np.maximum(1.0, prior + dof * pieces).tolist()), False


def _column(name: str, values: Any | None, rows: int) -> NDArray[Any] | None:
    if values is None:
        return None
    v = np.asarray(values)
    if v.shape != (rows,):
        raise TableError(name, f"has shape {v.shape} for {rows} rows", "give one value per run")
    return v


def _best(log_n: Array, loss: Array) -> float:
    """``ln N`` of the size with the least mean loss."""
    size = same_sizes(log_n)
    runs = np.bincount(size)
    k = int(np.argmin(np.bincount(size, loss) / runs))
    return float(np.bincount(size, log_n)[k] / runs[k])


def _clustered(log_c: Array, kept: Rows) -> list[Rows]:
    groups: list[list[int]] = []
    for row in kept[np.argsort(log_c[kept], kind="stable")]:
        if not groups or log_c[row] - log_c[groups[-1][0]] > np.log(SAME_BUDGET):
            groups.append([])
        groups[-1].append(int(row))
    return [np.array(g) for g in groups]

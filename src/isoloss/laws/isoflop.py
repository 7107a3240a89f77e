"""IsoFLOP profiles (approach 2): the best model size at each budget, and how it grows with the budget.

At each budget, runs of several sizes give a profile of loss over ``ln N``; its minimum is that budget's ``N*``, ``D*``
and ``L*``; a line through the minima gives ``N* = G C^a`` and ``D* = H C^b``. No law of L(N, D) is assumed, which makes
it a cross-check of one. It is not free of error: a parabola's minimum is off wherever a profile is skew, more so on a
wide grid (Czech et al. 2026, arXiv 2603.22339), so a cubic stands beside it and a test says when it is needed.

A budget enters the line only if its profile is convex beyond doubt (otherwise its minimum is a ratio with a
denominator that may be zero, and no finite interval for it exists: Fieller 1954) and turns inside the sizes that were
run. Source: Hoffmann et al. 2022 (arXiv 2203.15556) section 3.2; Porian et al. 2024 (arXiv 2406.19146).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.allocation_line import FEWEST_BUDGETS, AllocationLine, Caution, fit_allocation_line
from isoloss.laws.budgets import BudgetRuns, RunNoise, budget_runs, run_noise
from isoloss.laws.profile import FEWEST_SIZES, SHAPES, Shape, curvature_variance, minima, residuals, same_sizes

Array = NDArray[np.float64]
Status = Literal["used", "edge-of-sweep", "not-convex", "too-few-sizes"]

DOUBT = 0.025  # largest p-value of "not convex" at which a profile's minimum is used
MISFIT = 0.01  # significance at which a parabola is said not to follow the profiles
WHY = {
    "edge-of-sweep": "the loss is least at an end of the sizes run, or beyond it",
    "not-convex": "the profile is not convex beyond doubt",
    "too-few-sizes": "too few sizes for the curve",
}


@dataclass(frozen=True)
class Profile:
    """One budget: where its loss is least over model size.

    `n`, `d`, `loss` are NaN unless its `status` is ``used``, and `said` then is empty; `curvature` is the second
    derivative of the loss in ``ln N`` and `doubt` the p-value of "not convex" (NaN while noise is unknown). `rows`
    index the runs given.
    """

    budget: float
    sizes: int
    rows: tuple[int, ...]
    status: Status
    said: str
    n: float = float("nan")
    d: float = float("nan")
    loss: float = float("nan")
    curvature: float = float("nan")
    doubt: float = float("nan")


@dataclass(frozen=True, eq=False)
class IsoflopFit:
    """Optima per budget, and how ``N*`` and ``D*`` grow with compute.

    `draws` holds ``N``, ``D`` and ``L`` of the budgets used, each (B, used), in the order of `used`.
    """

    shape: Shape
    profiles: tuple[Profile, ...]
    n_line: AllocationLine
    d_line: AllocationLine
    draws: dict[str, Array]
    noise: RunNoise
    cautions: tuple[Caution, ...] = field(default=())

    @property
    def used(self) -> tuple[Profile, ...]:
        """The budgets that the lines go through."""
        return tuple(p for p in self.profiles if p.status == "used")

    @property
    def left_out(self) -> tuple[Profile, ...]:
        """The budgets that they don't."""
        return tuple(p for p in self.profiles if p.status != "used")


def fit_isoflop(
    C: Any,
    N: Any,
    D: Any,
    loss: Any,
    *,
    budget: Any | None = None,
    runs: Any | None = None,
    noise: Any | None = None,
    width: float | None = None,
    shape: Shape = "parabola",
    bootstrap: int = 2000,
    seed: int = 0,
) -> IsoflopFit:
    """Approach 2 on runs with compute `C`, parameters `N`, tokens `D` and final `loss`, each (rows,).

    `budget` (rows,) groups the runs; without it, runs whose C agrees within a tenth are one budget. `runs` names the
    training run behind each row where one run gives several (a curve read at several budgets): its noise is then
    shared by them. `noise` is the standard deviation of a run's loss, one number or (rows,); without it, it is pooled
    over budgets from replicates, else from residuals about the curve. `width` keeps the runs within this factor in N
    of each budget's best size, as a parabola is good only near the minimum. `shape` is ``parabola``, ``cubic`` or
    ``akima``.

    Units of C, N, D and the loss are free. Raises TableError for values that are not finite and positive, and when
    fewer than three budgets have a minimum that can be told.
    """
    if shape not in SHAPES:
        raise UnknownNameError("shape", "shape", shape, SHAPES)
    table = budget_runs(C, N, D, loss, budget, runs, noise, width)
    known = run_noise(table, shape, noise is not None)
    profiles = _profiles(table, shape, known)
    # runs of one budget that differ a little in compute are moved to the same budget along the trend of L*(C),
    # which is the slope of L at fixed N too wherever N is optimal (envelope theorem)
    table = _moved(table, profiles)
    known = run_noise(table, shape, noise is not None)
    profiles = _profiles(table, shape, known)
    used = [p for p in profiles if p.status == "used"]
    rng = np.random.default_rng([seed, 17])
    places = [k for k, p in enumerate(profiles) if p.status == "used"]
    draws, inflation = _draws(table, places, shape, known, bootstrap, rng)
    x = np.log([p.budget for p in used])
    lines = []
    for name, z in (("N", np.log([p.n for p in used])), ("D", np.log([p.d for p in used]))):
        lines.append(fit_allocation_line(x, z, draws[name] - z, rng, inflation))
    natural = {"N": np.exp(draws["N"]), "D": np.exp(draws["D"]), "L": draws["L"]}
    cautions = _cautions(table, profiles, shape, known)
    return IsoflopFit(shape, tuple(profiles), lines[0], lines[1], natural, known, cautions)


def _profiles(table: BudgetRuns, shape: Shape, noise: RunNoise) -> list[Profile]:
    pairs = zip(noise.sd, noise.dof, strict=True)
    found = [_profile(table, rows, shape, *pair) for rows, pair in zip(table.budgets, pairs, strict=True)]
    good = sum(p.status == "used" for p in found)
    if good < FEWEST_BUDGETS:
        bad = [p for p in found if p.status != "used"]
        why = "; ".join(f"{p.budget:.3g}: {p.said}" for p in bad[:3]) + ("; ..." if len(bad) > 3 else "")
        what = f"{good} of {len(found)} have a minimum that a {shape} can tell, {FEWEST_BUDGETS} are needed"
        remedy = "run more sizes on both sides of the minimum, at 3 budgets or more"
        raise TableError("budgets", what + (f" ({why})" if why else ""), remedy)
    return found


def _profile(table: BudgetRuns, rows: NDArray[np.int64], shape: Shape, sd: float, dof: float) -> Profile:
    x, y, weight = table.log_n[rows], table.loss[rows], table.weight[rows]
    sizes = len(np.unique(same_sizes(x)))
    mine = tuple(int(r) for r in rows)
    blank = Profile(float(np.exp(table.log_budget(rows))), sizes, mine, "too-few-sizes", "")
    need = FEWEST_SIZES[shape]
    if sizes < need:
        return replace(blank, said=f"{sizes} size(s), and a {shape} needs {need}")
    found = minima(x, y[None], weight, shape)
    at, least, bend = float(found.x[0]), float(found.loss[0]), float(found.curvature[0])
    doubt = float("nan")
    if dof > 0:
        if shape == "akima":  # convex, here, is that both ends lie above the minimum by more than noise
            ends = [int(np.argmin(x)), int(np.argmax(x))]
            t = min((y[k] - least) / (sd * np.sqrt(2 / weight[k])) for k in ends)
        else:
            t = bend / (sd * np.sqrt(curvature_variance(x, weight, shape, at)))
        doubt = float(stats.norm.sf(t) if np.isinf(dof) else stats.t.sf(t, dof))
    blank = replace(blank, curvature=bend, doubt=doubt)
    turns_up = bend > 0 or (shape == "akima" and not found.inside[0])
    if not found.inside[0] and turns_up:
        side = "smallest" if at - x.min() < x.max() - at else "largest"
        return replace(blank, status="edge-of-sweep", said=f"the loss is least at the {side} size run, or beyond it")
    if not turns_up or doubt > DOUBT:
        said = f"may not be convex (p = {doubt:.2g})" if turns_up else "bends the wrong way"
        return replace(blank, status="not-convex", said=f"the profile {said}")
    d = float(np.exp(table.log_tokens(rows, np.array([at]))[0]))
    return replace(blank, status="used", n=float(np.exp(at)), d=d, loss=least)


def _moved(table: BudgetRuns, profiles: list[Profile]) -> BudgetRuns:
    used = [p for p in profiles if p.status == "used"]
    x, z = np.log([p.budget for p in used]), np.array([p.loss for p in used])
    slope = float(np.polynomial.polynomial.polyfit(x - x.mean(), z, 1)[1])
    loss = table.loss.copy()
    for rows in table.budgets:
        loss[rows] -= slope * (table.log_c[rows] - table.log_budget(rows))
    return replace(table, loss=loss)


def _draws(
    table: BudgetRuns, places: list[int], shape: Shape, noise: RunNoise, bootstrap: int, rng: np.random.Generator
) -> tuple[dict[str, Array], Array]:
    """Draws of ``ln N*``, ``ln D*`` and ``L*`` at the budgets in `places`, and each draw's share of the noise SD.

    All are (B, used). Every draw gives whole runs new noise (rows of one run the same) of a variance that is itself
    uncertain: one uncertainty for all budgets where they share the variance, else one each.
    """
    shock = rng.standard_normal((bootstrap, int(table.run.max()) + 1))
    inflation = np.ones((bootstrap, len(places)))
    dof = np.array([noise.dof[k] for k in places])
    if dof.min() > 0 and dof.max() < np.inf:
        columns = 1 if noise.shared else len(places)
        inflation = np.sqrt(dof / rng.chisquare(dof[:columns], (bootstrap, columns)))
    draws: dict[str, list[Array]] = {"N": [], "D": [], "L": []}
    for column, k in enumerate(places):
        rows = table.budgets[k]
        sd = noise.sd[k] / np.sqrt(table.weight[rows])
        error = shock[:, table.run[rows]] * sd * inflation[:, column, None]
        found = minima(table.log_n[rows], table.loss[rows] + error, table.weight[rows], shape)
        draws["N"].append(found.x)
        draws["D"].append(table.log_tokens(rows, found.x))
        draws["L"].append(found.loss)
    return {k: np.stack(v, axis=1) for k, v in draws.items()}, inflation


def _cautions(table: BudgetRuns, found: list[Profile], shape: Shape, noise: RunNoise) -> tuple[Caution, ...]:
    out = []
    used = [p for p in found if p.status == "used"]
    left = [p for p in found if p.status != "used"]
    for status, count in Counter(p.status for p in left).items():
        which = ", ".join(f"{p.budget:.3g}" for p in left if p.status == status)
        out.append(Caution(status, f"{count} of {len(found)} budgets left out ({which}): {WHY[status]}."))
    if table.copies:
        said = f"{table.copies} row(s) repeat another's compute, size, tokens and loss to the last digit: left out."
        out.append(Caution("duplicate-rows", said))
    if len(used) < 5:
        out.append(Caution("few-budgets", f"{len(used)} budgets carry the exponents; with so few, intervals are wide."))
    if noise.source == "unknown":
        said = "No replicates and no spare sizes: noise is unknown, so the intervals rest on the scatter of the optima."
        out.append(Caution("noise-unknown", said))
    if shape == "parabola":
        out += _skew(table, used)
    return tuple(out)


def _skew(table: BudgetRuns, used: list[Profile]) -> list[Caution]:
    """Do cubics follow the profiles better than parabolas (F test over all budgets), and how far do optima move?"""
    squares, dof = np.zeros(2), np.zeros(2)
    shift: list[float] = []
    shapes: tuple[Shape, Shape] = ("parabola", "cubic")
    for p in used:
        rows = np.array(p.rows)
        x, y, weight = table.log_n[rows], table.loss[rows], table.weight[rows]
        if p.sizes <= FEWEST_SIZES["cubic"]:
            continue
        for k, shape in enumerate(shapes):
            rest, free = residuals(x, y, weight, shape)
            squares[k], dof[k] = squares[k] + float(weight @ rest**2), dof[k] + free
        cubic = minima(x, y[None], weight, "cubic")
        if cubic.inside[0]:
            shift.append(float(cubic.x[0] - np.log(p.n)))
    if not shift or squares[1] <= 0:
        return []
    f = (squares[0] - squares[1]) / (dof[0] - dof[1]) / (squares[1] / dof[1])
    if stats.f.sf(f, dof[0] - dof[1], dof[1]) > MISFIT:
        return []
    ratio = np.exp(np.array([sum(shift) / len(shift), min(shift), max(shift)]))
    said = (
        f"Profiles are skew (F = {f:.3g}): cubics put N* at {ratio[0]:.3g} times the parabolas' ({ratio[1]:.3g} to "
        f"{ratio[2]:.3g} by budget); a parabola's bias grows with the width of the sweep: "
        "compare with a cubic, or keep runs near the minimum (width)."
    )
    return [Caution("skew-profiles", said)]

"""What can be bought: every arm at every budget, with its price, its next seed and its choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.estimate import amount
from isoloss.planning.standing import Standing

Array = NDArray[np.float64]
Price = Callable[[str, float], float]
Choices = Mapping[tuple[str, float], Mapping[str, Any]]

SAME_BUDGET = 0.02  # budgets closer than this in ln are one rung


@dataclass(frozen=True)
class NextRun:
    """One run to buy.

    `seed` is the next unused one, in step with the other arm so that pairs share their noise; None where runs have no
    numbered seeds (use a fresh one). `choices` are those of the nearest rung whose choices are known, `choices_from`
    its budget. `shrinkage` is the share by which this run is expected to shorten the interval of what it is `about`;
    `settles` the probability that the whole verdict asked for is settled after this run and those listed before it;
    `value` the variance it removes, as a share, per unit of cost. The three are None where the noise is unknown.
    """

    arm: str
    budget: float
    new_rung: bool
    seed: int | None
    choices: Mapping[str, Any]
    choices_from: float | None
    cost: float
    about: Literal["level", "trend", "noise", "overlap"]
    shrinkage: float | None
    settles: float | None
    value: float | None
    sentence: str


@dataclass(frozen=True)
class Cell:
    """An arm at a budget; `position` is its rung in the arm's ladder, None where it has no run there yet."""

    arm: int
    budget: float
    cost: float
    position: int | None

    @property
    def log_c(self) -> float:
        """``ln`` of the budget."""
        return math.log(self.budget)


@dataclass(eq=False)
class Shop:
    """Every cell, with its price, its next seed and its choices. Seeds are handed out once."""

    now: Standing
    arms: tuple[ArmRuns, ArmRuns]
    extra: Sequence[float]
    price: Price
    choices: Choices
    cells: list[Cell] = field(init=False)
    used: dict[tuple[int, int], list[set[str]]] = field(init=False)
    numbers: tuple[set[int] | None, set[int] | None] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = (_numbers(self.arms[0]), _numbers(self.arms[1]))
        wanted = distinct(np.concatenate([a.log_c for a in self.now.ladders]))
        known = [amount(float(x)) for x in wanted]
        new = list(self.extra) or suggested(wanted)
        self.used = {}
        self.cells = []
        for k in (0, 1):
            for budget in sorted({*known, *(b for b in new if not near(b, known))}):
                cell = self.cell(k, budget)
                if cell is not None:
                    self.cells.append(cell)

    def cell(self, arm: int, budget: float) -> Cell | None:
        """The cell of an arm at a budget; None where half or more of its runs diverged, or it can't be had."""
        ladder, runs = self.now.ladders[arm], self.arms[arm]
        for rung in ladder.lost:
            if near(budget, [float(np.exp(np.mean(np.log(runs.resource[runs.rung == rung]))))]):
                return None
        gap = np.abs(ladder.log_c - math.log(budget))
        here = int(np.argmin(gap))
        position = here if gap[here] < SAME_BUDGET else None
        if position is not None:
            budget = amount(float(ladder.log_c[position]))
        cost = float(self.price(ladder.name, budget))
        if math.isinf(cost):
            return None
        if not cost > 0:
            raise TableError("price", f"of {ladder.name} at {budget:g} is {cost:g}", "a run must cost something")
        return Cell(arm, budget, cost, position)

    def seeds(self, cell: Cell) -> list[set[str]]:
        """Seeds used at the cell's budget by its own arm and by the other, kept up to date while runs are listed."""
        key = (cell.arm, round(cell.log_c / SAME_BUDGET))
        if key not in self.used:
            found = []
            for k in (cell.arm, 1 - cell.arm):
                runs = self.arms[k]
                there = np.abs(np.log(runs.resource) - cell.log_c) < SAME_BUDGET
                ladder = self.now.ladders[k]
                at = np.flatnonzero(np.abs(ladder.log_c - cell.log_c) < SAME_BUDGET)
                if at.size:  # runs of one rung may differ in what they spent
                    there |= runs.rung == ladder.rung[at[0]]
                found.append({str(p) for p in runs.pair[there]})
            self.used[key] = found
            self.used[1 - cell.arm, key[1]] = found[::-1]
        return self.used[key]

    def next_seed(self, cell: Cell) -> int | None:
        """The next seed of a cell: one that the other arm has already, else the least that neither arm has used."""
        mine, theirs = self.numbers[cell.arm], self.numbers[1 - cell.arm]
        if mine is None:
            return None
        own, other = self.seeds(cell)
        if theirs is None or not mine & theirs:  # arms with seeds of their own (an A/A arm) share none
            first, taken = min(mine, default=0), own
        else:
            waiting = other - own
            if waiting:
                return min(int(s) for s in waiting)
            first, taken = min(mine | theirs), own | other
        while str(first) in taken:
            first += 1
        return first

    def take(self, cell: Cell) -> int | None:
        """Hand out the next seed of a cell."""
        seed = self.next_seed(cell)
        if seed is not None:
            self.seeds(cell)[0].add(str(seed))
        return seed

    def waiting(self, cell: Cell) -> bool:
        """Whether the other arm has a seed at this budget that this arm lacks."""
        own, other = self.seeds(cell)
        seed = self.next_seed(cell)
        return seed is not None and str(seed) in other - own

    def order(self, cell: Cell, **said: Any) -> NextRun:
        """A cell as a run to buy, with its seed handed out."""
        name = self.now.ladders[cell.arm].name
        known = [(abs(math.log(c / cell.budget)), c) for (arm, c) in self.choices if arm == name]
        origin = min(known)[1] if known else None
        values = dict(self.choices[name, origin]) if origin is not None else {}
        return NextRun(
            name, cell.budget, cell.position is None, self.take(cell), values, origin, cell.cost, **said,
        )  # fmt: skip


def _numbers(arm: ArmRuns) -> set[int] | None:
    """All seeds of an arm, None unless every one is a whole number."""
    names = {str(p) for p in arm.pair}
    return {int(s) for s in names} if all(s.isdecimal() for s in names) else None


def distinct(log_c: Array) -> Array:
    """``ln`` budgets sorted, those of one rung once."""
    log_c = np.sort(log_c)
    return log_c[np.r_[True, np.diff(log_c) > SAME_BUDGET]]


def near(budget: float, others: Sequence[float]) -> bool:
    """Whether a budget is that of one of `others`."""
    return any(abs(math.log(budget / b)) < SAME_BUDGET for b in others)


def suggested(log_c: Array) -> list[float]:
    """Midpoints of a ladder and two steps beyond its top, to three digits."""
    step = log_c[-1] - log_c[-2]
    points = np.r_[0.5 * (log_c[1:] + log_c[:-1]), log_c[-1] + step, log_c[-1] + 2 * step]
    return [float(f"{np.exp(x):.3g}") for x in points]

"""What to run next: the runs that bring an unsettled verdict nearest to settled for what they cost.

Every run that could be made (an arm, a budget, a seed) is weighed by how much it would lower the variance of what is
unsettled, in shares of that variance, divided by its price; the best is taken, the belief updated, and so on until the
verdict is likely to settle or the spend is used. Runs of both arms with one seed are weighed together too, where pairs
of seeds are known to share noise.

The level rests on the rung means, with no law between them, so only runs near the judged budget teach anything about
it. The trend rests on the laws, so a run anywhere on the ladder or beyond teaches something.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains import wording
from isoloss.gains.arms import ArmRuns
from isoloss.gains.estimate import amount
from isoloss.gains.ladder import Ladder
from isoloss.gains.result import Interval, Level, Trend
from isoloss.planning.information import Belief, settle_probability
from isoloss.planning.shop import Cell, Choices, NextRun, Price, Shop, near
from isoloss.planning.standing import Question, Standing, predictions, stand, t_quantile

Array = NDArray[np.float64]
Target = Literal["level", "trend", "both"]

TARGETS = ("level", "trend", "both")
LIKELY = 0.8  # without a spend, runs are listed until the verdict settles with this probability


@dataclass(frozen=True)
class NextRuns:
    """The runs to buy next, in order, what they cost together, and one sentence that says it all.

    Empty `runs` mean that there is nothing to buy (`settled`) or nothing that the spend allows; `sentence` says which.
    """

    baseline: str
    candidate: str
    target: Target
    level: Level
    trend: Trend
    settled: bool
    judged_at: float
    runs: tuple[NextRun, ...]
    cost: float
    settles: float | None
    sentence: str


def next_runs(
    baseline: ArmRuns,
    candidate: ArmRuns,
    *,
    target: Target = "both",
    budgets: Sequence[float] = (),
    price: Price | None = None,
    spend: float | None = None,
    most: int = 64,
    choices: Choices | None = None,
    floor: str | float = "shared",
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
    rope: Interval = (0.95, 1.05),
    slope_rope: float = 0.02,
    standing: Standing | None = None,
) -> NextRuns:
    """The next runs of two arms that would settle their verdict most cheaply, best first.

    A run's worth is ``sum over unsettled g of [Cov(g, m)^2 / (Var(m) + s^2)] / Var(g) / cost``: `m` is what the run
    would show, `s` the seed noise of its arm, ``g`` the log gain at the judged budget (`target` ``level``), its slope
    (``trend``) or each of the two (``both``). `budgets` may be chosen from besides the rungs that exist; by default
    the midpoints of the ladder and two steps beyond its top. `price` maps (arm, budget) to cost, by default the budget
    itself. With a `spend` the runs fit into it; without, they go on until the verdict settles with probability 0.8,
    at `most` so many. `choices` maps (arm, budget) to the choices that were used there. The level is judged where
    the comparison judges it (moving that up by new rungs was tried and saved nothing: docs/next-runs.md). `standing`
    saves the work where the caller has it already.

    Where no run was repeated, repeats are proposed first; where the ladders don't overlap in quality, the run that
    makes them. Raises TableError for runs that support no comparison, and for a spend, price or budget that is not
    positive.
    """
    if target not in TARGETS:
        raise TableError("target", f"'{target}' is not known", f"use {', '.join(TARGETS)}")
    if spend is not None and not (math.isfinite(spend) and spend > 0):
        raise TableError("spend", f"{spend:g} is not a positive amount", "give what may be spent, e.g. 1e18")
    if any(not (math.isfinite(b) and b > 0) for b in budgets):
        raise TableError("budgets", "a budget must be a positive number", "give positive budgets")
    if most < 1:
        raise TableError("most", f"{most} is less than one run", "ask for at least one")
    now = standing or stand(
        baseline, candidate, floor=floor, level=level, draws=draws, seed=seed, rope=rope, slope_rope=slope_rope
    )
    shop = Shop(now, (baseline, candidate), budgets, price or (lambda _, c: c), choices or {})
    questions = [q for q in (now.level, now.trend) if target in (q.about, "both")]
    open_ = [q for q in questions if not q.settled]
    means: float | None = None
    if not open_:
        runs: list[NextRun] = []
        sentence = f"Nothing more to run: {_settled_words(questions)}."
        means = 1.0
    elif now.noise.source == "unknown":
        runs = _within(_repeats(shop), spend, most)
        sentence = "No rung was repeated, so nothing is known of the noise: repeat the two cheapest rungs first."
    elif any(q.about == "level" and q.belief is None for q in open_):
        runs = _within(_bridge(shop), spend, most)
        sentence = "The ladders do not overlap enough in quality to judge the level: make them overlap first."
    elif all(q.belief is None for q in open_):
        runs, sentence = [], "The laws cannot be told apart from these runs, so no run can be weighed: add a rung."
    else:
        plan = _Planner(shop, open_, level)
        runs = plan.buy(spend, most)
        means = runs[-1].settles if runs else None
        sentence = _summary(runs, open_, means)
    if open_ and not runs:
        cheapest = min((c.cost for c in shop.cells), default=math.inf)
        if spend is not None:
            sentence += f" A spend of {spend:g} buys none of them: the cheapest run costs {cheapest:.2g}."
    return NextRuns(
        now.ladders[0].name, now.ladders[1].name, target, cast(Level, now.level.answer),
        cast(Trend, now.trend.answer), not open_,
        amount(now.judged_at), tuple(runs), float(sum(r.cost for r in runs)), means, sentence,
    )  # fmt: skip


# -- weighing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Open:
    """An unsettled question while runs are listed: its belief now, and what turns a variance into a half width."""

    question: Question
    belief: Belief
    first_variance: float
    half_width: float

    def half_after(self, variance: float, t_ratio: float) -> float:
        return self.half_width * math.sqrt(variance / self.first_variance) * t_ratio

    def settles(self, variance: float, t_ratio: float, z: float) -> float:
        """The chance of an answer once the variance is down to `variance`."""
        half = self.half_after(variance, t_ratio)
        sd = self.half_width / z
        moved = sd * math.sqrt(max(1 - variance / self.first_variance, 0.0))
        value = self.question.value if math.isfinite(self.question.value) else 0.0
        return float(settle_probability(value, self.question.edges, half, moved))


@dataclass(frozen=True, eq=False)
class _Bid:
    """One or two cells to buy together, with what each run would observe for every open question."""

    cells: tuple[Cell, ...]
    rows: tuple[tuple[Array | None, ...], ...]
    noises: tuple[float, ...]

    @property
    def cost(self) -> float:
        return sum(c.cost for c in self.cells)


class _Planner:
    """Greedy buying by variance removed per cost, over all open questions."""

    def __init__(self, shop: Shop, questions: Sequence[Question], level: float) -> None:
        self.shop, self.now, self.level = shop, shop.now, level
        self.z = t_quantile(level, self.now.dof)
        self.open = [o for q in questions if (o := _opened(q, self.z)) is not None]
        self.bought = 0
        cells = shop.cells
        self.sd = np.array([float(self.now.run_sd(c.arm, np.array([c.log_c]))[0]) for c in cells])
        self.rows = [self._rows(o, cells) for o in self.open]
        self.correlation = self.now.noise.correlation if self.now.noise.pair_dof > 2 else 0.0
        self.twins = {
            (i, j)
            for i, a in enumerate(cells)
            for j, b in enumerate(cells)
            if a.arm == 0 and b.arm == 1 and near(a.budget, [b.budget])
        }
        self.twin = dict(self.twins) | {j: i for i, j in self.twins}

    def buy(self, spend: float | None, most: int) -> list[NextRun]:
        """Runs in order of purchase."""
        found: list[NextRun] = []
        left = math.inf if spend is None else spend
        while len(found) < most:
            best = self._best(left, most - len(found))
            if best is None:
                break
            bid, value = best
            for n, cell in enumerate(bid.cells):
                found.append(self._purchase(bid, n, cell, value))
            left -= bid.cost
            settles = found[-1].settles
            if spend is None and settles is not None and settles >= LIKELY:
                break
        return found

    def t_ratio(self) -> float:
        """What more degrees of freedom do to the t quantile."""
        return t_quantile(self.level, self.now.dof + 0.5 * self.bought) / self.z

    def settles(self) -> float:
        """The chance that every open question has an answer, taken as independent."""
        return float(np.prod([o.settles(o.belief.variance, self.t_ratio(), self.z) for o in self.open]))

    def _rows(self, opened: _Open, cells: Sequence[Cell]) -> list[Array | None]:
        """What one run in each cell observes of a question's latent numbers; None where it can't teach anything."""
        if opened.question.about == "trend":
            by_arm = [predictions(self.now.law, k, np.array([c.log_c for c in cells])) for k in (0, 1)]
            return [by_arm[c.arm][i] for i, c in enumerate(cells)]
        n = len(self.now.ladders[0].log_q)
        size = n + len(self.now.ladders[1].log_q)
        return [None if c.position is None else np.eye(size)[c.position + (n if c.arm else 0)] for c in cells]

    def _bids(self) -> list[tuple[tuple[int, ...], tuple[tuple[Array | None, ...], ...], tuple[float, ...]]]:
        """Single runs (completing a pair where a seed waits for one) and, where pairs share noise, pairs."""
        out: list[tuple[tuple[int, ...], tuple[tuple[Array | None, ...], ...], tuple[float, ...]]] = []
        for i, cell in enumerate(self.shop.cells):
            plain = tuple(r[i] for r in self.rows)
            if all(r is None for r in plain):
                continue
            s2 = float(self.sd[i] ** 2)
            partner = self.twin.get(i)
            rho = self.correlation if partner is not None else 0.0
            if partner is None or rho <= 0:
                out.append(((i,), (plain,), (s2,)))
                continue
            # given the partner's run, this one's noise is known in part: by rho s/s' of how far that run lay from
            # the truth of its own cell
            pull = rho * self.sd[i] / self.sd[partner]
            tied = tuple(
                None if a is None or b is None else a - pull * b
                for a, b in zip(plain, (r[partner] for r in self.rows), strict=True)
            )
            rest = s2 * (1 - rho**2)
            if self.shop.waiting(cell):
                out.append(((i,), (tied,), (rest,)))
            else:
                out.append(((i,), (plain,), (s2,)))
                if i < partner and not self.shop.waiting(self.shop.cells[partner]):
                    other = tuple(r[partner] for r in self.rows)
                    first = float(self.sd[partner] ** 2)
                    out.append(((partner, i), (other, tied), (first, rest)))
        return out

    def _best(self, left: float, room: int) -> tuple[_Bid, float] | None:
        best: tuple[_Bid, float] | None = None
        for which, rows, noises in self._bids():
            cells = tuple(self.shop.cells[i] for i in which)
            bid = _Bid(cells, rows, noises)
            if bid.cost > left or len(cells) > room:
                continue
            gained = sum(self._reduction(o, k, bid) for k, o in enumerate(self.open))
            value = gained / bid.cost
            if value > 0 and (best is None or value > best[1]):
                best = (bid, value)
        return best

    def _reduction(self, opened: _Open, k: int, bid: _Bid) -> float:
        belief, before = opened.belief, opened.belief.variance
        if before <= 0:
            return 0.0
        row = bid.rows[0][k]
        if row is None:
            return 0.0
        if len(bid.cells) == 1:
            return float(belief.reduction(row[None], np.array(bid.noises))[0]) / before
        second = bid.rows[1][k]
        belief = belief.after(row, bid.noises[0])
        return 1 - (belief if second is None else belief.after(second, bid.noises[1])).variance / before

    def _purchase(self, bid: _Bid, n: int, cell: Cell, value: float) -> NextRun:
        """Book one run of a bid: update every belief and say what it did."""
        self.bought += 1
        shrunk = []
        for k, o in enumerate(self.open):
            row, before = bid.rows[n][k], o.belief.variance
            after = o.belief if row is None else o.belief.after(row, bid.noises[n])
            shrunk.append(1 - math.sqrt(after.variance / before) if before > 0 else 0.0)
            self.open[k] = _Open(o.question, after, o.first_variance, o.half_width)
        main = int(np.argmax(shrunk))
        about, settles = self.open[main].question.about, self.settles()
        twice = len(bid.cells) > 1
        sentence = _run_words(self.now.ladders[cell.arm], cell, about, shrunk[main], settles, twice)
        return self.shop.order(
            cell, about=about, shrinkage=shrunk[main], settles=settles, value=value, sentence=sentence
        )


def _opened(question: Question, z: float) -> _Open | None:
    if question.belief is None:
        return None
    variance = question.belief.variance
    if variance <= 0:
        return None
    low, high = question.interval
    half = 0.5 * (high - low)
    if not math.isfinite(half) or half <= 0:
        half = z * math.sqrt(variance)
    return _Open(question, question.belief, variance, half)


# -- before anything can be weighed -----------------------------------------------------------------------------------


def _within(runs: Sequence[NextRun], spend: float | None, most: int) -> list[NextRun]:
    left, found = math.inf if spend is None else spend, []
    for run in runs[:most]:
        if run.cost <= left:
            left -= run.cost
            found.append(run)
    return found


def _repeats(shop: Shop) -> list[NextRun]:
    """A second seed of both arms at their two cheapest rungs: enough to know the noise by."""
    said = {"about": "noise", "shrinkage": None, "settles": None, "value": None}
    out = []
    for arm in (0, 1):
        there = [c for c in shop.cells if c.arm == arm and c.position is not None]
        for cell in sorted(there, key=lambda c: c.cost)[:2]:
            name = shop.now.ladders[arm].name
            sentence = f"Repeat {name} at {wording.budget(cell.budget)} with another seed, to learn the seed noise."
            out.append(shop.order(cell, sentence=sentence, **said))
    return out


def _bridge(shop: Shop) -> list[NextRun]:
    """The cheapest run that makes the ladders overlap: the better arm at a smaller budget, or the other at a larger."""
    first, second = shop.now.ladders
    better = 0 if first.log_q.min() + first.log_q.max() < second.log_q.min() + second.log_q.max() else 1
    worse = 1 - better
    law = shop.now.law.fits
    # half a rung into the other ladder, so that noise does not undo the overlap
    aims = [
        (better, float(np.mean(shop.now.ladders[worse].log_q[-2:]))),
        (worse, float(np.mean(shop.now.ladders[better].log_q[:2]))),
    ]
    found = []
    for arm, log_q in aims:
        log_c = float(law.invert(arm, np.full((law.floor.shape[0], 1), np.exp(log_q)))[0, 0])
        if math.isfinite(log_c) and abs(log_c) < 600:
            cell = shop.cell(arm, float(f"{math.exp(log_c):.3g}"))
            if cell is not None:
                found.append(cell)
    if not found:
        return []
    cell = min(found, key=lambda c: c.cost)
    name, other = shop.now.ladders[cell.arm].name, shop.now.ladders[1 - cell.arm].name
    sentence = f"Run {name} at {wording.budget(cell.budget)}, where it should meet the qualities that {other} reached."
    return [shop.order(cell, about="overlap", shrinkage=None, settles=None, value=None, sentence=sentence)]


# -- words ------------------------------------------------------------------------------------------------------------


def _settled_words(questions: Sequence[Question]) -> str:
    words = {"gain": "a gain", "none": "no gain", "loss": "a loss"}
    return " and ".join(f"the {q.about} is settled ({words.get(q.answer, q.answer)})" for q in questions)


def _run_words(ladder: Ladder, cell: Cell, about: str, shrunk: float, settles: float, paired: bool) -> str:
    rung = "a new rung, " if cell.position is None else ""
    pair = " with the same seed in both arms" if paired else ""
    where = f"{rung}{wording.budget(cell.budget)}{pair}"
    return (
        f"Run {ladder.name} at {where}: the interval of the {about} gets {shrunk:.0%} shorter, and the verdict is "
        f"settled by then with probability {settles:.0%}."
    )


def _summary(runs: Sequence[NextRun], questions: Sequence[Question], settles: float | None) -> str:
    what = " and ".join(f"the {q.about}" for q in questions)
    if not runs:
        return f"Not settled: {what}."
    cost = sum(r.cost for r in runs)
    count = "This run" if len(runs) == 1 else f"These {len(runs)} runs"
    chance = f"{settles:.0%}" if settles is not None else "an unknown probability"
    return f"{count}, {wording.budget(cost)} in all, would settle {what} with probability {chance}."

"""FLOPs to a settled verdict: runs bought one after another by their information, against grids.

command:   python benchmarks/adaptive.py               (one process; about fifteen minutes)
quick:     python benchmarks/adaptive.py --quick       (12 laboratories a truth, two minutes; writes nothing)
expected:  the ratio of mean FLOPs, adaptive / fixed grid, with its interval; docs/next-runs.svg and the tables in
           docs/next-runs.md are rewritten

Every laboratory is a phantom with a known gain. All strategies see the same loss for the same arm, budget and seed:

- ``fixed``: a grid with the same number of seeds of both arms at every rung, fixed before anything is known and looked
  at once; the least number with which four laboratories in five settle, the truths being equally likely;
- ``sized``: the same, sized for the one truth at hand, as if it were known beforehand;
- ``grown``: one more seed of both arms at every rung from two on, a look after each, until the question is settled;
- ``climb``: from two seeds a rung, one more rung on top with two seeds of both arms, until it is settled;
- ``lean``: what `isoloss.planning.next_runs` proposes, in lots of at least a tenth of what was spent so far, from a
  pilot with seeds where they are cheap: four of both arms at the lowest rung, three at the next, one above;
- ``full``: the same from two seeds everywhere.

A question is the level or the trend of the verdict, or both at once, by the rules of `isoloss gain`. A laboratory that
does not settle within the cap (32 grid seeds, 12 on the edge) counts with the cap's FLOPs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.gains.arms import ArmRuns
from isoloss.gains.phantoms import ANCHOR, Phantom, SeedNoise, TrueCurve
from isoloss.planning.next_runs import next_runs
from isoloss.planning.standing import Standing, stand

Array = NDArray[np.float64]
About = Literal["level", "trend", "both"]
QUESTIONS: tuple[About, ...] = ("level", "trend", "both")
PATHS = ("grown", "climb", "lean", "full")
PILOT_SEEDS = 2  # of both arms at every rung
LEAN = (4, 3)  # of both arms at the lowest rungs, one above: noise is pooled over rungs, so cheap repeats tell it
SETTLED_SHARE = 0.8  # of laboratories, for which a fixed grid is sized
LOT = 0.1  # an adaptive lot costs at least this share of what was spent so far (one run, if that costs more)
MOST = (16, 64)  # runs in one lot; the second where the first come to less than a lot
EDGE_MOST = 12  # grid seeds to which a laboratory on the edge may go, where no amount settles most of them
DOCS = Path(__file__).resolve().parent.parent / "docs"


@dataclass(frozen=True)
class Design:
    """A ladder, the noise, and the most seeds that the grid may grow to (which sets the cap of all)."""

    name: str
    rungs: int
    step: float
    noise: SeedNoise
    most_seeds: int

    @property
    def budgets(self) -> tuple[float, ...]:
        """The rungs."""
        return tuple(ANCHOR * self.step**k for k in range(self.rungs))

    @property
    def seed_cost(self) -> float:
        """FLOPs of one seed of both arms at every rung: the unit of the tables, a grid seed."""
        return 2 * sum(self.budgets)

    def pilot(self, lean: bool) -> tuple[int, ...]:
        """Seeds of both arms at each rung to start from."""
        return LEAN + (1,) * (self.rungs - len(LEAN)) if lean else (PILOT_SEEDS,) * self.rungs

    def pilot_cost(self, lean: bool) -> float:
        """What that pilot costs, in grid seeds."""
        return 2 * float(np.dot(self.pilot(lean), self.budgets)) / self.seed_cost


DESIGNS = (
    Design("4 rungs, fourfold steps, noise 0.0025 / 0.0065 nats", 4, 4.0, SeedNoise((0.0025, 0.0065)), 32),
    Design("6 rungs, twofold steps, noise 0.004 nats, pairs 0.5", 6, 2.0, SeedNoise(0.004, correlation=0.5), 32),
)


def truths(design: Design) -> tuple[Phantom, ...]:
    """Gains small enough that a pilot leaves most of them open; `edge` lies on both edges of equivalence at the top."""
    span = design.budgets[-1] / design.budgets[0]

    def of(name: str, slope: float, at_top: float) -> Phantom:
        alpha = 0.10 / (1 - slope)
        first = at_top * span**-slope
        above = 60.0 * ANCHOR**-0.10
        return Phantom(name, TrueCurve(1.8, above, 0.10), TrueCurve(1.8, above * first**-alpha, alpha), design.noise)

    return (
        of("constant", 0.0, 1.12),
        of("growing", 0.06, 1.15),
        of("vanishing", -0.06, 1.15),
        of("crossing", 0.12, span**0.06),
        of("no gain", 0.0, 1.0),
        of("edge", 0.02, 1.05),
    )


# -- one laboratory ---------------------------------------------------------------------------------------------------


@dataclass
class Laboratory:
    """The runs that one strategy has bought in one laboratory."""

    truth: Phantom
    design: Design
    number: int
    draws: int
    seeds: dict[tuple[str, float], list[int]] = field(default_factory=dict)
    looks: int = 0

    def buy(self, arm: str, budget: float, seed: int) -> None:
        self.seeds.setdefault((arm, budget), []).append(seed)

    @property
    def spent(self) -> float:
        return sum(budget * len(seeds) for (_, budget), seeds in self.seeds.items())

    @property
    def most_seeds(self) -> int:
        return EDGE_MOST if self.truth.name == "edge" else self.design.most_seeds

    @property
    def cap(self) -> float:
        return self.most_seeds * self.design.seed_cost * 1.0001

    def arms(self) -> tuple[ArmRuns, ArmRuns]:
        budgets = np.array(sorted({budget for _, budget in self.seeds}))
        found = []
        for name in self.truth.arms:
            rows = [(b, s) for (arm, b), seeds in sorted(self.seeds.items()) if arm == name for s in seeds]
            resource = np.array([b for b, _ in rows])
            loss = np.array([_loss(self.truth, name, b, s, self.number) for b, s in rows])
            pair = np.array([str(s) for _, s in rows])
            cluster = np.array([f"{name}-{b:g}-{s}" for b, s in rows])
            found.append(ArmRuns(name, resource, loss, np.searchsorted(budgets, resource), pair, cluster))
        return found[0], found[1]

    def look(self) -> Standing:
        self.looks += 1
        return stand(*self.arms(), draws=self.draws, seed=self.number)


_LOSSES: dict[tuple[int, str, float, int, int], float] = {}


def _loss(truth: Phantom, arm: str, budget: float, seed: int, number: int) -> float:
    key = (id(truth), arm, budget, seed, number)
    if key not in _LOSSES:
        _LOSSES[key] = truth.run(arm, budget, seed, number)
    return _LOSSES[key]


@dataclass(frozen=True)
class Outcome:
    """How one strategy fared on one question in one laboratory; FLOPs in grid seeds."""

    flops: float
    settled: bool
    wrong: bool
    looks: int


def start(truth: Phantom, design: Design, number: int, draws: int, lean: bool = False) -> Laboratory:
    """A laboratory with its pilot."""
    lab = Laboratory(truth, design, number, draws)
    for arm in truth.arms:
        for budget, seeds in zip(design.budgets, design.pilot(lean), strict=True):
            for seed in range(seeds):
                lab.buy(arm, budget, seed)
    return lab


def judge(lab: Laboratory, now: Standing, about: About) -> Outcome:
    """The outcome if the strategy stops here. Both at once are settled when each is, and wrong when either is."""
    top = float(np.exp(now.judged_at))
    level, trend = lab.truth.settled(top)
    if lab.truth.name == "edge":  # on the edge to rounding: equivalence is true there
        level, trend = ("none" if top <= lab.design.budgets[-1] * 1.001 else level), "constant"
    asked = [(q, right) for q, right in ((now.level, level), (now.trend, trend)) if about in (q.about, "both")]
    settled = all(q.settled for q, _ in asked)
    wrong = settled and any(q.answer != right for q, right in asked)
    return Outcome(lab.spent / lab.design.seed_cost, settled, wrong, lab.looks)


def unsettled(lab: Laboratory) -> Outcome:
    """The outcome of a laboratory that reached the cap."""
    return Outcome(float(lab.most_seeds), False, False, lab.looks)


# -- strategies -------------------------------------------------------------------------------------------------------


@dataclass
class Grid:
    """The grid of one laboratory, with what a single look at ``n`` seeds says, for every ``n`` asked for so far."""

    lab: Laboratory
    seen: list[dict[About, Outcome]] = field(default_factory=list)

    def at(self, seeds: int) -> dict[About, Outcome]:
        """What a grid of that many seeds says of each question."""
        while PILOT_SEEDS + len(self.seen) <= seeds:
            if self.seen:
                for budget in self.lab.design.budgets:
                    for arm in self.lab.truth.arms:
                        self.lab.buy(arm, budget, len(self.lab.seeds[arm, budget]))
            now = self.lab.look()
            self.seen.append({q: judge(self.lab, now, q) for q in QUESTIONS})
        return self.seen[seeds - PILOT_SEEDS]

    def grown(self, about: About) -> Outcome:
        """The grid that grows seed by seed until the question is settled."""
        for n in range(PILOT_SEEDS, self.lab.most_seeds + 1):
            if self.at(n)[about].settled:
                return self.at(n)[about]
        return unsettled(self.lab)


def climb(truth: Phantom, design: Design, number: int, draws: int) -> dict[About, Outcome]:
    """Rungs added on top; all questions are followed along one path, each until it first is settled."""
    lab, top = start(truth, design, number, draws), design.budgets[-1]
    found: dict[About, Outcome] = {}
    while True:
        now = lab.look()
        found = {q: o for q in QUESTIONS if (o := judge(lab, now, q)).settled} | found
        top *= design.step
        if len(found) == len(QUESTIONS) or lab.spent + 2 * PILOT_SEEDS * top > lab.cap:
            return {q: unsettled(lab) for q in QUESTIONS} | found
        for arm in truth.arms:
            for seed in range(PILOT_SEEDS):
                lab.buy(arm, top, seed)


def adapt(truth: Phantom, design: Design, number: int, draws: int, about: About, lean: bool) -> Outcome:
    """What `next_runs` proposes, lot by lot."""
    lab = start(truth, design, number, draws, lean)
    while True:
        now = lab.look()
        plan = next_runs(*lab.arms(), target=about, standing=now, most=MOST[0])
        if plan.settled:
            return judge(lab, now, about)
        lot, spent = LOT * lab.spent, 0.0
        if plan.cost < lot and len(plan.runs) == MOST[0]:
            plan = next_runs(*lab.arms(), target=about, standing=now, most=MOST[1])
        for run in plan.runs:
            if lab.spent + run.cost > lab.cap or run.seed is None:
                return unsettled(lab)
            lab.buy(run.arm, run.budget, run.seed)
            spent += run.cost
            if spent >= lot:
                break
        if not plan.runs:
            return unsettled(lab)


@dataclass
class Study:
    """The laboratories of one design and truth: their grids, and the outcomes of strategies that look as they go."""

    design: Design
    truth: Phantom
    grids: list[Grid]
    outcomes: dict[tuple[str, About], list[Outcome]]

    @property
    def edge(self) -> bool:
        return self.truth.name == "edge"

    def settled(self, about: About, seeds: int) -> NDArray[np.bool_]:
        """Whether each laboratory settles with a grid of that many seeds, looked at once."""
        return np.array([g.at(seeds)[about].settled for g in self.grids])

    def flops(self, path: str, about: About) -> Array:
        return np.array([o.flops for o in self.outcomes[path, about]])


def simulate(design: Design, truth: Phantom, laboratories: int, draws: int) -> Study:
    """All strategies on every question; on the edge, where most run to the cap, not `full` and not both at once."""
    study = Study(design, truth, [], {})
    for number in range(laboratories):
        grid = Grid(start(truth, design, number, draws))
        study.grids.append(grid)
        climbed = climb(truth, design, number, draws)
        for about in QUESTIONS:
            found = {"grown": grid.grown(about), "climb": climbed[about]}
            if not (study.edge and about == "both"):
                found["lean"] = adapt(truth, design, number, draws, about, lean=True)
            if not study.edge:
                found["full"] = adapt(truth, design, number, draws, about, lean=False)
            for path, outcome in found.items():
                study.outcomes.setdefault((path, about), []).append(outcome)
        if sys.stderr.isatty() or number + 1 == laboratories:
            print(f"\r{design.name}: {truth.name} {number + 1}/{laboratories} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return study


# -- summaries --------------------------------------------------------------------------------------------------------


def size(studies: list[Study], about: About) -> int:
    """The least number of seeds of a grid with which four laboratories in five settle, truths equally likely."""
    most = studies[0].design.most_seeds
    for n in range(PILOT_SEEDS, most + 1):
        if np.mean([s.settled(about, n).mean() for s in studies]) >= SETTLED_SHARE:
            return n
    return most


@dataclass(frozen=True)
class Against:
    """The adaptive strategies on one question over all truths of some designs but the edge, truths equally often.

    Ratios are of mean FLOPs, with the pilots counted; `capped` is that of a laboratory that stops, settled or not,
    once the fixed grid's FLOPs are spent, and `capped_settled` the share of these that settle.
    """

    about: About
    fixed: tuple[int, ...]
    fixed_settled: float
    lean: float
    full: float
    interval: dict[str, tuple[float, float]]
    ratio: dict[tuple[str, str], float]
    capped: float
    capped_settled: float
    beyond: float


def against(studies: list[Study], about: About) -> Against:
    """Ratios of the strategies. Intervals are bootstraps over laboratories in which the fixed grid is sized anew."""
    designs = list(dict.fromkeys(s.design.name for s in studies))
    groups = [[s for s in studies if s.design.name == name] for name in designs]
    fixed = tuple(size(group, about) for group in groups)
    mean = {p: float(np.mean([s.flops(p, about).mean() for s in studies])) for p in PATHS}
    at = {s.design.name: n for g, n in zip(groups, fixed, strict=True) for s in g}
    mean["fixed"] = float(np.mean([at[s.design.name] for s in studies]))
    mean["sized"] = float(np.mean([size([s], about) for s in studies]))
    capped = [np.minimum(s.flops("lean", about), at[s.design.name]) for s in studies]
    within = [(s.flops("lean", about) <= at[s.design.name]).mean() for s in studies]

    rng = np.random.default_rng(0)
    reach = min(max(fixed) + 3, studies[0].design.most_seeds)
    table = [np.array([s.settled(about, n) for n in range(PILOT_SEEDS, reach + 1)], float) for s in studies]
    drawn: dict[str, list[float]] = {"lean": [], "full": []}
    for _ in range(1000):
        picks = [rng.integers(0, len(s.grids), len(s.grids)) for s in studies]
        sizes = []
        for s in studies:
            mine = [t[:, i].mean(axis=1) for t, i, o in zip(table, picks, studies, strict=True) if o.design is s.design]
            enough = np.flatnonzero(np.mean(mine, axis=0) >= SETTLED_SHARE)
            sizes.append(PILOT_SEEDS + int(enough[0]) if enough.size else reach)
        for path, values in drawn.items():
            values.append(
                float(np.mean([s.flops(path, about)[i].mean() for s, i in zip(studies, picks, strict=True)]))
                / float(np.mean(sizes))
            )
    interval = {p: (float(np.quantile(v, 0.025)), float(np.quantile(v, 0.975))) for p, v in drawn.items()}
    start_cost = float(np.mean([s.design.pilot_cost(False) for s in studies]))
    extra = mean["grown"] - start_cost
    return Against(
        about,
        fixed,
        float(np.mean([s.settled(about, at[s.design.name]).mean() for s in studies])),
        mean["lean"],
        mean["full"],
        interval,
        {(p, g): mean[p] / mean[g] for p in ("lean", "full") for g in ("fixed", "grown", "sized")},
        float(np.mean([c.mean() for c in capped]) / mean["fixed"]),
        float(np.mean(within)),
        (mean["full"] - start_cost) / extra if extra > 0.05 else np.nan,
    )


NAMES = {"level": "the level", "trend": "the trend", "both": "both at once"}
HEAD = (
    "| question | fixed grid: seeds (settled) | lean: mean | lean / fixed | stopped at the fixed grid's FLOPs: ratio "
    "(settled) | lean / grown | lean / sized | full / fixed | full / grown | full / grown beyond the pilot |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def headline(studies: list[Study]) -> str:
    """One table over all designs, then one a design: the ratios of `Against`."""
    inner = [s for s in studies if not s.edge]
    out = []
    for design in (None, *dict.fromkeys(s.design for s in inner)):
        chosen = [s for s in inner if design in (None, s.design)]
        pilots = "" if design is None else f" Pilots: lean {design.pilot_cost(True):.2f}, full 2 grid seeds."
        out += [f"**{'Both designs' if design is None else design.name}.**{pilots}", "", HEAD]
        for about in QUESTIONS:
            a = against(chosen, about)
            (low, high), (low_full, high_full) = a.interval["lean"], a.interval["full"]
            out.append(
                f"| {NAMES[about]} | {' and '.join(map(str, a.fixed))} ({a.fixed_settled:.0%}) | {a.lean:.2f} "
                f"| **{a.ratio['lean', 'fixed']:.2f}** ({low:.2f} to {high:.2f}) "
                f"| {a.capped:.2f} ({a.capped_settled:.0%}) "
                f"| {a.ratio['lean', 'grown']:.2f} | {a.ratio['lean', 'sized']:.2f} "
                f"| {a.ratio['full', 'fixed']:.2f} ({low_full:.2f} to {high_full:.2f}) "
                f"| {a.ratio['full', 'grown']:.2f} | {_number(a.beyond)} |"
            )
        out.append("")
    return "\n".join(out)


@dataclass(frozen=True)
class Row:
    """One truth and question. FLOPs are in grid seeds; None where a strategy was not followed."""

    design: str
    about: About
    truth: str
    labs: int
    fixed: int
    fixed_settled: float
    sized: int | None
    mean: dict[str, float | None]
    median: dict[str, float | None]
    wrong: dict[str, str]
    open: dict[str, str]


def rows_of(studies: list[Study]) -> list[Row]:
    """A row for every design, question and truth."""
    rows = []
    for design in dict.fromkeys(s.design for s in studies):
        mine = [s for s in studies if s.design is design]
        for about in QUESTIONS:
            fixed = size([s for s in mine if not s.edge], about)
            for s in mine:
                done = {p: s.outcomes.get((p, about)) for p in PATHS}
                done_fixed = [g.at(fixed)[about] for g in s.grids]
                every = {"fixed": done_fixed, **done}
                rows.append(
                    Row(
                        design.name,
                        about,
                        s.truth.name,
                        len(s.grids),
                        fixed,
                        float(s.settled(about, fixed).mean()),
                        None if s.edge else size([s], about),
                        {p: None if o is None else float(np.mean([x.flops for x in o])) for p, o in done.items()},
                        {p: None if o is None else float(np.median([x.flops for x in o])) for p, o in done.items()},
                        {p: _count(None if o is None else [x.wrong for x in o]) for p, o in every.items()},
                        {p: _count(None if o is None else [not x.settled for x in o]) for p, o in every.items()},
                    )
                )
    return rows


def _count(said: list[bool] | None) -> str:
    return "-" if said is None else str(sum(said))


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


HEADER = (
    "| truth | fixed (settled) | sized | grown, mean (median) | climb, mean | lean, mean (median) | full, mean "
    "| lean / fixed | lean / sized | wrong: fixed, grown, lean, full | open: grown, climb, lean, full |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def table(rows: list[Row]) -> str:
    """One block a design and question, one line a truth; "wrong" and "open" count laboratories."""
    out = []
    for design, about in dict.fromkeys((r.design, r.about) for r in rows):
        block = [r for r in rows if (r.design, r.about) == (design, about)]
        title = NAMES[about][0].upper() + NAMES[about][1:]
        out += [f"**{title}; {design}; {block[0].labs} laboratories a truth.**", "", HEADER]
        for r in block:
            lean = r.mean["lean"]
            out.append(
                f"| {r.truth} | {r.fixed} ({r.fixed_settled:.0%}) | {'-' if r.sized is None else r.sized} "
                f"| {_number(r.mean['grown'])} ({_number(r.median['grown'])}) | {_number(r.mean['climb'], 1)} "
                f"| {_number(lean)} ({_number(r.median['lean'])}) | {_number(r.mean['full'])} "
                f"| **{_number(None if lean is None else lean / r.fixed)}** "
                f"| {_number(None if lean is None or r.sized is None else lean / r.sized)} "
                f"| {', '.join(r.wrong[p] for p in ('fixed', 'grown', 'lean', 'full'))} "
                f"| {', '.join(r.open[p] for p in PATHS)} |"
            )
        out.append("")
    return "\n".join(out)


def draw(rows: list[Row]) -> str:
    """The figure: mean FLOPs to a settled verdict of three strategies, and the half of the fixed grid's (SVG)."""
    import altair as alt
    import vl_convert

    from isoloss.report.figures.canvas import Figure

    names = {"fixed": "fixed grid", "grown": "grid that grows", "lean": "next runs"}
    wide = {"level": "level", "trend": "trend", "both": "level and trend"}
    kept = [r for r in rows if r.truth != "edge"]
    data = [
        {
            "design": r.design.split(", noise")[0],
            "question": wide[r.about],
            "truth": r.truth,
            "strategy": names[path],
            "seeds": value,
            "half": r.fixed / 2,
        }
        for r in kept
        for path, value in (("fixed", float(r.fixed)), ("grown", r.mean["grown"]), ("lean", r.mean["lean"]))
    ]
    most = max(float(d["seeds"] or 0.0) for d in data)
    across = alt.X(
        "seeds:Q",
        title="FLOPs to a settled verdict, in grid seeds",
        scale=alt.Scale(domain=[0, most * 1.04], nice=False),
    )
    order = list(dict.fromkeys(str(d["truth"]) for d in data))
    up = alt.Y("truth:N", title=None, sort=order)
    base = alt.Chart()
    half = base.mark_rule(strokeDash=[4, 3], color="#6b7280").encode(x=alt.X("half:Q", aggregate="mean"))
    line = base.mark_line(strokeWidth=1.5, opacity=0.5, color="#6b7280").encode(x=across, y=up, detail="truth:N")
    # one legend for both channels: they merge only where domain and legend are the same
    kinds, legend = list(names.values()), alt.Legend(orient="top", title=None)
    color = alt.Color("strategy:N", scale=alt.Scale(domain=kinds), legend=legend)
    shape = alt.Shape(
        "strategy:N", scale=alt.Scale(domain=kinds, range=["circle", "square", "triangle-up"]), legend=legend
    )
    dots = base.mark_point(filled=True, size=75, opacity=1).encode(x=across, y=up, color=color, shape=shape)
    chart = (
        alt.layer(half, line, dots, data=alt.Data(values=data))
        .properties(width=330, height=110)
        .facet(
            row=alt.Row("question:N", title=None, sort=list(wide.values())),
            column=alt.Column("design:N", title=None),
        )
    )
    body = {k: v for k, v in chart.to_dict(validate=False).items() if k != "config"}
    figure = Figure(
        "next-runs",
        "FLOPs to a settled verdict",
        "Fixed grid, grid that grows and next runs, mean FLOPs; the dashed line is half of the fixed grid's.",
        body,
        data,
    )
    spec = {**body, "config": figure.spec()["config"], "description": figure.alt}
    return str(vl_convert.vegalite_to_svg(spec))


BEGIN, END = "<!-- begin: benchmarks/adaptive.py -->", "<!-- end -->"


def write(text: str) -> None:
    """Put the tables between their marks in the page."""
    page = DOCS / "next-runs.md"
    old = page.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laboratories", type=int, default=100, help="laboratories a truth")
    parser.add_argument("--draws", type=int, default=200, help="draws of one look")
    parser.add_argument("--quick", action="store_true", help="12 laboratories a truth; print only")
    asked = parser.parse_args()
    laboratories = 12 if asked.quick else asked.laboratories
    started, studies = time.perf_counter(), []
    for design in DESIGNS:
        _LOSSES.clear()
        for truth in truths(design):
            if truth.name == "edge" and design is not DESIGNS[0]:
                continue
            studies.append(simulate(design, truth, laboratories, asked.draws))
    rows = rows_of(studies)
    text = f"{headline(studies)}\n{laboratories} laboratories a truth, {asked.draws} draws a look.\n\n{table(rows)}"
    print(text)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if not asked.quick:
        write(text)
        (DOCS / "next-runs.svg").write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

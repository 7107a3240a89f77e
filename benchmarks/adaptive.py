"""FLOPs to a settled verdict: runs bought one after another by their information, against a grid that only grows.

command:   python benchmarks/adaptive.py               (one process; about ten minutes)
quick:     python benchmarks/adaptive.py --quick       (16 laboratories a truth, about a minute; writes nothing)
expected:  the ratio of mean FLOPs, adaptive / grid, with its interval; docs/next-runs.svg and the table in
           docs/next-runs.md are rewritten

Every laboratory is a phantom with a known gain. All strategies start from the same pilot and see the same loss for the
same arm, budget and seed:

- ``grid``: one more seed of both arms at every rung, until the question is settled;
- ``climb``: one more rung on top, two seeds of both arms, until it is settled;
- ``adaptive``: what `isoloss.planning.next_runs` proposes, in lots of at least a tenth of what was spent so far.

A question is the level or the trend of the verdict, by the rules of `isoloss gain`. A laboratory that does not settle
within the cap counts with the cap's FLOPs.
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
About = Literal["level", "trend"]
QUESTIONS: tuple[About, About] = ("level", "trend")
STRATEGIES = ("grid", "climb", "adaptive")
PILOT_SEEDS = 2
LOT = 0.1  # an adaptive lot costs at least this share of what was spent so far (one run, if that costs more)
MOST = 16  # runs in one lot
DOCS = Path(__file__).resolve().parent.parent / "docs"


@dataclass(frozen=True)
class Design:
    """A pilot's ladder, the noise, and the most seeds that the grid may grow to (which sets the cap of all)."""

    name: str
    rungs: int
    step: float
    noise: SeedNoise
    most_seeds: int

    @property
    def budgets(self) -> tuple[float, ...]:
        """The rungs of the pilot."""
        return tuple(ANCHOR * self.step**k for k in range(self.rungs))

    @property
    def seed_cost(self) -> float:
        """FLOPs of one seed of both arms at every rung."""
        return 2 * sum(self.budgets)


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
    """How one strategy fared on one question in one laboratory."""

    flops: float
    answer: str
    wrong: bool
    looks: int


def pilot(truth: Phantom, design: Design, number: int, draws: int) -> Laboratory:
    lab = Laboratory(truth, design, number, draws)
    for arm in truth.arms:
        for budget in design.budgets:
            for seed in range(PILOT_SEEDS):
                lab.buy(arm, budget, seed)
    return lab


def judge(lab: Laboratory, now: Standing, about: About) -> Outcome:
    """The outcome if the strategy stops here."""
    question = now.level if about == "level" else now.trend
    top = float(np.exp(now.judged_at))
    level, trend = lab.truth.settled(top)
    if lab.truth.name == "edge":  # on the edge to rounding: equivalence is true there
        level, trend = ("none" if top <= lab.design.budgets[-1] * 1.001 else level), "constant"
    right = level if about == "level" else trend
    return Outcome(lab.spent, question.answer, question.settled and question.answer != right, lab.looks)


def grow(truth: Phantom, design: Design, number: int, draws: int, climb: bool) -> dict[About, Outcome]:
    """The grid, or the climb: both questions are followed along one path, each until it first is settled."""
    lab, found = pilot(truth, design, number, draws), {}
    cap, top = design.most_seeds * design.seed_cost, design.budgets[-1]
    while True:
        now = lab.look()
        for about in QUESTIONS:
            question = now.level if about == "level" else now.trend
            if about not in found and question.settled:
                found[about] = judge(lab, now, about)
        if len(found) == 2:
            return found
        if climb:
            top *= design.step
            wanted = [(top, s) for s in range(PILOT_SEEDS)]
        else:
            wanted = [(b, len(lab.seeds[truth.arms[0], b])) for b in design.budgets]
        if lab.spent + 2 * sum(b for b, _ in wanted) > cap * 1.0001:
            return found | {a: Outcome(cap, "unknown", False, lab.looks) for a in QUESTIONS if a not in found}
        for budget, seed in wanted:
            for arm in truth.arms:
                lab.buy(arm, budget, seed)


def adapt(truth: Phantom, design: Design, number: int, draws: int, about: About) -> Outcome:
    """What `next_runs` proposes, lot by lot."""
    lab, cap = pilot(truth, design, number, draws), design.most_seeds * design.seed_cost
    while True:
        now = lab.look()
        plan = next_runs(*lab.arms(), target=about, standing=now, most=MOST)
        if plan.settled:
            return judge(lab, now, about)
        lot, spent = LOT * lab.spent, 0.0
        for run in plan.runs:
            if lab.spent + run.cost > cap * 1.0001 or run.seed is None:
                return Outcome(cap, "unknown", False, lab.looks)
            lab.buy(run.arm, run.budget, run.seed)
            spent += run.cost
            if spent >= lot:
                break
        if not plan.runs:
            return Outcome(cap, "unknown", False, lab.looks)


def simulate(design: Design, truth: Phantom, laboratories: int, draws: int) -> dict[tuple[str, About], list[Outcome]]:
    """Outcomes of every strategy and question over all laboratories of one truth."""
    found: dict[tuple[str, About], list[Outcome]] = {(s, q): [] for s in STRATEGIES for q in QUESTIONS}
    for number in range(laboratories):
        _LOSSES.clear()
        for strategy in ("grid", "climb"):
            for about, outcome in grow(truth, design, number, draws, strategy == "climb").items():
                found[strategy, about].append(outcome)
        for about in QUESTIONS:
            found["adaptive", about].append(adapt(truth, design, number, draws, about))
        if sys.stderr.isatty() or number + 1 == laboratories:
            print(f"\r{design.name}: {truth.name} {number + 1}/{laboratories} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


@dataclass(frozen=True)
class Row:
    """One line of the table. FLOPs are in grid seeds (one seed of both arms at every rung); `sized` is a grid whose
    seeds were fixed in advance so that four laboratories in five settle."""

    design: str
    truth: str
    about: str
    grid: float
    grid_median: float
    sized: float
    climb: float
    adaptive: float
    adaptive_median: float
    ratio: float
    ratio_interval: tuple[float, float]
    beyond_pilot: float
    against_sized: float
    wrong: dict[str, float]
    open: dict[str, float]
    looks: dict[str, float]


def summarise(design: Design, truth: str, about: About, found: dict[tuple[str, About], list[Outcome]]) -> Row:
    """Means, medians and the ratio of means with a bootstrap over laboratories, the same ones for both strategies."""
    flops = {s: np.array([o.flops for o in found[s, about]]) / design.seed_cost for s in STRATEGIES}
    ratio, interval = ratio_of(flops["adaptive"], flops["grid"])
    extra = flops["grid"].mean() - PILOT_SEEDS
    sized = float(np.quantile(flops["grid"], 0.8, method="higher"))
    return Row(
        design.name,
        truth,
        about,
        flops["grid"].mean(),
        float(np.median(flops["grid"])),
        sized,
        flops["climb"].mean(),
        flops["adaptive"].mean(),
        float(np.median(flops["adaptive"])),
        ratio,
        interval,
        float((flops["adaptive"].mean() - PILOT_SEEDS) / extra) if extra > 0.05 else np.nan,
        float(flops["adaptive"].mean() / sized),
        {s: float(np.mean([o.wrong for o in found[s, about]])) for s in STRATEGIES},
        {s: float(np.mean([o.answer == "unknown" for o in found[s, about]])) for s in STRATEGIES},
        {s: float(np.mean([o.looks for o in found[s, about]])) for s in STRATEGIES},
    )


def ratio_of(a: Array, b: Array) -> tuple[float, tuple[float, float]]:
    """Ratio of means and its 95% bootstrap interval over pairs."""
    rng = np.random.default_rng(0)
    pick = rng.integers(0, len(a), (2000, len(a)))
    low, high = np.quantile(a[pick].mean(axis=1) / b[pick].mean(axis=1), [0.025, 0.975])
    return float(a.mean() / b.mean()), (float(low), float(high))


HEADER = (
    "| truth | grid, mean (median) | grid sized ahead | climb, mean | adaptive, mean (median) | adaptive / grid "
    "| beyond the pilot | adaptive / sized | wrong: grid, adaptive | open: grid, climb, adaptive |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def table(rows: list[Row]) -> str:
    """The table of the page: one block a design and question."""
    out = []
    for design in dict.fromkeys(r.design for r in rows):
        for about in QUESTIONS:
            out += [f"**The {about}; {design}.**", "", HEADER]
            for r in (r for r in rows if (r.design, r.about) == (design, about)):
                low, high = r.ratio_interval
                beyond = "-" if np.isnan(r.beyond_pilot) else f"{r.beyond_pilot:.2f}"
                out.append(
                    f"| {r.truth} | {r.grid:.2f} ({r.grid_median:.2f}) | {r.sized:.0f} | {r.climb:.1f} "
                    f"| {r.adaptive:.2f} ({r.adaptive_median:.2f}) | **{r.ratio:.2f}** ({low:.2f}-{high:.2f}) "
                    f"| {beyond} | {r.against_sized:.2f} | {r.wrong['grid']:.1%}, {r.wrong['adaptive']:.1%} "
                    f"| {r.open['grid']:.1%}, {r.open['climb']:.1%}, {r.open['adaptive']:.1%} |"
                )
            out.append("")
    return "\n".join(out)


def pooled(found: dict[tuple[str, str], dict[tuple[str, About], list[Outcome]]], designs: tuple[Design, ...]) -> str:
    """The headline: ratio of mean FLOPs over all truths but the edge, per question and in all, truths equally often."""
    lines = []
    for label, wanted in (("level", ("level",)), ("trend", ("trend",)), ("level and trend together", QUESTIONS)):
        pairs, sized = [], []
        for design in designs:
            for (name, truth), outcomes in found.items():
                if name != design.name or truth == "edge":
                    continue
                for about in wanted:
                    grid = np.array([o.flops for o in outcomes["grid", about]]) / design.seed_cost
                    pairs.append((np.array([o.flops for o in outcomes["adaptive", about]]) / design.seed_cost, grid))
                    sized.append(float(np.quantile(grid, 0.8, method="higher")))
        a, b = (np.sum([p[k] for p in pairs], axis=0) for k in (0, 1))
        ratio, (low, high) = ratio_of(a, b)
        beyond = (a.mean() - PILOT_SEEDS * len(pairs)) / (b.mean() - PILOT_SEEDS * len(pairs))
        lines.append(
            f"- {label}: adaptive / grid **{ratio:.2f}** ({low:.2f}-{high:.2f}) with the pilot counted, "
            f"**{beyond:.2f}** beyond it; against a grid sized ahead **{a.mean() / np.sum(sized):.2f}**"
        )
    return "\n".join(lines)


def draw(rows: list[Row]) -> str:
    """The figure: mean FLOPs to a settled verdict, grid against adaptive, one line a truth and question (SVG)."""
    import altair as alt

    from isoloss.report.figures.canvas import Figure

    data = [
        {
            "design": r.design.split(", noise")[0],
            "question": f"the {r.about}",
            "truth": r.truth,
            "strategy": strategy,
            "seeds": value,
        }
        for r in rows
        if r.truth != "edge"
        for strategy, value in (("grid", r.grid), ("adaptive", r.adaptive))
    ]
    most = max(d["seeds"] for d in data)
    across = alt.X(
        "seeds:Q", title="FLOPs to a settled verdict, in grid seeds", scale=alt.Scale(domain=[0, most * 1.05])
    )
    up = alt.Y("truth:N", title=None, sort=list(dict.fromkeys(d["truth"] for d in data)))
    base = alt.Chart()
    line = base.mark_line(strokeWidth=1.5, opacity=0.5, color="#6b7280").encode(x=across, y=up, detail="truth:N")
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=across, y=up, color=alt.Color("strategy:N", title=None, sort=["grid", "adaptive"])
    )
    chart = (
        alt.layer(line, dots, data=alt.Data(values=data))
        .properties(width=290, height=130)
        .facet(row=alt.Row("question:N", title=None), column=alt.Column("design:N", title=None))
    )
    body = {k: v for k, v in chart.to_dict(validate=False).items() if k != "config"}
    import vl_convert

    figure = Figure("next-runs", "FLOPs to a settled verdict", "Grid against adaptive, mean FLOPs.", body, data)
    spec = {**body, "config": figure.spec()["config"], "description": figure.alt}
    return str(vl_convert.vegalite_to_svg(spec))


BEGIN, END = "<!-- begin: benchmarks/adaptive.py -->", "<!-- end -->"


def write(text: str) -> None:
    """Put the table between its marks in the page."""
    page = DOCS / "next-runs.md"
    old = page.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laboratories", type=int, default=200, help="laboratories a truth")
    parser.add_argument("--draws", type=int, default=200, help="draws of one look")
    parser.add_argument("--quick", action="store_true", help="16 laboratories a truth; print only")
    asked = parser.parse_args()
    laboratories = 16 if asked.quick else asked.laboratories
    started, rows, found = time.perf_counter(), [], {}
    for design in DESIGNS:
        for truth in truths(design):
            if truth.name == "edge" and design is not DESIGNS[0]:
                continue
            # a laboratory on the edge runs to the cap, so half as many
            count = laboratories // 2 if truth.name == "edge" else laboratories
            outcomes = simulate(design, truth, count, asked.draws)
            found[design.name, truth.name] = outcomes
            rows += [summarise(design, truth.name, about, outcomes) for about in QUESTIONS]
    text = (
        f"{pooled(found, DESIGNS)}\n\n{laboratories} laboratories a truth, {asked.draws} draws a look.\n\n{table(rows)}"
    )
    print(text)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if not asked.quick:
        write(text)
        (DOCS / "next-runs.svg").write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

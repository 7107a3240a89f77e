"""Do the intervals cover? Phantom laboratories with known gains, compared again and again; writes docs/calibration.md.

command:   python benchmarks/calibration.py             (two processes; about half an hour)
quick:     python benchmarks/calibration.py --quick     (a few minutes, fewer replicates, same page)
one cell:  python benchmarks/calibration.py --only "6x2" --replicates 500 --no-page
expected:  with the law in the family, at least 6 rungs and 2 seeds, 95% intervals cover 93-97%

Finished chunks of replicates are kept in build/calibration.jsonl, so a run that was stopped goes on where it was. A
chunk is known by its cell, its number of draws and the source code of the estimator, so a change of that starts afresh.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import isoloss.gains
import isoloss.laws.power
from isoloss.errors import TableError
from isoloss.gains import ArmRuns, GainCurve, compare
from isoloss.gains.measured import quantile_interval
from isoloss.gains.phantoms import KINDS, Phantom, SeedNoise, budgets_of, phantom
from isoloss.gains.result import Interval
from isoloss.gains.verdict import level_of
from isoloss.laws.power import PowerFits, fit_power_laws

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calibration.md"
CACHE = ROOT / "build" / "calibration.jsonl"
CHUNK = 125  # replicates
BESIDE = 8  # every how many replicates the naive baselines are computed
PIN = 0.2  # nats, how wrong the pinned floor is
SCORES = ("gain", "rungs", "slope", "slope:data", "decade")


@dataclass(frozen=True)
class Cell:
    """One line of the tables: what the laboratories are like and how they are compared."""

    group: str
    kind: str
    rungs: int
    seeds: int
    noise: SeedNoise
    floors: tuple[float, float] = (1.8, 1.8)
    broken: str | None = None
    floor: str = "shared"
    mode: str = "curve"

    def design(self) -> str:
        """In the words of the page."""
        sd = "/".join(f"{v:g}".removeprefix("0") for v in (self.noise.of(0), self.noise.of(1)))
        words = [f"{self.rungs}x{self.seeds}", f"SD {sd}", "of loss" if self.noise.relative else "nats"]
        extra = [
            f"rho {self.noise.correlation:g}" if self.noise.correlation else "",
            f"t{self.noise.tail:g} tails" if math.isfinite(self.noise.tail) else "",
            f"{self.noise.diverging:.0%} diverge" if self.noise.diverging else "",
            f"floors {self.floors[0]:g}/{self.floors[1]:g}" if self.floors[0] != self.floors[1] else "",
            f"law breaks {self.broken}" if self.broken else "",
            f"fitted floor {self.floor}" if self.floor != "shared" else "",
            self.mode if self.mode != "curve" else "",
        ]
        return ", ".join([" ".join(words), *(w for w in extra if w)])

    def phantom(self) -> Phantom:
        """Its truth."""
        return phantom(self.kind, self.noise, rungs=self.rungs, floors=self.floors, broken=self.broken)


IN_FAMILY = "in the family"
FEW = "few rungs or seeds"
HARD = "outside the family"


def cells() -> Iterator[Cell]:
    """Every cell: first those that the bar is set for, then the others."""
    for kind in KINDS:
        yield Cell(IN_FAMILY, kind, 6, 2, SeedNoise((0.002, 0.008)))
        yield Cell(IN_FAMILY, kind, 6, 3, SeedNoise((0.010, 0.004), relative=True))
        yield Cell(IN_FAMILY, kind, 6, 5, SeedNoise((0.010, 0.010), relative=True, correlation=0.5))
        yield Cell(IN_FAMILY, kind, 7, 2, SeedNoise((0.003, 0.003), correlation=0.8))
        yield Cell(IN_FAMILY, kind, 8, 3, SeedNoise((0.005, 0.002)))
    for kind in ("constant", "growing", "no gain"):
        yield Cell(FEW, kind, 4, 2, SeedNoise((0.004, 0.010)))
        yield Cell(FEW, kind, 4, 5, SeedNoise((0.002, 0.002), correlation=0.7))
        yield Cell(FEW, kind, 5, 3, SeedNoise((0.010, 0.003), relative=True))
        yield Cell(FEW, kind, 6, 1, SeedNoise((0.002, 0.004)))
        yield Cell(FEW, kind, 8, 1, SeedNoise((0.005, 0.002)))
    for kind in ("constant", "growing"):
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.004, 0.008), tail=3.0))
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.004, 0.008)), broken="inside")
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.004, 0.008)), broken="beyond")
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.002, 0.004)), floors=(1.8, 1.7))
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.002, 0.004)), floors=(1.8, 1.7), floor="free")
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.002, 0.004)), floor="free")
        yield Cell(HARD, kind, 6, 3, SeedNoise((0.004, 0.008)), mode="frontier")
        yield Cell(HARD, kind, 6, 4, SeedNoise((0.004, 0.008), diverging=0.08))


def inside(value: float, interval: Interval | None) -> float:
    """1 or 0; NaN without an interval."""
    return math.nan if interval is None or math.isnan(value) else float(interval[0] <= value <= interval[1])


def _trend(interval: Interval | None, rope: float = 0.02) -> str:
    if interval is None:
        return "unknown"
    low, high = interval
    return (
        "grows"
        if low > rope
        else "shrinks"
        if high < -rope
        else "constant"
        if -rope <= low <= high <= rope
        else "unknown"
    )


def _verdicts(level: str, trend: str, true_level: str, true_trend: str) -> dict[str, float]:
    return {
        "false level": float(level not in (true_level, "unknown")),
        "true level": float(level == true_level),
        "false trend": float(trend not in (true_trend, "unknown")),
        "true trend": float(trend == true_trend),
    }


def score(truth: Phantom, curve: GainCurve, far: float) -> dict[str, float]:
    """What one comparison got right: 1 or 0 a column, NaN where it made no claim."""
    at, interval = curve.verdict.at, curve.verdict.interval or (0.0, math.inf)
    measured = [p for p in curve.points if p.index == "old" and p.region == "measured"]
    slopes = {s.basis.split(",")[0]: s.interval for s in curve.slopes}
    span = curve.overlap or (curve.rungs[0].resource, at)
    slope = truth.mean_slope(*span)
    out = next(p for p in curve.asked if p.index == "old")
    level, trend = truth.settled(at, span[0])
    return {
        "gain": inside(float(truth.gain(at)), interval),
        "rungs": float(np.mean([inside(float(truth.gain(p.at)), p.interval) for p in measured]))
        if measured
        else math.nan,
        "slope": inside(slope, curve.slope.interval),
        "slope:data": inside(slope, slopes.get("measured gains")),
        "decade": inside(float(truth.gain(far)), out.interval),
        **_verdicts(curve.verdict.level, curve.verdict.trend, level, trend),
        "misfit": float(any(d.code == "lack-of-fit" for d in curve.diagnostics)),
        "width": math.log(interval[1] / interval[0]) if interval[0] > 0 and math.isfinite(interval[1]) else math.inf,
    }


def naive(
    truth: Phantom, arms: tuple[ArmRuns, ArmRuns], at: float, span: Interval, far: float, seed: int
) -> dict[str, float]:
    """The plain point bootstrap: points resampled per arm, a floor of its own for each, percentiles of the outcome."""
    rng = np.random.default_rng([seed, 9])
    x, y, w = [], [], []
    for a in arms:
        fine = np.isfinite(a.quality)
        rung, position = np.unique(a.rung[fine], return_inverse=True)
        n = int(fine.sum())
        picks = rng.integers(0, n, (400, n))
        count = np.stack([np.sum(position[picks] == k, axis=1) for k in range(len(rung))], axis=1)
        log_q = np.log(a.quality[fine])
        total = np.stack(
            [np.sum(np.where(position[picks] == k, log_q[picks], 0.0), axis=1) for k in range(len(rung))], axis=1
        )
        mean = np.array([log_q[position == k].mean() for k in range(len(rung))])
        x.append(np.log([a.resource[a.rung == r][0] for r in rung]))
        y.append(np.where(count > 0, total / np.maximum(count, 1), mean))
        w.append(np.maximum(count, 1e-9).astype(float))
    fits = fit_power_laws(x, y, w, "free")
    budgets = np.log([at, far, *span])
    with np.errstate(all="ignore"):
        log_gain = budgets - _reach(fits, budgets)
        ends = [quantile_interval(log_gain[:, i], log_gain[:, i], 0.95) for i in (0, 1)]
        gain, decade = ((float(np.exp(lo)), float(np.exp(hi))) for lo, hi in ends)
        steps = (log_gain[:, 3] - log_gain[:, 2]) / (budgets[3] - budgets[2])
    steps = steps[np.isfinite(steps)]
    slope = quantile_interval(steps, steps, 0.95) if steps.size else None
    level, trend = truth.settled(at, span[0])
    return {
        "gain": inside(float(truth.gain(at)), gain),
        "slope": inside(truth.mean_slope(*span), slope),
        "decade": inside(float(truth.gain(far)), decade),
        **_verdicts(level_of(gain, (0.95, 1.05)), _trend(slope), level, trend),
    }


def _reach(fits: PowerFits, budgets: np.ndarray) -> np.ndarray:
    """``ln`` budget at which the second arm's law reaches the first's loss at `budgets`."""
    return fits.invert(1, np.exp(fits.log_loss(0, budgets)))


def replicate(cell: Cell, number: int, draws: int) -> dict[str, dict[str, float]]:
    """One laboratory, compared by every method: method -> scores. Empty where the runs support no comparison."""
    truth = cell.phantom()
    budgets = budgets_of(cell.rungs)
    identity = int.from_bytes(hashlib.sha256(repr(cell).encode()).digest()[:4], "little")
    arms = truth.runs(list(budgets), cell.seeds, np.random.default_rng([identity, number]))
    far = float(10 * budgets[-1])
    options: dict[str, Any] = {
        "resource": "train_flops", "quality": "loss", "mode": cell.mode, "at": [far], "draws": draws, "seed": number,
    }  # fmt: skip
    try:
        curve = compare(*arms, floor=cell.floor, **options)
    except TableError:
        return {}
    found = {"isoloss": score(truth, curve, far)}
    if number % BESIDE == 0:
        span = curve.overlap or (float(budgets[0]), float(budgets[-1]))
        if curve.verdict.at:
            found["naive"] = naive(truth, arms, curve.verdict.at, span, far, number)
        with contextlib.suppress(TableError):  # a diverged top rung can leave no room for the wrong floor
            found["pinned"] = score(truth, compare(*arms, floor=cell.floors[0] + PIN, **options), far)
    return found


def chunk(cell: Cell, first: int, count: int, draws: int) -> dict[str, Any]:
    """Sums and counts of every score over some replicates, the widths, and how many were refused."""
    sums: dict[str, list[float]] = {}
    widths: list[float] = []
    refused = 0
    for number in range(first, first + count):
        found = replicate(cell, number, draws)
        refused += not found
        for method, scores in found.items():
            for name, value in scores.items():
                if name == "width":
                    if method == "isoloss":
                        widths.append(min(value, 1e9))
                elif not math.isnan(value):
                    total = sums.setdefault(f"{method}|{name}", [0.0, 0])
                    total[0], total[1] = total[0] + value, total[1] + 1
    return {"sums": sums, "widths": widths, "refused": refused, "count": count}


# -- the whole table, in processes, with a cache --------------------------------------------------------------------


def fingerprint() -> str:
    """Of the code whose calibration this is: the estimator, its law and this file."""
    folder = Path(isoloss.gains.__file__).parent
    names = "arms compare crossover diagnostics estimate ladder measured modelled monotone noise phantoms power verdict"
    files = [folder / f"{n}.py" for n in names.split()]
    files += [Path(isoloss.laws.power.__file__), Path(__file__)]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


def _work(job: tuple[str, Cell, int, int, int]) -> tuple[str, Cell, dict[str, Any]]:
    key, cell, first, count, draws = job
    return key, cell, chunk(cell, first, count, draws)


def table(wanted: list[tuple[Cell, int]], draws: int, processes: int, cache: Path) -> dict[Cell, dict[str, Any]]:
    """Every cell's sums over its replicates; finished chunks are read from `cache`, new ones are added to it."""
    code = fingerprint()
    jobs = []
    for cell, replicates in wanted:
        for first in range(0, replicates, CHUNK):
            count = min(CHUNK, replicates - first)
            key = hashlib.sha256(repr((code, cell, first, count, draws)).encode()).hexdigest()[:24]
            jobs.append((key, cell, first, count, draws))
    known: dict[str, dict[str, Any]] = {}
    if cache.exists():
        for line in cache.read_text().splitlines():
            try:
                entry = json.loads(line)
                known[entry["key"]] = entry["found"]
            except (ValueError, KeyError):
                continue  # the last line of a run that was killed
    out: dict[Cell, dict[str, Any]] = {}
    for key, cell, *_ in jobs:
        if key in known:
            _add(out, cell, known[key])
    left = [j for j in jobs if j[0] not in known]
    done, started = len(jobs) - len(left), time.perf_counter()
    print(f"{len(jobs)} chunks of up to {CHUNK} replicates, {done} of them known", file=sys.stderr)
    cache.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with cache.open("a") as file, concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = [pool.submit(_work, j) for j in left]
        for n, future in enumerate(concurrent.futures.as_completed(futures), 1):
            key, cell, found = future.result()
            file.write("\n" * (n == 1) + json.dumps({"key": key, "found": found}) + "\n")
            file.flush()
            _add(out, cell, found)
            minutes = (time.perf_counter() - started) / 60
            rest = minutes / n * (len(left) - n)
            line = f"{done + n}/{len(jobs)}  {minutes:.1f} min, about {rest:.0f} to go  {cell.kind}, {cell.design()}"
            end = "" if sys.stderr.isatty() else "\n"
            print(f"\r{line:110.110}" if sys.stderr.isatty() else line, end=end, file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return out


def _add(out: dict[Cell, dict[str, Any]], cell: Cell, found: dict[str, Any]) -> None:
    into = out.setdefault(cell, {"sums": {}, "widths": [], "refused": 0, "count": 0})
    for name, (total, count) in found["sums"].items():
        old = into["sums"].get(name, (0.0, 0))
        into["sums"][name] = (old[0] + total, old[1] + count)
    into["widths"] += found["widths"]
    into["refused"] += found["refused"]
    into["count"] += found["count"]


def share(found: dict[str, Any], name: str) -> float:
    """Mean of a score; NaN where it never applied."""
    total, count = found["sums"].get(name, (0.0, 0))
    return total / count if count else math.nan


def _figure(value: float, places: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{places}f}".removeprefix("0")


_HEAD = """# Do the intervals cover?

Written by `{command}`. Phantom laboratories (`isoloss.gains.phantoms`) whose gains are known
are compared again and again ({counts} replicates a cell, {draws} draws each). The figures under `gain` to `decade`
are the share of 95% intervals that contain the truth:

- **gain**: at the budget that the verdict speaks of, the largest at which both arms are measured;
- **rungs**: the mean over all rungs with a measured gain;
- **slope**: `d ln G / d ln C`, the one that the verdict uses (laws), and **data**, from the measured gains;
- **decade**: the gain one decade beyond the ladder, from the laws.

**false** is the share of verdicts that claim what is not so (level, trend), **true** of those that say what is so; the
rest are `unknown`. **misfit** is how often the `lack-of-fit` diagnostic spoke, **width** the median ratio of the ends
of the gain's interval.

All ladders take fourfold steps from 1e15 training FLOPs; the baseline follows `1.8 + 60 C^-0.1`. A design `6x2 SD
.002/.008 nats` is one of 6 rungs and 2 seeds a rung, with seed noise of these standard deviations in baseline and
candidate, constant in nats or (`of loss`) in proportion to the loss, with that SD at 3 nats; `rho` is the correlation
of runs with equal seed. True gains: constant (1.5), growing (slope .09), vanishing (-.11), crossing (.17, G = 1
mid-ladder), none.

Beside them, on every eighth of the same laboratories: **point bootstrap** (logged points of each arm resampled, nothing
shared, a floor for each arm, percentiles) and **floor pinned** 0.2 nats too high (measured gains use no floor, so only
slope and decade can suffer; where the misfit shows, `lack-of-fit` widens them).
"""


def page(found: dict[Cell, dict[str, Any]], draws: int, command: str) -> str:
    """docs/calibration.md."""
    family = [c for c in found if c.group == IN_FAMILY]
    bars = ("gain", "slope", "decade")
    flat = [(c, b, share(found[c], f"isoloss|{b}")) for c in family for b in bars]
    inside_bar = [v for *_, v in flat if 0.93 <= v <= 0.97]
    outside = [f"{c.kind}, {c.design()}: {b} {_figure(v)}" for c, b, v in flat if not 0.93 <= v <= 0.97]
    replicates = sorted({found[c]["count"] for c in found})
    least = min((found[c]["count"] for c in family), default=1)
    means = ", ".join(f"{b} {_figure(float(np.mean([v for _, x, v in flat if x == b])))}" for b in bars) if flat else ""
    counts = " or ".join(map(str, replicates))
    misses = f". Outside it: {'; '.join(outside)}." if outside else "."
    lines = [
        _HEAD.format(command=command, counts=counts, draws=draws),
        "## With the law in the family\n",
        f"The bar is 93–97% for gain, slope and decade, at 6 or more rungs and 2 or more seeds. {len(inside_bar)} of "
        f"{len(flat)} figures are within it; with {least} replicates a figure's standard error is "
        f"{math.sqrt(0.05 * 0.95 / least):.4f}. Mean over cells: {means}{misses}\n",
    ]
    heads = {
        IN_FAMILY: "",
        FEW: "## Fewer rungs or seeds\n\nWithout repeats (`6x1`, `8x1`) noise is the scatter about a power law.\n",
        HARD: "## Outside the family, and other modes\n\nHeavy tails, broken laws, unequal floors, frontier mode, "
        "diverged runs. Where floors are unequal and a shared one is fitted, gains beyond the data are wrong, and the "
        "diagnostic `floors-differ` is there to say so.\n",
    }
    for group, head in heads.items():
        mine = sorted((c for c in found if c.group == group), key=lambda c: (c.design(), KINDS.index(c.kind)))
        if not mine:
            continue
        lines += [head] if head else []
        lines += [
            "| design | gain is | gain | rungs | slope | data | decade | false level | false trend | true level "
            "| true trend | misfit | width |",
            "|" + "---|" * 13,
        ]
        for c in mine:
            f = found[c]
            width = float(np.median(f["widths"])) if f["widths"] else math.nan
            cover = [_figure(share(f, f"isoloss|{s}")) for s in SCORES]
            verdicts = [_figure(share(f, f"isoloss|{s}")) for s in ("false level", "false trend")]
            right = [_figure(share(f, f"isoloss|{s}"), 2) for s in ("true level", "true trend", "misfit")]
            times = "∞" if width > 20 else f"{math.exp(width):.2f}"
            lines.append("| " + " | ".join([c.design(), c.kind, *cover, *verdicts, *right, times]) + " |")
        lines += [
            "",
            "The same laboratories, the other ways:",
            "",
            "| design | gain is | point bootstrap: gain | slope | decade | false level | false trend "
            "| floor pinned: slope | decade | false trend |",
            "|" + "---|" * 10,
        ]
        for c in mine:
            f = found[c]
            values = [share(f, f"naive|{s}") for s in ("gain", "slope", "decade", "false level", "false trend")]
            values += [share(f, f"pinned|{s}") for s in ("slope", "decade", "false trend")]
            lines.append("| " + " | ".join([c.design(), c.kind, *map(_figure, values)]) + " |")
        lines.append("")
    refused = sum(f["refused"] for f in found.values())
    if refused:
        lines += [
            f"{refused} laboratories were refused (too few usable rungs after divergence) and are not counted.",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="125 replicates a cell")
    parser.add_argument("--replicates", type=int, help="of every cell (default: 2000 in the family, 500 elsewhere)")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="cells whose line contains this text")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument(
        "--no-page", action="store_true", help="print the tables instead of writing docs/calibration.md"
    )
    asked = parser.parse_args()
    fixed = asked.replicates or (125 if asked.quick else None)
    wanted = [
        (c, fixed or (2000 if c.group == IN_FAMILY else 500))
        for c in cells()
        if asked.only in f"{c.kind}, {c.design()}"
    ]
    if not wanted:
        sys.exit(f"calibration: no cell's line contains '{asked.only}'")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # of the processes that compute, which load NumPy afresh
    found = table(wanted, asked.draws, asked.processes, asked.cache)
    command = "python benchmarks/calibration.py" + (" --quick" if asked.quick else "")
    text = page(found, asked.draws, command)
    if asked.no_page or asked.only:
        print(text)
    else:
        PAGE.write_text(text)
        print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

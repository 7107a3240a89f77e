"""Do the intervals cover? Synthetic laboratories with known gains, compared again and again.

command:   python benchmarks/calibration.py --replicates 300            (one process; about half an hour)
quick:     python benchmarks/calibration.py --replicates 20 --draws 400
expected:  95% intervals of the measured gain and of the slope cover 92-98% in the mean; false verdicts below 5%

Each replicate trains nothing: rung means come from ``L(C) = E + A C^-alpha`` with a floor shared by both arms, seed
noise that differs between the arms, and (in the paired designs) seeds whose noise is correlated between them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isoloss.gains import ArmRuns, GainCurve, compare

FLOOR, SCALE, EXPONENT, FIRST, STEP = 1.8, 60.0, 0.10, 1e15, 4.0


@dataclass(frozen=True)
class Truth:
    """A pair of laws: the candidate's exponent, and the old-index gain at the first rung."""

    name: str
    exponent: float
    first_gain: float

    def gain(self, c: float) -> float:
        """``G_old(C)``: with a shared floor, a power of C."""
        return self.first_gain * (c / FIRST) ** self.slope

    @property
    def slope(self) -> float:
        """``d ln G / d ln C = 1 - alpha_old / alpha_new``."""
        return 1 - EXPONENT / self.exponent

    def loss(self, arm: str, c: float) -> float:
        """Loss of one arm; the candidate's at ``c / G(c)`` is the baseline's at ``c``."""
        if arm == "old":
            return FLOOR + SCALE * c**-EXPONENT
        start = FIRST / self.first_gain
        return FLOOR + SCALE * FIRST**-EXPONENT * (c / start) ** -self.exponent


@dataclass(frozen=True)
class Design:
    """A ladder and its seeds; `relative` noise is a share of the loss, otherwise it is constant in nats."""

    rungs: int
    seeds: int
    sd_old: float
    sd_new: float
    correlation: float
    relative: bool

    def __str__(self) -> str:
        kind = "rel" if self.relative else "raw"
        pairs = f" rho {self.correlation:g}" if self.correlation else ""
        return f"{self.rungs}x{self.seeds} sd {self.sd_old:g}/{self.sd_new:g} {kind}{pairs}"


def truths(design: Design) -> tuple[Truth, ...]:
    """Constant, growing, vanishing, crossing and no gain, on one ladder."""
    half = (STEP ** (design.rungs - 1)) ** 0.5
    return (
        Truth("constant", EXPONENT, 1.5),
        Truth("growing", 0.11, 1.3),
        Truth("vanishing", 0.09, 2.2),
        Truth("crossing", 0.12, half ** -(1 - EXPONENT / 0.12)),
        Truth("no gain", EXPONENT, 1.0),
    )


DESIGNS = (
    Design(4, 2, 0.004, 0.010, 0.0, False),
    Design(4, 3, 0.002, 0.002, 0.7, False),
    Design(5, 3, 0.020, 0.005, 0.0, True),
    Design(6, 2, 0.002, 0.008, 0.0, False),
    Design(6, 5, 0.010, 0.010, 0.5, True),
    Design(8, 3, 0.005, 0.002, 0.0, False),
)


def laboratory(truth: Truth, design: Design, rng: np.random.Generator) -> tuple[ArmRuns, ArmRuns]:
    """One laboratory's runs of both arms, seed by seed."""
    n = design.rungs * design.seeds
    rung = np.repeat(np.arange(design.rungs), design.seeds)
    pair = np.tile(np.arange(design.seeds), design.rungs).astype(str)
    resource = FIRST * STEP ** rung.astype(float)
    z = rng.standard_normal((2, n))
    z[1] = design.correlation * z[0] + np.sqrt(1 - design.correlation**2) * z[1]
    arms = []
    for k, (arm, sd) in enumerate((("old", design.sd_old), ("new", design.sd_new))):
        loss = np.array([truth.loss(arm, c) for c in resource])
        noise = sd * z[k] * (loss / 3.0 if design.relative else 1.0)
        cluster = np.array([f"{arm}-{r}-{p}" for r, p in zip(rung, pair, strict=True)])
        arms.append(ArmRuns(arm, resource, loss + noise, rung, pair, cluster))
    return arms[0], arms[1]


def inside(value: float, interval: tuple[float, float] | None) -> float:
    if interval is None:
        return np.nan
    return float(interval[0] <= value <= interval[1])


def score(truth: Truth, design: Design, curve: GainCurve, far: float) -> dict[str, float]:
    """What one comparison got right: 1 or 0 a column, NaN where it made no claim."""
    middle = [p for p in curve.points if p.index == "old" and p.region == "measured"]
    top = truth.gain(curve.verdict.at) if curve.verdict.at else np.nan
    slopes = {s.basis.split(",")[0]: s for s in curve.slopes}
    crosses = FIRST * truth.first_gain ** (-1 / truth.slope) if truth.slope else np.inf
    out = next(p for p in curve.asked if p.index == "old" and p.at == far)
    level = "gain" if top > 1.05 else "loss" if top < 0.95 else "none"
    trend = "grows" if truth.slope > 0.02 else "shrinks" if truth.slope < -0.02 else "constant"
    interval = curve.verdict.interval or (0.0, np.inf)
    return {
        "gain": inside(top, curve.verdict.interval),
        "rungs": float(np.mean([inside(truth.gain(p.at), p.interval) for p in middle])) if middle else np.nan,
        "slope:law": inside(truth.slope, slopes["laws"].interval),
        "slope:data": inside(truth.slope, slopes["measured gains"].interval),
        "decade": inside(truth.gain(far), out.interval),
        "cross": inside(crosses, curve.crossover.interval) if truth.slope else np.nan,
        "found": float(curve.crossover.value is not None),
        "level?": float(curve.verdict.level not in (level, "unknown")),
        "level=": float(curve.verdict.level == level),
        "trend?": float(curve.verdict.trend not in (trend, "unknown")),
        "trend=": float(curve.verdict.trend == trend),
        "misfit": float(any(d.code == "lack-of-fit" for d in curve.diagnostics)),
        "width": float(np.log(interval[1] / interval[0])) if interval[0] > 0 else np.inf,
    }


def calibrate(replicates: int, draws: int, designs: tuple[Design, ...]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Cells of the table: design, truth, mean of each score (median of the width)."""
    cells = [(d, t) for d in designs for t in truths(d)]
    for number, (design, truth) in enumerate(cells):
        rows = []
        for k in range(replicates):
            arms = laboratory(truth, design, np.random.default_rng([number, k]))
            far = 10 * FIRST * STEP ** (design.rungs - 1)
            curve = compare(*arms, resource="train_flops", quality="loss", at=[far], draws=draws, seed=k)
            rows.append(score(truth, design, curve, far))
            if sys.stderr.isatty() or k + 1 == replicates:
                print(
                    f"\r{number + 1}/{len(cells)} {design} {truth.name}: {k + 1}/{replicates} ", end="", file=sys.stderr
                )
        table = {name: np.array([r[name] for r in rows]) for name in rows[0]}
        yield str(design), truth.name, {
            n: float(np.median(v)) if n == "width" else float(np.nanmean(v)) if np.isfinite(v).any() else np.nan
            for n, v in table.items()
        }  # fmt: skip
    print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--designs", type=int, nargs="*", help="positions of the designs to run (default: all)")
    asked = parser.parse_args()
    designs = DESIGNS if not asked.designs else tuple(DESIGNS[i] for i in asked.designs)
    started, cells = time.perf_counter(), []
    for design, truth, result in calibrate(asked.replicates, asked.draws, designs):
        if not cells:
            print(f"{'design':34} {'truth':10}" + "".join(f"{name:>11}" for name in result))
        print(f"{design:34} {truth:10}" + "".join(f"{v:11.3f}" for v in result.values()), flush=True)
        cells.append(result)
    print(f"{'all':45}" + "".join(f"{np.nanmean([c[n] for c in cells]):11.3f}" for n in cells[0]))
    took = time.perf_counter() - started
    print(f"{asked.replicates} replicates a cell, {asked.draws} draws each, {took:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Porian et al. 2024: the exponent of N* as five choices of the experiment are mended one by one."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from isoloss.errors import TableError
from isoloss.laws.allocation_line import AllocationLine, fit_allocation_line
from isoloss.laws.isoflop import IsoflopFit, fit_isoflop
from isoloss.laws.profile import Shape
from isoloss.reproduce.table import Reproduction, Sheet, claimed, published, read, row

NAME = "porian"
DRAWS = 2000
_KEY = ("file", "hparams", "warmup", "decay", "param_count", "val")
DATASETS = {"rw": ("RefinedWeb", "summary_df"), "owt2": ("OpenWebText2", "summary_df_owt2")}
#: The five steps: what is mended, and the rows of the result files that hold it.
STEPS = {
    1: ("Kaplan's set-up", ("base", "long", "kaplan", "kaplan", "train")),
    2: ("last layer counted in N and C", ("base", "long", "kaplan", "standard", "val")),
    3: ("warm-up in proportion", ("base", "short", "kaplan", "standard", "val")),
    4: ("decay to the end of each run", ("base", "short", "chinchilla", "standard", "val")),
    5: ("learning rate, batch, beta2 tuned", ("tuned", "short", "const", "standard", "val")),
}


def cell(frame: pl.DataFrame, dataset: str, step: int) -> pl.DataFrame:
    """The rows of one data set and step."""
    wanted = (DATASETS[dataset][1], *STEPS[step][1])
    return frame.filter(pl.all_horizontal(pl.col(k) == v for k, v in zip(_KEY, wanted, strict=True)))


def from_pairs(pairs: pl.DataFrame, seed: int = 0) -> tuple[float, AllocationLine]:
    """The authors' weighted least squares of ``ln N*`` on ``ln C``, and our line through the same optima.

    Weights are inverse variances of their bootstrapped optima; optima at an edge of the sizes are empty in their file.
    """
    pairs = pairs.drop_nulls(["n", "n_star_std"]).filter(pl.col("n_star_std") > 0)
    x, z, sd = np.log(pairs["flops"].to_numpy()), np.log(pairs["n"].to_numpy()), pairs["n_star_std"].to_numpy()
    slope = float(np.polynomial.polynomial.polyfit(x - x.mean(), z, 1, w=1 / sd)[1])
    rng = np.random.default_rng([seed, 29])
    return slope, fit_allocation_line(x, z, rng.standard_normal((DRAWS, len(x))) * sd, rng)


def from_points(points: pl.DataFrame, shape: Shape) -> IsoflopFit:
    """Approach 2 of this project on the interpolated losses of all sizes at each budget."""
    points = points.drop_nulls("loss").filter(pl.col("loss").is_finite())
    C, N, D, loss = (points[c].to_numpy() for c in ("flops", "n", "t", "loss"))
    return fit_isoflop(C, N, D, loss, budget=C, shape=shape, bootstrap=DRAWS)


def reproduce(folder: Path) -> Reproduction:
    """``N* ~ C^a`` at each step from the authors' optima (their procedure) and from their losses (ours).

    Source: arXiv 2406.19146, section 3.
    """
    pairs = read(folder, "optimal_pairs.csv", (*_KEY, "flops", "n", "n_star_std"), NAME)
    points = read(folder, "isoflop_points.csv", (*_KEY, "flops", "n", "t", "loss"), NAME)
    rows, cells, falls = [], [], []
    covered = dict.fromkeys(get_args(Shape), 0)
    for dataset, (title, _) in DATASETS.items():
        exponents = []
        for step, (what, _) in STEPS.items():
            slope, line = from_pairs(cell(pairs, dataset, step))
            exponents.append(line)
            rows.append(row(NAME, f"{dataset}-{step}", f"{title}, step {step}: {what}", slope, line.interval()))
            shown: list[str | float | None] = [title, step]
            for shape in get_args(Shape):
                try:
                    fitted = from_points(cell(points, dataset, step), shape)
                except TableError as error:
                    shown += [None, error.what]
                    continue
                low, high = fitted.n_line.interval()
                covered[shape] += low <= claimed(NAME, f"{dataset}-{step}").value <= high
                shown += [fitted.n_line.exponent, f"{low:.2f} to {high:.2f}; {len(fitted.used)}/{len(fitted.profiles)}"]
            cells.append(tuple(shown))
        drop = exponents[0].exponent_draws - exponents[-1].exponent_draws
        low, high = np.quantile(drop, [0.025, 0.975])
        falls.append(
            f"{title}: the five steps lower the exponent by {exponents[0].exponent - exponents[-1].exponent:.3f} "
            f"({low:.3f} to {high:.3f})."
        )
    about = published(NAME)
    findings = (
        *falls,
        "Their optima and weights give their exponents to the third decimal. Our intervals about the same optima are "
        "wider: "
        "a draw of ours moves every optimum by its own standard error and takes the scatter between budgets from its "
        "confidence distribution, where theirs resamples losses with a noise level set by hand.",
        "From the losses themselves the published exponents lie within our intervals "
        + ", ".join(f"{count} times of {len(rows)} with {shape}" for shape, count in covered.items())
        + ": a parabola does not follow profiles over decades of N, and `isoloss isoflop` says so (skew-profiles).",
    )
    header = [f"{s}{extra}" for s in get_args(Shape) for extra in ("", ": 95%; budgets used")]
    return Reproduction(
        NAME, about["title"], about["paper"], about["claim"],
        "From optimal_pairs.csv: weighted least squares of ln N* on ln C (theirs), with the interval of our line "
        "through the "
        "same optima. From isoflop_points.csv: approach 2 with three shapes of curve; budgets whose minimum can't be "
        "told are "
        "left out.",
        tuple(rows),
        (Sheet("Exponent of N* from the losses", ("data", "step", *header), tuple(cells)),),
        findings,
        ("isoloss isoflop isoflop_points.csv --compute flops --parameters n --tokens t --quality loss --budget flops "
         "--shape akima --where file=summary_df --where hparams=tuned --where decay=const",),
    )  # fmt: skip

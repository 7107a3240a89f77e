"""What pre-training is worth in labels, and what it costs shared by k tasks: `python benchmarks/effective_data.py`.

Reads results/transfer-learning. With D_F labels an adapted network errs as one of its width from scratch does with D
labels; data transferred are D_T = D - D_F, and D_T = k D_F^alpha (Hernandez et al. 2021, arXiv 2102.01293) is fitted to
the rungs where D_T is positive and within the ladder. Of each arm the mean error of its seeds, log-log between rungs;
ranges are those over the seeds one by one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

TABLE = Path(__file__).parents[1] / "results" / "transfer-learning" / "runs.csv.gz"
#: Adapted arm -> the arm from scratch of the same width.
ARMS = {"fine-tuned": "scratch", "lora": "scratch", "probe": "scratch", "fine-tuned-half": "scratch-half"}
SHARED = (1, 10, 100)


def main() -> None:
    """A line an arm and rung, then the law, then FLOPs."""
    runs = pl.read_csv(TABLE, infer_schema_length=None).filter(pl.col("purpose") == "report")
    for arm in ARMS:
        rungs, whole = transferred(runs, arm)
        paired = runs.filter(pl.col("arm") == arm)["seed"].unique().sort()
        seeds = [transferred(runs.filter(pl.col("seed") == seed), arm)[1] for seed in paired]
        for rung, value, each in zip(rungs, whole, np.transpose(seeds), strict=True):
            print(f"{arm}: D_F {rung:.0f} labels, D_T {shown(value)} ({shown(each.min())} to {shown(each.max())})")
        print(f"{arm}: {law(rungs, whole)}")
    flops = {arm: runs.filter(pl.col("arm") == arm)["train_flops"].mean() for arm in {*ARMS, *ARMS.values()}}
    # fine-tuning all is the computation from scratch, after the pre-training
    first = {plain: flops[arm] - flops[plain] for arm, plain in reversed(ARMS.items()) if arm.startswith("fine-tuned")}
    for arm, plain in ARMS.items():
        rest = flops[arm] - first[plain]
        costs = ", ".join(f"{(rest + first[plain] / k) / flops[plain]:.2f} for {k}" for k in SHARED)
        print(f"{arm}: training FLOPs over those from scratch, pre-training shared by tasks: {costs}")


def transferred(runs: pl.DataFrame, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Rungs D_F and D_T of `arm`; NaN where scratch has no run as good or as bad."""
    means = runs.group_by("arm", "rung").agg(pl.col("test").mean()).sort("rung")
    plain, adapted = (means.filter(pl.col("arm") == name) for name in (ARMS[arm], arm))
    rungs = plain["rung"].to_numpy()
    errors = np.minimum.accumulate(plain["test"].to_numpy())
    aimed = np.log(adapted["test"].to_numpy())
    labels = np.exp(np.interp(-aimed, -np.log(errors), np.log(rungs), left=np.nan, right=np.nan))
    return rungs, labels - rungs


def law(rungs: np.ndarray, data: np.ndarray) -> str:
    """The fitted law in words."""
    kept = data > 0  # False for NaN
    if kept.sum() < 2:
        return "no law: fewer than two rungs with data transferred"
    alpha, log_k = np.polyfit(np.log(rungs[kept]), np.log(data[kept]), 1)
    return f"D_T = {np.exp(log_k):.2g} D_F^{alpha:.2f} over {kept.sum()} rungs (published: D_F^0.18)"


def shown(value: float) -> str:
    return "beyond the ladder" if np.isnan(value) else f"{value:.0f}"


if __name__ == "__main__":
    main()

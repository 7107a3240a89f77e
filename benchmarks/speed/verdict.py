"""What a verdict costs: the laptop study of the language laboratory against the full grid that it stands in for.

    python benchmarks/speed/verdict.py [--seconds 2] [--repeats 3]

*Full grid*: every learning rate, every report seed, every rung, every arm, trained from scratch with the study's own
schedule. Its intervals are as wide as the study's, since both report the same number of seeds at the best rate. It is
counted twice: with the rates that the study file lists, and with those that the sweeps went on to (a best rate at the
edge is no best rate, so a grid fixed beforehand must span them). *The study*: what its committed run table holds.

Seconds: FLOPs over FLOP rates, of a plain PyTorch loop (one process, two threads) for the grid and of the study's own
way (two processes of one thread) for the study, each measured at every rung for the LSTM and the modern Transformer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl
from stacked import measure  # beside this file

from isoloss.study import read_study

STUDY, TABLE = Path("studies/language/laptop.toml"), Path("results/laptop/runs.csv.gz")
BAR = 0.25
TIMED = {"lstm": "language/lstm", "modern": "language/transformer-modern"}


def flops() -> tuple[dict[float, float], dict[float, float], dict[float, float]]:
    """Training FLOPs by rung: of the study, of the grid as listed, and of the grid as it had to be."""
    study, _ = read_study(STUDY)
    table = pl.read_csv(TABLE, infer_schema_length=None)
    rates = pl.col("choices").str.json_path_match("$.lr")
    used, listed, spanned = {}, {}, {}
    for rung in study.ladder.rungs:
        rows = table.filter(pl.col("rung") == rung)
        used[rung] = float(rows["train_flops"].sum())
        seeds = study.report_seeds(rung)
        listed[rung] = spanned[rung] = 0.0
        for arm, definition in study.arms.items():
            points = 1
            for axis in definition.sweep.values():
                points *= len(axis.grid())
            tried = table.filter((pl.col("arm") == arm) & (pl.col("purpose") == "tune")).select(rates.n_unique()).item()
            listed[rung] += points * seeds * rung
            spanned[rung] += max(points, tried) * seeds * rung
    return used, listed, spanned


def compared(what: str, study: float, grids: dict[str, float]) -> None:
    for name, grid in grids.items():
        above = "" if study / grid <= BAR else "  ABOVE"
        print(f"  {what}: study {study:.3g}, grid {name} {grid:.3g}: {study / grid:.3f} ({BAR:g}){above}")


def main(seconds: float = 2.0, repeats: int = 3) -> None:
    used, listed, spanned = flops()
    grids = {"as listed": listed, "as it had to be": spanned}
    print("cost to a verdict, laptop study against its full grid")
    compared("FLOPs", sum(used.values()), {name: sum(grid.values()) for name, grid in grids.items()})
    print("  rates in GFLOP/s: the plain loop, the study's two processes")
    study, taken = 0.0, dict.fromkeys(grids, 0.0)
    for rung in used:
        for arm, algorithm in TIMED.items():
            found = measure(f"{algorithm}@{rung:g}", seconds, repeats, ("plain", "unstacked"), 2)
            plain, ours = (found["rates"][way] * found["flops"] for way in ("plain", "unstacked"))
            print(f"    {arm:8s}{rung:9.2g}{plain / 1e9:9.1f}{ours / 1e9:9.1f}", flush=True)
            share = 0.1 if arm == "lstm" else 0.9  # of the ten arms; the others are Transformers of like shapes
            study += share * used[rung] / ours
            for name, grid in grids.items():
                taken[name] += share * grid[rung] / plain
    compared("seconds of training", study, taken)


if __name__ == "__main__":
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--seconds", type=float, default=2.0)
    told.add_argument("--repeats", type=int, default=3)
    main(**vars(told.parse_args()))

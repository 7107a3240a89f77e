"""How long and how much memory a table of 10^4, 10^5 and 10^6 runs takes, from file to gain, as CSV and as Parquet.

    python benchmarks/million.py                about a minute; prints one line a size and format, and the ratios

Each measurement is a process of its own: read, guess the columns, check, cut into two arms, and the gain with 4,000
draws. `peak` is that process's highest resident memory (the interpreter and its libraries take about 150 MiB of it),
`CPU s` its processor time, which a busy machine does not stretch, and `us per row` that time beyond what a table of 800
runs takes (the draws and the laws cost the same for any number of rows). The table holds what run tables hold: arm,
seed, FLOPs, loss, settings, a run's name, rows of arms that are not compared; half of it is filtered away (`--where`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

SIZES = (10_000, 100_000, 1_000_000)
ARMS = ("adamw", "muon", "shampoo", "lion", "sgd")
RUNGS = 8


def write_table(path: Path, rows: int) -> None:
    """A table of `rows` runs: two splits, five arms, eight rungs, as many seeds as it takes."""
    rng = np.random.default_rng(rows)
    k = np.arange(rows)
    split, arm, rung, seed = k % 2, (k // 2) % 5, (k // 10) % RUNGS, k // (10 * RUNGS)
    flops = 1e15 * 3.0**rung
    loss = 1.7 + 60.0 * flops ** (-0.09 - 0.002 * arm) * np.exp(rng.normal(0, 0.004, rows)) + 0.02 * split
    names = np.array(ARMS)[arm]
    frame = pl.DataFrame(
        {
            "Name": [f"run-{i:07d}" for i in k.tolist()],
            "State": ["finished"] * rows,
            "config.optimizer": names,
            "config.lr": np.array([3e-4, 2e-3, 1e-3, 1e-4, 1e-1])[arm] / (1 + rung),
            "config.seed": seed,
            "split": np.array(["validation", "test"])[split],
            "summary.train_flops": flops,
            "summary.eval/loss": loss,
            "summary._runtime": rng.uniform(10, 1e4, rows),
        }
    )
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)


def measure_here(path: Path) -> None:
    """Read `path` to a gain and print the seconds of each part and the peak memory as JSON."""
    import isoloss
    from isoloss.gains import compare
    from isoloss.ledger.external import read_runs, select_arms

    tiny = path.with_name("tiny.csv")
    isoloss.gain(tiny, "adamw", "muon", where=["split=test"])  # imports and first calls
    cpu = time.process_time()
    isoloss.gain(tiny, "adamw", "muon", where=["split=test"])
    fixed, cpu = time.process_time() - cpu, time.process_time()
    start = time.perf_counter()
    table = read_runs(path, where=["split=test"], arms=("adamw", "muon"))
    read = time.perf_counter()
    arms, _ = select_arms(table, ("adamw", "muon"))
    cut = time.perf_counter()
    curve = compare(*arms, resource="train_flops", quality="loss")
    done = time.perf_counter()
    print(
        json.dumps(
            {
                "read": read - start,
                "cut": cut - read,
                "gain": done - cut,
                "total": done - start,
                "cpu": time.process_time() - cpu,
                "fixed": fixed,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
                "level": curve.verdict.level,
                "runs": sum(len(a.quality) for a in arms),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES, help="table sizes")
    asked = parser.parse_args()
    if asked.here:
        measure_here(asked.here)
        return
    seconds = "".join(f" {name:>8}" for name in ("read s", "cut s", "gain s", "total s", "CPU s"))
    print(f"{'format':8} {'rows':>9}{seconds} {'peak MiB':>9}  us per row")
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "tiny.csv", 800)
        for suffix in (".csv", ".parquet"):
            per_row = []
            for rows in asked.rows:
                path = Path(folder) / f"runs-{rows}{suffix}"
                write_table(path, rows)
                command = [sys.executable, __file__, "--here", str(path)]
                got = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                per_row.append(max(got["cpu"] - got["fixed"], 0.0) / rows * 1e6)
                print(
                    f"{suffix[1:]:8} {rows:9,} {got['read']:8.2f} {got['cut']:8.2f} {got['gain']:8.2f}"
                    f" {got['total']:8.2f} {got['cpu']:8.2f} {got['peak']:9,.0f}  {per_row[-1]:.2f}"
                    f"  ({got['runs']:,} compared, {got['level']})"
                )
                path.unlink()
            ratios = " : ".join(f"{p / per_row[-1]:.2f}" for p in per_row)
            print(f"{suffix[1:]:8} CPU per row beyond the fixed cost, relative to the largest: {ratios}")


if __name__ == "__main__":
    main()

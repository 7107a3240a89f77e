"""Do the intervals of a fitted law cover? Known laws, fitted again and again, written to docs/uncertainty.md.

command:   python benchmarks/uncertainty.py                                   (two processes; about 15 minutes)
quick:     python benchmarks/uncertainty.py --replicates 60 --no-page         (two minutes)
expected:  wild and parametric cover 92-97%, pairs far less below 20 clusters

Power laws with a floor on one ladder of four decades, and Chinchilla's law on a square of sizes and tokens; noise of
0.4% of the loss, one, two or three seeds a setting. A decade out is ten times the largest column of a power law, and
ten times the compute (root 10 in each column) for Chinchilla's.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
from pathlib import Path

# each process computes on one thread; must be set before NumPy is loaded
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

from isoloss.laws import fit  # noqa: E402
from isoloss.laws.parameter_profile import profile  # noqa: E402

PAGE = Path(__file__).resolve().parent.parent / "docs" / "uncertainty.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
NOISE = 0.004
TRUTH = {
    "power-floor": {"E": 1.8, "alpha": 0.15},
    "chinchilla": {"E": 1.8, "alpha": 0.35, "beta": 0.37},
}
SEEDS = {6: 1, 10: 1, 20: 2, 60: 3}
SCHEMES = ("pairs", "wild", "parametric", "profile")
HEAD = (
    "law",
    "runs (settings x seeds)",
    "scheme",
    "floor",
    "exponents",
    "mean inside",
    "one decade out",
    "new run inside",
)


def loss(law: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    if law == "power-floor":
        return 1.8 + 1.5 * (columns["C"] / 1e17) ** -0.15
    return 1.8 + 480 * columns["N"] ** -0.35 + 2000 * columns["D"] ** -0.37


def design(law: str, settings: int, seeds: int) -> dict[str, np.ndarray]:
    if law == "power-floor":
        return {"C": np.repeat(np.geomspace(1e16, 1e20, settings), seeds)}
    side = int(np.ceil(np.sqrt(settings)))
    sizes, ratio = np.meshgrid(np.geomspace(5e7, 5e9, side), np.geomspace(4, 200, side))
    keep = np.arange(settings) * (side + 1) % side**2  # diagonals: every size and every ratio
    n = sizes.ravel()[keep]
    return {"N": np.repeat(n, seeds), "D": np.repeat(n * ratio.ravel()[keep], seeds)}


def cell(law: str, runs: int, scheme: str, replicates: int, draws: int) -> list[str] | None:
    """One row of the table, or None where the scheme has no meaning."""
    seeds = max(SEEDS[runs], 2) if scheme == "parametric" else SEEDS[runs]
    settings = runs // seeds
    if settings < (4 if law == "power-floor" else 6) or (scheme == "profile" and law != "power-floor"):
        return None
    columns = design(law, settings, seeds)
    true = loss(law, columns)
    places = {k: np.array([np.exp(np.log(v).mean()), v.max() * 10 ** (1 / len(columns))]) for k, v in columns.items()}
    expected = loss(law, places)
    hits: dict[str, list[bool]] = {k: [] for k in HEAD[3:]}
    rng = np.random.default_rng([runs, len(law)])
    for r in range(replicates):
        y = true * np.exp(NOISE * rng.standard_normal(len(true)))
        new = expected[0] * np.exp(NOISE * rng.standard_normal())
        if scheme == "profile":
            for name, value in TRUTH[law].items():
                low, high = profile(law, columns, y, name, objective="squared-log").interval()
                hits["floor" if name == "E" else "exponents"].append(low <= value <= high)
            continue
        found = fit(law, columns, y, bootstrap=draws, resample=scheme, objective="squared-log", held_out=0, seed=r)
        for name, value in TRUTH[law].items():
            low, high = found.interval(name)
            hits["floor" if name == "E" else "exponents"].append(low <= value <= high)
        ends = found.predict_interval(places)
        hits["mean inside"].append(bool(ends[0][0] <= expected[0] <= ends[1][0]))
        hits["one decade out"].append(bool(ends[0][1] <= expected[1] <= ends[1][1]))
        ends = found.predict_interval(places, kind="new-run")
        hits["new run inside"].append(bool(ends[0][0] <= new <= ends[1][0]))
    shares = [f"{100 * np.mean(v):.1f}" if v else "–" for v in hits.values()]
    return [law, f"{runs} ({settings} x {seeds})", scheme, *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    args = parser.parse_args()
    cells = [(law, runs, scheme) for law in TRUTH for runs in SEEDS for scheme in SCHEMES]
    with concurrent.futures.ProcessPoolExecutor(args.workers) as pool:
        jobs = [pool.submit(cell, *c, args.replicates, args.draws) for c in cells]
        rows = []
        for job in jobs:
            row = job.result()
            if row is not None:
                rows.append(row)
                print(" | ".join(row), flush=True)
    table = "\n".join("| " + " | ".join(r) + " |" for r in [list(HEAD), ["---"] * len(HEAD), *rows])
    said = (
        f"`python benchmarks/uncertainty.py --replicates {args.replicates} --draws {args.draws}`: share (%) of 95% "
        f"intervals that hold the truth;\nstandard error {100 * np.sqrt(0.95 * 0.05 / args.replicates):.1f} at 95%, "
        "less where two exponents are counted together."
    )
    if args.no_page:
        print(f"\n{table}", file=sys.stderr)
        return
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{said}\n\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()

"""Do the intervals of `isoloss isoflop` cover? Synthetic sweeps whose optimum is known, again and again.

    python benchmarks/isoflop_coverage.py --labs 200

Cost: about a minute and a half for 200 laboratories on one idle core. Expected: 0.91 to 1.00 everywhere but in N* by a
parabola on a wide skew profile, where the parabola is wrong and not its interval. Prints one line a design: the share
of 95% intervals that hold the exponent of N and N* at the largest budget, the median width of the first, and the mean
error of both.
"""

from __future__ import annotations

import argparse

import numpy as np

from isoloss.errors import TableError
from isoloss.laws.frontier_law import frontier_law
from isoloss.laws.isoflop import fit_isoflop

EVEN = {"E": 1.8, "A": 400.0, "B": 1000.0, "alpha": 0.33, "beta": 0.33}
SKEW = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
SD = 0.004  # of a run's loss, in nats
DESIGNS = [
    # law, budgets, sizes, half width of the sweep in N, shape, scatter of ln N* between budgets, width kept
    *((EVEN, budgets, 7, 6.0, "parabola", scatter, None) for scatter in (0.0, 0.12) for budgets in (3, 5, 8)),
    (SKEW, 5, 7, 4.0, "parabola", 0.0, None),
    (SKEW, 5, 7, 16.0, "parabola", 0.0, None),
    (SKEW, 5, 15, 32.0, "parabola", 0.0, 4.0),
    (SKEW, 5, 9, 4.0, "cubic", 0.0, None),
    (SKEW, 5, 9, 16.0, "cubic", 0.0, None),
    (SKEW, 5, 9, 8.0, "akima", 0.0, None),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labs", type=int, default=200)
    labs = parser.parse_args().labs
    print("alpha,beta budgets sizes half shape scatter kept | exponent N*(top) | width | error of exponent, ln N*")
    for law, budgets, sizes, half, shape, scatter, width in DESIGNS:
        truth = frontier_law(law)
        c = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
        a, top = float(truth.exponent_n[0]), float(truth.n(1e21)[0, 0])
        hits, found, refused = np.zeros(2), [], 0
        for lab in range(labs):
            rng = np.random.default_rng([lab, 7])
            move = np.repeat(np.exp(scatter * rng.standard_normal(budgets)), sizes)
            n = truth.n(c)[0] * np.tile(np.geomspace(1 / half, half, sizes), budgets)
            loss = truth.loss_at(n * move, c / 6 / (n * move))[0] + SD * rng.standard_normal(len(c))
            try:
                fitted = fit_isoflop(c, n, c / 6 / n, loss, shape=shape, width=width, bootstrap=600, seed=lab)
            except TableError:
                refused += 1
                continue
            low, high = fitted.n_line.interval()
            ends = np.quantile(fitted.n_line.draws_at(1e21), [0.025, 0.975])
            hits += [low <= a <= high, ends[0] <= top <= ends[1]]
            found.append((high - low, fitted.n_line.exponent - a, float(np.log(fitted.n_line.at(1e21) / top))))
        share, (_, error, shift) = hits / max(1, labs - refused), np.mean(found, axis=0)
        design = f"{law['alpha']},{law['beta']} {budgets} {sizes} {half:g} {shape} {scatter:g} {width or 'all'}"
        spread = np.median([f[0] for f in found])
        print(
            f"{design} | {share[0]:.3f} {share[1]:.3f} | {spread:.3f} | {error:+.4f} {shift:+.3f} | refused {refused}"
        )


if __name__ == "__main__":
    main()

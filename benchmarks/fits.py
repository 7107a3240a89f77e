"""How long do law fits take? Ours against the published recipe and against the fastest peer, side by side in one run.

command:   python benchmarks/fits.py          (a minute; --table PATH where there is no network)
full:      python benchmarks/fits.py --full   (every start and resample by the published recipe; ten minutes)
needs:     pip install ".[bench]" (autograd); for the peer, pip install simple-scaling-laws (it asks for Python 3.12)
expected:  4,000 Huber refits and a 4,500-start search >= 100 times faster than the published recipe at objectives
           that are nowhere higher; per draw >= 10 times faster than the peer; 10,000 gain curves of two arms < 5 s

The table is the 240 points of Hoffmann et al. (2022) that Besiroglu et al. (2024) read off a figure
(`isoloss fetch besiroglu`). The published recipe is written here from its description: BFGS on the
log-sum-exp form, Huber's loss with delta 1e-3 on ln L summed over rows, gradients by autograd, 4,500 grid starts
for the point fit and one start, the optimum, for each bootstrap refit. Its time is measured on some of the starts and
resamples and scaled up unless --full is given.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

from isoloss.evidence.fetch import fetch
from isoloss.gains import compare
from isoloss.gains.phantoms import budgets_of, phantom
from isoloss.laws import fit
from isoloss.laws.descend import Problem, find_objective
from isoloss.laws.optimum import refits, scaled, search
from isoloss.laws.registry import find_law

RESAMPLES, DELTA = 4000, 1e-3
FEW, MANY = 100, 4000  # draws of the two calls from whose difference the time per draw is read


def chinchilla_points(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N, D = C / 6N and the loss of the 240 points: the five highest losses are dropped, as published."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    n, c, loss = (np.array([float(r[k]) for r in rows]) for k in ("Model Size", "Training FLOP", "loss"))
    keep = np.argsort(loss)[:-5]
    return n[keep], c[keep] / (6 * n[keep]), loss[keep]


class Published:
    """The published recipe: one BFGS at a time on (a, b, e, alpha, beta)."""

    def __init__(self, n: np.ndarray, d: np.ndarray, loss: np.ndarray) -> None:
        import autograd.numpy as anp
        from autograd import grad

        log_n, log_d, log_l = np.log(n), np.log(d), np.log(loss)

        def value(theta: Any, weight: Any) -> Any:
            a, b, e, alpha, beta = theta
            terms = anp.stack([a - alpha * log_n, b - beta * log_d, e + 0 * log_n])
            top = anp.max(terms, axis=0)
            r = log_l - (top + anp.log(anp.sum(anp.exp(terms - top), axis=0)))
            size = anp.abs(r)
            return anp.sum(weight * anp.where(size <= DELTA, 0.5 * r**2, DELTA * (size - 0.5 * DELTA)))

        self.value, self.slope = value, grad(value)

    def minimise(self, start: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
        found = optimize.minimize(self.value, start, args=(weight,), jac=self.slope, method="BFGS")
        return found.x, float(found.fun)

    @staticmethod
    def starts() -> np.ndarray:
        grid = (np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), *[np.arange(0, 2.5, 0.5)] * 2)
        return np.array(list(itertools.product(*grid)))


def against_published(n: np.ndarray, d: np.ndarray, loss: np.ndarray, full: bool) -> float:
    """Print and return the ratio of times for the search and all the refits."""
    law = find_law("chinchilla")
    columns, units = scaled(law, {"N": n, "D": d}, loss)
    rows = len(loss)
    weight = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(float)
    goal = find_objective("huber-log", DELTA)
    began = time.perf_counter()
    problem = Problem(law, law.prepare(columns), (loss / units.loss)[None], np.ones((1, rows)), goal)
    optimum, facts = search(problem)
    theta = refits(problem, optimum, weight, None, RESAMPLES)
    took = time.perf_counter() - began
    print(f"ours: {facts['starts']} starts and {RESAMPLES} refits in {took:.2f} s")
    print(f"ours: objective {facts['misfit']:.9e}, starts agreeing {facts['starts_agreeing']} of "
          f"{facts['starts_polished']}")  # fmt: skip

    recipe, rng = Published(n, d, loss), np.random.default_rng(0)
    starts = recipe.starts()
    tried = starts if full else starts[rng.choice(len(starts), 45, replace=False)]
    began, found = time.perf_counter(), []
    with np.errstate(all="ignore"):
        found = [recipe.minimise(s, np.ones(rows)) for s in _shown(tried, "starts of the published recipe")]
    search_time = (time.perf_counter() - began) * len(starts) / len(tried)
    best = min(found, key=lambda f: f[1] if np.isfinite(f[1]) else np.inf)
    print(f"published: {len(tried)} of {len(starts)} starts, best objective {best[1]:.9e}; {search_time:.0f} s for all")

    copies = Problem(law, problem.data, problem.y, weight, goal)
    mine = np.concatenate(
        [copies.part(k).state(theta[k], copies.target())[2] for k in np.array_split(np.arange(RESAMPLES), 8)]
    )
    some = np.arange(RESAMPLES) if full else np.arange(0, RESAMPLES, 40)
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        theirs = np.array([recipe.minimise(best[0], weight[k])[1] for k in _shown(some, "published refits")])
    refit_time = (time.perf_counter() - began) * RESAMPLES / len(some)
    worse = mine[some] > theirs * (1 + 1e-9)
    most = np.max(mine[some] / theirs - 1)
    print(f"published: {len(some)} of {RESAMPLES} refits; {refit_time:.0f} s for all")
    print(f"objective: ours is higher on {worse.sum()} of {len(some)} resamples (at most {max(most, 0):.1e} relative), "
          f"lower by more than 1e-6 on {np.mean(mine[some] < theirs * (1 - 1e-6)):.0%}")  # fmt: skip
    ratio = (search_time + refit_time) / took
    print(f"published recipe / ours: {ratio:.0f} times (bar: 100)")
    return ratio


def against_peer(n: np.ndarray, d: np.ndarray, loss: np.ndarray) -> None:
    """Squared error and wild draws of whole runs, by simple-scaling-laws and by us: whole calls, and time per draw."""

    def ours(draws: int) -> None:
        fit("chinchilla", {"N": n, "D": d}, loss, bootstrap=draws, objective="squared", resample="wild")

    mine = _two_sizes(ours)
    print(f"ours: squared error, search and {MANY} wild draws in {mine[1]:.2f} s; {_per_draw(mine):.3f} ms a draw")
    try:
        import polars as pl
        from simple_scaling_laws import fit as peer_fit
    except ImportError:
        print("simple-scaling-laws is not installed (it asks for Python 3.12): no ratio")
        return
    frame = pl.DataFrame(
        {
            "training_run_id": [f"r{i}" for i in range(len(n))],
            "train_set_id": "t",
            "test_set_id": "v",
            "optimizer_seed": list(range(len(n))),
            "model_size__n": n,
            "dataset_size__d": d,
            "test_loss__ce": loss,
        }
    )
    peer = _two_sizes(lambda draws: peer_fit(frame, law="separable-power", n_draws=draws, seed=0))
    print(f"simple-scaling-laws: fit and {MANY} draws in {peer[1]:.2f} s; {_per_draw(peer):.3f} ms a draw")
    print(f"peer / ours: {peer[1] / mine[1]:.0f} times for the call, {_per_draw(peer) / _per_draw(mine):.0f} times "
          "per draw (bar: 10)")  # fmt: skip


def _two_sizes(call: Callable[[int], Any]) -> tuple[float, float]:
    """Seconds for FEW and for MANY draws, the better of three."""
    took = []
    for draws in (FEW, MANY):
        times = []
        for _ in range(3):
            began = time.perf_counter()
            call(draws)
            times.append(time.perf_counter() - began)
        took.append(min(times))
    return took[0], took[1]


def _per_draw(took: tuple[float, float]) -> float:
    return 1e3 * (took[1] - took[0]) / (MANY - FEW)


def gain_curves() -> None:
    """10,000 joint gain curves of two arms."""
    arms = phantom("growing").runs(budgets_of(6), 3, np.random.default_rng(0))
    began = time.perf_counter()
    compare(*arms, resource="train_flops", quality="loss", at=[1e18], draws=10_000)
    print(f"10000 joint gain curves of two arms: {time.perf_counter() - began:.2f} s (bar: 5)")


def _shown(items: Any, what: str) -> Any:
    for k, item in enumerate(items):
        if sys.stderr.isatty():
            print(f"\r{what}: {k + 1}/{len(items)} ", end="", file=sys.stderr)
        yield item
    if sys.stderr.isatty():
        print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="svg_extracted_data.csv; default: what isoloss fetch brings")
    parser.add_argument("--full", action="store_true", help="run every start and resample of the published recipe")
    asked = parser.parse_args()
    points = chinchilla_points(asked.table or fetch("besiroglu").folder / "svg_extracted_data.csv")
    fit("power", {"C": points[0]}, points[2], bootstrap=10)  # load what is loaded lazily
    against_published(*points, asked.full)
    against_peer(*points)
    gain_curves()


if __name__ == "__main__":
    main()

"""Model 7 of Ho et al. 2024 (arXiv 2403.05812), refitted to a table of published perplexities that you have.

``L = exp(a + a_b - alpha_year Y - alpha_param ln N) + exp(b + b_b - beta_year Y - beta_data ln D)``

in nats, with Y the year, N parameters and D training tokens, each about its mean, and ``a_b``, ``b_b`` dummies of the
benchmark. As published: squared error of L plus an L1 penalty of 0.0025 on every coefficient but the two intercepts
(here ``sqrt(x^2 + 1e-8)``, so that it has a derivative). Intervals draw whole papers with replacement. Their data are
on a sheet that can't be pinned, so none come with isoloss.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize

from isoloss.errors import TableError
from isoloss.ledger.columns import listed, plain_name
from isoloss.ledger.external import numeric, read_frame
from isoloss.origin.neighbours import ho_rate
from isoloss.origin.spread import Neighbour

Array = NDArray[np.float64]
PENALTY = 0.0025
DRAWS = 100
FEWEST = 20  # evaluations for a model of six slopes and intercepts
_NAMES = {
    "perplexity": ("perplexity", "ppl"),
    "loss": ("loss", "nll", "log_perplexity", "cross_entropy"),
    "year": ("year", "publication_year", "date", "publication_date"),
    "parameters": ("parameters", "params", "n", "param"),
    "tokens": ("tokens", "dataset", "dataset_size", "training_tokens", "d"),
    "benchmark": ("benchmark", "corpus", "eval"),
    "paper": ("paper", "reference", "publication", "system"),
}


def refit(path: str | os.PathLike[str], draws: int = DRAWS, seed: int = 0) -> Neighbour:
    """The yearly factor of effective compute in the table at `path`, with a 95% interval over papers.

    Columns: perplexity (or loss in nats), year (decimals welcome), parameters, tokens, and if known benchmark and
    paper. Raises TableError naming what is missing.
    """
    path = Path(path)
    frame = read_frame(path)
    plain = {plain_name(c): c for c in reversed(frame.columns)}
    found = {role: next((plain[g] for g in names if g in plain), None) for role, names in _NAMES.items()}
    for role in ("year", "parameters", "tokens"):
        if found[role] is None:
            raise TableError(f"--ho {path}", f"no column looks like {role}", f"columns: {listed(frame.columns)}")
    score = found["loss"] or found["perplexity"]
    if score is None:
        raise TableError(
            f"--ho {path}", "no column looks like a perplexity or a loss", f"columns: {listed(frame.columns)}"
        )
    loss = numeric(path, frame, score)
    loss = loss if found["loss"] else np.log(loss)
    x = np.stack([numeric(path, frame, str(found[role])) for role in ("year", "parameters", "tokens")])
    keep = np.isfinite(loss) & (loss > 0) & np.all(np.isfinite(x), axis=0) & np.all(x > 0, axis=0)
    if keep.sum() < FEWEST:
        raise TableError(f"--ho {path}", f"{keep.sum()} usable rows", f"model 7 needs at least {FEWEST}")
    year, n, d = x[0, keep], np.log(x[1, keep]), np.log(x[2, keep])
    predictors = np.stack([v - v.mean() for v in (year, n, d)])
    if predictors.std(axis=1).min() < 1e-6 or abs(np.corrcoef(n, d)[0, 1]) > 0.999:
        raise TableError(f"--ho {path}", "years, parameters or tokens do not vary apart", "model 7 can't be told")
    bench = _codes(frame, found["benchmark"], keep)
    paper = _codes(frame, found["paper"], keep) if found["paper"] else np.arange(int(keep.sum()))
    weight = np.ones(len(bench))
    best = _fit(predictors, loss[keep], bench, weight, None)
    rng = np.random.default_rng(seed)
    papers = int(paper.max()) + 1
    rates = []
    for _ in range(draws):
        count = rng.multinomial(papers, np.full(papers, 1 / papers)).astype(float)[paper]
        rates.append(_rate(_fit(predictors, loss[keep], bench, count, best)))
    rate = _rate(best)
    if not np.isfinite(rate):
        raise TableError(f"--ho {path}", "neither parameters nor tokens lower the loss", "check the columns")
    low, high = np.nanquantile(rates, [0.025, 0.975])
    span = float(year.max() - year.min())
    said = (
        f"{len(bench)} evaluations of {papers} papers on {int(bench.max()) + 1} benchmark(s), {draws} draws of papers."
    )
    return Neighbour(
        "Ho et al. 2024, refitted", f"effective compute, model 7 on {path.name}",
        f"{year.min():.0f} to {year.max():.0f}", float(np.exp(rate * span)), float(np.exp(rate)),
        12 * float(np.log(2)) / rate if rate > 0 else None, (float(np.exp(low)), float(np.exp(high))),
        "arXiv 2403.05812", "refitted", said,
    )  # fmt: skip


def _codes(frame: pl.DataFrame, column: str | None, keep: NDArray[np.bool_]) -> NDArray[np.intp]:
    if column is None:
        return np.zeros(int(keep.sum()), np.intp)
    return np.unique(frame[column].cast(pl.String).fill_null("").to_numpy()[keep], return_inverse=True)[1]


def _fit(x: Array, loss: Array, bench: NDArray[np.intp], weight: Array, start: Array | None) -> Array:
    """Coefficients ``(a, b, alpha_year, alpha_param, beta_year, beta_data, a_b.., b_b..)`` (6 + 2 (K - 1),)."""
    dummy = (bench[:, None] == np.arange(1, int(bench.max()) + 1)).astype(float).T  # (K - 1, R)
    one, none = np.ones((1, len(loss))), np.zeros((1, len(loss)))
    gap = np.zeros_like(dummy)
    first = np.concatenate([one, none, -x[:1], -x[1:2], none, none, dummy, gap])
    second = np.concatenate([none, one, none, none, -x[:1], -x[2:], gap, dummy])
    total = weight.sum()

    def objective(theta: Array) -> tuple[float, Array]:
        u, v = np.exp(np.clip(theta @ first, -50, 20)), np.exp(np.clip(theta @ second, -50, 20))
        miss = u + v - loss
        size = np.sqrt(theta[2:] ** 2 + 1e-8)
        slope = (2 * weight * miss / total) @ (u * first + v * second).T
        slope[2:] += PENALTY * theta[2:] / size
        return float(weight @ miss**2 / total + PENALTY * size.sum()), slope

    level = float(np.log(np.mean(loss) / 2))
    guesses = [start] if start is not None else [
        np.r_[level, level, ay, 0.05, by, 0.05, np.zeros(2 * len(dummy))] for ay in (0.0, 0.04) for by in (0.0, 0.04)
    ]  # fmt: skip
    found = [optimize.minimize(objective, g, jac=True, method="L-BFGS-B", options={"maxiter": 2000}) for g in guesses]
    return np.asarray(min(found, key=lambda f: f.fun).x)


def _rate(theta: Array) -> float:
    """Log growth a year; a slope in N or D that the penalty took to nothing leaves the rate to the other term."""
    parts = [(theta[2], theta[3]), (theta[4], theta[5])]
    kept = [(year, size) for year, size in parts if size > 1e-3]
    if not kept:
        return float("nan")
    if len(kept) == 2:
        return ho_rate(*kept[0], *kept[1])
    return float(kept[0][0] / kept[0][1])

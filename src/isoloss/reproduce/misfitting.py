"""Li et al. 2025: one set of language models, and what its compute-optimal exponent turns on."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from isoloss.errors import TableError
from isoloss.laws.fit import fit
from isoloss.laws.isoflop import fit_isoflop
from isoloss.reproduce.table import Cell, Reproduction, Row, Sheet, ours_only, published, quantiles, read

NAME = "misfitting"
DRAWS = 400
_COLUMNS = ("loss", "N", "N_no_emb", "D", "C", "portion_steps_elapsed", "model", "peak_lr", "train_tokens")


def best_rate(frame: pl.DataFrame) -> pl.DataFrame:
    """The learning rate with the lowest loss at each size and token count."""
    return frame.sort("loss").group_by("model", "D", maintain_order=True).first()


def choices(folder: Path) -> dict[str, tuple[pl.DataFrame, dict[str, str]]]:
    """Rows, and options of the fit, per specification; the first is ours."""
    last = read(folder, "scaling_results_last_ckpt_only.csv", _COLUMNS, NAME)
    logged = read(folder, "scaling_results.csv", _COLUMNS, NAME)
    late = logged.filter(pl.col("portion_steps_elapsed") >= 0.1)
    best = best_rate(last)
    return {
        "end-points, best learning rate": (best, {}),
        "end-points, every learning rate": (last, {}),
        "one learning rate, 0.001": (best_rate(last.filter(pl.col("peak_lr") == 0.001)), {}),
        "one learning rate, 0.002": (best_rate(last.filter(pl.col("peak_lr") == 0.002)), {}),
        "one learning rate, 0.004": (best_rate(last.filter(pl.col("peak_lr") == 0.004)), {}),
        "checkpoints from a tenth of each run on": (best_rate(late), {}),
        "parameters without embeddings": (best, {"N": "N_no_emb"}),
        "squared error": (best, {"objective": "squared"}),
        "squared error of ln L": (best, {"objective": "squared-log"}),
        "Huber's loss of L": (best, {"objective": "huber"}),
    }


def reproduce(folder: Path) -> Reproduction:
    """The exponent ``a = beta / (alpha + beta)`` of N* under ten specifications, with intervals.

    Source: arXiv 2502.18969, section 4 (choices), of which it prints no single number.
    """
    rows: list[Row] = []
    cells: list[tuple[Cell, ...]] = []
    shares: dict[str, float] = {}
    for label, (frame, options) in choices(folder).items():
        N, D = frame[options.get("N", "N")].cast(float).to_numpy(), frame["D"].cast(float).to_numpy()
        law = fit(
            "chinchilla", {"N": N, "D": D}, frame["loss"].to_numpy(),
            bootstrap=DRAWS, objective=options.get("objective"), clusters=_runs(frame),
        )  # fmt: skip
        share = law.params["beta"] / (law.params["alpha"] + law.params["beta"])
        shares[label] = share
        ends = quantiles(law.draws["beta"] / (law.draws["alpha"] + law.draws["beta"]))
        bound = ", ".join(law.diagnostics["parameters_at_bound"])
        rows.append(ours_only(f"exponent of N*: {label}", share, ends, bound and f"{bound} at its bound"))
        cells.append((label, frame.height, *(law.params[p] for p in ("E", "A", "B", "alpha", "beta"))))
    best = next(iter(choices(folder).values()))[0]
    try:
        free = fit_isoflop(*(best[c].cast(float).to_numpy() for c in ("C", "N", "D", "loss")), bootstrap=DRAWS)
        rows.append(ours_only("exponent of N*: approach 2, end-points", free.n_line.exponent, free.n_line.interval()))
    except TableError as error:
        rows.append(ours_only("exponent of N*: approach 2, end-points", None, None, error.what))
    low, high = (f(shares, key=lambda k: shares[k]) for f in (min, max))
    about = published(NAME)
    widest = max(rows, key=lambda r: r.interval[1] - r.interval[0] if r.interval else 0.0)
    assert widest.interval is not None
    tuned, fixed = shares["end-points, best learning rate"], shares["one learning rate, 0.002"]
    findings = (
        f"The same models give an exponent of {shares[low]:.2f} ({low}) to {shares[high]:.2f} ({high}); the widest "
        "interval "
        f"within one choice runs from {widest.interval[0]:.2f} to {widest.interval[1]:.2f}. Which choice was made is "
        "as "
        "much of the answer as the data.",
        f"Taking the best learning rate of each cell gives {tuned:.2f}, one rate for all {fixed:.2f}: the best of a "
        "few noisy "
        "runs is a minimum, and cells differ in how many rates they tried.",
    )
    return Reproduction(
        NAME, about["title"], about["paper"], about["claim"],
        f"Huber's loss (0.001) of ln L unless said otherwise; {DRAWS:,} refits, whole runs resampled.",
        tuple(rows),
        (Sheet("Parameters", ("specification", "rows", "E", "A", "B", "alpha", "beta"), tuple(cells)),),
        findings,
    )  # fmt: skip


def _runs(frame: pl.DataFrame) -> list[str]:
    """The training run behind each row: checkpoints of one run are resampled together."""
    return [" ".join(map(str, r)) for r in frame.select("model", "train_tokens", "peak_lr").iter_rows()]

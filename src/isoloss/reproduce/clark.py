"""Clark et al. 2022: the law of routed language models, per router."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from isoloss.laws.fit import fit
from isoloss.laws.fitted import FittedLaw
from isoloss.reproduce.table import Reproduction, Sheet, published, read, row

NAME = "clark"
ROUTERS = ("S-Base", "RL-R", "Hash")
PARAMETERS = ("a", "b", "c", "d", "E_start", "E_max")
_COLUMNS = ("hyper_id", "step", "router_type", "k", "routing_frequency", "seed", "num_experts", "dense_parameter_count")
DRAWS = 2000


def final_runs(folder: Path) -> pl.DataFrame:
    """Last logged row of each run that the law was fitted to: one expert a token, every second layer, seed 42."""
    frame = read(folder, "curves.csv.gz", (*_COLUMNS, "loss_validation"), NAME)
    last = frame.sort("step").group_by("hyper_id", maintain_order=True).last()
    return last.filter((pl.col("k") == 1) & (pl.col("routing_frequency") == 0.5) & (pl.col("seed") == 42))


def router_law(
    runs: pl.DataFrame, router: str, dense: bool = True, loss: str = "loss_validation", draws: int = 0
) -> FittedLaw:
    """The routed law of one router, with the dense models as one expert if `dense`."""
    mine = runs.filter(pl.col("router_type").is_in([router, "Dense"] if dense else [router]))
    mine = mine.filter(pl.col(loss).is_finite())
    columns = {"N": mine["dense_parameter_count"].to_numpy(), "experts": mine["num_experts"].cast(float).to_numpy()}
    return fit("routed", columns, mine[loss].to_numpy(), bootstrap=draws)


def reproduce(folder: Path) -> Reproduction:
    """``log10 L = a log10 N + b log10 Ê + c log10 N log10 Ê + d`` with saturation, squared error of ln L.

    Source: arXiv 2202.01169, equations 1 and 2, Table 3; rows as the authors' notebook chooses them.
    """
    runs = final_runs(folder)
    rows, sheet, outside = [], [], []
    for router in ROUTERS:
        law = router_law(runs, router, draws=DRAWS)
        for name in PARAMETERS:
            found = row(NAME, f"{router}-{name}", f"{router} {name}", law.params[name], law.interval(name))
            rows.append(found)
            if found.agrees == "no":
                outside.append(found.quantity)
        for label, dense, column in (
            ("as published: dense models as one expert", True, "loss_validation"),
            ("routed models only", False, "loss_validation"),
            ("loss on C4 instead", True, "loss_c4"),
            ("loss on the Pile instead", True, "loss_pile"),
        ):
            other = law if (dense, column) == (True, "loss_validation") else router_law(runs, router, dense, column)
            sheet.append((router, label, other.diagnostics["rows"], *(other.params[p] for p in PARAMETERS)))
    about = published(NAME)
    inside = sum(r.agrees != "no" for r in rows)
    findings = (
        f"{inside} of {len(rows)} published constants lie inside our intervals or agree to the digit"
        + (f"; outside: {', '.join(outside)}." if outside else "."),
        "The point estimates differ in the third digit: b, c, E_start and E_max trade against one another (a ridge "
        "that the "
        "intervals show), the authors' notebook stops 500 random starts of L-BFGS at its default tolerance on a mean "
        "of squares "
        "of about 1e-5, and Table 3 is rounded to three decimals.",
        "Runs are whole: the last logged step of each (249,000 of 250,000 as a rule), one run a cell, no repeats at "
        "seed 42.",
    )
    return Reproduction(
        NAME, about["title"], about["paper"], about["claim"],
        "The last logged step of every run with one expert a token (k = 1), routing in every second layer and seed "
        "42, dense "
        f"models counting as one expert; squared error of ln L; {DRAWS:,} refits.",
        tuple(rows),
        (Sheet("What the constants turn on", ("router", "rows taken", "runs", *PARAMETERS), tuple(sheet)),),
        findings,
        (
            "isoloss fit curves.csv.gz --law routed --parameters dense_parameter_count --column experts=num_experts "
            "--pool "
            "--quality loss_validation --where step=249000 --where k=1 --where routing_frequency=0.5 --where seed=42 "
            "--where router_type=Hash  # routed models only",
        ),
    )  # fmt: skip

"""Flags that several verbs have in common, and the words that an option may take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

StudyPath = Annotated[Path, typer.Argument(help="A study file (TOML).", show_default=False)]
LedgerFlag = Annotated[
    str | None,
    typer.Option("--ledger", help="The run database: a file, or a URL. Default: $ISOLOSS_LEDGER, else isoloss.sqlite."),
]
RunsPath = Annotated[
    Path,
    typer.Argument(
        help="Finished runs: CSV, Parquet, JSON lines, a ledger (a file, or postgresql://), a folder of curve CSVs, "
        "W&B, MLflow or TensorBoard runs.",
        show_default=False,
    ),
]
WhereFlag = Annotated[
    list[str] | None,
    typer.Option("--where", help="Keep rows with column=value (repeatable; * matches any text)."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON instead of text.")]
ToFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        help="Send runs to a tracker too: tensorboard:DIR, wandb:PROJECT, mlflow:URI or trackio:PROJECT (repeatable).",
    ),
]
StudyName = Annotated[
    str | None,
    typer.Argument(metavar="[STUDY]", help="A study file, or a study's name or id in the ledger.", show_default=False),
]
OutFlag = Annotated[Path, typer.Option("--out", help="Folder for reports; each study gets a folder in it.")]
ResultsFlag = Annotated[
    Path | None, typer.Option("--results", help="Folder of study cards (card.json). Default: results in this folder.")
]
WorkersFlag = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, help="Runs at a time, one thread each. Default: one a core.")
]
ResourceFlag = Annotated[str | None, typer.Option(help="Column of the resource that is scaled (FLOPs, tokens, ...).")]
QualityFlag = Annotated[str | None, typer.Option(help="Column of the quality reached (loss, error, ...).")]
ArmFlag = Annotated[str | None, typer.Option("--arm-column", help="Column that names the arm.")]
SeedFlag = Annotated[str | None, typer.Option("--seed-column", help="Column of seeds; equal seeds are paired.")]
RungFlag = Annotated[
    str | None, typer.Option("--rung-column", help="Column of planned budgets; default: grouped by resource.")
]
BestFlag = Annotated[
    float | None, typer.Option(help="Quality is a score (higher is better) with this best value: 1 for accuracy.")
]
BestOfFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--best-of", help="Column of a sweep: take the value with the best mean per arm and budget (repeatable)."
    ),
]
FloorFlag = Annotated[str, typer.Option("--floor", help="Irreducible quality: shared, free, or a number to pin it.")]
BaselineFlag = Annotated[str, typer.Option("--baseline", "-b", help="The arm to improve on.", show_default=False)]


class Kind(StrEnum):
    """What can be listed."""

    algorithms = "algorithms"
    choices = "choices"
    tasks = "tasks"
    laws = "laws"
    resources = "resources"
    studies = "studies"
    evidence = "evidence"
    engines = "engines"


class Composition(StrEnum):
    """Whose budget a gain is at, or the product as published."""

    as_published = "as-published"
    old = "old"
    new = "new"


class Points(StrEnum):
    """What becomes of logged points."""

    end = "end"
    all = "all"


class Target(StrEnum):
    """What is to be settled."""

    level = "level"
    trend = "trend"
    both = "both"


class Mode(StrEnum):
    """How two arms are compared."""

    curve = "curve"
    frontier = "frontier"
    exact = "exact"


class Shape(StrEnum):
    """The curve through an IsoFLOP profile."""

    parabola = "parabola"
    cubic = "cubic"
    akima = "akima"

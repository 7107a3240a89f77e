"""Anybody's runs: a CSV or Parquet file read into plain columns, with sensible guesses of what each means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import TableError, UnknownNameError
from isoloss.gains.arms import ArmRuns

#: Role -> column names that are taken for it without being told, best first (compared in lower case).
GUESSES: dict[str, tuple[str, ...]] = {
    "arm": ("arm", "algorithm", "method", "optimizer", "optimiser", "model", "model_name", "recipe", "variant", "name"),
    "resource": (
        "train_flops", "flops", "compute", "training_flops", "total_flops", "total_flops_profiler", "c",
        "examples", "samples", "n_examples", "labels", "tokens", "train_tokens", "steps", "seconds",
    ),
    "quality": (
        "quality", "test_loss", "val_loss", "validation_loss", "eval_loss", "loss", "final_loss", "bits_per_byte",
        "bpb", "nll", "perplexity", "test_error", "error", "err", "test", "validation",
    ),
    "seed": ("seed", "random_seed", "rng", "replicate", "trial_seed"),
    "rung": ("rung", "budget", "scale"),
    "cluster": ("cluster", "trunk", "parent"),
    "run_id": ("run_id", "run", "id"),
}  # fmt: skip
#: Words in a column's name that mean a score: better when higher, so it can't be compared as a loss.
SCORES = frozenset({"accuracy", "acc", "score", "f1", "auc", "auroc", "reward", "map", "bleu", "top1", "r2", "win"})
#: Runs of one arm whose resource differs by less than this ratio are one rung, where no column says.
SAME_RUNG = 1.05


@dataclass(frozen=True, eq=False)
class ExternalRuns:
    """A frame of runs, and which of its columns plays which role."""

    path: Path
    frame: pl.DataFrame
    roles: dict[str, str]

    def arms(self) -> list[str]:
        """Arm names in order of appearance."""
        return [str(a) for a in self.frame[self.roles["arm"]].unique(maintain_order=True)]

    def numbers(self, role: str) -> NDArray[np.float64]:
        """The column of `role` as floats; raises `TableError` naming the first cell that is not a number."""
        return numeric(self.path, self.frame, self.roles[role])


def read_frame(path: Path) -> pl.DataFrame:
    """The table in a .csv, .tsv or .parquet file. Raises `TableError` for a missing, empty or corrupt one."""
    if not path.exists():
        raise TableError(path, "no such file", "check the path")
    if path.is_dir():
        raise TableError(path, "is a folder", "name a CSV or Parquet file of runs, one row a run")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pl.read_parquet(path)
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            frame = pl.read_csv(path, separator=separator, infer_schema_length=None)
    except pl.exceptions.NoDataError:
        raise TableError(path, "the table is empty", "a run table has a header and one row a run") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise TableError(path, f"can't be read as a table: {str(error).splitlines()[0][:200]}", "is it CSV?") from None
    if frame.is_empty():
        raise TableError(path, "the table is empty", "a run table has a header and one row a run")
    return frame


def numeric(path: Path, frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    """A column as floats (nulls become NaN); raises `TableError` with the row of the first cell that is none."""
    series = frame[column]
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy().astype(np.float64)
    if series.dtype == pl.String:
        cast = series.str.strip_chars().cast(pl.Float64, strict=False)
        wrong = (cast.is_null() & series.is_not_null()).arg_true()
        if len(wrong) == 0:
            return cast.to_numpy().astype(np.float64)
        row = int(wrong[0])
        raise TableError(
            f"{path}: {column}", f"row {row + 1} is not a number ({str(series[row])[:40]!r})", "mend or drop it"
        )
    raise TableError(f"{path}: {column}", f"is a column of {series.dtype}, not of numbers", "name another column")


def read_runs(path: Path, **columns: str | None) -> ExternalRuns:
    """The runs in `path`; `columns` maps a role (arm, resource, quality, seed, rung, cluster) to a column name.

    A role not named is guessed from ``GUESSES``; arm, resource and quality must be found.
    """
    frame = read_frame(path)
    roles: dict[str, str] = {}
    lower = {c.strip().lower(): c for c in reversed(frame.columns)}
    for role, guesses in GUESSES.items():
        told = columns.get(role)
        if told is not None:
            if told not in frame.columns:
                raise TableError(path, f"has no column '{told}' for {role}", f"columns: {_listed(frame.columns)}")
            roles[role] = told
            continue
        taken = set(roles.values()) | {c for c in columns.values() if c}
        found = next((lower[g] for g in guesses if g in lower and lower[g] not in taken), None)
        if found is not None:
            roles[role] = found
        elif role in ("arm", "resource", "quality"):
            flag = {"arm": "--arm-column", "resource": "--resource", "quality": "--quality"}[role]
            raise TableError(
                path, f"no column looks like the {role}", f"name it with {flag}; columns: {_listed(frame.columns)}"
            )
    return ExternalRuns(path, frame, roles)


def rungs_of(resource: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rung index of each run from its resource alone: a rung holds all within ``SAME_RUNG`` times its least budget.

    >>> rungs_of(np.array([1e9, 3e9, 1.01e9, 3.02e9])).tolist()
    [0, 1, 0, 1]
    """
    rung = np.empty(len(resource), dtype=np.int64)
    index, first = -1, -np.inf
    for k in np.argsort(resource, kind="stable"):
        if resource[k] > SAME_RUNG * first or index < 0:
            index, first = index + 1, resource[k]
        rung[k] = index
    return rung


def external_arms(table: ExternalRuns, names: Sequence[str], best: float | None = None) -> list[ArmRuns]:
    """The runs of each arm in `names` as arrays, rungs numbered over all of them together.

    `best`: the best possible value of a quality that is better when higher; its distance from it is compared.
    Raises `UnknownNameError` for an absent arm, `TableError` for a cell that makes no sense.
    """
    labels = table.frame[table.roles["arm"]].cast(pl.String).fill_null("").to_numpy()
    for name in names:
        if name not in labels:
            raise UnknownNameError(f"{table.path}: {table.roles['arm']}", "arm", name, table.arms())
    rows = np.flatnonzero(np.isin(labels, names))
    resource, quality = table.numbers("resource")[rows], table.numbers("quality")[rows]
    _refuse(table, "resource", rows, ~(np.isfinite(resource) & (resource > 0)), "is not a positive amount")
    _refuse(
        table,
        "quality",
        rows,
        np.isnan(quality),
        "is no quality",
        "drop an unfinished run; write inf for a diverged one",
    )
    column = table.roles["quality"]
    if best is None and SCORES & set(re.split(r"[^a-z0-9]+", column.lower())):
        said = "looks like a score (better when higher), and a gain needs a loss or an error"
        raise TableError(f"{table.path}: {column}", said, "say --best 1 (or 100, ...), or name another with --quality")
    if best is not None:
        _refuse(
            table,
            "quality",
            rows,
            np.isfinite(quality) & (quality >= best),
            f"reaches the best value {best}",
            "see --best",
        )
        quality = np.where(np.isfinite(quality), best - quality, np.inf)
    _refuse(table, "quality", rows, quality <= 0, "is not positive", "a loss or an error; for a score see --best")
    rung = (
        np.unique(table.numbers("rung")[rows], return_inverse=True)[1] if "rung" in table.roles else rungs_of(resource)
    )
    alone = np.array([f"row {row + 1}" for row in rows])

    def text(role: str) -> NDArray[np.str_]:
        if role not in table.roles:
            return alone
        return table.frame[table.roles[role]].cast(pl.String).fill_null("").to_numpy()[rows].astype(np.str_)

    seed, cluster = text("seed"), text("cluster")
    if "seed" in table.roles:
        # a sweep's trials, or rows copied twice, would pass for independent seeds
        seen: set[tuple[str, float, str]] = set()
        again = np.zeros(len(rows), dtype=np.bool_)
        for k, key in enumerate(zip(labels[rows], resource.tolist(), seed, strict=True)):
            again[k] = key in seen
            seen.add(key)
        _refuse(
            table,
            "seed",
            rows,
            again,
            "repeats an arm, budget and seed",
            "keep one row a run, the chosen trial of a sweep",
        )
    found = []
    for name in names:
        mine = labels[rows] == name
        index = rung[mine].astype(np.int64)
        found.append(ArmRuns(name, resource[mine], quality[mine], index, seed[mine], cluster[mine]))
    return found


def _refuse(
    table: ExternalRuns,
    role: str,
    rows: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    what: str,
    remedy: str = "mend or drop that row",
) -> None:
    if wrong.any():
        row = int(rows[np.argmax(wrong)])
        value = table.frame[table.roles[role]][row]
        said = f"row {row + 1}: {'an empty cell' if value is None else str(value)[:40]} {what}"
        raise TableError(f"{table.path}: {table.roles[role]}", said, remedy)


def _listed(names: list[str]) -> str:
    shown = ", ".join(n[:30] for n in names[:12])
    return shown + (", ..." if len(names) > 12 else "")

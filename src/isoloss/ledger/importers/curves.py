"""A folder of curve CSVs, one file a run (the seed paper's layout): each run's end-point, or all its points."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic
from isoloss.ledger.importers import table

#: Columns that count along a run, best first (compared in lower case).
STEPS = ("step", "_step", "global_step", "iteration", "iter", "tokens", "epoch")
_SEED = re.compile(r"(?:^|(?<=[_\-.]))(?:seed|rep|s)[_\-]?(\d+)(?=$|[_\-.])", re.IGNORECASE)


def read(path: Path, points: str = "end") -> tuple[pl.DataFrame, Diagnostic | None]:
    """One row a run: the last row of each CSV below `path`, with columns arm, run, variant and (if named) seed.

    `arm` is the file's folder relative to `path` (the folder's own name where files lie directly in it), `run` the
    file's path without suffix, `seed` the number after ``seed`` or ``s`` in the file's name, and `variant` the name
    without it: two files of one arm and budget that differ in `variant` are no repeats. With `points` = ``all``, every
    logged row. A curve without a row is a run that never began: it is left out with a note.
    Raises `TableError` for a file that is no curve or whose steps fall.
    """
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in (".csv", ".tsv") and f.is_file())
    frames, empty = [], []
    for file in files:
        curve = table.read(file)
        if curve.is_empty():
            empty.append(file.relative_to(path).as_posix())
            continue
        lower = {c.strip().lower(): c for c in curve.columns}
        step = next((lower[s] for s in STEPS if s in lower), None)
        if step is None or not curve.schema[step].is_numeric():
            names = ", ".join(curve.columns[:8])
            raise TableError(
                file, f"is no curve: no column counts steps (has {names})",
                f"a folder holds one curve a run with a column {', '.join(STEPS[:4])}, ...; or name one file",
            )  # fmt: skip
        if not curve[step].drop_nulls().is_sorted():
            raise TableError(f"{file}: {step}", "falls along the file", "one run a file, in the order of its steps")
        frames.append(_named(curve if points == "all" else curve.tail(1), file, path))
    if not frames:
        raise TableError(path, "holds empty curves only", "name the folder of the runs")
    note = None
    if empty:
        said = f"Left out, because they hold no row: {', '.join(empty[:6])}{', ...' if len(empty) > 6 else ''}."
        note = Diagnostic("unfinished-runs", "warning", said, {"files": empty})
    return _numbers(pl.concat(frames, how="diagonal_relaxed")), note


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns that became text because one file holds none of their numbers, as numbers again."""
    texts = [c for c, t in frame.schema.items() if t == pl.String and c not in ("arm", "run", "variant", "seed")]
    cast = frame.select(pl.col(texts).cast(pl.Float64, strict=False))
    return frame.with_columns(cast[c] for c in texts if cast[c].null_count() == frame[c].null_count())


def _named(curve: pl.DataFrame, file: Path, root: Path) -> pl.DataFrame:
    folder = file.parent.relative_to(root).as_posix()
    found = _SEED.search(file.stem)
    variant = _SEED.sub("", file.stem).strip("_-.") if found else file.stem
    run = file.relative_to(root).with_suffix("").as_posix()
    named = {"arm": root.resolve().name if folder == "." else folder, "run": run, "variant": variant}
    if found:
        named["seed"] = found.group(1)
    return curve.select([pl.lit(v).alias(k) for k, v in named.items()] + [pl.exclude(list(named))])

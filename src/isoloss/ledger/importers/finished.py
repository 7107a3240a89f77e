"""Runs that did not finish: trackers record them beside the others, and their last quality is no end-point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic

#: Names of the column in which trackers keep a run's state (compared in lower case).
STATES = ("state", "status", "_state", "run_state", "run.state")
FINISHED = frozenset({"finished", "completed", "complete", "done", "success", "succeeded", "ok"})
#: A run that diverged is a result (a miss), so it stays.
DIVERGED = frozenset({"diverged", "nan", "exploded"})
UNFINISHED = frozenset({
    "crashed", "failed", "killed", "running", "pending", "preempted", "preempting", "queued", "scheduled", "canceled",
    "cancelled", "timeout", "stopped", "aborted", "error", "interrupted", "oom", "out_of_memory",
})  # fmt: skip


def drop_unfinished(path: Path, frame: pl.DataFrame, chosen: Sequence[str] = ()) -> tuple[pl.Series, Diagnostic | None]:
    """Which rows finished, and a note on those that did not (None where nothing is left out).

    A column counts as a run's state by its name and if it holds at least one word of the lists above. A word that is
    on no list is taken for unfinished where the column also says "finished". A column that a condition in `chosen`
    (``column=value``) names is left to the person who named it. Raises `TableError` if no run finished.
    """
    everything = pl.repeat(True, frame.height, eager=True)
    for column in frame.columns:
        if column.strip().lower() not in STATES or frame.schema[column] != pl.String:
            continue
        if any(c.startswith(column + "=") for c in chosen):
            continue
        words = frame[column].fill_null("").str.strip_chars().str.to_lowercase()
        seen = set(words.unique().to_list()) - {""}
        if not seen & (FINISHED | UNFINISHED):
            continue
        wanted = (FINISHED | DIVERGED) if seen & FINISHED else seen - UNFINISHED
        keep = words.is_in([*wanted, ""])
        if keep.all():
            continue
        left_out = dict(words.filter(~keep).value_counts(sort=True).iter_rows())
        listed = ", ".join(f"{n} {word}" for word, n in left_out.items())
        if not keep.any():
            raise TableError(
                f"{path}: {column}", f"no run finished ({listed})", f"if that is wrong say --where '{column}=*'"
            )
        n = int((~keep).sum())
        said = (
            f"{n} run{'s' if n > 1 else ''} left out: column '{column}' says {listed}. "
            "A run that diverged counts as a miss: give it the quality inf and the state finished."
        )
        return keep, Diagnostic("unfinished-runs", "warning", said, {"column": column, "left_out": left_out})
    return everything, None

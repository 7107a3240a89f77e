"""The run table: one row a run, the primary product of the ledger and the input of every analysis.

Columns (``SCHEMA``): identity (`run_id`, `study`, `arm`, `algorithm`, `task`), place in the design (`purpose` =
``tune`` | ``report``, `round`, `rung` = the planned budget of the ladder resource, `seed`, `cluster` = the unit
resampled whole), `status` (``finished`` | ``diverged`` | ``failed``), `choices` (JSON), `validation` and `test`
quality in the task's own unit and direction (null where not measured), then one nullable float column for each
entry of ``isoloss.runs.RESOURCES``.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from isoloss.runs import MACHINE_RESOURCES, RESOURCES

SCHEMA: dict[str, pl.DataType] = {
    "run_id": pl.String(),
    "study": pl.String(),
    "arm": pl.String(),
    "algorithm": pl.String(),
    "task": pl.String(),
    "purpose": pl.String(),
    "round": pl.Int64(),
    "rung": pl.Float64(),
    "seed": pl.Int64(),
    "cluster": pl.String(),
    "status": pl.String(),
    "choices": pl.String(),
    "validation": pl.Float64(),
    "test": pl.Float64(),
    **{name: pl.Float64() for name in RESOURCES},
}


@dataclass(frozen=True, eq=False)
class RunTable:
    """A `frame` with the columns of ``SCHEMA``, sorted by (arm order, purpose, rung, choices, seed)."""

    frame: pl.DataFrame

    @classmethod
    def empty(cls) -> RunTable:
        """A table of no runs."""
        return cls(pl.DataFrame(schema=SCHEMA))

    def reproducible(self) -> pl.DataFrame:
        """The columns that a repeat on the same machine gives bit for bit: all but what belongs to the machine."""
        return self.frame.drop(sorted(MACHINE_RESOURCES))

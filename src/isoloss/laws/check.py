"""Tables that a law can't be fitted to are refused before anything is computed, each in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Law

Array = NDArray[np.float64]
MIN_SPREAD = 0.05  # of ln of a column about its trend in the others: less is a tied column
FEWEST_SCALES = 3


def check_table(law: Law, columns: Mapping[str, Any], loss: Any) -> tuple[Law, dict[str, Array], Array]:
    """The law, its columns as finite positive floats, and the losses; raises TableError naming the column.

    A law in one column of any name takes the one that is given. Refused: columns that are missing, of unequal length,
    not positive, tied to one another, with fewer than three scales, or fewer different settings than parameters.
    """
    y = _positive("loss", loss, None)
    if np.ptp(y) <= 1e-12 * y.max():
        raise TableError("loss", "is the same in every row", "check the column: nothing can be fitted to it")
    names = law.columns
    if names == ("*",):
        if len(columns) != 1:
            raise TableError(
                "columns", f"law {law.name} takes one column, not {sorted(columns)}", "name the resource to fit"
            )
        names = (next(iter(columns)),)
    for name in names:
        if name not in columns:
            what = f"no column {name} among {sorted(columns)}"
            raise TableError("columns", what, f"law {law.name} needs {', '.join(names)}, one value per run")
    x = {name: _positive(name, columns[name], len(y)) for name in names}
    tied(x)
    logs = np.round(np.log(np.stack(list(x.values()))), 2)
    settings = len(np.unique(logs, axis=1).T)
    free = sum(p.low < p.high for p in law.parameters)
    for name, row in zip(names, logs, strict=True):
        scales = len(np.unique(row))
        needed = min(FEWEST_SCALES, free) if len(names) == 1 else FEWEST_SCALES
        if scales < needed and name not in law.may_repeat:
            raise TableError(name, f"takes {scales} distinct scale(s)", f"run at least {needed}")
    if settings < free:
        what = f"{settings} different settings can't determine the {free} parameters of {law.name}"
        raise TableError("columns", what, "run more of them, or fit a law with fewer parameters")
    return law, x, y


def tied(columns: Mapping[str, Array]) -> None:
    """Refuse columns of which one is a power of the others: only their common direction is identified."""
    if len(columns) < 2:
        return
    logs = {k: np.log(v) - np.log(v).mean() for k, v in columns.items()}
    for name, y in logs.items():
        others = np.stack([v for k, v in logs.items() if k != name], axis=1)
        off = y - others @ np.linalg.lstsq(others, y, rcond=None)[0]
        if np.sqrt(np.mean(off**2)) < MIN_SPREAD <= np.sqrt(np.mean(y**2)):
            rest = " and ".join(k for k in columns if k != name)
            what = f"{rest} and {name} are collinear in logs (a fixed ratio), so only L(C) is identified"
            raise TableError("columns", what, f"fit power-floor on one column, or vary {name} at fixed {rest}")


def _positive(name: str, values: Any, rows: int | None) -> Array:
    v = np.atleast_1d(np.asarray(values, float))
    if rows is not None and len(v) != rows:
        raise TableError(name, f"has {len(v)} values for {rows} rows", "give one per run")
    if len(v) == 0:
        raise TableError(name, "is empty", "check the table")
    bad = np.flatnonzero(~(np.isfinite(v) & (v > 0)))
    if bad.size:
        what = f"holds values that are not finite and positive (row {bad[0] + 1}: {v[bad[0]]:g})"
        raise TableError(name, what, "correct or remove those runs")
    return v

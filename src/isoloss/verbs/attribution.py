"""The verbs over many arms of anybody's run table: chain, attribute, rank."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.errors import TableError, located

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    import numpy as np
    from numpy.typing import NDArray

    from isoloss.gains.factorial import Attribution
    from isoloss.gains.function import ByBudget, GainFunction
    from isoloss.gains.ranking import Ranking
    from isoloss.gains.sequence import ArmSequence
    from isoloss.ledger.external import ExternalRuns

_ON = {"1", "1.0", "true", "on", "yes"}
_OFF = {"0", "0.0", "false", "off", "no"}
_SWITCHES = "isoloss.switches"


def chain(
    runs: str | os.PathLike[str],
    arms: Sequence[str],
    *,
    at: Sequence[float] = (),
    floor: str | float = "shared",
    budget_growth: float | None = None,
    resource: str | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    seed_column: str | None = None,
    rung_column: str | None = None,
    best: float | None = None,
    where: Sequence[str] = (),
    draws: int = 4000,
) -> ArmSequence:
    """A sequence of algorithms, oldest first: each step's gain, the whole, shares of the log, and each as reference.

    Gains are composed as functions, the budget carried over from step to step, under both indexes, at budgets `at` or
    at the ends of what is measured. `budget_growth`: the yearly factor of budgets, for rates a year. Columns are named
    or guessed as for `isoloss.gain`. Raises `TableError` in one line.
    """
    from isoloss.gains.sequence import sequence
    from isoloss.ledger.columns import label_of
    from isoloss.ledger.external import read_runs, select_arms

    if len(set(arms)) < len(arms):
        raise TableError("--arms", "an arm is named twice", "name each arm once, oldest first")
    table = read_runs(
        Path(runs), where=where, arms=arms, arm=arm_column, resource=resource, quality=quality, seed=seed_column,
        rung=rung_column,
    )  # fmt: skip
    found, notes = select_arms(table, arms, best)
    with located(table.path):
        told = sequence(
            found,
            resource=label_of(table.roles["resource"]),
            quality=label_of(table.roles["quality"]),
            at=at,
            floor=floor,
            draws=draws,
            budget_growth=budget_growth,
        )
    return replace(told, diagnostics=(*table.notes, *notes, *told.diagnostics))


def attribute(
    runs: str | os.PathLike[str],
    factors: Sequence[str],
    *,
    at_quality: float | None = None,
    at: float | None = None,
    order: int | None = None,
    resource: str | None = None,
    quality: str | None = None,
    seed_column: str | None = None,
    rung_column: str | None = None,
    best: float | None = None,
    where: Sequence[str] = (),
    draws: int = 4000,
) -> Attribution:
    """What each of several switches is worth, together and alone, from runs with a column for each switch.

    A factor is a column of 0 and 1 (or off/on, false/true, no/yes), or ``column=value``: on where the column has that
    value. Arms are the settings that occur: a full factorial, a fraction, add-one-in or leave-one-out. Compared at a
    quality (`at_quality`, as in the table) or a budget (`at`). Raises `TableError` in one line.
    """
    from isoloss.gains import factorial
    from isoloss.ledger.external import read_runs, select_arms

    columns = [f.partition("=")[0].strip() for f in factors]
    if not columns or not all(columns):
        raise TableError("--factors", "names no column", "e.g. --factors rope,swiglu or position=rotary")
    table = read_runs(
        Path(runs), where=where, arm=columns[0], resource=resource, quality=quality, seed=seed_column, rung=rung_column
    )
    table, switches, names = _settings(table, list(factors), columns)
    found, notes = select_arms(table, names, best)
    if at_quality is not None and best is not None:
        at_quality = best - at_quality
    told = factorial.attribute(
        found, switches, _labels(factors, columns), at_quality=at_quality, at=at, order=order, draws=draws
    )
    return replace(told, diagnostics=(*table.notes, *notes, *told.diagnostics))


def rank(
    runs: str | os.PathLike[str],
    baseline: str,
    candidates: Sequence[str] = (),
    *,
    at: float | None = None,
    resource: str | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    seed_column: str | None = None,
    rung_column: str | None = None,
    best: float | None = None,
    where: Sequence[str] = (),
    draws: int = 8000,
) -> Ranking:
    """Many candidates against one baseline (all other arms, if none are named), corrected for how many were tried.

    Gains at one baseline budget with their own and simultaneous intervals, p-values corrected by Holm and by
    Benjamini-Hochberg, and each gain shrunk to what is to be expected on trying again. Raises `TableError` in one line.
    """
    from isoloss.gains import ranking
    from isoloss.ledger.external import read_runs, select_arms

    table = read_runs(
        Path(runs), where=where, arms=(baseline, *candidates), arm=arm_column, resource=resource, quality=quality,
        seed=seed_column, rung=rung_column,
    )  # fmt: skip
    others = list(candidates) or [a for a in table.arms() if a not in (baseline, "", "None")]
    if baseline in others:
        raise TableError("--candidates", f"'{baseline}' is the baseline", "leave it out")
    found, notes = select_arms(table, [baseline, *others], best)
    with located(table.path):
        told = ranking.rank(found[0], found[1:], at=at, draws=draws)
    return replace(told, diagnostics=(*table.notes, *notes, *told.diagnostics))


def read_gain(
    path: str | os.PathLike[str], old: str, new: str, index: ByBudget, *, level: float = 0.95, draws: int = 2000
) -> GainFunction:
    """A published gain as a function, from a table with columns budget, gain and, if known, low and high.

    `index` says whose budget it is: of the `old` arm or the `new`; low and high are the ends of an interval of
    `level`. Raises `TableError` in one line.
    """
    from isoloss.gains.function import from_table
    from isoloss.ledger.external import numeric, read_frame

    path = Path(path)
    frame = read_frame(path)
    lower = {c.strip().lower(): c for c in reversed(frame.columns)}
    missing = [c for c in ("budget", "gain") if c not in lower]
    if missing:
        listed = ", ".join(frame.columns[:12])
        raise TableError(path, f"has no column '{missing[0]}'", f"columns: {listed}; wanted: budget, gain, low, high")
    if ("low" in lower) != ("high" in lower):
        raise TableError(path, "has one end of an interval only", "give both low and high, or neither")
    column = {c: numeric(path, frame, lower[c]) for c in ("budget", "gain", "low", "high") if c in lower}
    return from_table(
        old, new, index, column["budget"], column["gain"], column.get("low"), column.get("high"), level=level,
        draws=draws,
    )  # fmt: skip


def attribution_json(result: ArmSequence | Attribution | Ranking) -> dict[str, Any]:
    """The answer of ``isoloss chain|attribute|rank --json``."""
    from isoloss.gains.result import to_json

    return to_json(result)


def _settings(
    table: ExternalRuns, factors: list[str], columns: list[str]
) -> tuple[ExternalRuns, NDArray[np.int64], list[str]]:
    """The table with its arms made of the switches, their matrix (A, K) and the arms' names."""
    import numpy as np
    import polars as pl

    again = next((f for i, f in enumerate(factors) if f in factors[:i]), None)
    if again is not None:
        raise TableError("--factors", f"'{again}' is named twice", "name each switch once")
    on = np.stack([_switch(table, f, c) for f, c in zip(factors, columns, strict=True)], axis=1)
    settings, which = np.unique(on, axis=0, return_inverse=True)
    labels = _labels(factors, columns)
    names = ["+".join(n for n, s in zip(labels, row, strict=True) if s) or "none" for row in settings]
    arm = pl.Series(_SWITCHES, [names[i] for i in which.ravel()])
    frame = table.frame.with_columns(arm)
    return replace(table, frame=frame, roles={**table.roles, "arm": _SWITCHES}), settings, names


def _labels(factors: Sequence[str], columns: Sequence[str]) -> list[str]:
    """A factor's short name: its column, or the value that means on where one is given."""
    values = [f.partition("=")[2].strip() or c for f, c in zip(factors, columns, strict=True)]
    return values if len(set(values)) == len(values) else [f.strip() for f in factors]


def _switch(table: ExternalRuns, factor: str, column: str) -> NDArray[np.int64]:
    """A column as 0 and 1 (n,); raises TableError naming a value that is neither."""
    import polars as pl

    where = f"{table.path}: {column}"
    if column not in table.frame.columns:
        listed = ", ".join(table.frame.columns[:12])
        raise TableError(table.path, f"has no column '{column}'", f"name switches among: {listed}")
    values = table.frame[column].cast(pl.String).fill_null("").str.strip_chars()
    told = factor.partition("=")[2].strip()
    distinct = values.unique().sort().to_list()
    if told:
        if told not in distinct:
            raise TableError(where, f"is never '{told[:40]}'", f"values: {', '.join(v[:30] for v in distinct[:8])}")
        others = [v for v in distinct if v != told]
        if len(others) > 1:
            what = f"has several values beside '{told[:40]}': {', '.join(v[:30] for v in others[:6])}"
            raise TableError(where, what, f"narrow it: --where '{column}={told}' --where '{column}={others[0][:30]}'")
        return (values == told).to_numpy().astype("int64")
    lower = values.str.to_lowercase()
    wrong = ~lower.is_in(list(_ON | _OFF))
    if wrong.any():
        value = str(values[int(wrong.arg_true()[0])])
        example = next((v for v in reversed(distinct) if v), "value")
        what = f"row {table.rows[int(wrong.arg_true()[0])]}: '{value[:40]}' is neither on nor off"
        raise TableError(where, what, f"code it 0 and 1, or say what is on: --factors {column}={example[:30]}")
    return lower.is_in(list(_ON)).to_numpy().astype("int64")

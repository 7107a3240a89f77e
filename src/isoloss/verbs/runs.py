"""The verb over anybody's run table: gain."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoloss.errors import TableError, located

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.gains.result import GainCurve


def gain(
    runs: str | os.PathLike[str],
    baseline: str,
    candidate: str,
    *,
    resource: str | None = None,
    quality: str | None = None,
    arm_column: str | None = None,
    seed_column: str | None = None,
    rung_column: str | None = None,
    where: Sequence[str] = (),
    best_of: Sequence[str] = (),
    curves: Literal["end", "all"] | None = None,
    floor: str | float = "shared",
    mode: str = "curve",
    best: float | None = None,
    at: Sequence[float] = (),
    draws: int = 4000,
) -> GainCurve:
    """The gain of `candidate` over `baseline` in anybody's runs: a table, a folder of curves, a tracker's folder.

    Columns are named or guessed (see `isoloss.ledger.external`); the diagnostic ``columns`` says which was taken for
    what. `where` keeps rows that meet every ``column=value``. `best_of` names columns of a sweep, of which the best
    mean per arm and rung is taken (diagnostic ``winners-curse``). `curves` reduces logged points: ``end`` to each
    run's last, ``all`` to none (diagnostic ``mid-schedule-points``). An infinite quality is a run that diverged. Where
    higher is better, `best` is the best possible value (1 for an accuracy) and the distance from it is compared.
    Raises `TableError` in one line.
    """
    from isoloss.gains import compare
    from isoloss.gains.elsewhere import bought_elsewhere, costs_elsewhere, lines_of
    from isoloss.gains.result import Diagnostic
    from isoloss.ledger.columns import label_of
    from isoloss.ledger.external import read_runs, select_arms

    if any(not 0 < a < float("inf") for a in at):
        raise TableError("--at", "a budget must be a positive number", "e.g. --at 1e16")
    told = {"arm": arm_column, "resource": resource, "quality": quality, "seed": seed_column, "rung": rung_column}
    table = read_runs(Path(runs), where=where, curves=curves, arms=(baseline, candidate), **told)
    arms, notes = select_arms(table, (baseline, candidate), best, best_of)
    with located(table.path):
        curve = compare(
            arms[0],
            arms[1],
            resource=label_of(table.roles["resource"]),
            quality=label_of(table.roles["quality"]),
            floor=floor,
            mode=mode,
            at=tuple(at),
            draws=draws,
        )
    columns = Diagnostic("columns", "info", f"Columns: {table.roles_line()}.", {"roles": table.roles})
    elsewhere = tuple(costs_elsewhere(curve, lines_of(arms[0]), lines_of(arms[1])))
    found = (*curve.diagnostics, *bought_elsewhere([curve], elsewhere), *table.notes, *notes, columns)
    return dataclasses.replace(curve, diagnostics=found, elsewhere=elsewhere)


def gain_json(curve: GainCurve) -> dict[str, Any]:
    """The answer of ``isoloss gain --json``: gains by index, slope, crossover, verdict, diagnostics, laws.

    With budgets asked for, ``gains`` holds those; without, the gain at every rung.
    """
    from isoloss.gains.result import to_json

    shown = curve.asked or curve.points
    keep = ("at", "gain", "interval", "region", "quality", "decades_out", "note")
    gains: dict[str, list[Any]] = {}
    for point in shown:
        row = to_json(point)
        gains.setdefault(point.index, []).append({k: row[k] for k in keep if row[k] not in ("", None) or k == "gain"})
    whole = to_json(curve)
    rest = ("overlap", "laws", "floors", "slopes", "rungs", "level", "draws", "seed", "mode", "elsewhere")
    return {
        "baseline": curve.baseline,
        "candidate": curve.candidate,
        "resource": curve.resource,
        "quality": curve.quality,
        "gains": gains,
        "slope": whole["slope"],
        "crossover": whole["crossover"],
        "verdict": whole["verdict"],
        "diagnostics": whole["diagnostics"],
        **{k: whole[k] for k in rest},
    }

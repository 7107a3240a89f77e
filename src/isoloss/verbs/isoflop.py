"""The verb ``isoflop``: how parameters and tokens should grow with compute, from anybody's runs, without a law."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoloss.errors import TableError
from isoloss.verbs.fits import LAW_COLUMNS

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.laws.cross_check import CrossCheck

PARAMETER_NAMES = ("n", "params", "parameters", "model size", "model_size", "active_parameters")
TOKEN_NAMES = ("d", "t", "tokens", "train_tokens", "training tokens", "training_tokens", "examples")
COMPUTE_NAMES = ("c", "flops", "train_flops", "compute", "budget", "training_flops", "total_flops", "training flop")
FLOPS_PER_PARAMETER_TOKEN = 6.0


def isoflop(
    runs: str | os.PathLike[str],
    *,
    compute: str | None = None,
    parameters: str | None = None,
    tokens: str | None = None,
    quality: str | None = None,
    budget: str | None = None,
    run: str | None = None,
    where: Sequence[str] = (),
    best_of: Sequence[str] = (),
    approach: Literal[1, 2] = 2,
    shape: Literal["parabola", "cubic", "akima"] = "parabola",
    noise: float | None = None,
    width: float | None = None,
    at: Sequence[float] = (),
    bootstrap: int = 1000,
    seed: int = 0,
) -> CrossCheck:
    """Compute-optimal N* and D* by approach 2 (profiles at equal compute) or 1 (envelope of training curves).

    Columns are named or guessed; of `compute`, `parameters` and `tokens` one may be missing, and then follows from
    ``C = 6 N D``. `budget` names a column of planned budgets and `run` one of training runs, where a run gives several
    rows. `where` keeps rows that meet every ``column=value``; of rows of one budget and size that differ in the columns
    `best_of` (a sweep), the one of least loss is kept. `noise` is the standard deviation of a run's loss,
    `width` a factor in N about each budget's best size within which runs are used. Raises `TableError` in one line.
    """
    import numpy as np

    from isoloss.laws.cross_check import cross_check
    from isoloss.ledger.conditions import where as rows_where
    from isoloss.ledger.external import GUESSES, numeric
    from isoloss.ledger.importers import load
    from isoloss.verbs.law_rows import LawRows

    path = Path(runs)
    imported = load(path, chosen=where)
    frame, numbered = imported.frame, imported.rows
    if where:
        keep = rows_where(frame, path, where)
        frame, numbered = frame.filter(keep), numbered.filter(keep)
    lower = {c.strip().lower(): c for c in reversed(frame.columns)}
    listed = f"columns: {', '.join(frame.columns[:12])}"

    def column(flag: str, told: str | None, guesses: Sequence[str] = ()) -> str | None:
        if told is not None and told not in frame.columns:
            raise TableError(path, f"has no column '{told}' for --{flag}", listed)
        return told or next((lower[g] for g in guesses if g in lower), None)

    loss = column("quality", quality, GUESSES["quality"])
    if loss is None:
        raise TableError(path, "no column looks like the loss", f"name it with --quality; {listed}")
    names = {
        "compute": column("compute", compute, COMPUTE_NAMES),
        "parameters": column("parameters", parameters, LAW_COLUMNS["N"]),
        "tokens": column("tokens", tokens, LAW_COLUMNS["D"]),
    }
    missing = [role for role, name in names.items() if name is None]
    if len(missing) > 1:
        flags = " and ".join(f"--{m}" for m in missing)
        what = f"no column looks like the {' or the '.join(missing)}"
        raise TableError(path, what, f"name them with {flags}; {listed}")
    found: dict[str, Any] = {
        role: _positive(path, name, numeric(path, frame, name)) for role, name in names.items() if name is not None
    }
    if "compute" in missing:
        found["compute"] = FLOPS_PER_PARAMETER_TOKEN * found["parameters"] * found["tokens"]
    elif missing:
        given = found["parameters" if "tokens" in missing else "tokens"]
        found[missing[0]] = found["compute"] / (FLOPS_PER_PARAMETER_TOKEN * given)
    budgets, labels = column("budget", budget), column("run", run)
    if best_of:
        for swept in best_of:
            if swept not in frame.columns:
                raise TableError(f"--best-of: {path}", f"has no column '{swept}'", listed)
        keep = _least(found, numeric(path, frame, loss), None if budgets is None else frame[budgets], best_of, frame)
        frame, numbered = frame.filter(keep), numbered.filter(keep)
        found = {role: values[keep] for role, values in found.items()}
    LawRows(path, frame, numbered, loss, {r: n for r, n in names.items() if n is not None}, None).refuse_mixture()
    return cross_check(
        found["compute"],
        found["parameters"],
        found["tokens"],
        _positive(path, loss, numeric(path, frame, loss)),
        approach=approach,
        shape=shape,
        budget=None if budgets is None else numeric(path, frame, budgets),
        runs=None if labels is None else frame[labels].cast(str).fill_null("").to_numpy().astype(np.str_),
        noise=noise,
        width=width,
        at=tuple(at),
        bootstrap=bootstrap,
        seed=seed,
    )


def isoflop_json(check: CrossCheck) -> dict[str, Any]:
    """The answer of ``isoloss isoflop --json``: lines, budgets or crossings, every way, allocations, diagnostics."""
    from isoloss.gains.result import to_json
    from isoloss.laws.isoflop import IsoflopFit

    fitted = check.fitted
    lines = {
        name: {
            "exponent": line.exponent,
            "interval": line.interval(),
            "coefficient": line.coefficient,
            "scatter": line.scatter,
        }
        for name, line in (("N", fitted.n_line), ("D", fitted.d_line))
    }
    out: dict[str, Any] = {"approach": 2 if isinstance(fitted, IsoflopFit) else 1, "lines": lines}
    if isinstance(fitted, IsoflopFit):
        out |= {"shape": fitted.shape, "noise": fitted.noise, "budgets": fitted.profiles}
    else:
        out |= {"crossings": fitted.crossings, "noise": fitted.noise, "curse": fitted.curse, "counted": fitted.counted}
    out |= {"ways": check.ways, "at": check.allocations}
    out["diagnostics"] = [{"code": c.code, "severity": "warning", "message": c.message} for c in fitted.cautions]
    result: dict[str, Any] = to_json(out)
    return result


def _least(found: dict[str, Any], loss: Any, budgets: Any, swept: Sequence[str], frame: Any) -> Any:
    """Which rows hold the setting of `swept` with the least mean loss of all of one budget and size, as a mask."""
    import numpy as np
    import polars as pl

    # runs of one budget and size may differ a little in both: a step more or less
    compute = np.round(np.log(found["compute"]), 1) if budgets is None else budgets.to_numpy()
    cells = frame.select(swept).with_columns(
        _compute=compute,
        _size=np.round(np.log(found["parameters"]), 1),
        _loss=np.where(np.isfinite(loss), loss, np.inf),
    )
    tried = cells.group_by("_compute", "_size", *swept, maintain_order=True).agg(pl.col("_loss").mean())
    best = tried.sort("_loss", maintain_order=True).unique(["_compute", "_size"], keep="first", maintain_order=True)
    keys = ["_compute", "_size", *swept]
    kept = cells.with_row_index("_row").join(best.select(keys), on=keys, how="semi", nulls_equal=True)
    mask = np.zeros(frame.height, dtype=bool)
    mask[kept["_row"].to_numpy()] = True
    return mask


def _positive(path: Path, column: str, values: Any) -> Any:
    import numpy as np

    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"row {row + 1} holds {values[row]:g}, which is not finite and positive"
        raise TableError(f"{path}: {column}", what, "mend or drop that run, or choose rows with --where")
    return values

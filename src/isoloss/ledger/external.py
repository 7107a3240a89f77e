"""Anybody's runs as arrays: read from what they lie in, roles guessed, narrowed, checked, and cut into arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import TableError, UnknownNameError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.result import Diagnostic
from isoloss.ledger import refusals
from isoloss.ledger.best_of import best_settings
from isoloss.ledger.columns import GUESSES, RECORDED, SCORES, guess_roles, is_score, numeric, plain_name
from isoloss.ledger.conditions import where as rows_where
from isoloss.ledger.importers import ledger, load
from isoloss.ledger.refusals import SAME_RUNG

__all__ = [
    "GUESSES", "SAME_RUNG", "SCORES", "ExternalRuns", "external_arms", "numeric", "read_frame", "read_runs", "rungs_of",
    "select_arms",
]  # fmt: skip
Points = Literal["end", "all"]
_KEY = "isoloss.curve"


@dataclass(frozen=True, eq=False)
class ExternalRuns:
    """A frame of runs, and which of its columns plays which role.

    `rows` numbers the frame's rows by their place in the file, from 1; `notes` says what was left out or assumed.
    `points` is True where rows are logged points that are kept on purpose, clustered by run.
    """

    path: Path
    frame: pl.DataFrame
    roles: dict[str, str]
    rows: pl.Series
    notes: tuple[Diagnostic, ...] = ()
    points: bool = False

    def arms(self) -> list[str]:
        """Arm names in order of appearance."""
        return [str(a) for a in self.frame[self.roles["arm"]].unique(maintain_order=True)]

    def numbers(self, role: str) -> NDArray[np.float64]:
        """The column of `role` as floats; raises `TableError` naming the first cell that is not a number."""
        return numeric(self.path, self.frame, self.roles[role], self.rows)

    def roles_line(self) -> str:
        """Which column was taken for what, in one line: ``arm=optimizer, resource=train_flops, ...``."""
        shown = {k: v for k, v in self.roles.items() if k != "cluster" or v != _KEY}
        return ", ".join(f"{role}={column}" for role, column in shown.items())


def read_frame(path: Path) -> pl.DataFrame:
    """The runs at `path` as a frame, whatever they lie in (see `isoloss.ledger.importers`); a row a finished run.

    Raises `TableError` for a missing, empty or corrupt file or folder.
    """
    return load(Path(path)).frame


def read_runs(
    path: Path,
    *,
    where: Sequence[str] = (),
    curves: Points | None = None,
    arms: Sequence[str] = (),
    **columns: str | None,
) -> ExternalRuns:
    """The runs in `path`; `columns` maps a role (arm, resource, quality, seed, rung, cluster) to a column name.

    A role not named is guessed (`isoloss.ledger.columns.guess_roles`, which may look for the names in `arms`); arm,
    resource and quality must be found. `where` keeps the rows that meet every ``column=value``. `curves` says what to
    do with logged points: ``end`` takes each run's last row, ``all`` keeps them, clustered by run. Raises `TableError`.
    """
    path = Path(path)
    if curves not in (None, "end", "all"):
        raise TableError("--curves", f"'{curves}' is not known", "say end or all")
    imported = load(path, "all" if curves == "all" else "end", chosen=where)
    path = ledger.shown(path)
    columns = {**imported.roles, **{role: column for role, column in columns.items() if column}}
    frame, rows = imported.frame, imported.rows
    if where:
        keep = rows_where(frame, path, where)
        if not keep.all():
            frame, rows = frame.filter(keep), rows.filter(keep)
    roles = guess_roles(path, frame, columns, arms)
    table = ExternalRuns(path, frame, roles, rows, imported.notes)
    if curves is None or (curves == "end" and imported.key):
        return table
    return _curves(table, curves, imported.key)


def rungs_of(resource: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rung index of each run from its resource alone: a rung holds all within ``SAME_RUNG`` times its least budget.

    >>> rungs_of(np.array([1e9, 3e9, 1.01e9, 3.02e9])).tolist()
    [0, 1, 0, 1]
    """
    order = np.argsort(resource, kind="stable")
    ascending = resource[order]
    starts, at = [], 0
    while at < len(ascending):  # one step a rung, and rungs are at least SAME_RUNG apart
        starts.append(at)
        at = max(at + 1, int(np.searchsorted(ascending, SAME_RUNG * ascending[at], side="right")))
    rung = np.empty(len(resource), dtype=np.int64)
    rung[order] = np.searchsorted(np.array(starts, dtype=np.int64), np.arange(len(resource)), side="right") - 1
    return rung


def external_arms(table: ExternalRuns, names: Sequence[str], best: float | None = None) -> list[ArmRuns]:
    """The runs of each arm in `names` as arrays, rungs numbered over all of them together (see `select_arms`)."""
    return select_arms(table, names, best)[0]


def select_arms(
    table: ExternalRuns, names: Sequence[str], best: float | None = None, best_of: Sequence[str] = ()
) -> tuple[list[ArmRuns], tuple[Diagnostic, ...]]:
    """The runs of each arm in `names` as arrays, rungs numbered over all of them together, and notes on them.

    `best`: the best possible value of a quality that is better when higher; its distance from it is compared.
    `best_of`: columns of a sweep, of which the setting with the best mean is taken per arm and rung. Raises
    `UnknownNameError` for an absent arm, `TableError` for a cell that makes no sense, and for runs that are no repeats
    of one another (see `isoloss.ledger.refusals`).
    """
    labels = table.frame[table.roles["arm"]].cast(pl.String).fill_null("")
    for name in names:
        if not (labels == name).any():
            known = [a for a in table.arms()[:1000] if a]
            raise UnknownNameError(f"{table.path}: {table.roles['arm']}", "arm", name, known)
    notes = refusals.alike_arms(table.roles["arm"], labels, names)
    mine = labels.is_in(list(names))
    if not mine.all():
        table = replace(table, frame=table.frame.filter(mine), rows=table.rows.filter(mine))
        labels = labels.filter(mine)
    resource, quality = _amounts(table, best)
    if "rung" in table.roles:
        rung = np.unique(table.numbers("rung"), return_inverse=True)[1].astype(np.int64)
    else:
        rung = rungs_of(resource)
    arm = labels.cast(pl.Enum(list(dict.fromkeys(names)))).to_physical().to_numpy().astype(np.int64)
    cell = pl.Series("cell", arm * (int(rung.max()) + 1) + rung)
    if table.points:
        keep = _last_of_rung(table, cell, resource)
        table = replace(table, frame=table.frame[keep], rows=table.rows[keep])
        resource, quality, rung, arm, cell = resource[keep], quality[keep], rung[keep], arm[keep], cell[keep]
    else:
        refusals.refuse_log(table.path, table.frame, table.roles)
    refusals.refuse_mixed(table.path, table.frame, table.roles)
    # most tables are whole: where seeds tell all runs apart there are neither copies nor repeats
    apart = "seed" in table.roles and table.frame.select(_keys(table)).n_unique() == table.frame.height
    if not apart:
        refusals.refuse_copies(table.path, table.frame, table.roles, table.rows)
    if table.roles.get("seed") in best_of:
        said = f"'{table.roles['seed']}' is the column of seeds, and the luckiest seed is no setting"
        raise TableError("--best-of", said, "name the column of a setting, such as lr")
    if best_of:
        keep, cautions = best_settings(table.path, table.frame, table.roles["arm"], cell, resource, quality, best_of)
        notes += cautions
        table = replace(table, frame=table.frame[keep], rows=table.rows[keep])
        resource, quality, rung, arm, cell = resource[keep], quality[keep], rung[keep], arm[keep], cell[keep]
    if not table.points:
        refusals.refuse_sweep(table.path, table.frame, table.roles, cell, table.rows, "seed" in table.roles)
        if "seed" in table.roles and not apart:
            _refuse_repeats(table)
    refusals.refuse_rising(table.path, table.roles["quality"], arm, resource, rung, quality, best)
    seed = _names(table, "seed") if "seed" in table.roles else _alone(table.rows)
    cluster = _names(table, "cluster") if "cluster" in table.roles else np.arange(len(arm))
    others = _others(table, np.isfinite(quality))
    found = []
    for k, name in enumerate(names):
        here = arm == k
        used = {column: amount[here] for column, amount in others.items()}
        found.append(ArmRuns(name, resource[here], quality[here], rung[here], seed[here], cluster[here], used))
    return found, notes


def _others(table: ExternalRuns, finite: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Columns named like a resource, other than the ladder's, that hold a positive number for every finished run."""
    found = {}
    for column in table.frame.columns:
        if column in table.roles.values() or plain_name(column) not in RECORDED:
            continue
        amount = table.frame[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        if np.all(amount[finite] > 0) and np.all(np.isfinite(amount[finite])):
            found[column] = amount
    return found


def _amounts(table: ExternalRuns, best: float | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Resource and quality, checked; a score becomes its distance from `best`."""
    column = table.roles["quality"]
    resource, quality = table.numbers("resource"), table.numbers("quality")
    _refuse(table, "resource", ~(np.isfinite(resource) & (resource > 0)), "is not a positive amount")
    remedy = f"drop an unfinished run (--where '{column}=*'), or write inf for a diverged one"
    if "purpose" in table.frame.columns:  # a table of this package's own, in which tuning runs have no test quality
        reported = (table.frame["purpose"].cast(pl.String) == "report").fill_null(False).to_numpy()
        if not np.isnan(quality[reported]).all():
            remedy = "leave tuning runs out: --where purpose=report" if np.isnan(quality[~reported]).any() else remedy
    _refuse(table, "quality", np.isnan(quality), "is no quality", remedy)
    if best is None and is_score(column):
        said = "looks like a score (better when higher), and a gain needs a loss or an error"
        raise TableError(f"{table.path}: {column}", said, "say --best 1 (or 100, ...), or name another with --quality")
    if best is not None:
        refusals.refuse_best(table.path, column, quality, best)
        over = np.isfinite(quality) & (quality >= best)
        _refuse(table, "quality", over, f"reaches the best value {best}", "see --best")
        quality = np.where(np.isfinite(quality), best - quality, np.inf)
    _refuse(table, "quality", quality <= 0, "is not positive", "a loss or an error; for a score see --best")
    return resource, quality


def _curves(table: ExternalRuns, curves: Points, key: str | None) -> ExternalRuns:
    """Logged points: the last row of each run, or all of them with the run as their cluster."""
    if key is not None:
        step, keys = "", [key]
    else:
        found = refusals.find_log(table.frame, table.roles)
        if found is None:
            said = "has no logged points: no column such as step rises within a run"
            raise TableError(f"--curves: {table.path}", said, "leave --curves out, or name the runs in a column run_id")
        step, keys = found
    if curves == "end":
        last = table.frame.select(
            (pl.col(step) == pl.col(step).max().over(keys)) & pl.col(step).is_not_null()
        ).to_series()
        frame, rows = table.frame.filter(last), table.rows.filter(last)
        said = (
            f"The last row of each of {frame.height} runs is used, by column '{step}'; were their schedules finished?"
        )
        note = Diagnostic("end-points", "info", said, {"step": step, "runs": frame.height, "rows": table.frame.height})
        return replace(table, frame=frame, rows=rows, notes=(*table.notes, note))
    named = table.frame.select(pl.concat_str(pl.col(keys).cast(pl.String).fill_null(""), separator="|").alias(_KEY))
    said = (
        "Logged points are used as if each were a finished run: before its schedule ends a run is worse than one that "
        "was planned to end there, and rankings may flip. Points of one run are no independent evidence, and runs of "
        "different sizes that pass one budget are no repeats."
    )
    note = Diagnostic("mid-schedule-points", "warning", said, {"rows": table.frame.height})
    roles = {**table.roles, "cluster": _KEY}
    return replace(table, frame=table.frame.hstack(named), roles=roles, notes=(*table.notes, note), points=True)


def _last_of_rung(table: ExternalRuns, cell: pl.Series, resource: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of a run's points in one rung only the last: neighbours on a curve are no repeats."""
    points = pl.DataFrame({"cell": cell, "run": table.frame[table.roles["cluster"]], "at": resource})
    last = points.with_row_index("row").sort("at").group_by("cell", "run", maintain_order=True).last()
    return np.sort(last["row"].to_numpy()).astype(np.intp)


def _keys(table: ExternalRuns) -> list[str]:
    return list(dict.fromkeys(table.roles[role] for role in ("arm", "resource", "seed")))


def _refuse_repeats(table: ExternalRuns) -> None:
    """A sweep's trials, or another metric of the same run, would pass for independent seeds."""
    again = (~table.frame.select(_keys(table)).to_struct("key").is_first_distinct()).to_numpy()
    what = f"repeats an arm, budget ({table.roles['resource']}) and seed"
    remedy = "keep one row a run (--where), the chosen trial of a sweep (--best-of), or name the budget (--resource)"
    _refuse(table, "seed", again, what, remedy)


def _refuse(
    table: ExternalRuns, role: str, wrong: NDArray[np.bool_], what: str, remedy: str = "mend or drop that row"
) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        value = table.frame[table.roles[role]][at]
        said = f"row {table.rows[at]}: {'an empty cell' if value is None else str(value)[:40]} {what}"
        raise TableError(f"{table.path}: {table.roles[role]}", said, remedy)


def _alone(rows: pl.Series) -> NDArray[np.str_]:
    return ("row " + rows.cast(pl.String)).to_numpy().astype(np.str_)


def _names(table: ExternalRuns, role: str) -> NDArray[np.int64]:
    """A column of names as whole numbers in the order of the names, -1 for none (of clusters in any order where no two
    runs share one)."""
    texts = table.frame[table.roles[role]].cast(pl.String).fill_null("")
    if role == "cluster" and texts.n_unique() == len(texts):
        return np.arange(len(texts))
    known = texts.unique().sort()
    number: NDArray[np.int64] = texts.cast(pl.Enum(known)).to_physical().to_numpy().astype(np.int64)
    return number - int(known[0] == "")

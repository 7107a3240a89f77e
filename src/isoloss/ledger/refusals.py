"""What a run table must not be taken for: sweeps for seeds, logs for runs, two data sets for one, copies for repeats.

Each check takes a table and the rows of the arms that are compared, and raises `TableError` in one line that names
file, column, row and remedy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.result import Diagnostic
from isoloss.ledger.columns import plain_name, words_of

#: Runs of one arm whose resource differs by less than this ratio are one rung, where no column says.
SAME_RUNG = 1.05
#: Columns that count along one run (`plain_name`): rows that differ in them are points of a curve.
STEPS = ("step", "global_step", "trainer_global_step", "train_global_step", "iteration", "iter", "current_step",
         "current_steps", "epoch")  # fmt: skip
#: Steps of one arm and seed closer than this ratio are logged points; a ladder's budgets are further apart.
LADDER_RATIO = 1.5
_MIXED = frozenset({
    "metric", "metric_name", "dataset", "dataset_name", "eval_dataset", "val_dataset", "test_dataset", "eval_set",
    "corpus", "tokenizer", "tokeniser", "split", "eval_split", "benchmark", "task", "task_name",
})  # fmt: skip
_SETTINGS = frozenset({
    "lr", "learning", "batch", "bs", "bsz", "decay", "wd", "momentum", "beta", "beta1", "beta2", "betas", "eps",
    "epsilon", "dropout", "warmup", "schedule", "scheduler", "clip", "clipping", "width", "depth", "layers", "heads",
    "d_model", "hidden", "dim", "params", "parameters", "optimizer", "optimiser", "init", "temperature", "smoothing",
    "augmentation", "context", "seqlen", "nesterov", "gamma", "variant", "choices", "change", "tokens", "n", "d",
    "sweep", "portion",
})  # fmt: skip
_BOOKKEEPING = frozenset({
    "id", "name", "path", "dir", "directory", "folder", "file", "url", "host", "hostname", "user", "username",
    "entity", "project", "group", "notes", "description", "tags", "state", "status", "created", "updated", "date",
    "time", "timestamp", "runtime", "duration", "seconds", "started", "ended", "gpu", "gpus", "cuda", "device", "node",
    "rank", "workers", "version", "commit", "git", "sha", "hash", "log", "logdir", "logging", "save", "checkpoint",
    "resume", "wandb", "job", "row", "index", "experiment", "loss", "acc", "accuracy", "error", "norm", "throughput",
    "mfu", "memory", "energy", "joules", "score", "ppl", "perplexity", "grad", "avg", "contributors", "reason", "x",
    "y", "color",
})  # fmt: skip
_CONFIG = ("config.", "params.", "param.", "hparams.", "hparams/", "hyperparameters.")
_RESULTS = ("summary.", "_summary.", "metrics.", "metric.", "system/", "_", "tags.", "eval/", "train/", "val/", "test/")


def find_log(frame: pl.DataFrame, roles: dict[str, str]) -> tuple[str, list[str]] | None:
    """The step column and the columns that name one run, where rows are logged points of runs; else None.

    Two rows of one run id with different steps are points. Without a run id, rows of one arm and seed (and of equal
    settings) are, when some of their steps lie closer than ``LADDER_RATIO``.
    """
    named = {plain_name(c): c for c in reversed(frame.columns)}
    steps = [named[s] for s in STEPS if s in named and named[s] != roles.get("rung")]
    for step in steps:
        values = frame[step]
        if not values.dtype.is_numeric() or values.n_unique() < 2:
            continue
        run = roles.get("run_id")
        if run is not None and run != step:
            several = frame.group_by(roles["arm"], run).agg(pl.col(step).n_unique().alias("_n"))
            if bool((several["_n"] > 1).any()):
                return step, [roles["arm"], run]
            continue
        keys = [roles["arm"], *([roles["seed"]] if "seed" in roles else [])]
        keys += [c for c in frame.columns if c not in (*keys, *roles.values(), step) and _is_fixed(c, frame[c])]
        ratio = pl.col(step).sort() / pl.col(step).sort().shift(1)
        close = frame.group_by(keys).agg(((ratio > 1) & (ratio < LADDER_RATIO)).any().alias("_close"))
        if bool(close["_close"].any()):
            return step, keys
    return None


def refuse_log(path: Path, frame: pl.DataFrame, roles: dict[str, str]) -> None:
    """Refuse rows that are logged points of runs, not finished runs."""
    found = find_log(frame, roles)
    if found is None:
        return
    step, keys = found
    first = frame.group_by(keys, maintain_order=True).agg(pl.col(step).n_unique().alias("_n")).filter(pl.col("_n") > 1)
    of = ", ".join(f"{k}={str(v)[:30]}" for k, v in zip(keys[:3], first.row(0), strict=False))
    raise TableError(
        f"{path}: {step}",
        f"rises over {first['_n'][0]} rows of one run ({of}): these are logged points, not finished runs",
        "say --curves end to take each run's last row; if it is the length of a finished run, rename it 'steps'",
    )


def refuse_mixed(path: Path, frame: pl.DataFrame, roles: dict[str, str]) -> None:
    """Refuse qualities on several metrics, data sets, splits or tokenisers; bits per byte may mix tokenisers."""
    # a run table of this package's own holds the task's unit, which for text is bits per byte
    own = {"run_id", "algorithm", "task", "purpose"} <= set(frame.columns)
    bytewise = own or bool({"bpb", "byte", "bytes"} & words_of(roles["quality"]))
    for column in frame.columns:
        name = plain_name(column)
        if name not in _MIXED or column in roles.values() or (bytewise and name.startswith("tokeni")):
            continue
        values = frame[column].drop_nulls().unique(maintain_order=True)
        if len(values) < 2:
            continue
        shown = ", ".join(str(v)[:30] for v in values[:4]) + (", ..." if len(values) > 4 else "")
        by_arm = frame.group_by(roles["arm"]).agg(pl.col(column).n_unique().alias("_n"))
        if bool((by_arm["_n"] == 1).all()):
            what = f"differs between the arms ({shown}), and qualities on different {name}s can't be compared"
            remedy = "drop that column if it names training data only; across tokenisers compare bits per byte"
        else:
            what, remedy = f"holds {len(values)} values ({shown})", f"choose one: --where '{column}={values[0]}'"
        raise TableError(f"{path}: {column}", what, remedy)


def refuse_sweep(
    path: Path, frame: pl.DataFrame, roles: dict[str, str], cell: pl.Series, rows: pl.Series, has_seed: bool
) -> None:
    """Refuse runs of one arm and rung (one `cell`) that differ in a setting: a sweep's trials are not seeds.

    Where no column holds seeds, a column that is neither a known setting nor a known result counts as a setting if few
    of its values recur over the whole table.
    """
    counts = cell.value_counts(name="_n")
    if not bool((counts["_n"] > 1).any()):
        return
    free = [c for c in frame.columns if c not in roles.values() and not _is_result(c)]
    if not free:
        return
    varied = frame.select(pl.col(free).n_unique())
    free = [c for c in free if varied[c][0] > 1]
    known = [c for c in free if _is_setting(c, frame[c])]
    unknown = [] if has_seed else [c for c in free if c not in known and _recurs(frame[c], varied[c][0])]
    several = known + unknown
    if not several:
        return
    joined = frame.select(several).with_columns(cell.alias("_cell"))
    spread = joined.group_by("_cell", maintain_order=True).agg([_differs(c, frame.schema[c]) for c in several])
    for column in several:
        wrong = spread.filter(pl.col(column))
        if wrong.is_empty():
            continue
        here = (cell == wrong["_cell"][0]).fill_null(False).arg_true()
        values = frame[column].gather(here)
        at = (values.ne_missing(values[0])).arg_true()[0]
        first, second = int(here[0]), int(here[int(at)])
        arm, a, b = frame[roles["arm"]][first], str(values[0])[:30], str(frame[column][second])[:30]
        seeds = "" if has_seed else "; if these are repeats, name the seeds with --seed-column or drop that column"
        raise TableError(
            f"{path}: {column}",
            f"rows {rows[first]} and {rows[second]} of arm '{arm}' have one budget but {a} and {b}: "
            "a sweep's trials are not seeds",
            f"keep one with --where '{column}={a}', or take the best mean with --best-of '{column}'{seeds}",
        )


def refuse_copies(path: Path, frame: pl.DataFrame, roles: dict[str, str], rows: pl.Series) -> None:
    """Refuse rows that are alike in every column: a row copied twice would pass for a second seed."""
    keys = list(dict.fromkeys(roles[r] for r in ("arm", "resource", "quality", "seed") if r in roles))
    alike = frame.select(keys).is_duplicated()
    if not alike.any():
        return
    suspects = frame.filter(alike)
    whole = suspects.select(pl.all().exclude(pl.List)).is_duplicated()
    if not whole.any():
        return
    copies = suspects.filter(whole).with_columns(rows.filter(alike).filter(whole).alias("_row"))
    first = copies.group_by(pl.exclude("_row"), maintain_order=True).agg("_row")["_row"][0].to_list()
    shown = ", ".join(map(str, first[:4])) + (", ..." if len(first) > 4 else "")
    raise TableError(
        f"{path}: {roles['quality']}",
        f"rows {shown} are exactly alike",
        "drop the copies; runs that truly came out equal need a column that tells them apart, such as seed",
    )


def refuse_best(path: Path, column: str, quality: NDArray[np.float64], best: float) -> None:
    """Refuse a best value that lies on another scale than the scores: 100 for data in 0..1, or 1 for data in 0..100."""
    finite = quality[np.isfinite(quality)]
    if len(finite) == 0:
        return
    top = float(finite.max())
    if best >= 20 and top <= 1 and float(finite.min()) >= 0:
        raise TableError(
            f"{path}: {column}", f"lies in 0..1 (highest {top:g}), far below the best value {best:g}", "say --best 1?"
        )
    if best <= 1 < top <= 100 and float(finite.min()) >= 0:
        raise TableError(f"{path}: {column}", f"goes up to {top:g}, above the best value {best:g}", "say --best 100?")


def refuse_rising(
    path: Path,
    column: str,
    arm: NDArray[np.int64],
    resource: NDArray[np.float64],
    rung: NDArray[np.int64],
    quality: NDArray[np.float64],
    best: float | None,
) -> None:
    """Refuse a quality that gets worse with the resource, rung after rung, in every arm: its direction is mistaken."""
    if rises(arm, resource, rung, quality):
        remedy = "if higher is better say --best 1 (or 100, ...)"
        remedy = remedy if best is None else "if lower is better leave --best out"
        raise TableError(f"{path}: {column}", "gets worse with the resource, rung after rung, in every arm", remedy)


def rises(
    arm: NDArray[np.int64], resource: NDArray[np.float64], rung: NDArray[np.int64], quality: NDArray[np.float64]
) -> bool:
    """Whether the median quality rises from rung to rung in every arm.

    A curve that falls somewhere, or rises by less than 1% (5% over two rungs), may be noise or a plateau: it does not.
    """
    finite = np.isfinite(quality)
    runs = pl.DataFrame({"arm": arm, "rung": rung, "at": resource, "quality": quality}).filter(pl.Series(finite))
    rungs = runs.group_by("arm", "rung").agg(pl.col("at").mean(), pl.col("quality").median()).sort("arm", "at")
    for _, one in rungs.group_by("arm"):
        q = one["quality"].to_numpy()
        if len(q) < 2 or np.any(np.diff(q) <= 0) or q[-1] < q[0] * (1.05 if len(q) == 2 else 1.01):
            return False
    return not rungs.is_empty()


def alike_arms(column: str, labels: pl.Series, names: Sequence[str]) -> tuple[Diagnostic, ...]:
    """Notes on rows that may belong to the arms in `names` and are not counted: another spelling, or an empty cell."""
    found = []
    plain = {re.sub(r"[^\w]|_", "", n).casefold(): n for n in names}
    for other in labels.unique(maintain_order=True).to_list()[:1000]:
        name = plain.get(re.sub(r"[^\w]|_", "", other).casefold())
        if not other or other in names or name is None or not re.sub(r"[^\w]|_", "", other):
            continue
        n = int((labels == other).sum())
        said = f"Column '{column}': {n} row{'s' if n > 1 else ''} of '{other}' not counted as '{name}'."
        found.append(Diagnostic("arms-alike", "warning", said, {"arm": name, "other": other, "rows": n}))
    n = int((labels == "").sum())
    if n:
        said = f"Column '{column}': {n} row{'s' if n > 1 else ''} left out, no arm being named."
        found.append(Diagnostic("arms-alike", "warning", said, {"arm": None, "other": "", "rows": n}))
    return tuple(found)


def _is_result(column: str) -> bool:
    if column.lower().startswith(_CONFIG):
        return bool(words_of(plain_name(column)) & (_BOOKKEEPING - {"loss", "norm", "decay"}))
    return column.lower().startswith(_RESULTS) or bool(words_of(column) & _BOOKKEEPING)


def _is_setting(column: str, values: pl.Series) -> bool:
    if _is_result(column) or plain_name(column) in STEPS or "seed" in words_of(column):
        return False
    if column.lower().startswith(_CONFIG):
        return True
    if isinstance(values.dtype, (pl.List, pl.Struct, pl.Object)):
        return False
    return bool((words_of(column) | {plain_name(column)}) & _SETTINGS)


def _is_fixed(column: str, values: pl.Series) -> bool:
    """Whether a setting stays as it is along a run; a logged learning rate or token count does not."""
    moves = {"lr", "learning", "tokens", "d", "portion", "momentum", "schedule", "scheduler", "temperature", "decay"}
    return _is_setting(column, values) and (column.lower().startswith(_CONFIG) or not words_of(column) & moves)


def _recurs(values: pl.Series, distinct: int) -> bool:
    """Whether a column of unknown meaning looks like a choice: few values that come back."""
    if values.dtype.is_float() or values.dtype.is_temporal():
        return distinct <= 20 and distinct * 3 <= len(values)
    return distinct < len(values) and (values.dtype == pl.String or distinct * 3 <= len(values))


def _differs(column: str, kind: pl.DataType) -> pl.Expr:
    """Whether a setting takes several values in a cell; sizes (parameters, tokens) may differ within a rung's width."""
    sizes = {"params", "parameters", "tokens", "n", "d"}
    several = pl.col(column).n_unique() > 1
    if kind.is_numeric() and words_of(column) & sizes:
        low, high = pl.col(column).min(), pl.col(column).max()
        # an exponent of a size may be negative; of infinite sizes the difference is no number, which is above any
        several &= high - low > (SAME_RUNG - 1) * low.abs()
    return several.alias(column)

"""What each column of a stranger's table means: guesses by name and kind of value, never by name alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.runs import RESOURCES

#: Role -> column names that are taken for it without being told, best first (compared by `plain_name`).
GUESSES: dict[str, tuple[str, ...]] = {
    "arm": ("arm", "algorithm", "method", "optimizer", "optimiser", "model", "model_name", "recipe", "variant", "name"),
    "resource": (
        "train_flops", "flops", "flop", "compute", "training_flops", "training_flop", "total_flops",
        "total_flops_profiler", "c",
        "examples", "samples", "n_examples", "labels", "tokens", "train_tokens", "training_tokens", "steps", "seconds",
    ),
    "quality": (
        "quality", "test_loss", "val_loss", "validation_loss", "valid_loss", "dev_loss", "eval_loss", "loss",
        "final_loss", "loss_test", "loss_validation", "loss_val", "loss_eval",
        "bits_per_byte", "bpb", "nll", "perplexity", "ppl", "test_error", "error", "err", "test", "validation",
    ),
    "seed": (
        "seed", "random_seed", "rng", "replicate", "trial_seed", "random_state", "repeat", "global_seed", "torch_seed",
        "manual_seed",
    ),
    "rung": ("rung", "budget", "scale"),
    "cluster": ("cluster", "trunk", "parent"),
    "run_id": ("run_id", "run", "id", "run_name", "mlflow_runname", "name", "hyper_id", "trial_id"),
}  # fmt: skip
#: Names of columns that say what a run used of some resource, besides the one its ladder is built on.
RECORDED = frozenset({
    *RESOURCES, *GUESSES["resource"], "params", "n_params", "num_params", "model_size", "memory", "peak_memory",
    "max_memory", "energy", "runtime", "wall_time", "wall_seconds", "gpu_hours", "hours", "minutes", "time_seconds",
}) - {"c", "steps"}  # fmt: skip
NEEDED = {"arm": "--arm-column", "resource": "--resource", "quality": "--quality"}
#: Words in a column's name that mean a score: better when higher, so it can't be compared as a loss.
SCORES = frozenset({
    "accuracy", "acc", "score", "f1", "auc", "auroc", "auprc", "reward", "return", "map", "bleu", "rouge", "chrf",
    "meteor", "cider", "top1", "top5", "r2", "win", "winrate", "wins", "elo", "precision", "recall", "hits", "mrr",
    "ndcg", "iou", "miou", "dice", "psnr", "ssim", "success", "solved", "pass", "passed", "correct", "match", "mmlu",
    "pearson", "spearman", "likelihood",
})  # fmt: skip
#: Words that turn a score's name into something better when lower (`score_error`, `negative_log_likelihood`).
_LOWER = frozenset({"loss", "error", "err", "nll", "negative", "ppl", "perplexity", "gap", "regret", "distance"})
_PREFIX = re.compile(
    r"^(?:config|params?|hparams?|hyperparameters|summary|_summary|metrics?|tags|data|attributes)[./]", re.IGNORECASE
)
_RESULT = ("summary.", "_summary.", "metrics.", "metric.")
_WHOLE_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = r"^\s*[+-]?(?:\.?\d|inf|nan)"


@lru_cache(maxsize=1 << 18)  # a table may have 10^5 columns, and each check asks again
def plain_name(column: str) -> str:
    """A column's name without a tracker's prefix, in lower case, words joined by ``_``.

    >>> [plain_name(c) for c in ("config.optimizer", "eval/loss", "Training FLOP", "summary.val/loss", "_step")]
    ['optimizer', 'eval_loss', 'training_flop', 'val_loss', 'step']
    """
    return re.sub(r"[^a-z0-9]+", "_", _PREFIX.sub("", column.strip()).lower()).strip("_")


@lru_cache(maxsize=1 << 18)
def words_of(column: str) -> frozenset[str]:
    """The words of a column's name, split at punctuation and at camel case.

    >>> sorted(words_of("eval/topAccuracy@5"))
    ['5', 'accuracy', 'eval', 'top']
    """
    return frozenset(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower())) - {""}


def is_score(column: str) -> bool:
    """Whether a column's name says that higher is better.

    >>> [is_score(c) for c in ("eval/accuracy", "acc@1", "win_rate", "valAcc", "val_loss", "accuracy_gap")]
    [True, True, True, True, False, False]
    """
    words = words_of(column)
    return bool(words & SCORES) and not words & _LOWER


def guess_roles(
    path: Path, frame: pl.DataFrame, told: Mapping[str, str | None], arms: Sequence[str] = ()
) -> dict[str, str]:
    """The column of each role: as `told`, else the first guess whose values can play it.

    A resource or quality must hold numbers. An arm must not hold fractions, nor a different value in every row (then
    it names runs); where `arms` are known, a column that holds them all comes first. A column in a tracker's results
    (``summary.``, ``metrics.``) comes first for the quality, one outside them for everything else, and for the resource
    one that is equal to the planned budgets of a column like ``rung``. Raises
    `TableError` for a column that is told but absent or twice there, and where arm, resource or quality is not found.
    """
    by_name: dict[str, list[str]] = {}
    for column in frame.columns:
        by_name.setdefault(plain_name(column), []).append(column)
    roles: dict[str, str] = {}
    reserved = {c for c in told.values() if c}
    for role, guesses in GUESSES.items():
        named = told.get(role)
        if named is not None:
            if named not in frame.columns:
                raise TableError(path, f"has no column '{named}' for {role}", f"columns: {listed(frame.columns)}")
            roles[role] = named
        else:
            taken = set(roles.values()) | reserved
            found = [c for g in guesses for c in _best_first(by_name.get(g, ()), g, role) if c not in taken]
            if role == "seed":
                found += [c for c in frame.columns if plain_name(c).endswith("_seed") and c not in taken | set(found)]
            fit = [c for c in found if _can_be(role, frame[c])]
            if role == "arm" and arms:
                fit.sort(key=lambda c: not set(arms) <= set(frame[c].cast(pl.String).unique()))
            if role == "resource":
                planned = [c for g in GUESSES["rung"] for c in by_name.get(g, ())]
                fit.sort(key=lambda c: not any(_equal(frame[c], frame[p]) for p in planned))
            if fit:
                roles[role] = fit[0]
            elif role in NEEDED:
                remedy = f"name it with {NEEDED[role]}; columns: {listed(frame.columns)}"
                scores = [c for c in frame.columns if is_score(c) and frame[c].dtype.is_numeric()]
                if headless(frame):
                    remedy = f"the first line looks like data: put a header above it; it reads {listed(frame.columns)}"
                elif role == "arm" and (holding := _holding(frame, arms)):
                    remedy = f"name it with --arm-column: '{holding}' holds {' and '.join(arms)}"
                elif role == "quality" and scores:
                    remedy = f"if it is the score '{scores[0]}' say --quality '{scores[0]}' --best 1 (or 100, ...)"
                raise TableError(path, f"no column looks like the {role}", remedy)
        if role in roles and f"{roles[role]}_duplicated_0" in frame.columns:
            raise TableError(f"{path}: {roles[role]}", "is the name of two columns", "rename or drop one of them")
    return roles


def numeric(path: Path, frame: pl.DataFrame, column: str, rows: pl.Series | None = None) -> NDArray[np.float64]:
    """A column as floats (nulls become NaN); raises `TableError` with the row of the first cell that is none.

    `rows` numbers the frame's rows by their place in the file; without it they count from 1.
    """
    series = frame[column]
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy().astype(np.float64)
    if series.dtype == pl.String:
        text = series.str.strip_chars()
        cast = text.cast(pl.Float64, strict=False)
        wrong = (cast.is_null() & text.is_not_null() & (text != "")).arg_true()
        if len(wrong) == 0:
            return cast.to_numpy().astype(np.float64)
        at = int(wrong[0])
        row = at + 1 if rows is None else rows[at]
        raise TableError(
            f"{path}: {column}", f"row {row} is not a number ({str(series[at])[:40]!r})", _mend(str(text[at]))
        )
    if series.dtype == pl.Null:
        return np.full(len(series), np.nan)
    raise TableError(f"{path}: {column}", f"is a column of {series.dtype}, not of numbers", "name another column")


def headless(frame: pl.DataFrame) -> bool:
    """Whether the names of the columns are themselves data: a file whose header is missing.

    >>> headless(pl.DataFrame({"adamw": ["muon"], "1e15": [4e15], "3.94": [3.7]}))
    True
    """
    plain = [re.sub(r"_duplicated_\d+$", "", c) for c in frame.columns]
    return frame.width > 1 and sum(bool(re.fullmatch(_WHOLE_NUMBER, c)) for c in plain) * 3 >= frame.width


def label_of(column: str) -> str:
    """A column's name without a tracker's prefix, to call it by in a sentence.

    >>> label_of("summary.val/loss")
    'val/loss'
    """
    return _PREFIX.sub("", column.strip()) or column


def listed(names: Sequence[str]) -> str:
    """The first dozen names, for a message."""
    shown = ", ".join(n[:30] for n in names[:12])
    return shown + (", ..." if len(names) > 12 else "")


def _mend(cell: str) -> str:
    """What to do about a cell that is almost a number."""
    if re.fullmatch(r"[+-]?\d{1,3}(?:[,' _]\d{3})+(?:\.\d+)?", cell):
        return f"write it without separators, as {re.sub('[^0-9.+-]', '', cell)}"
    if re.fullmatch(r"[+-]?\d+,\d+", cell):
        return f"write the decimal comma as a point, as {cell.replace(',', '.')}"
    if unit := re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%/°µ].*)", cell):
        return f"write plain numbers, in one unit, without '{unit[2][:20]}'"
    return "mend or drop it"


def _best_first(columns: Sequence[str], guess: str, role: str) -> list[str]:
    """Columns of one plain name: the exact name first, then results for a quality, settings for the rest."""

    def rank(column: str) -> tuple[bool, bool]:
        result = column.lower().startswith(_RESULT)
        return column.strip().lower() != guess, result is not (role in ("quality", "resource"))

    return sorted(columns, key=rank)


def _can_be(role: str, values: pl.Series) -> bool:
    kind = values.dtype
    if role in ("resource", "quality", "rung"):
        if kind != pl.String:
            return kind.is_numeric()
        some = values.drop_nulls().head(100)
        return bool(some.str.to_lowercase().str.contains(_NUMBER).any())
    if role in ("arm", "run_id", "seed"):
        if kind.is_float() and not bool((values.drop_nulls().floor() == values.drop_nulls()).all()):
            return False
        if role == "arm":
            names_runs = len(values) > 2 and values.n_unique() == len(values)
            return not kind.is_float() and kind != pl.Null and not names_runs
        return bool(values.is_not_null().any())
    return True


def _equal(amounts: pl.Series, planned: pl.Series) -> bool:
    """Whether two columns hold the same numbers."""
    if not (amounts.dtype.is_numeric() and planned.dtype.is_numeric()):
        return False
    return bool((amounts.cast(pl.Float64) == planned.cast(pl.Float64)).fill_null(value=False).all())


def _holding(frame: pl.DataFrame, arms: Sequence[str]) -> str | None:
    if not arms:
        return None
    texts = [c for c, t in frame.schema.items() if t == pl.String]
    return next((c for c in texts if set(arms) <= set(frame[c].unique())), None)

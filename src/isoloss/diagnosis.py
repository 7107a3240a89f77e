"""Cautions about a study that its own runs give rise to: tuning, misses, copies, accounting."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import polars as pl

from isoloss.algorithms import algorithms
from isoloss.algorithms.innovation import innovations
from isoloss.gains.analysis import Carried, Cost, Trial
from isoloss.gains.elsewhere import bought_elsewhere
from isoloss.gains.result import Diagnostic, GainCurve
from isoloss.ledger.table import RunTable
from isoloss.planning.price import is_off
from isoloss.planning.specs import study_task
from isoloss.planning.tuning import tuned
from isoloss.study import Study
from isoloss.tasks import Task

#: 6 N D (parameters x examples) and counted FLOPs further apart than this are worth a word.
SIX_ND_TOLERANCE = 0.05
#: An A/A interval whose ends are further apart than this ratio says nothing.
TOO_WIDE = 2.0
#: Up to so many passes, repeated data is about as good as fresh (Muennighoff et al. 2023, arXiv 2305.16264).
EPOCHS_AS_GOOD_AS_FRESH = 4


def diagnose(
    study: Study,
    table: RunTable,
    trials: Sequence[Trial],
    carried: Sequence[Carried],
    costs: tuple[Cost, ...],
    comparisons: list[GainCurve],
) -> list[Diagnostic]:
    """Every caution about `study` that its own runs give rise to."""
    found = (
        _tuning(study, trials, carried)
        + _innovations(study)
        + _misses(study, table)
        + _copies(study, table, comparisons)
    )
    if len(study.comparisons) > 2:
        found.append(
            Diagnostic(
                "many-comparisons",
                "info",
                f"{len(study.comparisons)} comparisons are each made at 95%, uncorrected: the more are "
                "made, the likelier that one interval misses.",
                {"comparisons": len(study.comparisons)},
            )
        )
    found += bought_elsewhere(comparisons, costs)
    task = study_task(study)
    found += worse_than_guessing(table, type(task)) + _without_error(table, task)
    return found + _accounting(study, table, task)


def _tuning(study: Study, trials: Sequence[Trial], carried: Sequence[Carried]) -> list[Diagnostic]:
    found = []
    for arm in tuned(study):
        at = [t for t in trials if t.arm == arm and t.edges]
        if at:
            where = "; ".join(f"{', '.join(t.edges)} at rung {t.rung:.3g}" for t in at)
            found.append(
                Diagnostic(
                    "best-at-edge",
                    "warning",
                    f"{arm}: the best value lies at the edge of what was tried ({where}), so it may be under-tuned.",
                    {"arm": arm, "rungs": [t.rung for t in at]},
                )
            )
    for rung in study.ladder.rungs:
        counts = {a: sum(t.arm == a and t.rung == rung for t in trials) for a in tuned(study)}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{a} {n}" for a, n in counts.items())
            found.append(
                Diagnostic(
                    "unequal-trials", "warning", f"Arms had unequal tuning trials at rung {rung:.3g}: {said}.", counts
                )
            )
    # where runs are compared one by one, tuning would change both alike
    judged = {name for c in study.comparisons if c.mode != "exact" for name in (c.baseline, c.candidate)}
    tried = {name: [len(axis.grid()) for axis in arm.sweep.values()] for name, arm in study.arms.items()}
    untuned = [a for a in study.arms if max(tried[a], default=1) == 1 and a in judged]
    if untuned:
        base = {c.baseline for c in study.comparisons} & set(untuned)
        why = "An untuned baseline makes any candidate look good." if base else "A tuned one might do better."
        message = f"Not tuned at all: {', '.join(untuned)}. {why}"
        found.append(Diagnostic("untuned-arm", "warning", message, {"arms": untuned}))
    for arm in tuned(study):
        far = [c for c in carried if c.arm == arm and _missed(study, trials, c)]
        if far:
            said = "; ".join(
                f"{c.choice} at rung {c.rung:.3g}: predicted {c.predicted:.3g}, best {c.chosen:.3g}" for c in far
            )
            message = f"{arm}: the law that carries swept choices up the ladder missed ({said}): sweep one rung more."
            found.append(Diagnostic("law-missed", "warning", message, {"arm": arm, "rungs": [c.rung for c in far]}))
        held = [c for c in carried if c.arm == arm and c.held]
        if held:
            said = "; ".join(
                f"{c.choice} at rung {c.rung:.3g}: {c.wanted:.3g}, held at {c.predicted:.3g}" for c in held
            )
            message = f"{arm}: the law leads over a grid step from what was best at any swept rung ({said})."
            found.append(Diagnostic("law-held", "info", message, {"arm": arm, "rungs": [c.rung for c in held]}))
    return found


def _missed(study: Study, trials: Sequence[Trial], c: Carried) -> bool:
    """Whether the best value lies more than a step from the prediction, or at the edge of the widened check too."""
    step = math.log(study.arms[c.arm].sweep[c.choice].ratio)
    again = any(t.arm == c.arm and t.rung == c.rung and c.choice in t.edges for t in trials)
    return abs(math.log(c.chosen / c.predicted)) > 1.01 * step or again


def _innovations(study: Study) -> list[Diagnostic]:
    """Numbers that come with an innovation (a window, a cap) and that its arm does not sweep."""
    fixed: dict[str, dict[str, float]] = {}
    for arm in study.arms.values():
        for name in arm.innovations if arm.twin is None else ():
            entry = innovations.get(name)
            for key, value in entry.new.items():
                if entry.old.get(key) == value:
                    continue
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if number and not any(key in other.sweep for other in study.arms.values() if name in other.innovations):
                    fixed.setdefault(name, {})[key] = arm.settings.get(key, value)
    if not fixed:
        return []
    said = "; ".join(
        f"{name} at {', '.join(f'{k} = {v:g}' for k, v in values.items())}" for name, values in fixed.items()
    )
    message = f"Never tuned on their own, so their gains are lower bounds at best: {said}."
    return [Diagnostic("untuned-innovation", "info", message, fixed)]


def _misses(study: Study, table: RunTable) -> list[Diagnostic]:
    found = []
    failed = table.frame.filter(pl.col("status") == "failed")
    if failed.height:
        found.append(
            Diagnostic(
                "failed-runs",
                "error",
                f"{failed.height} runs failed and count as misses; running the study again tries them once more.",
                {"run_ids": failed["run_id"].to_list()},
            )
        )
    for purpose, severity in (("report", "warning"), ("tune", "info")):
        rows = table.frame.filter(pl.col("purpose") == purpose)
        counts = rows.group_by("arm", "rung", maintain_order=True).agg(
            (pl.col("status") == "diverged").sum().alias("lost"), pl.len().alias("of")
        )
        cells = [r for r in counts.sort("rung", maintain_order=True).iter_rows(named=True) if r["lost"]]
        if cells:
            cells.sort(key=lambda r: list(study.arms).index(r["arm"]))
            said = "; ".join(f"{r['arm']} at rung {r['rung']:.3g}: {r['lost']} of {r['of']}" for r in cells)
            what = "Reported runs diverged and count as misses" if purpose == "report" else "Tuning trials diverged"
            ids = rows.filter(pl.col("status") == "diverged")["run_id"].to_list()
            code = "diverged-rungs" if purpose == "report" else "diverged-trials"
            found.append(Diagnostic(code, severity, f"{what} ({said}).", {"cells": cells, "run_ids": ids}))  # type: ignore[arg-type]
    return found


def _copies(study: Study, table: RunTable, comparisons: list[GainCurve]) -> list[Diagnostic]:
    """What A/A comparisons say of the pipeline, and comparisons of runs with themselves."""
    found = []
    ids = {
        str(arm): set(rows["run_id"])
        for (arm,), rows in table.frame.filter(pl.col("purpose") == "report").group_by("arm")
    }
    for c in study.comparisons:
        shared = ids.get(c.baseline, set()) & ids.get(c.candidate, set())
        if shared:
            message = (
                f"{c.candidate} and {c.baseline} share {len(shared)} runs: they are one algorithm under two names. "
                f"A copy for an A/A comparison is an arm with twin = '{c.baseline}'."
            )
            details = {"baseline": c.baseline, "candidate": c.candidate, "runs": len(shared)}
            found.append(Diagnostic("same-runs", "error", message, details))
        elif c.mode != "exact" and (alike := _alike(table, c.baseline, c.candidate)):
            message = (
                f"{c.candidate} ends with exactly the quality of {c.baseline} in all {alike} runs of equal seeds: "
                "what it changes is not in use (a method with a misspelt name, a choice that nothing reads)."
            )
            details = {"baseline": c.baseline, "candidate": c.candidate, "runs": alike}
            found.append(Diagnostic("same-results", "error", message, details))
    for curve in comparisons:
        pair = {"baseline": curve.baseline, "candidate": curve.candidate}
        span = curve.verdict.interval
        if not curve.twin or span is None:
            continue
        said = f"{curve.candidate} is a copy of {curve.baseline} (A/A): the interval of its gain, {_span(span)},"
        if span[0] <= 1 <= span[1] and span[1] > TOO_WIDE * span[0]:
            message = f"{said} holds 1, but is too wide to tell anything."
            found.append(Diagnostic("aa-wide", "warning", message, pair | {"interval": span}))
        elif span[0] <= 1 <= span[1]:
            found.append(Diagnostic("aa-holds", "info", f"{said} holds 1, as it should.", pair | {"interval": span}))
        else:
            message = f"{said} leaves 1 out: chance (1 in 20), or seeds, tuning or data treat the two differently."
            found.append(Diagnostic("aa-fails", "error", message, pair | {"interval": span}))
        found += _rungs_apart(curve)
    return found


def _alike(table: RunTable, baseline: str, candidate: str) -> int:
    """How many runs of two arms have a rung and seed in common, where all of those agree to the last digit."""
    ended = table.frame.filter((pl.col("purpose") == "report") & (pl.col("status") == "finished"))
    mine, other = (ended.filter(pl.col("arm") == arm).select("rung", "seed", "test") for arm in (candidate, baseline))
    both = mine.join(other, on=("rung", "seed"), suffix="_of_baseline")
    return both.height if both.height > 1 and (both["test"] == both["test_of_baseline"]).all() else 0


def _rungs_apart(curve: GainCurve) -> list[Diagnostic]:
    """At which measured budgets an arm differs from its own copy."""
    measured = [p for p in curve.points if p.index == "old" and p.region == "measured" and p.interval is not None]
    off = [p for p in measured if p.interval is not None and not p.interval[0] <= 1 <= p.interval[1]]
    if not off:
        return []
    where = ", ".join(f"{_span(p.interval)} at {p.at:.3g}" for p in off if p.interval is not None)
    message = (
        f"At {len(off)} of {len(measured)} measured budgets {curve.candidate} differs from {curve.baseline}, of which "
        f"it is a copy ({where}): intervals hold the noise of seeds, not that of choosing a trial by few tuning seeds."
    )
    details = {"baseline": curve.baseline, "candidate": curve.candidate, "at": [p.at for p in off]}
    return [Diagnostic("aa-rungs", "warning", message, details)]


def _span(interval: tuple[float, float]) -> str:
    low, high = (f"{v:.3g}×" for v in interval)
    return f"{low} to {high}" if math.isfinite(interval[1]) else f"over {low}"


def worse_than_guessing(table: RunTable, task: type[Task]) -> list[Diagnostic]:
    """Reported runs that finished with a finite quality that a constant guess beats, by arm.

    They stay in the table as what they are: only a loss that is not finite counts as diverged.
    """
    guess = task.loss(task.trivial_quality)
    runs = table.frame.filter((pl.col("purpose") == "report") & (pl.col("status") == "finished"))
    found = []
    for (arm,), rows in runs.group_by("arm", maintain_order=True):
        scored = rows.select("run_id", "rung", pl.coalesce("test", "validation").alias("quality")).drop_nulls("quality")
        bad = [run for run in scored.iter_rows(named=True) if task.loss(run["quality"]) > guess]
        if bad:
            rungs = sorted({run["rung"] for run in bad})
            message = (
                f"{arm}: {len(bad)} of {scored.height} runs ended worse than a constant guess "
                f"({task.trivial_quality:.3g} {task.unit}), at rung {', '.join(f'{x:.3g}' for x in rungs)}: "
                "training went astray there."
            )
            details = {"arm": arm, "rungs": rungs, "run_ids": [run["run_id"] for run in bad]}
            found.append(Diagnostic("worse-than-guessing", "warning", message, details))
    return found


def _without_error(table: RunTable, task: Task) -> list[Diagnostic]:
    """Reported runs that made no error at all, of which the test split can say no more than a bound."""
    if task.resolution is None:
        return []
    ended = table.frame.filter((pl.col("purpose") == "report") & (pl.col("status") == "finished"))
    none = [run for run in ended.iter_rows(named=True) if run["test"] is not None and task.loss(run["test"]) == 0]
    if not none:
        return []
    arms = dict.fromkeys(run["arm"] for run in none)
    message = (
        f"{len(none)} reported runs of {', '.join(arms)} made no error on the test split: counted as half of the least "
        f"error that it can show ({task.resolution:.2g}). The largest rungs ask too little of this split."
    )
    return [Diagnostic("no-errors", "warning", message, {"run_ids": [run["run_id"] for run in none]})]


def _prices(study: Study, finished: pl.DataFrame, task: Task) -> list[Diagnostic]:
    """Arms whose counted FLOPs are not those of their algorithm's formula, at the rung where they are furthest off."""
    off: dict[str, float] = {}
    for arm in study.arms:
        for (_,), rows in finished.filter(pl.col("arm") == arm).group_by("rung"):
            row = rows.row(0, named=True)
            if not row["train_flops"] or not row["algorithm"]:
                continue
            cls = algorithms.get(row["algorithm"])
            ratio = row["train_flops"] / cls().train_flops(task, cls.Choices(**json.loads(row["choices"])))
            if is_off(ratio) and abs(math.log(ratio)) > abs(math.log(off.get(arm, 1.0))):
                off[arm] = ratio
    if not off:
        return []
    said = ", ".join(f"{arm} {ratio:.3f}" for arm, ratio in off.items())
    unequal = "; rungs aren't quite equal budgets" if study.ladder.resource == "train_flops" else ""
    message = f"Counted FLOPs over the formula's: {said}. Gains and costs use the counted ones{unequal}."
    return [Diagnostic("price-differs", "warning", message, {"ratios": off})]


def _accounting(study: Study, table: RunTable, task: Task) -> list[Diagnostic]:
    found = []
    frame = table.frame.filter((pl.col("purpose") == "report") & (pl.col("status") == "finished"))
    found += _prices(study, frame, task)
    if study.ladder.resource == "train_flops":
        ratios = {}
        for arm in study.arms:
            rows = frame.filter(pl.col("arm") == arm)
            six_nd = 6 * rows["parameters"] * rows["examples"]
            if (ratio := (six_nd / rows["train_flops"]).mean()) is not None:
                ratios[arm] = float(ratio)  # type: ignore[arg-type]
        off = {a: r for a, r in ratios.items() if abs(r - 1) > SIX_ND_TOLERANCE}
        if off:
            said = ", ".join(f"{a} {r:.2f}" for a, r in off.items())
            found.append(
                Diagnostic(
                    "six-nd-differs",
                    "info",
                    f"6ND is not the counted FLOPs (ratio: {said}); every figure here uses the counted ones.",
                    {"ratios": ratios},
                )
            )
    repeated = table.frame.filter(pl.col("examples") > pl.col("unique_examples"))
    if repeated.height and study.ladder.resource == "train_flops":
        epochs = repeated.select("arm", "rung", (pl.col("examples") / pl.col("unique_examples")).alias("epochs"))
        most = epochs.sort("epochs", descending=True).row(0, named=True)
        much = most["epochs"] > EPOCHS_AS_GOOD_AS_FRESH
        message = (
            f"The data is smaller than the ladder needs: {repeated.height} runs repeat it, most of all {most['arm']} "
            f"at rung {most['rung']:.3g} ({most['epochs']:.1f} epochs)."
        )
        if much:
            message += f" Beyond {EPOCHS_AS_GOOD_AS_FRESH:g} epochs repeated data is worth less than fresh data."
        arms = {str(arm): float(rows["epochs"].max()) for (arm,), rows in epochs.group_by("arm")}  # type: ignore[arg-type]
        details = {"epochs": most["epochs"], "arms": dict(sorted(arms.items()))}
        found.append(Diagnostic("repeated-data", "warning" if much else "info", message, details))
    return found

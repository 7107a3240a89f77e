"""How far do values carried up the ladder miss the best ones? Rules against each other on published run tables.

command:   python benchmarks/carried.py          (seconds)
expected:  from two rungs, a slope misses by more than no slope does; from three, shrunk and held, it does no harm

Of every study in ``results/`` that swept its learning rate at all rungs, the best trials of the first two or three
rungs predict the best of each later one. What is printed is the distance of the two in grid steps. Best trials are
noisy themselves, so that no rule can come to zero.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from isoloss.errors import IsolossError
from isoloss.planning.carry import fit_choice
from isoloss.verbs.studies import open_study

ROOT = Path(__file__).parents[1]
CHOICE = "lr"


def swept() -> Iterator[tuple[str, str, float, dict[float, float]]]:
    """Study, arm, grid ratio, and rung -> best value on validation, where every rung was swept whole."""
    for path in sorted(ROOT.glob("results/*/card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        try:
            study = open_study(ROOT / card["command"].split()[-1]).study
        except IsolossError:  # its data are not installed
            continue
        if study.study_id != card["study_id"] or study.carried_rungs:
            continue
        table = pl.read_csv(next(path.parent.glob("runs.csv*")), infer_schema_length=None)
        tried = table.filter((pl.col("purpose") == "tune") & pl.col("validation").is_not_null())
        for arm, definition in study.arms.items():
            if CHOICE in definition.sweep:
                yield path.parent.name, arm, definition.sweep[CHOICE].ratio, best(tried.filter(pl.col("arm") == arm))


def best(tried: pl.DataFrame) -> dict[float, float]:
    """Rung -> the value of least mean validation quality over its seeds (all tasks here have lower better)."""
    means = tried.group_by("rung", "choices").agg(pl.col("validation").mean()).sort("validation", "choices")
    first = means.group_by("rung", maintain_order=True).first().sort("rung")
    return {row["rung"]: float(json.loads(row["choices"])[CHOICE]) for row in first.iter_rows(named=True)}


def rules(budgets: Sequence[float], values: Sequence[float], ratio: float, at: float) -> dict[str, float]:
    """What each rule predicts at the budget `at`."""
    law = fit_choice(budgets, values, ratio)
    shrunk = math.copysign(max(abs(law.raw_slope) - law.slope_se, 0.0), law.raw_slope)
    away = math.log(at) - law.centre
    return {
        "least squares": math.exp(law.middle + law.raw_slope * away),
        "shrunk by a standard error": math.exp(law.middle + shrunk * away),
        "no slope": math.exp(law.middle),
        "as isoloss does": law.at(at),
    }


def main() -> None:
    """Print the table."""
    found, studies = [], set()
    for study, _, ratio, values in swept():
        rungs = list(values)
        for count in (2, 3):
            for at in rungs[count:]:
                said = rules(rungs[:count], [values[r] for r in rungs[:count]], ratio, at)
                ahead = rungs.index(at) - count + 1
                steps = {name: abs(math.log(v / values[at])) / math.log(ratio) for name, v in said.items()}
                found += [(count, ahead, name, s) for name, s in steps.items()]
                studies.add(study)
    frame = pl.DataFrame(found, schema=["from", "ahead", "rule", "steps"], orient="row")
    print(f"Distance from the best value, in grid steps; studies: {', '.join(sorted(studies))}")
    print(f"{'rungs swept':>11} {'ahead':>5} {'cases':>5}  {'rule':<28}{'mean':>6} {'worst':>6}  beyond one step")
    ordered = frame.sort("from", "ahead", maintain_order=True)
    for (count, ahead, rule), rows in ordered.group_by("from", "ahead", "rule", maintain_order=True):
        far = (rows["steps"] > 1.01).mean()
        shown = f"{rule:<28}{rows['steps'].mean():6.2f} {rows['steps'].max():6.2f}  {far:.0%}"
        print(f"{count:>11} {ahead:>5} {rows.height:>5}  {shown}")


if __name__ == "__main__":
    main()

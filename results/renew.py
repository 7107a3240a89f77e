"""Adds to the cards of this folder what newer cards hold, from the run tables beside them: `python results/renew.py`.

A minute on two cores. Every study is analysed again from its run table; a card is written only if each headline gain is
the one it had, and only its `portable` gains (those that the atlas reads at any budget) change.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl

from isoloss.analysis import analyse
from isoloss.gains.analysis import StudyResult
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.report.card import card, card_text
from isoloss.study import Study
from isoloss.verbs.studies import open_study

HERE = Path(__file__).parent


def main() -> None:
    """Every card in turn."""
    for path in sorted(HERE.glob("*/card.json")):
        old = json.loads(path.read_text(encoding="utf-8"))
        study = study_of(old)
        if study.study_id != old["study_id"]:
            print(f"{path.parent.name}: left as it is, for its study has changed since")
            continue
        new = card(published(path.parent))
        for mine, again in zip(old["comparisons"], new["comparisons"], strict=True):
            assert headline(mine) == headline(again) or math.isclose(headline(mine), headline(again), rel_tol=1e-9)
            mine["portable"] = again["portable"]
        path.write_text(card_text(old), encoding="utf-8")
        print(f"{path.parent.name}: {len(old['comparisons'])} comparisons, {path.stat().st_size / 1e3:.0f} kB")


def study_of(card: dict[str, Any]) -> Study:
    """The study file that a card's command names, as it is now."""
    return open_study(HERE.parent / card["command"].split()[-1]).study


def published(folder: Path) -> StudyResult:
    """The study of a folder of results, analysed again from its run table."""
    table = run_table(next(folder.glob("runs.csv*")))
    study = study_of(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    return analyse(study, table, machines=dict.fromkeys(table.frame["run_id"], "as recorded"))


def run_table(path: Path) -> RunTable:
    """A published run table, with nulls for what only its machine knew."""
    frame = pl.read_csv(path, infer_schema_length=None)
    absent = [pl.lit(None).alias(name) for name in SCHEMA if name not in frame.columns]
    return RunTable(frame.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))


def headline(comparison: dict[str, object]) -> float:
    """The gain that a comparison is quoted with; 0 where it is none."""
    top = comparison["headline"]
    return float(top["gain"] or 0.0) if isinstance(top, dict) else 0.0


if __name__ == "__main__":
    main()

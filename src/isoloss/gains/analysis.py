"""From a study's run table to everything its page says: comparisons, tuning, costs elsewhere, diagnostics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from isoloss.gains.result import Cost, Diagnostic, GainCurve

__all__ = ["ArmSummary", "Carried", "Cost", "StudyResult", "Trial"]


@dataclass(frozen=True)
class Trial:
    """One tuning trial: the swept `values` of an arm at a rung and the mean validation quality over its seeds.

    `quality` is None where a seed diverged or was given up early (`dropped`); `edges` names the swept choices whose
    best value lies at the end of what was tried (only on the chosen trial); `added` marks trials of the widening round,
    `predicted` the one that was carried up from the swept rungs.
    """

    arm: str
    rung: float
    values: dict[str, float]
    quality: float | None
    seeds: int
    chosen: bool = False
    edges: tuple[str, ...] = ()
    added: bool = False
    predicted: bool = False
    dropped: bool = False


@dataclass(frozen=True)
class Carried:
    """A swept choice at a rung where it was predicted: by a law of `slope` in ln C across the swept rungs.

    `slope` is the least-squares `raw_slope` shrunk towards 0 by its standard error `slope_se`, 0 from fewer than three
    rungs; `wanted` is where that line leads, `held` whether it leads further from the swept rungs' best values than a
    law may; `predicted` is the allowed value nearest to the law's, `chosen` the best value of the check.
    """

    arm: str
    choice: str
    rung: float
    slope: float
    raw_slope: float
    slope_se: float
    predicted: float
    chosen: float
    wanted: float
    held: bool


@dataclass(frozen=True)
class ArmSummary:
    """Who an arm is: its algorithm's card and what it cost in all.

    `settings`: its fixed choices, those of its `innovations` (and of what it leaves out, `without`) included; `twin`:
    the arm that it is a copy of.
    """

    name: str
    algorithm: str
    version: int
    year: int
    source: str
    claim: str
    settings: dict[str, Any]
    tune_runs: int
    tune_flops: float
    report_runs: int
    report_flops: float
    innovations: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    twin: str | None = None


@dataclass(frozen=True)
class StudyResult:
    """Everything that a study has found so far; a study in progress or with failures gives one too.

    `direction` is how people see quality (``lower`` or ``higher`` is better); qualities inside `comparisons` are
    always lower-is-better: where `direction` is ``higher`` they are the distance from `best`. `missing` says in plain
    sentences what keeps a comparison from being made; `counts`: status -> runs; `provenance`: command, versions,
    hardware, ledger, study file text, wall seconds; `runs`: the run table as row dicts; `curves`: run id ->
    (train_flops, train_loss); `carried`: the swept choices that were predicted at rungs beyond the swept ones.
    """

    study: str
    question: str
    resource: str
    resource_unit: str
    quality: str
    quality_unit: str
    direction: str
    floor: str
    comparisons: tuple[GainCurve, ...]
    costs: tuple[Cost, ...]
    arms: tuple[ArmSummary, ...]
    trials: tuple[Trial, ...]
    diagnostics: tuple[Diagnostic, ...]
    missing: tuple[str, ...]
    counts: dict[str, int]
    facts: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    runs: tuple[dict[str, Any], ...] = ()
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    best: float = 0.0
    carried: tuple[Carried, ...] = ()

    def shown(self, loss: float) -> float:
        """A quality inside `comparisons` as people see it."""
        return loss if self.direction == "lower" else self.best - loss

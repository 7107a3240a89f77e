"""The study card: a result as a small file that can be kept, compared with others and traced back to its runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.algorithms.innovation import innovations
from isoloss.evidence.cards import CARD, FORMAT
from isoloss.gains.analysis import ArmSummary, StudyResult
from isoloss.gains.result import Diagnostic, GainCurve, GainPoint, Verdict, to_json

_NUMBERS = re.compile(r'\[\s+(?:(?:-?[\d.]+(?:e[+-]?\d+)?|"-?inf"),?\s+){2,}\]')


def card(result: StudyResult) -> dict[str, Any]:
    """`result` as the card that `isoloss.evidence.cards` reads: plain JSON types, no NaN, infinities as ``"inf"``.

    Every comparison names the reported runs of both arms, so each verdict is backed by run ids; gains are at the
    ladder's rungs under both indexes, measured, bounded or extrapolated as `region` says.
    """
    said = result.provenance
    environment = said.get("environment") or {}
    versions = {**said.get("versions", {}), **environment.get("packages", {})}
    own = _own_innovations(result)
    answer: dict[str, Any] = to_json(
        {
            "card": FORMAT,
            "study": result.study,
            "study_id": said.get("study_id", ""),
            "question": result.question,
            "task": next((str(r["task"]) for r in result.runs if r.get("task")), ""),
            "quality": result.quality,
            "unit": result.quality_unit,
            "command": said.get("command", ""),
            "measured": said.get("measured", ""),
            "versions": {str(k): str(v) for k, v in versions.items()},
            "resource": result.resource,
            "ladder": sorted({float(r["rung"]) for r in result.runs if r.get("rung")}),
            "arms": [_arm(result, arm) for arm in result.arms],
            "comparisons": [_comparison(result, curve) for curve in result.comparisons],
            "diagnostics": _codes(result.diagnostics),
            "missing": list(result.missing),
            **({"innovations": own} if own else {}),
        }
    )
    return answer


def write_card(result: StudyResult, folder: Path) -> Path:
    """Write ``card.json`` into `folder`; its path."""
    path = folder / CARD
    path.write_text(card_text(card(result)), encoding="utf-8")
    return path


def card_text(data: Mapping[str, Any]) -> str:
    """A card as it is filed: a field a line, lists of numbers on one."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1)
    return _NUMBERS.sub(lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


def _headline(verdict: Verdict) -> dict[str, Any] | None:
    """The point that the level was judged at."""
    if verdict.at is None:
        return None
    return _gain(GainPoint(verdict.index, verdict.at, verdict.gain, verdict.interval, verdict.region))


def _own_innovations(result: StudyResult) -> list[dict[str, Any]]:
    """What plug-ins registered of the innovations measured; where a call claims nothing, its algorithm's card does."""
    named = dict.fromkeys(c.innovation for c in result.comparisons if c.innovation)
    found = []
    for entry in filter(None, map(innovations.plugged_in, named)):
        claims = [arm.claim for arm in result.arms if arm.algorithm == entry.new.get("algorithm")]
        claim = entry.claim or next(iter(claims), "")
        kept = {k: v for k, v in vars(entry).items() if k not in ("old", "new")}
        found.append({**kept, "claim": claim, "old": dict(entry.old), "new": dict(entry.new)})
    return found


def _comparison(result: StudyResult, curve: GainCurve) -> dict[str, Any]:
    pair = (curve.baseline, curve.candidate)
    reported = [r for r in result.runs if r.get("purpose") == "report"]
    return {
        "innovation": curve.innovation,
        "baseline": curve.baseline,
        "candidate": curve.candidate,
        "twin": curve.twin,
        **({} if curve.mode == "curve" else {"mode": curve.mode}),
        "resource": curve.resource,
        "gains": [_gain(p) for p in curve.points if p.index != "quality"],
        "headline": _headline(curve.verdict),
        "slope": {"value": curve.slope.value, "interval": curve.slope.interval, "basis": curve.slope.basis},
        "verdict": {
            "level": curve.verdict.level,
            "trend": curve.verdict.trend,
            "sentence": curve.verdict.sentence,
        },
        "diagnostics": _codes(curve.diagnostics),
        "costs": [
            {"resource": c.resource, "at": c.at, "ratio": c.ratio, "interval": _whole(c.interval)}
            for c in result.costs
            if c.belongs_to(curve)
        ],
        "runs": {
            role: [str(r["run_id"]) for r in reported if r["arm"] == arm]
            for role, arm in zip(("baseline", "candidate"), pair, strict=True)
        },
        **({} if curve.portable is None else {"portable": curve.portable}),
    }


def _gain(point: GainPoint) -> dict[str, Any]:
    return {
        "index": point.index,
        "at": point.at,
        "gain": point.gain,
        "interval": _whole(point.interval),
        "region": point.region,
    }


def _whole(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval with both ends, or none: an end that is not a number says nothing."""
    return None if interval is None or any(math.isnan(end) for end in interval) else interval


def _arm(result: StudyResult, arm: ArmSummary) -> dict[str, Any]:
    found = {}
    mine = [c for c in result.comparisons if arm.name in (c.baseline, c.candidate)]
    # budgets of one resource, the ladder's where any comparison is in it
    kind = min((c.resource for c in mine), key=lambda r: r != result.resource, default="")
    for curve in (c for c in mine if c.resource == kind):
        for rung in curve.rungs:
            if rung.arm == arm.name and rung.resource not in found and math.isfinite(rung.quality):
                ends = tuple(sorted(result.shown(end) for end in rung.interval))
                found[rung.resource] = {
                    "budget": rung.resource,
                    "quality": result.shown(rung.quality),
                    "interval": ends,
                    "runs": rung.runs,
                }
    return {
        "name": arm.name,
        "algorithm": arm.algorithm,
        "version": arm.version,
        "settings": arm.settings,
        "tuning_runs": arm.tune_runs,
        "rungs": [found[budget] for budget in sorted(found)],
    }


def _codes(diagnostics: tuple[Diagnostic, ...]) -> list[dict[str, str]]:
    """Each code once, in order, with its severity."""
    return [{"code": c, "severity": s} for c, s in dict.fromkeys((d.code, d.severity) for d in diagnostics)]

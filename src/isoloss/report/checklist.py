"""What a scaling study should tell its readers, answered from the study itself, after a published checklist.

Li, Kudugunta and Zettlemoyer 2025, "(Mis)Fitting: a survey of scaling laws" (arXiv 2502.18969), ask four groups of
questions, one for each section of theirs: the hypothesis (section 3), the training setup (4), the collection of data
points (5) and the fitting algorithm (6). They are asked here in our words. What the result does not hold is answered
"Not stated": an answer is never made up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from isoloss.gains.analysis import StudyResult
from isoloss.report import words

SOURCE = "Li, Kudugunta and Zettlemoyer 2025, (Mis)Fitting: a survey of scaling laws, sections 3 to 6, arXiv 2502.18969"
NOT_STATED = "Not stated."


class Item(NamedTuple):
    """One question of the checklist and its answer; `stated` is False where the study holds none."""

    question: str
    answer: str
    stated: bool


def checklist(result: StudyResult) -> list[tuple[str, list[Item]]]:
    """The four parts of the checklist, each with its questions answered from `result`."""
    parts = {
        "Scaling-law hypothesis": _law,
        "Training setup": _training,
        "Data collection": _points,
        "Fitting algorithm": _fit,
    }
    return [
        (title, [Item(q, words.plain(a, 900) or NOT_STATED, bool(a)) for q, a in answers(result).items()])
        for title, answers in parts.items()
    ]


def _law(result: StudyResult) -> dict[str, str]:
    fitted = [law for c in result.comparisons for law in c.laws]
    kinds = " or ".join(dict.fromkeys(words.plain(law.floor_kind, 20) for law in fitted))
    resources = dict.fromkeys([c.resource for c in result.comparisons] or [result.resource])
    quality = words.plain(result.quality, 40) + (f" in {words.plain(result.quality_unit, 30)}" if fitted else "")
    axes = ", ".join(words.resource_axis(r) for r in resources)
    assumed = "Inside the overlap of two ladders gains are interpolated and assume no law, only that more never hurts."
    return {
        "Which form does the law have?": f"L(C) = E + A·C^−α for each arm, floor {kinds}." if fitted else "",
        "Which variables does it relate?": f"{quality} to {axes}." if result.comparisons else "",
        "Which parameters are fitted?": "E (the floor), A and α (the exponent) of each arm; "
        f"one E for both where the floor is shared. {_limits(fitted)}"
        if fitted
        else "",
        "On what does this form rest?": "On experience: losses followed a power law above a floor (Kaplan et al. 2020, "
        "Hoffmann et al. 2022). How well they do here is under “How sure is the fit?”."
        if fitted
        else "",
        "What does it assume about its variables?": assumed
        if any(c.mode != "exact" for c in result.comparisons)
        else "",
    }


def _limits(laws: Iterable[Any]) -> str:
    held = sum(law.at_bound for law in laws)
    return f"{held} of the fits ended at a limit of a parameter." if held else "No fit ended at a limit of a parameter."


def _training(result: StudyResult) -> dict[str, str]:
    reported = [r for r in result.runs if r.get("purpose") == "report"]
    budgets = _range((r.get("rung") for r in reported), words.resource_unit(result.resource))
    sizes = _range((r.get("parameters") for r in reported), "parameters")
    seen, unique = (_range((r.get(k) for r in reported), "examples") for k in ("examples", "unique_examples"))
    repeated = sum(_more(r.get("examples"), r.get("unique_examples")) for r in reported)
    tasks = ", ".join(dict.fromkeys(words.plain(r["task"], 60) for r in result.runs if r.get("task")))
    digest = words.plain(result.facts.get("digest", ""), 16)
    per_arm = [f"{words.plain(a.name, 30)} {a.tune_runs}" for a in result.arms if a.tune_runs]
    swept = sorted({name for t in result.trials for name in t.values})
    flops = any(r.get("train_flops") for r in reported)
    kept = _varying(reported)
    arms = words.plural(len(result.arms), "arm")
    trained = f"{words.plural(len(reported), 'reported run')} of {arms}" if reported else ""
    return {
        "How many models are trained, and how large?": _sentence(
            trained,
            sizes,
            f"budgets {budgets}" if budgets else "",
        ),
        "On which data?": _sentence(tasks, f"digest of the content {digest}…" if digest else ""),
        "How much data does each see?": _sentence(seen),
        "Are data repeated?": f"In {repeated} of {len(reported)} reported runs; {unique} distinct ones were available."
        if seen and unique
        else "",
        "How are size and compute counted?": _sentence(
            "FLOPs operator by operator as they ran, forward and backward" if flops else "",
            "parameters with embeddings; those without are in runs.csv"
            if any(r.get("non_embedding_parameters") for r in reported)
            else "",
        ),
        "How are hyper-parameters chosen?": _sentence(
            f"swept: {', '.join(map(words.choice_title, swept))}" if swept else "",
            f"tuning runs by arm: {', '.join(per_arm)}" if per_arm else "",
            "the best mean validation quality at each budget; the test split is not looked at" if swept else "",
        ),
        "Which settings change with scale?": _sentence(", ".join(map(words.choice_title, kept))),
        "Is the training code given?": _sentence(
            _package(result), "the study file is on this page" if result.provenance.get("study_file") else ""
        ),
    }


def _points(result: StudyResult) -> dict[str, str]:
    reported = [r for r in result.runs if r.get("purpose") == "report"]
    unit = f" ({words.plain(result.quality_unit, 30)})" if result.quality_unit else ""
    evaluated = result.facts.get("evaluation_bytes")
    on = f"on {words.amount(float(evaluated), 'B')} of the test split" if isinstance(evaluated, int | float) else ""
    better = f"{words.plain(result.direction, 10)} is better"
    return {
        "Are checkpoints given?": "No: a run is repeated from its choices and its seed, not from weights."
        if reported
        else "",
        "How many points does each run give, and which?": "One, its end: no points from the middle of a schedule."
        if reported
        else "",
        "Which metric, on which data?": _sentence(f"{words.plain(result.quality, 40)}{unit}, {better}", on)
        if reported
        else "",
        "Are metrics changed before the fit?": "No: the test quality of each run as evaluated, in runs.csv."
        if reported
        else "",
    }


def _fit(result: StudyResult) -> dict[str, str]:
    curves = [c for c in result.comparisons if c.laws]
    if not curves:
        return dict.fromkeys(("Which objective is minimised?", "Are all points used?", "How sure is the fit?"), "")
    lost = {k: n for k, n in result.counts.items() if k in ("failed", "diverged") and n}
    said = " and ".join(f"{n:,} {words.plain(k)}" for k, n in lost.items())
    draws = sorted({c.draws for c in curves})
    p = [f.lack_of_fit_p for c in curves for f in c.floors if f.chosen and f.lack_of_fit_p is not None]
    misfit = f"{sum(v < 0.05 for v in p)} of {len(p)} joint fits have a misfit p below 0.05" if p else ""
    return {
        "Which objective is minimised?": "Squared differences of ln L of rung means, over their variances.",
        "By which algorithm, from where?": "Gauss-Newton in A and α at floors of a grid, then in the floor; no starts.",
        "Are all points used?": f"Yes; {said} runs count as misses." if said else "Yes; no run failed or diverged.",
        "How sure is the fit?": _sentence(
            f"{curves[0].level:.0%} intervals from {', '.join(f'{n:,}' for n in draws)} draws of whole runs", misfit
        ),
        "Is it tested beyond the data?": "No: nothing was run beyond the ladders; gains there are marked.",
        "Are data and analysis given?": "Yes: runs.csv and result.json beside this page; isoloss does the analysis.",
    }


def _range(values: Iterable[Any], unit: str) -> str:
    found = sorted(float(v) for v in values if isinstance(v, int | float) and v > 0)
    if not found:
        return ""
    ends = [words.amount(v, unit) for v in (found[0], found[-1])]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _more(seen: Any, unique: Any) -> bool:
    return isinstance(seen, int | float) and isinstance(unique, int | float) and seen > unique


def _varying(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Choices that differ between budgets of one arm."""
    found: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        try:
            choices = json.loads(run.get("choices") or "{}")
        except (TypeError, ValueError):
            continue
        for name, value in choices.items() if isinstance(choices, dict) else ():
            found.setdefault((str(run.get("arm")), str(name)), set()).add(json.dumps(value))
    return sorted({name for (_, name), values in found.items() if len(values) > 1})


def _package(result: StudyResult) -> str:
    environment = result.provenance.get("environment") or {}
    version = (environment.get("packages") or {}).get("isoloss") if isinstance(environment, Mapping) else None
    return f"isoloss {words.plain(version, 20)}" if version else ""


def _sentence(*parts: str) -> str:
    said = "; ".join(p for p in parts if p)
    return f"{said[0].upper()}{said[1:]}." if said else ""

"""The report page: one HTML file that holds everything it shows and loads nothing."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isoloss.gains.analysis import ArmSummary, StudyResult
from isoloss.gains.result import Diagnostic, GainCurve, Interval, to_json
from isoloss.report import checklist, run_rows, tables, words
from isoloss.report.card import write_card
from isoloss.report.catalogue import Entry, Index, catalogue, drawn, find_figure
from isoloss.report.document import Shelf, render_document
from isoloss.report.figures.canvas import PALETTE
from isoloss.report.figures.overview import by_size
from isoloss.report.glossary import TERMS
from isoloss.report.meanings import meaning
from isoloss.report.qualities import Quality
from isoloss.runs import MACHINE_RESOURCES

_SEVERITIES = (("error", "To be fixed"), ("warning", "To read before you quote a number"), ("info", "Good to know"))
_MARKS = {
    "level": {"gain": "▲", "loss": "▼", "none": "=", "unknown": "?"},
    "trend": {"grows": "↗", "constant": "→", "shrinks": "↘", "unknown": "?"},
}
_NAMES = {
    "level": {"gain": "a gain", "loss": "a loss", "none": "no gain", "unknown": "gain unknown"},
    "trend": {
        "grows": "grows with scale",
        "constant": "constant over scale",
        "shrinks": "shrinks with scale",
        "unknown": "trend unknown",
    },
}
_MOST_TUNING_CHOICES = 4


def render_page(result: StudyResult) -> str:
    """The page of a study, finished or not, as one self-contained HTML document."""
    from altair.utils.schemapi import debug_mode

    shelf = Shelf()
    with debug_mode(False):  # checking every part against the schema takes half the time; tests render what is made
        context = _context(result, shelf)
    runs = context["runs"]
    data = {"runs": runs, "curves": run_rows.thin_curves(result.curves, runs.ids)}
    return render_document("report.html.j2", context, shelf, scripts=("figures.js", "report.js"), data=data)


def write_page(result: StudyResult, folder: Path) -> Path:
    """Write ``report.html``, ``card.json``, ``result.json``, ``runs.csv`` and the first gain curve as SVG; the page."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(result), ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "result.json").write_text(text, encoding="utf-8")
    write_card(result, folder)
    _write_runs(result.runs, folder / "runs.csv")
    (folder / "gain-curve.svg").unlink(missing_ok=True)
    if result.comparisons:
        figure = find_figure(result, "gain")
        (folder / "gain-curve.svg").write_text(figure.svg(), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(render_page(result), encoding="utf-8")
    return page


def _write_runs(runs: Iterable[Mapping[str, Any]], path: Path) -> None:
    rows = list(runs)
    # what belongs to the machine stays in result.json: a repeat on the same machine gives this file bit for bit
    columns = [c for c in dict.fromkeys(name for row in rows for name in row) if c not in MACHINE_RESOURCES] or [
        "run_id"
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(
            {k: "" if v is None or (isinstance(v, float) and math.isnan(v)) else v for k, v in row.items()}
            for row in rows
        )


def _context(result: StudyResult, shelf: Shelf) -> dict[str, Any]:
    listed = catalogue(result)
    several = len(result.comparisons) > 1
    overview = shelf.add(drawn(result, listed[0])) if several else None
    order = by_size(result.comparisons) if several else range(len(result.comparisons))
    comparisons = [
        _comparison(result, result.comparisons[k], [e for e in listed if e.comparison == k + 1], shelf) for k in order
    ]
    sweeps: dict[str, list[Entry]] = {}
    for entry in listed:
        if entry.choice is not None:
            sweeps.setdefault(entry.choice, []).append(entry)
    tuning = [
        {"title": words.choice_title(choice).capitalize(), "figures": [shelf.add(drawn(result, e)) for e in entries]}
        for choice, entries in list(sweeps.items())[:_MOST_TUNING_CHOICES]
    ]
    diagnostics = _diagnostics(result)
    cautions = sum(len(items) for severity, _, items in diagnostics if severity != "info")
    runs = run_rows.run_rows(result.runs, result.resource)
    provenance = dict(result.provenance)
    command, study_file = provenance.pop("command", ""), provenance.pop("study_file", "")
    first = [("verdict", "Verdict")]
    first += [("comparisons", "Comparisons")] if several else [(c["anchor"], "Gain") for c in comparisons]
    sections = first + [
        (anchor, title)
        for anchor, title, there in (
            ("tuning", "Tuning", tuning),
            ("diagnostics", "Doubts", diagnostics),
            ("arms", "Arms", result.arms),
            ("runs", "Runs", runs.ids),
            ("reproduce", "Reproduce", True),
            ("words", "Words", True),
        )
        if there
    ]
    return {
        "study": words.plain(result.study, 120),
        "question": words.prose(result.question, 600) or "No question was stated.",
        "headline": _headline(result),
        "summary": _summary(result.comparisons),
        "sections": sections,
        "overview": overview,
        "comparisons": comparisons,
        "cautions": words.plural(cautions, "caution") if cautions else "",
        "missing": [words.plain(m, 600) for m in result.missing],
        "failed": _failed(result),
        "counts": [
            (f"{n:,}", f"{'run' if n == 1 else 'runs'} {words.plain(status)}")
            for status, n in result.counts.items()
            if n
        ],
        "quality_title": words.plain(result.quality, 60).replace("_", " ").capitalize(),
        "tuning": tuning,
        "trial_table": tables.trial_table(result.trials, result.resource),
        "diagnostics": diagnostics,
        "arms": [_arm(a, k) for k, a in enumerate(result.arms)],
        "runs": runs,
        "has_curves": any(i in result.curves for i in runs.ids),
        "command": words.plain(command, 1000),
        "study_file": words.visible(study_file).strip(),
        "provenance": _pairs(provenance),
        "facts": _pairs(result.facts),
        "run_ids": [words.plain(r.get("run_id", "")) for r in result.runs if r.get("purpose") == "report"],
        "checklist": checklist.checklist(result),
        "checklist_source": checklist.SOURCE,
        "terms": TERMS,
        "marks": _MARKS,
        "names": _NAMES,
    }


def _comparison(result: StudyResult, curve: GainCurve, listed: list[Entry], shelf: Shelf) -> dict[str, Any]:
    """One comparison as the template shows it; `listed` are its figures."""
    has = {e.name: e for e in listed}

    def show(name: str, index: Index = "old") -> dict[str, Any] | None:
        return shelf.add(drawn(result, has[name], index)) if name in has else None

    verdict, read = curve.verdict, Quality.of(result)
    big, interval = words.headline(verdict.gain, verdict.interval), words.span_times(verdict.interval)
    at = f"at {words.amount(verdict.at, words.resource_unit(curve.resource))}" if verdict.at is not None else ""
    cautions = dict.fromkeys(d.code for d in curve.diagnostics if d.severity != "info")
    return {
        "curve": curve,
        "sentence": words.plain(verdict.sentence, 1000),
        "anchor": f"comparison-{listed[0].comparison}",
        "baseline": words.plain(curve.baseline, 40),
        "candidate": words.plain(curve.candidate, 40),
        "measure": tables.measure(curve, result.resource),
        "resource": words.resource_title(curve.resource),
        "big": "" if big == words.NOTHING else big,
        "range": f"95%: {interval}"
        if big != interval and verdict.interval is not None
        else "bound (95%)"
        if _one_sided(verdict.interval)
        else "95% interval",
        "where": f"{at} of {words.plain(curve.baseline, 40)}" if at else "",
        "cautions": [(_anchor(code), meaning(words.plain(code, 60)).title) for code in cautions],
        "old": show("gain"),
        "new": show("gain", "new"),
        "old_table": tables.gain_table(curve, "old"),
        "new_table": tables.gain_table(curve, "new"),
        "asked": tables.asked_table(curve) if curve.asked else None,
        "quality": show("quality"),
        "residuals": show("residuals"),
        "rung_table": tables.rung_table(curve.rungs, curve.resource, read),
        "laws": tables.law_table(curve, read) if curve.laws else None,
        "floors": tables.floor_table(curve, read) if curve.floors else None,
        "slope": show("slope"),
        "slopes": tables.slope_table(curve),
        "slope_notes": tables.slope_notes(curve),
        "crossover": tables.crossover_sentence(curve.crossover, curve.resource),
        "costs": show("ratios"),
        "cost_table": tables.cost_table([c for c in result.costs if c.belongs_to(curve)]),
    }


def _summary(curves: tuple[GainCurve, ...]) -> str:
    """Several verdicts in two or three sentences: how many of each kind, the largest gain, what copies show."""
    judged = [c for c in curves if not c.twin]
    kinds = Counter(c.verdict.level if c.verdict.level in ("gain", "loss", "none") else "open" for c in judged)
    named = {
        "gain": ("gain", "gains"),
        "loss": ("loss", "losses"),
        "none": ("without a gain", "without a gain"),
        "open": ("not settled by these runs", "not settled by these runs"),
    }
    said = [f"{kinds[k]} {forms[kinds[k] > 1]}" for k, forms in named.items() if kinds[k]]
    told = [f"Of {words.plural(len(judged), 'comparison')}: {', '.join(said)}."] if said else []
    gains = [(c.verdict.gain, c) for c in judged if c.verdict.level == "gain" and c.verdict.gain is not None]
    if gains:
        gain, best = max(gains, key=lambda pair: pair[0])
        interval = f" (95% {words.span(best.verdict.interval)})" if best.verdict.interval else ""
        pair = f"{words.plain(best.candidate, 40)} against {words.plain(best.baseline, 40)}"
        told.append(f"The largest gain is {pair}, {words.times(gain)}{interval}{_elsewhere(best, judged)}.")
    twins = [c for c in curves if c.twin]
    differ = [c for c in twins if c.verdict.level in ("gain", "loss")]
    if differ:
        told.append(f"Caution: {words.plain(differ[0].candidate, 40)}, a copy of its own baseline, differs from it.")
    elif twins:
        told.append("Between an arm and its own copy neither a gain nor a loss was found, as it should be.")
    return " ".join(told)


def _elsewhere(best: GainCurve, judged: list[GainCurve]) -> str:
    """Against which other baselines the same candidate shows no gain: the largest one is that over the weakest."""
    rivals = [c for c in judged if c.candidate == best.candidate and c.resource == best.resource]
    without = dict.fromkeys(words.plain(c.baseline, 40) for c in rivals if c.verdict.level != "gain")
    return f", but none is shown against {' or '.join(without)}" if without else ""


def _one_sided(interval: Interval | None) -> bool:
    return interval is not None and (interval[0] <= 0 or math.isinf(interval[1]))


def _headline(result: StudyResult) -> str:
    finished = result.counts.get("finished", 0)
    if not sum(result.counts.values()):
        return "Nothing has been run yet, so there is no answer."
    return f"No verdict yet: {words.plural(finished, 'run')} finished, and no comparison can be made from them."


def _failed(result: StudyResult) -> str:
    failed = result.counts.get("failed", 0)
    return f"{words.plural(failed, 'run')} failed. Their errors are under “How to reproduce it”." if failed else ""


def _anchor(code: str) -> str:
    """Where the page explains a diagnostic."""
    return "d-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in words.plain(code, 60))


def _diagnostics(result: StudyResult) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Every diagnostic by severity and code, its messages with the comparisons that they are about; unknown last."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    each: list[tuple[str, Diagnostic]] = [("", d) for d in result.diagnostics]
    for curve in result.comparisons:
        measure = tables.measure(curve, result.resource)
        about = f"{words.plain(curve.candidate, 30)} against {words.plain(curve.baseline, 30)}"
        about += measure and f" {measure}"
        each += [(about if len(result.comparisons) > 1 else "", d) for d in curve.diagnostics]
    for about, d in each:
        found.setdefault((d.severity, d.code), {}).setdefault(d.message, []).append(about)
    titles = dict(_SEVERITIES)
    titles |= {severity: severity for severity, _ in found if severity not in titles}
    groups = []
    named: set[str] = set()
    for severity, title in titles.items():
        items = []
        for (kind, code), messages in found.items():
            if kind == severity:
                said = [
                    (words.prose(text, 1000), "; ".join(dict.fromkeys(p for p in pairs if p)))
                    for text, pairs in messages.items()
                ]
                anchor = "" if _anchor(code) in named else _anchor(code)
                named.add(_anchor(code))
                sense = meaning(words.plain(code, 60))
                items.append({"code": words.plain(code, 60), "anchor": anchor, "said": said, **sense._asdict()})
        if items:
            groups.append((severity, title, items))
    return groups


def _arm(arm: ArmSummary, number: int) -> dict[str, Any]:
    spent = [
        f"{words.plural(runs, kind)}, {words.amount(flops, 'FLOP')}"
        for runs, kind, flops in (
            (arm.tune_runs, "tuning run", arm.tune_flops),
            (arm.report_runs, "reported run", arm.report_flops),
        )
    ]
    return {
        "name": words.plain(arm.name, 80),
        "algorithm": f"{words.plain(arm.algorithm, 60)}, version {arm.version}" + (f", {arm.year}" if arm.year else ""),
        "source": words.plain(arm.source, 300),
        "claim": words.plain(arm.claim, 600),
        "spent": "; ".join(spent),
        "settings": _pairs(arm.settings),
        "colour": number % len(PALETTE["light"]),
    }


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts as (name, words), empty ones left out; names that end in seconds read as times."""
    out = []
    for name, value in values.items():
        if value in (None, "", [], {}, ()):
            continue
        shown = run_rows.setting(value)
        if "seconds" in str(name) and isinstance(value, Mapping):
            shown = ", ".join(f"{words.plain(k)} {_seconds(v)}" for k, v in value.items())
        elif "seconds" in str(name):
            shown = _seconds(value)
        elif str(name).endswith("bytes") and isinstance(value, int | float):
            shown = words.amount(float(value), "B", 3)
        label = words.plain(
            str(name).removesuffix("_seconds") + " time" if str(name).endswith("_seconds") else name, 60
        )
        out.append((label.replace("_", " "), words.plain(shown, 2000)))
    return out


def _seconds(value: Any) -> str:
    return words.duration(float(value)) if isinstance(value, int | float) else run_rows.setting(value)

"""The report page: one HTML file that holds everything it shows and loads nothing."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isoloss.gains.analysis import ArmSummary, StudyResult
from isoloss.gains.result import Diagnostic, GainCurve, Interval, to_json
from isoloss.report import run_rows, tables, words
from isoloss.report.card import write_card
from isoloss.report.figures import (
    Figure,
    figure_gain,
    figure_quality,
    figure_ratios,
    figure_tuning,
    swept_choices,
    theme,
)
from isoloss.report.figures.canvas import PALETTE
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
    import jinja2
    from altair.utils.schemapi import debug_mode
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("isoloss.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    shelf = Shelf()
    source = {name: Markup(template_text(f"report.{name}")) for name in ("css", "js")}
    with debug_mode(False):  # checking every part against the schema takes half the time; tests render what is made
        context = _context(result, shelf)
    page = environment.get_template("report.html.j2").render(
        **context,
        css=source["css"] + Markup(palette_css()),
        js=source["js"],
        bundle=Markup(script_bundle()) if shelf.figures else "",
        has_figures=bool(shelf.figures),
        figures_json=Markup(embedded(shelf.payload())),
        themes_json=Markup(embedded({mode: theme(mode) for mode in ("light", "dark")})),
    )
    return page


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
        figure = figure_gain(result.comparisons[0], "old", [a.name for a in result.arms])
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


def embedded(value: Any) -> str:
    """JSON that is safe inside a script element: no markup, no line separators, no NaN."""
    text = json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@functools.cache
def script_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one minified script; no end tag in it can end the element around it."""
    import vl_convert

    text = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return text.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


def palette_css() -> str:
    """The figures' colours as CSS variables ``--arm-0`` and on, for light and dark."""
    light, dark = ("".join(f"--arm-{k}:{c};" for k, c in enumerate(PALETTE[mode])) for mode in ("light", "dark"))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def template_text(name: str) -> str:
    """A template's own text, as it is."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


class Shelf:
    """Numbers the page's figures as the template meets them and holds what the page's script needs of each."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def add(self, figure: Figure, height: int) -> dict[str, Any]:
        """Keep `figure`; what the template's ``figure`` macro shows, `height` being room held before it is drawn."""
        self.figures.append(figure)
        return {"number": len(self.figures) - 1, "figure": figure, "height": height}

    def payload(self) -> list[dict[str, Any]]:
        """All figures as the script reads them: a file name, the body, and the data behind it."""
        out = []
        for f in self.figures:
            columns = list(dict.fromkeys(name for row in f.rows for name in row))
            rows = [[row.get(name) for name in columns] for row in f.rows]
            name = re.sub(r"[^a-z0-9]+", "-", f.title.lower()).strip("-")[:80]
            out.append({"name": name or f.name, "body": f.body, "columns": columns, "rows": rows})
        return out


def _context(result: StudyResult, shelf: Shelf) -> dict[str, Any]:
    arms = [a.name for a in result.arms]
    comparisons = [_comparison(result, k, curve, arms, shelf) for k, curve in enumerate(result.comparisons)]
    tuning = []
    for choice in swept_choices(result.trials)[:_MOST_TUNING_CHOICES]:
        swept = dict.fromkeys(t.arm for t in result.trials if choice in t.values)
        drawn = [figure_tuning(result.trials, arm, choice, arms, result.direction == "higher") for arm in swept]
        tuning.append({"title": words.choice_title(choice).capitalize(), "figures": [shelf.add(f, 330) for f in drawn]})
    diagnostics = _diagnostics(result)
    cautions = sum(len(items) for severity, _, items in diagnostics if severity != "info")
    runs = run_rows.run_rows(result.runs, result.resource, result.curves)
    kept = [r.run_id for r in runs.rows if r.curve]
    curves = run_rows.thin_curves(result.curves, kept)
    provenance = dict(result.provenance)
    command, study_file = provenance.pop("command", ""), provenance.pop("study_file", "")
    sections = [("verdict", "Verdict")]
    sections += [
        (c["anchor"], f"{c['candidate']} vs {c['baseline']}{c['measure'] and ' ' + c['measure']}")
        if len(comparisons) > 1
        else (c["anchor"], "Gain")
        for c in comparisons
    ]
    sections += [
        (name, name.capitalize())
        for name, there in (
            ("tuning", tuning),
            ("diagnostics", diagnostics),
            ("arms", result.arms),
            ("runs", runs.rows),
        )
        if there
    ]
    return {
        "study": words.plain(result.study, 120),
        "question": words.plain(result.question, 600) or "No question was stated.",
        "headline": _headline(result),
        "sections": [*sections, ("reproduce", "Reproduce")],
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
        "curves_json": _markup(embedded(curves)),
        "command": words.plain(command, 1000),
        "study_file": words.visible(study_file).strip(),
        "provenance": _pairs(provenance),
        "facts": _pairs(result.facts),
        "run_ids": [words.plain(r.get("run_id", "")) for r in result.runs if r.get("purpose") == "report"],
        "marks": _MARKS,
        "names": _NAMES,
        "version": importlib.metadata.version("isoloss"),
    }


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _comparison(result: StudyResult, number: int, curve: GainCurve, arms: list[str], shelf: Shelf) -> dict[str, Any]:
    mine = [c for c in result.costs if c.belongs_to(curve)]
    verdict, read = curve.verdict, Quality.of(result)
    big = words.times(verdict.gain) if verdict.gain is not None else words.span_times(verdict.interval)
    both = verdict.gain is not None and verdict.interval is not None
    at = f"at {words.amount(verdict.at, words.resource_unit(curve.resource))}" if verdict.at is not None else ""
    return {
        "curve": curve,
        "sentence": words.plain(verdict.sentence, 1000),
        "anchor": f"comparison-{number + 1}",
        "baseline": words.plain(curve.baseline, 40),
        "candidate": words.plain(curve.candidate, 40),
        "measure": tables.measure(curve, result.resource),
        "resource": words.resource_title(curve.resource),
        "big": "" if big == words.NOTHING else big,
        "range": f"95%: {words.span_times(verdict.interval)}"
        if both
        else "bound (95%)"
        if _one_sided(verdict.interval)
        else "95% interval",
        "where": f"{at} of {words.plain(curve.baseline, 40)}" if at else "",
        "old": shelf.add(figure_gain(curve, "old", arms), 410),
        "new": shelf.add(figure_gain(curve, "new", arms), 410),
        "old_table": tables.gain_table(curve, "old"),
        "new_table": tables.gain_table(curve, "new"),
        "asked": tables.asked_table(curve) if curve.asked else None,
        "quality": shelf.add(figure_quality(curve, arms, read), 410),
        "rung_table": tables.rung_table(curve.rungs, curve.resource, read),
        "laws": tables.law_table(curve, read) if curve.laws else None,
        "floors": tables.floor_table(curve, read) if curve.floors else None,
        "slopes": tables.slope_table(curve),
        "slope_notes": tables.slope_notes(curve),
        "crossover": tables.crossover_sentence(curve.crossover, curve.resource),
        "costs": shelf.add(figure_ratios(mine, arms), 100 + 44 * len({c.resource for c in mine})) if mine else None,
        "cost_table": tables.cost_table(mine),
    }


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


def _diagnostics(result: StudyResult) -> list[tuple[str, str, list[dict[str, str]]]]:
    """Every diagnostic once, grouped by severity; those of severities unknown here come last."""
    found: dict[tuple[str, str, str], list[str]] = {}
    each: list[tuple[str, Diagnostic]] = [("", d) for d in result.diagnostics]
    for curve in result.comparisons:
        measure = tables.measure(curve, result.resource)
        about = f"{words.plain(curve.candidate, 30)} against {words.plain(curve.baseline, 30)}"
        about += measure and f" {measure}"
        each += [(about if len(result.comparisons) > 1 else "", d) for d in curve.diagnostics]
    for about, d in each:
        found.setdefault((d.severity, d.code, d.message), []).append(about)
    titles = dict(_SEVERITIES)
    titles |= {severity: severity for severity, _, _ in found if severity not in titles}
    groups = []
    for severity, title in titles.items():
        items = []
        for (kind, code, message), pairs in found.items():
            if kind == severity:
                sense = meaning(words.plain(code, 60))
                item = {"code": words.plain(code, 60), "message": words.plain(message, 1000), **sense._asdict()}
                items.append({**item, "about": "; ".join(dict.fromkeys(p for p in pairs if p))})
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
        label = words.plain(
            str(name).removesuffix("_seconds") + " time" if str(name).endswith("_seconds") else name, 60
        )
        out.append((label.replace("_", " "), words.plain(shown, 2000)))
    return out


def _seconds(value: Any) -> str:
    return words.duration(float(value)) if isinstance(value, int | float) else run_rows.setting(value)

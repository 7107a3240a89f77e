"""The page of the atlas: one HTML file with the forest plot, the table, and every innovation with its evidence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from isoloss.report import words
from isoloss.report.atlas import is_apart, lacking, measured_gain, published, scale, summary, verdict
from isoloss.report.atlas_data import Scale, atlas_data
from isoloss.report.document import Shelf, render_document
from isoloss.report.figures.atlas import drawn, figure_atlas
from isoloss.report.figures.atlas_moving import figure_distribution, figure_progress, figure_shrink, gain_rows
from isoloss.report.figures.origin import told
from isoloss.verbs.atlas import Atlas, Measured, Quoted, Row, stand

_CHECKS = {
    "read": "read in the source",
    "code": "from the authors’ code",
    "recomputed": "worked out from printed numbers",
    "second-hand": "quoted second-hand, not read in the source",
}
_TRENDS = {
    "grows": "reported to grow with scale",
    "shrinks": "reported to shrink with scale",
    "constant": "reported not to change with scale",
    "contested": "reports of its trend contradict each other",
    "unknown": "",
}


#: Where the report of a measurement is, or None.
Finder = Callable[[Measured], str | None]


def render_atlas_page(found: Atlas, report: Finder | None = None) -> str:
    """The page as one self-contained HTML document; `report` finds the address of a measurement's report."""
    from altair.utils.schemapi import debug_mode

    shelf = Shelf()
    with debug_mode(False):  # checking every part against the schema takes half the time; tests render what is made
        context = _context(found, shelf, report or (lambda _: None))
    return render_document(
        "atlas.html.j2",
        context,
        shelf,
        styles=("report.css", "atlas.css"),
        scripts=("figures.js", "numbers.js", "atlas_model.js", "atlas.js"),
        data={"atlas": context["data"]},
    )


def write_atlas_page(found: Atlas, answer: Mapping[str, Any], folder: Path) -> Path:
    """Write ``atlas.html``, ``atlas.json`` (`answer`) and ``atlas.svg`` into `folder`; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "atlas.json").write_text(text, encoding="utf-8")
    if drawn(found.rows):
        (folder / "atlas.svg").write_text(figure_atlas(found.rows).svg(), encoding="utf-8")
    page = folder / "atlas.html"
    page.write_text(render_atlas_page(found, lambda one: _beside(one, folder)), encoding="utf-8")
    return page


def _beside(one: Measured, folder: Path) -> str | None:
    """The report that lies beside a card, as a link from a page in `folder`."""
    report = Path(one.card).with_name("report.html")
    if not report.is_file():
        return None
    return quote(Path(os.path.relpath(report.resolve(), folder.resolve())).as_posix())


def _context(found: Atlas, shelf: Shelf, report: Finder) -> dict[str, Any]:
    here = [r for r in found.rows if r.registered]
    data = atlas_data(found)
    sections = [("answer", "Answer"), ("table", "Table")]
    figures = _figures(found, data["scales"], shelf)
    if figures:
        sections += [("spread", "How large"), ("shrink", "Claims shrink"), ("progress", "Over the years")]
    return {
        "field": words.plain(found.field, 60),
        "fields": sorted({words.plain(field, 40) for r in found.rows for field in r.fields}),
        "sections": [*sections, ("each", "Each"), ("reproduce", "Reproduce")],
        "measured": len(found.measured),
        "registered": len(here),
        "summary": summary(found),
        "notes": [words.plain(n, 400) for n in found.notes],
        "twins": [_measured(t, report) | {"holds": _holds(t)} for t in found.twins],
        "holding": sum(map(_holds, found.twins)),
        "data": data,
        "asked": _asked(data),
        "figures": figures,
        "rows": [_line(r, k) for k, r in enumerate(found.rows)],
        "items": [_item(r, k, report) for k, r in enumerate(found.rows)],
        "cards": [words.plain(c, 300) for c in found.cards],
    }


def _asked(data: Mapping[str, Any]) -> str:
    """The command that answers what the page shows first."""
    if not data["scales"]:
        return str(data["command"])
    first: Scale = data["scales"][0]
    return f"{data['command']} --at {10**first.start:.3g} --resource {first.key}"


def _figures(found: Atlas, scales: list[Scale], shelf: Shelf) -> dict[str, Any] | None:
    """The figures below the table, of the resource that most was measured in; None without anything measured."""
    if not scales:
        return None
    first = scales[0]
    gains = gain_rows(stand(found, 10**first.start, "old", first.key).rows, first.key)
    years = [r.year for r in found.rows if r.year]
    made = {
        "distribution": figure_distribution(gains, first.domain),
        "shrink": figure_shrink(gains, first.domain),
        "progress": figure_progress(gains, min(years, default=2012), max(years, default=2025)),
    }
    return {name: shelf.add(f) for name, f in made.items()}


def _anchor(row: Row, k: int) -> str:
    """An id of its own for each row, whatever its name holds."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", row.name).strip("-")[:40]
    return f"i-{name or k}" if name == row.name else f"i-{k}-{name}"


def _line(row: Row, k: int) -> dict[str, Any]:
    """One line of the table as it stands without a chosen budget."""
    top = row.headline
    trend = verdict(top) if top is not None else _TRENDS[row.reported_trend].removeprefix("reported to ")
    return {
        "name": words.plain(row.name, 40),
        "title": words.plain(row.title, 80),
        "anchor": _anchor(row, k),
        "field": words.plain(row.field, 40),
        "kin": [words.plain(field, 40) for field in row.fields],
        "year": row.year,
        "ours": f"{measured_gain(top)} at {scale(top)}" if top is not None else lacking(row),
        "trend": {"reported not to change with scale": "constant"}.get(trend, trend),
        "level": top.level if top is not None else "unknown",
        "claimed": published(row, "claimed") if row.claimed else "",
        "later": published(row, "later") if row.later else "",
    }


def _holds(one: Measured) -> bool:
    return one.interval is not None and one.interval[0] <= 1 <= one.interval[1]


def _item(row: Row, k: int, report: Finder) -> dict[str, Any]:
    apart = f" of {row.resource}" if is_apart(row) and row.resource else ""
    return {
        "name": words.plain(row.name, 60),
        "anchor": _anchor(row, k),
        "title": words.plain(row.title, 120),
        "year": row.year,
        "source": told(row.source, 300),
        "change": [
            (words.plain(k, 60), _choice(row.old.get(k)), _choice(v))
            for k, v in row.new.items()
            if row.old.get(k) != v
        ],
        "quoted": [
            (who, f"{words.times(q.gain)}{apart}", told(q.scale, 300), told(q.paper, 300))
            for who, q in _quoted(row)
        ],
        "trend": _TRENDS[row.reported_trend],
        "check": _CHECKS.get(row.check, ""),
        "said": told(row.said, 600),
        "registered": row.registered,
        "level": row.headline.level if row.headline is not None else "",
        "ours": [_measured(m, report) for m in row.ours],
    }  # fmt: skip


def _quoted(row: Row) -> list[tuple[str, Quoted]]:
    both = (("originators", row.claimed), ("later work", row.later))
    return [(who, quoted) for who, quoted in both if quoted is not None]


def _choice(value: Any) -> str:
    shown = {None: "none", True: "on", False: "off"}
    return shown[value] if value is None or isinstance(value, bool) else words.plain(value, 60)


def _measured(one: Measured, report: Finder) -> dict[str, Any]:
    return {
        "gain": measured_gain(one),
        "where": scale(one),
        "verdict": verdict(one),
        "level": one.level,
        "pair": f"{words.plain(one.candidate, 40)} against {words.plain(one.baseline, 40)}",
        "study": words.plain(one.study, 60),
        "task": words.plain(one.task, 60),
        "measured": words.plain(one.measured, 20),
        "card": words.plain(one.card, 200),
        "command": words.plain(one.command, 200),
        "report": report(one),
        "sentence": words.plain(one.sentence, 1000),
        "diagnostics": [words.plain(code, 60) for code in one.diagnostics],
        "runs": words.plural(one.runs, "run"),
        "run_ids": [words.plain(i, 40) for i in one.run_ids],
    }

"""The page of the atlas: one HTML file with the forest plot, the table, and every innovation with its evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.report import words
from isoloss.report.atlas import is_apart, lacking, measured_gain, published, scale, summary, verdict
from isoloss.report.document import Shelf, render_document
from isoloss.report.figures.atlas import drawn, figure_atlas
from isoloss.report.figures.origin import told
from isoloss.report.tables import Sheet
from isoloss.verbs.atlas import Atlas, Measured, Quoted, Row

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


def render_atlas_page(found: Atlas) -> str:
    """The page as one self-contained HTML document."""
    from altair.utils.schemapi import debug_mode

    shelf = Shelf()
    with debug_mode(False):  # checking every part against the schema takes half the time; tests render what is made
        context = _context(found, shelf)
    return render_document("atlas.html.j2", context, shelf, styles=("report.css", "atlas.css"), scripts=("figures.js",))


def write_atlas_page(found: Atlas, answer: Mapping[str, Any], folder: Path) -> Path:
    """Write ``atlas.html``, ``atlas.json`` (`answer`) and ``atlas.svg`` into `folder`; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "atlas.json").write_text(text, encoding="utf-8")
    if drawn(found.rows):
        (folder / "atlas.svg").write_text(figure_atlas(found.rows).svg(), encoding="utf-8")
    page = folder / "atlas.html"
    page.write_text(render_atlas_page(found), encoding="utf-8")
    return page


def _context(found: Atlas, shelf: Shelf) -> dict[str, Any]:
    here = [r for r in found.rows if r.registered]
    shown = drawn(found.rows)
    sections = [("answer", "Answer"), ("figure", "All gains"), ("table", "Table"), ("each", "Each innovation")]
    return {
        "field": words.plain(found.field, 60),
        "sections": [*sections, ("reproduce", "Reproduce")],
        "measured": len(found.measured),
        "registered": len(here),
        "summary": summary(found),
        "notes": [words.plain(n, 400) for n in found.notes],
        "twins": [_measured(t) | {"holds": _holds(t)} for t in found.twins],
        "forest": shelf.add(figure_atlas(found.rows)) if shown else None,
        "table": _table(found),
        "items": [_item(r) for r in found.rows if r.ours],
        "others": [_item(r) for r in found.rows if not r.ours],
        "cards": [words.plain(c, 300) for c in found.cards],
    }


def _holds(one: Measured) -> bool:
    return one.interval is not None and one.interval[0] <= 1 <= one.interval[1]


def _table(found: Atlas) -> Sheet:
    """Every innovation; what matters most comes first, as a telephone shows only the first columns."""
    columns = {
        "innovation": False, "ours": True, "verdict": False, "at": True, "claimed": True, "later": True, "year": True,
        "runs": True, "study": False,
    }  # fmt: skip
    rows, tones = [], []
    for row in found.rows:
        name = words.plain(row.name, 40)
        about = (published(row, "claimed"), published(row, "later"), str(row.year or ""))
        if not row.ours:
            rows.append((name, lacking(row), "", "", *about, "", ""))
            tones.append("")
        for k, one in enumerate(row.ours):
            quoted = about if k == 0 else ("", "", "")
            cells = (name if k == 0 else "", measured_gain(one), verdict(one), scale(one))
            rows.append((*cells, *quoted, str(one.runs), words.plain(one.study, 40)))
            tones.append("chosen" if k == 0 else "more")
    return Sheet("every innovation", tuple(columns), tuple(columns.values()), tuple(rows), tuple(tones))


def _item(row: Row) -> dict[str, Any]:
    apart = f" of {row.resource}" if is_apart(row) and row.resource else ""
    return {
        "name": words.plain(row.name, 60),
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
        "ours": [_measured(m) for m in row.ours],
    }  # fmt: skip


def _quoted(row: Row) -> list[tuple[str, Quoted]]:
    both = (("originators", row.claimed), ("later work", row.later))
    return [(who, quoted) for who, quoted in both if quoted is not None]


def _choice(value: Any) -> str:
    shown = {None: "none", True: "on", False: "off"}
    return shown[value] if value is None or isinstance(value, bool) else words.plain(value, 60)


def _measured(one: Measured) -> dict[str, Any]:
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
        "sentence": words.plain(one.sentence, 1000),
        "diagnostics": [words.plain(code, 60) for code in one.diagnostics],
        "runs": words.plural(one.runs, "run"),
        "run_ids": [words.plain(i, 40) for i in one.run_ids],
    }

"""The page on the origin of progress: one file that loads nothing, and what-ifs that agree with Python."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from isoloss.gains.result import to_json
from isoloss.origin.result import Note, Origin
from isoloss.origin.spread import Claim, Specification, Uncertain
from isoloss.report import words
from isoloss.report.document import embedded
from isoloss.report.figures.origin import factor, segments
from isoloss.report.figures.origin_spread import figure_specifications
from isoloss.report.origin_page import figures, render_origin_page, what_if_data, write_origin_page
from isoloss.verbs.origin import origin
from tests.example_result import HOSTILE

ROOT = Path(__file__).resolve().parents[1]
MODEL = Path(words.__file__).parent / "templates" / "origin_model.js"
NODE = shutil.which("node")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


class Outline(HTMLParser):
    """Elements with their attributes, visible text, and the content of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open = tag
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if tag in ("script", "style") else self.open

    def handle_data(self, data: str) -> None:
        if self.open:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.text.append(data)

    @property
    def visible(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def spread() -> Uncertain:
    """Readings as the engine gives them from the authors' curves, made up here so that no data is needed."""
    choices = [
        (c, p, f) for c in ("original", "2026") for p in ("end-points", "frontier, 1e15 up") for f in ("1.7", "1.9")
    ]
    curve = tuple(
        Specification(
            f"{c}, {p}, floor {f}", {"campaign": c, "points": p, "floor": f}, {"lstm": 0.06, "retro": 0.09},
            10.0 ** (k + 1), 5.0 * (k + 1), 20.0 ** (k + 1), 25.0 * 10**k, 12.0 * (k + 1),
            {"total_new": (9.0 * 10**k, 80.0 * 10**k), "total_old": (6.0 * (k + 1), 30.0 * (k + 1))},
        )
        for k, (c, p, f) in enumerate(choices)
    )  # fmt: skip
    spans = {"total_new": (25.0, 2.5e5, 2.5e8), "total_old": (12.0, 54.0, 96.0)}
    return Uncertain(curve[:3], curve, spans, 2.26e23, 6.2, 200, "how to get them")


@pytest.fixture(scope="module")
def result() -> Origin:
    return origin(results=ROOT / "results")


@pytest.fixture(scope="module")
def full(result: Origin) -> Origin:
    return replace(result, uncertain=spread())


@pytest.fixture(scope="module")
def page(full: Origin) -> str:
    return render_origin_page(full)


# -- what-ifs in the browser and in Python ---------------------------------------------------------------------------

SETTINGS: list[dict[str, Any]] = [
    {},
    {"index": "old"},
    {"index": "new"},
    {"index": "old", "budget": 1e18},
    {"reference": "kaplan", "index": "new", "budget": 1e21},
    {"reference": "kaplan", "index": "old", "years": (2014, 2020), "budget": 3e16},
    {"reference": "retro", "index": "old"},
    {"reference": "dense", "index": "as-published", "moe": 3.0},
    {"years": (2012, 2023), "budget": 1.34e22, "swiglu": True, "index": "new"},
    {"years": (2013, 2018), "budget": 1e19, "compute_growth": 4.2},
    {"years": (2013, 2016), "index": "new"},
    {"add": {"muon": 1.3}, "index": "old", "swiglu": True, "moe": 1.5},
]


def in_browser(data: dict[str, Any], settings: list[dict[str, Any]]) -> list[Any]:
    """What the page's own script makes of `settings`: account, path and growth, or the line of a refusal."""
    if NODE is None:
        pytest.skip("node is not installed: the page's script is not run")
    program = f"""
      const model = require({json.dumps(str(MODEL))});
      const {{ data, settings }} = JSON.parse(require("fs").readFileSync(0, "utf8"));
      const given = {{ ...data.ingredients, names: data.names }};
      console.log(JSON.stringify(settings.map((s) => {{
        try {{
          const [account, path, growth] = [model.account, model.path, model.growth].map((f) => f(given, s));
          return {{ account, path, growth }};
        }} catch (error) {{ if (!(error instanceof model.Refusal)) throw error; return {{ refusal: error.message }}; }}
      }})));"""
    said = json.dumps({"data": to_json(data), "settings": settings})
    done = subprocess.run([NODE, "-e", program], input=said, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def as_asked(result: Origin, added: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {**what_if_data(result)["asked"], "added": added or []}


def test_the_browser_and_python_agree(result: Origin) -> None:
    answers = [origin(**setting) for setting in SETTINGS]
    asked = [
        as_asked(a, [{"name": n, "gain": g} for n, g in s.get("add", {}).items()])
        for a, s in zip(answers, SETTINGS, strict=True)
    ]
    for setting, answer, mine in zip(SETTINGS, answers, in_browser(what_if_data(result), asked), strict=True):
        theirs = answer.what_if.answer
        assert mine["account"]["total"] == pytest.approx(theirs.total, rel=2e-4), setting
        assert mine["account"]["share"] == pytest.approx(theirs.scale_dependent_share, abs=1e-4), setting
        assert mine["account"]["perYear"] == pytest.approx(theirs.per_year, rel=1e-4), setting
        assert [s["name"] for s in mine["account"]["steps"]] == [s.name for s in theirs.steps], setting
        for step, step_of in zip(mine["account"]["steps"], theirs.steps, strict=True):
            assert step["factor"] == pytest.approx(step_of.factor, rel=2e-4), (setting, step)
            assert step["share"] == pytest.approx(step_of.share, abs=1e-4) and step["index"] == step_of.index
            assert step["at"] == pytest.approx(step_of.at, rel=2e-4), (setting, step)
        assert [p["year"] for p in mine["path"]] == [year for year, _ in answer.what_if.path], setting
        assert [p["gain"] for p in mine["path"]] == pytest.approx([g for _, g in answer.what_if.path], rel=2e-4), (
            setting
        )


def test_the_figure_of_growth_in_the_browser_is_the_slope_of_pythons_totals(result: Origin) -> None:
    settings: list[dict[str, Any]] = [{}, {"index": "old"}, {"reference": "kaplan", "index": "new"}]
    for setting in [*settings, {"reference": "dense"}]:
        ends = [origin(budget=2.26e23 * shift, **setting).what_if.answer.total for shift in (0.9, 1.1)]
        slope = (math.log(ends[1]) - math.log(ends[0])) / math.log(1.1 / 0.9)
        (mine,) = in_browser(what_if_data(result), [as_asked(origin(**setting))])
        assert mine["growth"]["logRate"] == pytest.approx(slope * math.log(4.1), abs=2e-3)


def test_an_added_table_reads_alike_and_is_refused_alike_beyond_its_rows(result: Origin, tmp_path: Path) -> None:
    rows = [(1e18, 1.5), (1e21, 1.3), (1e26, 1.05)]
    table = tmp_path / "muon.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("budget", "gain"), *rows])
    added = [{"name": "muon", "budget": [b for b, _ in rows], "gain": [g for _, g in rows]}]
    data = what_if_data(result)
    for index in ("as-published", "old", "new"):
        answer = origin(index=index, add={"muon": table})
        (mine,) = in_browser(data, [as_asked(answer, added)])
        assert mine["account"]["total"] == pytest.approx(answer.what_if.answer.total, rel=2e-4)
    (refused,) = in_browser(data, [{**as_asked(result, added), "budget": 1e30}])
    assert "muon" in refused["refusal"] and "1e18" in refused["refusal"] and "\n" not in refused["refusal"]
    # what Python was given arrives in the page as knots, and gives the same there
    given = what_if_data(origin(add={"muon": table}))
    knots = [{**a, "gain": a["gain"]} for a in to_json(given)["ingredients"]["added"]]
    (again,) = in_browser(data, [as_asked(result, knots)])
    total = origin(add={"muon": table}).what_if.answer.total
    assert again["account"]["total"] == pytest.approx(total, rel=5e-4)


@pytest.mark.parametrize(
    ("text", "word"),
    [("1e18,1.2", "columns"), ("budget,gain\n1e18,1.2", "1 rows"), ("budget,gain\n1e18,0\n1e19,2", "row 1"),
     ("budget,gain\n1e18,x\n1e19,2", "row 1"), ("budget,gain\n1e18,2\n1e18,3", "twice")],
)  # fmt: skip
def test_bad_tables_are_refused_in_one_line(text: str, word: str) -> None:
    if NODE is None:
        pytest.skip("node is not installed: the page's script is not run")
    program = f"""const m = require({json.dumps(str(MODEL))});
      try {{ m.readTable("muon", {json.dumps(text)}); }}
      catch (e) {{ if (!(e instanceof m.Refusal)) throw e; console.log(e.message); }}"""
    done = subprocess.run([NODE, "-e", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and word in done.stdout and done.stdout.count("\n") == 1, done.stderr


def test_in_a_real_browser_the_controls_start_where_asked(full: Origin, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: the page is not opened")
    asked = origin(index="old", budget=1e21).what_if
    written = write_origin_page(replace(full, what_if=asked), tmp_path)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,9000", "--dump-dom"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]
    done = subprocess.run([CHROMIUM, *options, written.as_uri()], capture_output=True, text=True, timeout=120)
    dom = done.stdout
    assert f'id="total">{factor(asked.answer.total)}<' in dom
    assert f"--index old --budget 1e21 --years {asked.years[0]}:{asked.years[1]}" in dom
    assert dom.count("<tr><td><span") == len(asked.answer.steps)
    assert 'aria-label="Each year’s algorithms' in dom
    assert dom.count('class="marks"') >= 1, "figures near the top are drawn"
    assert 'role="alert" hidden' in dom


# -- the page itself -------------------------------------------------------------------------------------------------


def test_page_is_one_small_file_that_loads_nothing(page: str) -> None:
    outline = Outline(page)
    assert len(page.encode()) < 3e6
    for tag, attributes in outline.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        assert "src" not in attributes and not any(a.startswith("on") for a in attributes), attributes
        assert str(attributes.get("href", "#")).startswith("#")
    policy = [a["content"] for t, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and str(policy[0]).startswith("default-src 'none'") and "http" not in str(policy[0])
    own = [MODEL.read_text(), (MODEL.parent / "origin.js").read_text()]
    assert not any(re.search(r"\beval\b|new Function|fetch\(|XMLHttp|innerHTML", text) for text in own)


def test_accessible_outline(page: str) -> None:
    outline = Outline(page)
    levels = [int(t[1]) for t, _ in outline.elements if re.fullmatch(r"h[1-6]", t)]
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    plots = [a for _, a in outline.elements if a.get("class") == "plot"]
    assert len(plots) == 11 and all(a["aria-label"] and a["role"] == "img" for a in plots)
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for t, a in outline.elements if t == "a" and a.get("href")} <= set(ids)


def test_no_number_is_printed_as_a_program_would(page: str) -> None:
    shown = re.sub(r"1e\d\d,\d\.\d", "", Outline(page).visible)  # the example of a table is a table
    assert not re.search(r"\b(nan|NaN|None|null|inf)\b", shown)
    assert not re.search(r"\d[eE][+-]?\d", shown)


def test_the_answer_is_said_with_the_published_figures(page: str) -> None:
    shown = Outline(page).visible
    # Gundlach et al. 2025, section 7.1 and the authors' numbers; the composed ones are those of tests/test_chain.py
    for said in ("21,416×", "6,926×", "90.5%", "1,623×", "31,215×", "7,174×", "22,182×"):
        assert said in shown
    assert "Drawing whole runs with replacement spans" in shown


def test_without_the_curves_the_page_says_how_to_get_them(result: Origin, full: Origin) -> None:
    shown = Outline(
        render_origin_page(replace(result, uncertain=Uncertain((), (), {}, 2.26e23, 6.2, 0, "fetch them")))
    ).visible
    assert "fetch them" in shown and "The paper gives no interval" in shown and "whole runs" not in shown
    assert len(figures(result)) + 1 == len(figures(full)) or result.uncertain.curve


def test_without_cards_the_page_says_how_to_measure_a_ladder(result: Origin, tmp_path: Path) -> None:
    bare = origin(results=tmp_path)
    shown = Outline(render_origin_page(bare)).visible
    assert bare.ours.note in shown and "printed law, carried" not in shown
    assert len(figures(bare)) == len(figures(result)) - 2
    assert "printed law, carried that far below" in Outline(render_origin_page(result)).visible


def test_hostile_text_stays_text(full: Origin) -> None:
    claims = (Claim(HOSTILE, 2024, HOSTILE, 2.0, HOSTILE, 1.5, HOSTILE, None, None, HOSTILE, HOSTILE, "read"),)
    hostile = replace(
        full,
        title=HOSTILE,
        notes=(Note(HOSTILE, "open", HOSTILE, HOSTILE),),
        distribution=replace(full.distribution, claims=claims),
    )
    mine, calm = Outline(render_origin_page(hostile)), Outline(render_origin_page(full))
    code = [[s for a, s in o.scripts if "type" not in a] for o in (mine, calm)]
    assert code[0] == code[1] and {t for t, _ in mine.elements} <= {t for t, _ in calm.elements}
    data = embedded(what_if_data(hostile))
    assert not set(data) & set("<>&")


def test_figures_become_svg_and_say_what_was_measured(full: Origin) -> None:
    for figure in figures(full):
        assert figure.alt and figure.rows, figure.name
        shown = " ".join(ElementTree.fromstring(figure.svg(mode="dark")).itertext())
        assert not re.search(r"\b(NaN|nan|undefined|null|None|Infinity)\b", shown), figure.name
        lines = [m["mark"] for m in figure.body["layer"] if m["mark"]["type"] == "line"]
        if figure.name.startswith(("ladder", "our-ladder")):
            assert {"strokeDash" in mark for mark in lines} == {True, False}
        elif figure.name == "allocation":
            assert all("strokeDash" in mark for mark in lines), "nobody measured it"


def test_bars_lie_end_to_end_and_keep_the_total(full: Origin) -> None:
    for account in (*full.published.accounts, *full.consistent.accounts, *full.consistent.restored):
        bar = segments(account)
        assert bar[0]["low"] == 1.0 and bar[-1]["high"] == pytest.approx(account.total)
        assert all(a["high"] == pytest.approx(b["low"]) for a, b in pairwise(bar))
        assert sum(s["share"] for s in bar) == pytest.approx(1.0)


def test_every_reading_and_every_choice_is_drawn() -> None:
    curve = spread().curve
    figure = figure_specifications(curve, 21416.0)
    assert {r["specification"] for r in figure.rows} == {s.label.replace("1e15", "10¹⁵") for s in curve}
    labels = json.dumps(figure.body, ensure_ascii=False)
    assert all(word in labels for word in ("floor 1.7", "end-points", "frontier, 10¹⁵ up", "published 21,416×"))


def test_written_folder_round_trips(full: Origin, tmp_path: Path) -> None:
    written = write_origin_page(full, tmp_path / "deep" / "folder")
    assert written.name == "origin.html" and written.read_text(encoding="utf-8").startswith("<!doctype html>")
    stored = json.loads((written.parent / "origin.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(to_json(full)))
    assert (written.parent / "origin.svg").read_text(encoding="utf-8").startswith("<svg")

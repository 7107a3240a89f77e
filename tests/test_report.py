"""What the report promises: one file that loads nothing, honest words, nothing hidden, nothing executed."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from isoloss.gains import ArmRuns, compare
from isoloss.gains.analysis import StudyResult
from isoloss.gains.result import Band, Diagnostic, GainPoint, to_json
from isoloss.report import (
    figure_gain,
    figure_quality,
    figure_ratios,
    figure_tuning,
    print_gain,
    print_result,
    render_page,
    words,
    write_page,
)
from isoloss.report.document import embedded, packed, unpacked
from isoloss.report.figures import Figure, swept_choices
from isoloss.report.figures.axes import log_ticks
from isoloss.report.figures.canvas import recoloured
from isoloss.report.meanings import meaning
from isoloss.report.qualities import Quality
from tests.example_result import (
    HOSTILE,
    empty_study,
    hostile_study,
    language_curve,
    language_study,
    unfinished_study,
)

STUDIES = {"language": language_study, "hostile": hostile_study, "unfinished": unfinished_study, "empty": empty_study}
INF = float("inf")
JSON = st.recursive(
    st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
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
            self.scripts.append(({**dict(attrs), "kind": tag}, ""))

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

    def data(self, name: str) -> Any:
        """What the page holds for its scripts."""
        (text,) = [content for attributes, content in self.scripts if attributes.get("id") == "packed"]
        return unpacked(text)[name]


Outlines = dict[str, Outline]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: render_page(make()) for name, make in STUDIES.items()}


@pytest.fixture(scope="module")
def outlines(pages: dict[str, str]) -> dict[str, Outline]:
    return {name: Outline(page) for name, page in pages.items()}


def on_terminal(result: StudyResult, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_result(result, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def all_figures(result: StudyResult) -> list[Figure]:
    arms = [a.name for a in result.arms]
    out = []
    for c in result.comparisons:
        out += [figure_gain(c, "old", arms), figure_gain(c, "new", arms)]
        out.append(figure_quality(c, arms, Quality.of(result)))
        costs = [k for k in result.costs if k.candidate == c.candidate]
        out += [figure_ratios(costs, arms)] if costs else []
    for choice in swept_choices(result.trials):
        out += [figure_tuning(result.trials, a, choice, arms, result.direction == "higher") for a in arms]
    return out


@pytest.mark.parametrize("name", STUDIES)
def test_page_is_one_small_file_that_loads_nothing(name: str, pages: dict[str, str], outlines: Outlines) -> None:
    assert len(pages[name].encode()) < 3e6
    for tag, attributes in outlines[name].elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        assert "src" not in attributes and "srcset" not in attributes
        assert not any(a.startswith("on") for a in attributes), attributes
        assert str(attributes.get("href", "#")).startswith("#")
    policy = [a["content"] for t, a in outlines[name].elements if a.get("http-equiv") == "Content-Security-Policy"]
    (allowed,) = policy
    assert (
        str(allowed).startswith("default-src 'none'")
        and "http" not in str(allowed)
        and "unsafe-eval" not in str(allowed)
    )
    for attributes, text in outlines[name].scripts:
        if attributes.get("kind") == "script" and "type" not in attributes:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in str(allowed), "every script of the page is named, and no other runs"
    assert "unsafe-inline" not in str(allowed).partition("script-src")[2]
    styles = re.findall(r"<style>(.*?)</style>", pages[name], re.S)
    assert styles and not any("url(" in s or "@import" in s for s in styles)


def test_hostile_text_stays_text(outlines: Outlines) -> None:
    hostile = outlines["hostile"]
    calm = outlines["language"]
    executable = [s for a, s in hostile.scripts if "type" not in a]
    assert executable == [s for a, s in calm.scripts if "type" not in a]
    assert "alert(1)" in hostile.visible and "{{7*7}}" in hostile.visible and "49" not in hostile.visible.split()
    assert not any(ord(c) == 0x202E or ord(c) == 0x1B for c in hostile.visible)
    one = replace(language_study(), comparisons=language_study().comparisons[:1])
    known = {t for page in (calm, Outline(render_page(one))) for t, _ in page.elements}
    assert {t for t, _ in hostile.elements} <= known, "no element comes from data"
    assert "javascript:" in hostile.visible, "a hostile source is shown as text"
    shown = json.dumps([hostile.data("figures"), hostile.data("runs")])
    assert "alert(1)" in shown, "what scripts draw is data too; test_page sees that they draw it as text"


@given(
    st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_embedded_json_can_not_leave_its_element(value: object) -> None:
    text, plain = str(embedded(value)), json.loads(json.dumps(to_json(value)))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == plain
    assert re.fullmatch(r"[A-Za-z0-9+/=]*", packed(value)) and unpacked(packed(value)) == plain


@pytest.mark.parametrize("name", STUDIES)
def test_every_diagnostic_and_what_is_missing_is_shown(name: str, outlines: Outlines) -> None:
    result = STUDIES[name]()
    page, terminal = outlines[name].visible, " ".join(on_terminal(result).split())
    for d in [*result.diagnostics, *(d for c in result.comparisons for d in c.diagnostics)]:
        assert words.plain(d.message) in page and d.code in page
        assert words.plain(d.message) in terminal and d.code in terminal
    for sentence in result.missing:
        assert sentence in page and sentence in terminal
    for c in result.comparisons:
        assert words.plain(c.verdict.sentence) in page and words.plain(c.verdict.sentence) in terminal


def test_every_code_that_isoloss_emits_is_explained() -> None:
    source = Path(words.__file__).parent.parent
    text = "\n".join(p.read_text() for p in source.rglob("*.py"))
    codes = set(re.findall(r'Diagnostic\(\s*"([a-z0-9-]+)"', text))
    assert len(codes) > 15
    assert not [c for c in codes if not meaning(c).remedy]
    assert meaning("never_heard_of").title == "Never heard of"


@pytest.mark.parametrize("name", STUDIES)
def test_no_number_is_printed_as_a_program_would(name: str, outlines: Outlines) -> None:
    for shown in (outlines[name].visible, on_terminal(STUDIES[name]())):
        assert not re.search(r"\b(nan|NaN|None|null|undefined\d|inf)\b", shown)
        assert not re.search(r"\d[eE][+-]\d", shown)


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("width", [80, 100])
def test_terminal_fits_and_is_plain(name: str, width: int) -> None:
    text = on_terminal(STUDIES[name](), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text and "\u202e" not in text


def test_verdict_comes_first_on_a_terminal() -> None:
    curve = language_curve("lstm", "modern")
    console = Console(file=io.StringIO(), width=80)
    print_gain(curve, console)
    lines = console.file.getvalue().strip().splitlines()  # type: ignore[attr-defined]
    assert curve.verdict.sentence.startswith(lines[0].strip())
    text = "\n".join(lines)
    assert "old index" in text and "new index" in text and "> 4.0×" in text and "withheld, 4.0 decades out" in text


@pytest.mark.parametrize("name", ["language", "hostile"])
def test_figures_become_svg_and_png(name: str) -> None:
    seen = set()
    for figure in all_figures(STUDIES[name]()):
        assert figure.alt and figure.title and figure.rows
        if figure.name in seen:
            continue
        seen.add(figure.name)
        svg = ElementTree.fromstring(figure.svg(mode="dark"))
        shown = " ".join(svg.itertext())
        assert not re.search(r"\b(NaN|nan|undefined|null|None|Infinity)\b", shown)
        assert figure.png(scale=1.0).startswith(b"\x89PNG")
    assert seen == {"gain-curve-old", "gain-curve-new", "quality", "costs", "tuning"}


def test_a_dark_figure_is_the_light_one_in_other_colours() -> None:
    def in_the_dark(held: Any, key: str = "") -> Any:
        if key in ("values", "domain"):
            return held
        if isinstance(held, dict):
            return {k: in_the_dark(v, k) for k, v in held.items()}
        return [in_the_dark(v) for v in held] if isinstance(held, list) else recoloured().get(str(held), held)

    for figure in {f.name: f for f in all_figures(language_study())}.values():
        assert in_the_dark(figure.vega()) == figure.vega("dark") != figure.vega()


def test_measured_and_extrapolated_are_drawn_differently() -> None:
    curve = language_curve("lstm", "modern")
    lines = [layer["mark"] for layer in figure_gain(curve).body["layer"] if layer["mark"]["type"] == "line"]
    assert {"strokeDash" in mark for mark in lines} == {True, False}
    measured = Band(curve.old.at, curve.old.value, curve.old.low, curve.old.high, ("measured",) * len(curve.old.at))
    solid = figure_gain(replace(curve, old=measured))
    assert not any("strokeDash" in m["mark"] for m in solid.body["layer"] if m["mark"]["type"] == "line")


def test_qualities_that_were_negated_are_shown_positive(outlines: Outlines) -> None:
    result = hostile_study()
    rows = figure_quality(result.comparisons[0], (), Quality.of(result)).rows
    assert all(r["quality"] is None or r["quality"] > 0 or math.isinf(r["quality"]) for r in rows)
    assert all(r["low"] <= r["high"] for r in rows if r["low"] is not None and r["high"] is not None)
    assert Quality(True, 1.0).ends(0.2, 0.3) == (0.7, 0.8), "distance from the best value"
    assert "0.6900" in outlines["hostile"].visible and "−0.69" not in outlines["hostile"].visible


@pytest.mark.parametrize("name", STUDIES)
def test_written_folder_round_trips(name: str, tmp_path: Path) -> None:
    result = STUDIES[name]()
    page = write_page(result, tmp_path / "deep" / "folder")
    folder = page.parent
    assert page.name == "report.html" and page.read_text(encoding="utf-8").startswith("<!doctype html>")
    stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(to_json(result)))
    with (folder / "runs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["run_id"] for r in rows] == [r["run_id"] for r in result.runs]
    for row, run in zip(rows, result.runs, strict=True):
        assert float(row["rung"]) == run["rung"] and row["choices"] == run["choices"]
    assert (folder / "gain-curve.svg").exists() == bool(result.comparisons)
    write_page(replace(result, comparisons=()), folder)
    assert not (folder / "gain-curve.svg").exists(), "a figure of an earlier result does not stay behind"


def test_large_studies_stay_small() -> None:
    result = language_study()
    many = tuple({**result.runs[k % len(result.runs)], "run_id": f"{k:020x}"} for k in range(6000))
    curves = {r["run_id"]: ([float(x) for x in range(1, 300)], [1 / x for x in range(1, 300)]) for r in many}
    page = render_page(replace(result, runs=many, curves=curves))
    assert len(page.encode()) < 3e6 and "runs.csv" in page and "6,000 runs" in page


def test_accessible_outline(outlines: Outlines) -> None:
    outline = outlines["language"]
    tags = [t for t, _ in outline.elements]
    levels = [int(t[1]) for t in tags if re.fullmatch(r"h[1-6]", t)]
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert {"main", "header", "footer", "nav"} <= set(tags)
    plots = [a for _, a in outline.elements if a.get("class") == "plot"]
    assert len(plots) == len(outline.data("figures")) and all(a["aria-label"] and a["role"] == "img" for a in plots)  # type: ignore[arg-type]
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    anchors = [str(a["href"])[1:] for t, a in outline.elements if t == "a" and a.get("href")]
    assert set(anchors) <= set(ids)


def test_an_empty_study_says_what_to_do(outlines: Outlines) -> None:
    assert "Nothing has been run yet" in outlines["empty"].visible
    text = outlines["unfinished"].visible
    assert "What is missing" in text and "isoloss run studies/language.toml" in text and "No verdict yet" in text


def test_what_compare_finds_is_shown() -> None:
    rng = np.random.default_rng(5)
    budget = np.repeat(np.geomspace(1e9, 1e12, 5), 3)

    def runs(name: str, scale: float, exponent: float) -> ArmRuns:
        quality = (1.2 + scale * budget**-exponent) * (1 + 0.004 * rng.standard_normal(15))
        rung, pair = np.repeat(np.arange(5), 3), np.tile(np.array(["1", "2", "3"]), 5)
        return ArmRuns(name, budget, quality, rung, pair, np.array([f"{name}{k}" for k in range(15)]))

    old, new = runs("lstm", 14.0, 0.1), runs("modern", 21.7, 0.125)
    curve = compare(old, new, resource="train_flops", quality="loss", at=[1e13, 1e18], draws=200)
    result = replace(language_study(), comparisons=(curve,), costs=())
    shown, terminal = Outline(render_page(result)).visible, on_terminal(result)
    assert curve.verdict.sentence in shown and max(map(len, terminal.splitlines())) <= 80
    assert "withheld" in shown and "with floor free" in shown and "with floor free" in terminal


def point(region: str, gain: float | None, interval: tuple[float, float] | None, out: float = 0.0) -> GainPoint:
    return GainPoint("old", 1e9, gain, interval, region, None, out)  # type: ignore[arg-type]


def test_gains_are_said_honestly() -> None:
    assert words.gain(point("measured", 3.21, (2.8, 3.7))) == "3.2×"
    assert words.gain(point("censored", None, (3.1, INF))) == "> 3.1×"
    assert words.gain(point("censored", None, (0.0, 0.4))) == "< 0.40×"
    assert words.gain(point("withheld", None, (0.3, 9.6), 2.7)) == "0.30–9.6× (withheld: 2.7 decades out)"
    assert words.gain(point("undefined", None, None)) == "undefined"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_words_never_look_like_a_program(value: float) -> None:
    said = [f(value) for f in (words.number, words.times, words.quality, words.signed, words.amount, words.duration)]
    said += [words.span((value, value * 2)), words.limits((value, value)), words.amount(abs(value), "B")]
    for text in said:
        assert text and not re.search(r"[a-df-zA-Z]*nan|inf|\de[+-]?\d", text), text


@given(st.floats(1e-3, 1e5), st.floats(1.01, 1e9))
def test_axes_have_few_round_ticks_inside_the_domain(low: float, width: float) -> None:
    ticks = log_ticks((low, low * width), 7)
    assert len(ticks) <= 7 and ticks == sorted(set(ticks))
    assert all(low * (1 - 1e-6) <= t <= low * width * (1 + 1e-6) for t in ticks)
    assert width < 1.05 or len(ticks) >= 2


def test_names_of_data_can_not_steer_a_terminal() -> None:
    result = replace(language_study(), diagnostics=(Diagnostic("x", "error", f"{HOSTILE}[/]\x1b]0;title\x07"),))
    text = on_terminal(result)
    assert "[red]" in text and "\x1b" not in text and "\x07" not in text


def test_import_is_light() -> None:
    heavy = "altair", "vl_convert", "jinja2", "rich", "numpy", "polars"
    code = f"import sys, isoloss.report; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

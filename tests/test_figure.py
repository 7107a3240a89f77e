"""`isoloss figure`: every figure of a report as a file that opens, at the width that was asked for."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from isoloss import api
from isoloss.errors import IsolossError
from isoloss.gains.result import to_json
from isoloss.report import write_page
from isoloss.report.catalogue import find_figure
from isoloss.report.figures.paper import width_inches
from isoloss.report.stored import read_result
from tests.example_result import hostile_study, language_study


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(language_study(), tmp_path_factory.mktemp("report")).parent


@pytest.mark.parametrize("study", [language_study, hostile_study])
def test_a_written_result_reads_back_as_it_was(study, tmp_path):
    result = study()
    stored = tmp_path / "result.json"
    stored.write_text(json.dumps(to_json(result)), encoding="utf-8")
    back = read_result(stored)
    assert to_json(back) == to_json(result) and type(back.comparisons[0].points[0]) is type(
        result.comparisons[0].points[0]
    )


def test_every_figure_that_is_listed_can_be_had_and_is_the_pages(report):
    result = read_result(report)
    for entry in api.figures(report):
        figure = find_figure(result, entry.name, comparison=entry.comparison or 1, arm=entry.arm, choice=entry.choice)
        assert figure.body["layer"] and figure.alt
    assert {e.name for e in api.figures(report)} >= {
        "overview",
        "gain",
        "quality",
        "residuals",
        "slope",
        "tuning",
    }


def test_a_file_has_the_width_and_kind_that_were_asked_for(report, tmp_path):
    svg = api.figure(report, "gain", tmp_path / "a.svg", width="89mm", index="new")
    root = ElementTree.fromstring(svg.read_bytes())
    assert root.get("width") == "3.5in" and "NaN" not in svg.read_text(encoding="utf-8")
    pdf = api.figure(report, "overview", tmp_path / "deep" / "a.pdf", width="double").read_bytes()
    (box,) = re.findall(rb"MediaBox ?\[0 0 ([\d.]+)", pdf)
    assert pdf.startswith(b"%PDF") and abs(float(box) - 6.75 * 72) < 1 and b"FontFile" in pdf
    png = api.figure(report, "slope", tmp_path / "a.png").read_bytes()
    assert png.startswith(b"\x89PNG") and abs(int.from_bytes(png[16:20], "big") - 3.25 * 300) <= 3
    assert width_inches("252pt") == 3.5


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("did you mean gain", {"name": "gian"}),
        ("--comparison 9", {"comparison": 9}),
        ("--width 3q", {"width": "3q"}),
        ("--out a.gif", {"out": "a.gif"}),
        ("--arm", {"name": "tuning", "arm": "nobody"}),
        ("--choice", {"name": "tuning", "choice": "nothing"}),
    ],
)
def test_what_can_not_be_drawn_is_refused_in_one_line(said, asked, report):
    with pytest.raises(IsolossError, match=re.escape(said)) as refused:
        api.figure(report, **{"out": "a.pdf", **asked})
    assert "\n" not in str(refused.value) and not Path("a.pdf").exists()


def test_a_file_that_is_no_result_names_the_field(tmp_path):
    file = tmp_path / "result.json"
    for text, said in (("{", "not JSON"), ("[]", "result is not"), ('{"study": 3}', "result.study")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(IsolossError, match=said):
            api.figures(file)
    with pytest.raises(IsolossError, match="report folder"):
        api.figures(tmp_path / "nowhere")

"""Study cards and the atlas: what is written is read back, bad cards are refused, every innovation has a row."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from isoloss import api
from isoloss.algorithms import algorithms
from isoloss.algorithms.innovation import applies_to, innovations
from isoloss.cli import app
from isoloss.errors import IsolossError, TableError, UnknownNameError
from isoloss.evidence.cards import Card, FiledCard, checked, of_innovation, read_card
from isoloss.evidence.claims import TRENDS, claims
from isoloss.gains.analysis import StudyResult
from isoloss.ledger.external import read_frame
from isoloss.report.atlas import measured_gain, print_atlas, scale, verdict
from isoloss.report.atlas_page import render_atlas_page
from isoloss.report.card import card, write_card
from isoloss.report.figures.atlas import drawn, figure_atlas
from isoloss.verbs.atlas import Atlas, atlas, atlas_json
from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY
from tests.example_result import HOSTILE, empty_study, hostile_study, language_study, unfinished_study
from tests.test_origin_page import Outline

ROOT = Path(__file__).resolve().parents[1]


def named(result: StudyResult, *names: str) -> StudyResult:
    """`result` with its comparisons measuring these innovations."""
    pairs = zip(result.comparisons, names, strict=True)
    return replace(result, comparisons=tuple(replace(c, innovation=n) for c, n in pairs))


@pytest.fixture(scope="module")
def study() -> StudyResult:
    return named(language_study(), "transformer", "transformer-2017")


@pytest.fixture
def results(study: StudyResult, tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "language"
    folder.mkdir(parents=True)
    write_card(study, folder)
    return folder.parent


# -- cards -----------------------------------------------------------------------------------------------------------


def test_a_card_says_what_the_result_says(study: StudyResult) -> None:
    read = checked(json.loads(json.dumps(card(study), allow_nan=False)), "card")
    assert read.ladder == tuple(sorted({r["rung"] for r in study.runs}))
    for mine, curve in zip(read.comparisons, study.comparisons, strict=True):
        assert (mine.baseline, mine.candidate, mine.innovation) == (curve.baseline, curve.candidate, curve.innovation)
        assert mine.headline is not None and mine.headline.gain == curve.verdict.gain
        assert (mine.headline.at, mine.headline.index) == (curve.verdict.at, curve.verdict.index)
        assert mine.verdict.sentence == curve.verdict.sentence
        told = {(g.index, g.at): (g.gain, g.interval, g.region) for g in mine.gains}
        assert told == {(p.index, p.at): (p.gain, p.interval, p.region) for p in curve.points}
        assert mine.slope.value == curve.slope.value
        # every verdict is backed by the ids of the reported runs of its arms, and of no others
        for role, arm in (("baseline", curve.baseline), ("candidate", curve.candidate)):
            ids = {r["run_id"] for r in study.runs if r["arm"] == arm and r["purpose"] == "report"}
            assert set(mine.runs[role]) == ids and ids  # type: ignore[index]
    arms = {a.name: a for a in read.arms}
    for rung in study.comparisons[0].rungs:
        (same,) = [r for r in arms[rung.arm].rungs if r.budget == rung.resource]
        assert same.quality == rung.quality and same.runs == rung.runs


@pytest.mark.parametrize("make", [hostile_study, unfinished_study, empty_study])
def test_every_result_has_a_card_that_can_be_read(make: Any, tmp_path: Path) -> None:
    result = make()
    path = write_card(result, tmp_path)
    assert not re.search(r"\bNaN\b|-?Infinity", path.read_text(encoding="utf-8"))
    assert len(read_card(path).comparisons) == len(result.comparisons)


def test_scores_are_shown_the_way_people_see_them() -> None:
    result = replace(hostile_study(), best=1.0)
    read = checked(card(result), "card")
    losses = {(r.arm, r.resource): r.quality for r in result.comparisons[0].rungs if math.isfinite(r.quality)}
    shown = {(a.name, r.budget): r.quality for a in read.arms for r in a.rungs}
    assert shown == pytest.approx({k: 1.0 - v for k, v in losses.items()})


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in (ROOT / "results").glob("*/card.json")), ids=lambda f: f.name
)
def test_shipped_cards_are_what_their_run_tables_give(folder: Path) -> None:
    """The headlines of every published card, measured again from the run table beside it."""
    read = read_card(folder / "card.json")
    table = next(folder.glob("runs.csv*"))
    known = set(read_frame(table)["run_id"])
    for comparison in read.comparisons:
        ids = {i for found in comparison.runs.values() for i in found}
        assert ids <= known and len(ids) == comparison.count > 0
    for comparison in read.comparisons[:3]:
        again = api.gain(
            table, comparison.baseline, comparison.candidate, resource=comparison.resource, quality="test",
            where=["purpose=report"], rung_column="rung", seed_column="seed", mode=comparison.mode,
        )  # fmt: skip
        used = sum(r.runs for r in again.rungs)
        # a frontier leaves rungs out that a cheaper one beats
        assert 0 < used <= comparison.count if comparison.mode == "frontier" else used == comparison.count
        said = None if comparison.headline is None else comparison.headline.gain
        assert (said is None) == (again.verdict.gain is None)
        if said is not None:
            assert said == pytest.approx(again.verdict.gain, rel=0.03)
        assert comparison.verdict.level == again.verdict.level


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: c.pop("study"), r"card\.json: study: is missing"),
        (lambda c: c.update(card=7), r"card\.json: card: format 7 is not 1"),
        (lambda c: c["comparisons"][0]["headline"].update(gain=-1), r"comparisons\.0\.headline\.gain: input should be"),
        (lambda c: c["comparisons"][0]["gains"][1].update(interval=[3, 2]), r"gains\.1: the interval is upside down"),
        (lambda c: c["comparisons"][1]["verdict"].update(level="great"), r"comparisons\.1\.verdict\.level: input"),
        (lambda c: c["comparisons"][0].update(runs=[]), r"comparisons\.0\.runs: input should be"),
    ],
)
def test_a_bad_card_is_one_line_with_file_and_field(results: Path, spoil: Any, said: str) -> None:
    path = results / "language" / "card.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    spoil(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(TableError, match=said) as raised:
        atlas(results=results)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value) and "isoloss report" in str(raised.value)


def test_a_symmetry_of_images_stands_in_the_atlas_of_both_its_fields() -> None:
    shown = {field: {r.name for r in atlas(field).rows} for field in ("geometry", "vision")}
    assert "steerable-regular" in shown["geometry"] & shown["vision"]
    assert "simclr" in shown["vision"] - shown["geometry"]


@pytest.mark.parametrize(("field", "said"), [("untouched", "docs/atlas.md"), ("untuched", "did you mean untouched")])
def test_a_field_without_innovations_says_what_to_do(
    results: Path, field: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {**algorithms.builtin, "untouched/lstm": "isoloss.algorithms.language.lstm"}  # and no innovation of it
    monkeypatch.setattr(algorithms, "builtin", known)
    with pytest.raises(IsolossError, match=said) as raised:
        atlas(field, results=results)
    assert "\n" not in str(raised.value) and "--field" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a card"),
        (b"[1, 2]", "is a JSON list"),
        (b'{"card": 1', "is not a card"),
        (b'{"card": NaN}', "NaN is no number"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"[" * 100_000, "is not a card"),
    ],
)
def test_what_is_no_card_is_refused(results: Path, content: bytes, said: str) -> None:
    (results / "language" / "card.json").write_bytes(content)
    with pytest.raises(TableError, match=said):
        atlas(results=results)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_anything_at_all_is_a_card_or_a_refusal(value: Any) -> None:
    try:
        assert isinstance(checked({"card": 1, "value": value, "study": value}, "x"), Card)
    except TableError as error:
        assert "\n" not in str(error)


# -- innovations and claims ------------------------------------------------------------------------------------------


#: before any test loads a plug-in that adds its own
SHIPPED = innovations.names()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_innovation_can_be_taken_in_and_left_out_of_something(name: str) -> None:
    pytest.importorskip("torch")
    entry = innovations.get(name)
    assert entry.title and 1990 < entry.year <= 2026 and re.search(r"\d{4}|\.(com|io)", entry.source)
    assert applies_to(entry, into=True), f"no algorithm takes {name}"
    assert applies_to(entry, into=False), f"no algorithm can do without {name}"


def test_every_innovation_has_its_evidence() -> None:
    entries = claims("claims")
    for name in SHIPPED:
        entry, mine = entries[name], innovations.get(name)
        assert entry["trend"] in TRENDS and entry["field"] == mine.field
        assert "claimed" in entry or "later" in entry or len(entry["said"]) > 30, name


# -- the atlas -------------------------------------------------------------------------------------------------------


def test_every_innovation_has_a_row_and_what_is_not_measured_says_so(results: Path) -> None:
    found = atlas(results=results)
    rows = {r.name: r for r in found.rows}
    mine = [n for n in innovations.names() if innovations.get(n).field == "language"]
    assert set(mine) <= set(rows) and len(rows) == len(found.rows)
    assert {r.name for r in found.measured} == {"transformer", "transformer-2017"}
    said = atlas_json(found)
    assert {r["name"] for r in said["rows"] if r["measured"]} == {"transformer", "transformer-2017"}
    json.dumps(said, allow_nan=False)
    assert rows["muon"].claimed and rows["muon"].claimed.gain == 1.92 and rows["muon"].later.gain == 1.1  # type: ignore[union-attr]
    assert not rows["ngpt"].registered and rows["muon"].registered


def filed(study: StudyResult, name: str, scale: float, day: str) -> FiledCard:
    """A card of `study` at budgets `scale` times as large."""
    data = card(replace(study, study=name, provenance={"measured": day}))
    for comparison in data["comparisons"]:
        for gain in [*comparison["gains"], comparison["headline"]]:
            gain["at"] *= scale
    return FiledCard(name, checked(data, name))


def test_of_several_cards_the_largest_scale_comes_first_and_then_the_newest(study: StudyResult) -> None:
    cards = [
        filed(study, "old-small", 1, "2026-01-01"), filed(study, "large", 100, "2026-02-01"),
        filed(study, "new-small", 1.001, "2026-03-01"),
    ]  # fmt: skip
    for order in (cards, cards[::-1]):
        assert [f.file for f, _ in of_innovation(order, "transformer")] == ["large", "new-small", "old-small"]


def test_twins_are_a_check_and_no_gain(study: StudyResult, tmp_path: Path) -> None:
    first, second = study.comparisons
    write_card(replace(study, comparisons=(first, replace(second, twin=True))), tmp_path)
    found = atlas(results=tmp_path)
    assert {r.name for r in found.measured} == {"transformer"} and len(found.twins) == 1
    assert "A/A check" in Outline(render_atlas_page(found)).visible
    assert not atlas("vision", results=tmp_path).twins and len(atlas(None, results=tmp_path).twins) == 1


def test_without_cards_the_atlas_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = atlas()
    assert not found.measured and len(found.notes) == 1 and "isoloss run" in found.notes[0]
    assert found.rows and "Nothing measured" in Outline(render_atlas_page(found)).visible
    with pytest.raises(TableError, match="is no folder of results"):
        atlas(results=tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="did you mean language"):
        atlas("langage")


def test_a_ledgers_studies_are_in_the_atlas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real study with a plug-in's own innovation: from its runs to a row, without any card on disk."""
    monkeypatch.chdir(tmp_path)
    plugin = RIDGE_PLUGIN + (
        "\nfrom isoloss.algorithms.innovation import innovation\n"
        "innovation('less-penalty', field='test', title='a smaller penalty', year=2026, source='these tests 2026',\n"
        "           old={'penalty': 1.0}, new={'penalty': 0.1}, claim='a tenth of the examples')\n"
    )
    Path("ridge.py").write_text(plugin, encoding="utf-8")
    text = RIDGE_STUDY.replace('candidate = "ridge-again"', 'candidate = "ridge-again"\ninnovation = "less-penalty"')
    Path("ridge.toml").write_text(text, encoding="utf-8")
    result, page = api.run("ridge.toml", workers=1, ledger="runs.sqlite")
    written = read_card(page.parent / "card.json")
    assert written.measured and written.versions and written.study_id == result.provenance["study_id"]
    found = atlas("test", results="reports", ledger="runs.sqlite")
    (row,) = [r for r in found.rows if r.name == "less-penalty"]
    assert len(row.ours) == 1, "the card on disk and the ledger hold the same study"
    assert row.ours[0].runs == 18 and row.ours[0].card.startswith("runs.sqlite")
    # a process that does not load the plug-in knows of it by the card
    words = "import sys; from isoloss.__main__ import main; sys.argv[1:] = " + repr(
        ["atlas", "--field", "test", "--results", "reports", "--json"]
    )
    done = subprocess.run([sys.executable, "-c", words + "; main()"], capture_output=True, text=True, check=True)
    (told,) = json.loads(done.stdout)["rows"]
    assert {k: told[k] for k in ("title", "year", "source", "said", "old", "new", "registered")} == {
        "title": "a smaller penalty",
        "year": 2026,
        "source": "these tests 2026",
        "said": "a tenth of the examples",
        "old": {"penalty": 1.0},
        "new": {"penalty": 0.1},
        "registered": True,
    }
    Path("ridge.toml").write_text(text.replace("seeds = 3", "seeds = 4"), encoding="utf-8")
    changed = atlas("test", ledger="runs.sqlite")
    assert any("left out" in n for n in changed.notes) and not changed.measured


def test_the_table_fits_a_terminal(results: Path) -> None:
    found = atlas(results=results)
    for width in (60, 80, 100, 200):
        console = Console(width=width, record=True, file=io.StringIO())
        print_atlas(found, console)
        lines = console.export_text().splitlines()
        assert max(map(len, lines)) <= min(width, 100)
        if width >= 100:
            line = next(x for x in lines if x.startswith("transformer "))
            assert measured_gain(found.rows[0].ours[0]) in line and "language" in line
            assert sum("not measured" in x for x in lines) == len([r for r in found.rows if r.registered]) - 2


def test_at_80_columns_no_name_and_no_trend_is_broken() -> None:
    found = atlas("vision", results=ROOT / "results")
    console = Console(width=80, record=True, file=io.StringIO())
    print_atlas(found, console)
    shown = console.export_text().split("A/A in")[0].split()
    assert {row.name for row in found.rows} <= set(shown)
    for row in found.rows:
        for one in row.ours:
            assert set(verdict(one).split()) <= set(shown), verdict(one)
            assert set(scale(one).split()) <= set(shown), scale(one)


def test_the_command_prints_and_writes(results: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["atlas", "--results", str(results), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"atlas.html", "atlas.json", "atlas.svg"}
    said = CliRunner().invoke(app, ["atlas", "--results", str(results), "--json", "--field", "all"])
    assert said.exit_code == 0 and json.loads(said.output)["cards"]


def test_the_figure_draws_every_number_there_is(results: Path) -> None:
    found = atlas(results=results)
    figure = figure_atlas(found.rows)
    kept = drawn(found.rows)
    assert [r.name for r in kept[:2]] == ["transformer", "transformer-2017"] or kept[0].ours
    assert len(figure.rows) == sum(bool(r.claimed) + bool(r.later) + bool(r.ours) for r in kept)
    for mode in ("light", "dark"):
        shown = " ".join(ElementTree.fromstring(figure.svg(mode=mode)).itertext())
        assert "muon" in shown and not re.search(r"\b(NaN|undefined|null|None|Infinity)\b", shown)


def test_the_page_is_one_file_in_which_hostile_text_stays_text(tmp_path: Path) -> None:
    calm = atlas(results=tmp_path)
    hostile = replace(hostile_study(), comparisons=(replace(hostile_study().comparisons[0], innovation=HOSTILE),))
    write_card(hostile, tmp_path)
    found: Atlas = atlas(None, results=tmp_path)
    assert HOSTILE in {r.name for r in found.measured}
    page = render_atlas_page(found)
    mine, other = Outline(page), Outline(render_atlas_page(calm))
    code = [[s for a, s in o.scripts if "type" not in a] for o in (mine, other)]
    assert code[0] == code[1]
    for tag, attributes in mine.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        assert "src" not in attributes and not any(a.startswith("on") for a in attributes), attributes
    assert len(page.encode()) < 2e6


def test_a_budget_at_which_nothing_is_known_is_told_where_something_is(tmp_path: Path) -> None:
    words = ["atlas", "--results", str(ROOT / "results"), "--field", "vision", "--at", "300", "--out", str(tmp_path)]
    said = " ".join(CliRunner().invoke(app, words).output.split())
    assert "No gain is known at that budget of training compute; some are measured over labels," in said
    assert said.split("--resource ")[1].startswith("labels ")
    known = " ".join(CliRunner().invoke(app, [*words, "--resource", "labels"]).output.split())
    assert known.startswith("At 300 labels, spent by each old algorithm:") and "No gain is known" not in known

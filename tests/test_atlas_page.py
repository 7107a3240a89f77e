"""The atlas and the page on origin in a real browser: slider, menus and sorting show what Python says."""

from __future__ import annotations

import html
import json
import shlex
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from typer.testing import CliRunner

from isoloss.cli import app
from isoloss.report import words
from isoloss.verbs.atlas import Atlas, atlas, atlas_page, stand
from isoloss.verbs.origin import origin, origin_page
from tests.conftest import ROOT
from tests.test_page import AXE, CHROMIUM, WIDTHS, browser, open_all, serious_faults, shown, until

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")
ROWS = "[...document.querySelectorAll('#atlas-table tbody tr')].filter((r) => !r.hidden)"


@pytest.fixture(scope="module")
def found() -> Atlas:
    return atlas(None, results=ROOT / "results")


@pytest.fixture(scope="module")
def pages(found: Atlas, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("atlas")
    empty = atlas("language", results=folder)
    made = {"atlas": atlas_page(found, folder / "full"), "empty": atlas_page(empty, folder / "empty")}
    return made | {"origin": origin_page(origin(results=ROOT / "results"), folder)}


def numbers(page: Any) -> dict[str, list[str]]:
    """What the table shows: name -> rank, gain with its interval, share."""
    cells = "[r.cells[1].querySelector('a').textContent, [0, 3, 4].map((k) => r.cells[k].textContent)]"
    told = f"Object.fromEntries({ROWS}.map((r) => {cells}))"
    answer: dict[str, list[str]] = page.evaluate(told)
    return answer


def move(page: Any, decade: float) -> None:
    """The slider to ``10^decade``, as a person who drags it does."""
    tell = "for (const kind of ['input', 'change']) s.dispatchEvent(new Event(kind, { bubbles: true }));"
    page.evaluate(f"(() => {{ const s = document.querySelector('[name=budget]'); s.value = {decade}; {tell} }})()")


def check(page: Any, at: Atlas) -> None:
    """The table says of every row in sight what Python does."""
    told = numbers(page)
    for row in at.rows:
        s = row.standing
        if s is None or words.plain(row.name, 40) not in told:
            continue
        rank, gain, share = told[words.plain(row.name, 40)]
        assert rank == (str(s.rank) if s.rank else ""), row.name
        assert bool(share) == (s.share is not None)
        if s.gain is not None:
            assert gain.startswith(words.times(s.gain) + " "), row.name
        if s.region == "measured":
            assert gain.endswith(words.span(s.interval)), row.name
        else:
            assert ("extrapolated" if s.region == "extrapolated" else "withheld") in gain or s.region == "undefined"


def test_slider_and_menu_move_gains_ranks_and_shares_as_python_does(
    browser: Any, pages: dict[str, Path], found: Atlas
) -> None:
    with shown(browser, pages["atlas"], drawn=False) as page:
        until(page, "document.body.dataset.ready === 'atlas'")
        seen = set()
        for reference in ("old", "new", "modern", "lstm"):
            page.locator("[name=reference]").select_option(
                reference if reference in ("old", "new") else f"arm:{reference}"
            )
            for decade in (8.5, 10.3, 11.6, 13.2, 15.0):
                move(page, decade)
                until(page, f"Math.abs(document.querySelector('[name=budget]').value - {decade}) < 1e-9")
                page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                check(page, stand(found, 10**decade, reference))
                seen.add(json.dumps(numbers(page)))
        assert len(seen) > 15, "nothing moved"
        page.locator("[name=resource]").select_option("bytes_communicated")
        move(page, 7.2)
        check(page, stand(found, 10**7.2, "old", "bytes_communicated"))
        assert "communication" in page.locator("#moving").text_content()


def test_the_slider_is_moved_by_keys_and_says_what_it_is_at(browser: Any, pages: dict[str, Path]) -> None:
    with shown(browser, pages["atlas"], drawn=False) as page:
        until(page, "document.body.dataset.ready === 'atlas'")
        slider = page.locator("[name=budget]")
        before = slider.get_attribute("aria-valuetext")
        slider.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('[name=budget]').getAttribute('aria-valuetext') !== {json.dumps(before)}")
        assert "FLOP" in slider.get_attribute("aria-valuetext")
        assert page.locator("#command").text_content().startswith("isoloss atlas --field all --results ")
        page.locator("#headlines").click()
        assert slider.get_attribute("aria-valuetext") == before


def test_the_command_on_a_page_answers_what_the_page_shows(browser: Any, tmp_path: Path) -> None:
    cards, out = tmp_path / "my cards", tmp_path / "out"
    for name in ("simclr", "vit", "vit-compute"):
        (cards / name).mkdir(parents=True)
        copy(ROOT / "results" / name / "card.json", cards / name)
    page_at = atlas_page(atlas("vision", results=cards), out)
    with shown(browser, page_at, drawn=False) as page:
        until(page, "document.body.dataset.ready === 'atlas'")
        assert "labels" in page.locator("#moving").text_content()
        assert "labels of labels" not in page.locator("#moving").text_content()
        assert "These figures are of labels" in page.locator("#spread").text_content()
        command, first = page.locator("#command").text_content(), page.locator("noscript").first.text_content()
        told = numbers(page)
    assert command.split(" --at ")[0] in html.unescape(first) and "--resource labels" in command
    answer = CliRunner().invoke(app, [*shlex.split(command)[1:], "--json"])
    assert answer.exit_code == 0, answer.output
    held = [(r["name"], r["standing"]) for r in json.loads(answer.output)["rows"] if r["standing"]]
    assert any(one["rank"] for _, one in held)
    for name, one in held:
        assert told[name][0] == str(one["rank"] or "")
        if one["gain"] is not None:
            assert told[name][1].startswith(words.times(one["gain"]) + " ")


def test_rows_are_sorted_and_filtered(browser: Any, pages: dict[str, Path], found: Atlas) -> None:
    with shown(browser, pages["atlas"], drawn=False) as page:
        until(page, "document.body.dataset.ready === 'atlas'")
        years = f"{ROWS}.map((r) => Number(r.cells[8].textContent))"
        head = page.locator("th[data-key=year]")
        head.locator("button").click()
        assert page.evaluate(years) == sorted(page.evaluate(years)) and head.get_attribute("aria-sort") == "ascending"
        head.locator("button").click()
        assert page.evaluate(years) == sorted(page.evaluate(years), reverse=True)
        page.locator("#filter").fill("muon")
        assert set(numbers(page)) == {"muon", "muonh"}
        page.locator("#show").select_option("measured")
        assert set(numbers(page)) == {"muon"}
        page.locator("#filter").fill("no such thing")
        assert numbers(page) == {} and "0 of" in page.locator("#shown").text_content()


def test_a_row_leads_to_its_evidence_and_run_ids(browser: Any, pages: dict[str, Path], found: Atlas) -> None:
    row = next(r for r in found.rows if r.name == "rotary")
    with shown(browser, pages["atlas"], drawn=False) as page:
        until(page, "document.body.dataset.ready === 'atlas'")
        page.locator("#atlas-table a").get_by_text("rotary", exact=True).click()
        target = page.evaluate("location.hash.slice(1)")
        until(page, f"document.getElementById({json.dumps(target)}).open")
        text = page.locator(f"#{target}").text_content()
        assert row.ours[0].run_ids[0] in text and row.ours[0].command in text


def test_the_figures_follow_the_budget(browser: Any, pages: dict[str, Path]) -> None:
    with shown(browser, pages["atlas"], drawn=False) as page:
        open_all(page)
        picture = "document.querySelector('#spread .plot svg.marks').innerHTML"
        before = page.evaluate(picture)
        move(page, 9.5)
        until(page, f"{picture} !== {json.dumps(before)}")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["atlas", "empty", "origin"])
def test_nothing_is_cut_off(name: str, width: int, browser: Any, pages: dict[str, Path]) -> None:
    with shown(browser, pages[name], drawn=False, width=width) as page:
        open_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        inside = "e.closest('.scroll, pre, svg, select, label, nav, .skip, .away')"
        beyond = f"!{inside} && e.getBoundingClientRect().right > innerWidth + 1"
        wide = f"[...document.querySelectorAll('main *')].filter((e) => {beyond}).map((e) => e.outerHTML.slice(0, 200))"
        assert page.evaluate(wide) == []


@pytest.mark.skipif(not AXE.exists(), reason="make test-page (npm install --prefix tests axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["atlas", "empty", "origin"])
def test_axe_finds_nothing_serious(name: str, scheme: str, browser: Any, pages: dict[str, Path]) -> None:
    with shown(browser, pages[name], drawn=False, scheme=scheme) as page:
        open_all(page)
        assert serious_faults(page) == []


@pytest.mark.parametrize("name", ["atlas", "origin"])
def test_a_page_is_small(name: str, pages: dict[str, Path]) -> None:
    assert pages[name].stat().st_size < 3_000_000

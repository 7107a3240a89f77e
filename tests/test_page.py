"""The report in a real browser: what people click works, and nothing is fetched, evaluated or cut off.

`make test-page` gets what these need: Debian's Chromium (``apt-get install chromium``), and axe-core from npm.
"""

from __future__ import annotations

import csv
import io
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from isoloss.gains.analysis import StudyResult
from isoloss.report import render_page
from tests.example_result import HOSTILE, empty_study, hostile_study, language_study, unfinished_study

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright (no browser is downloaded)")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (1280, 768, 390)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")


def with_runs(result: StudyResult) -> StudyResult:
    """Every run has a training curve, and one has a name that would be markup."""
    curves = {r["run_id"]: ([1e6, 1e7, 1e8], [3.0, 2.5, 2.25]) for r in result.runs}
    return replace(result, curves=curves)


STUDIES = {
    "language": lambda: with_runs(language_study()),
    "one": lambda: with_runs(replace(language_study(), comparisons=language_study().comparisons[:1])),
    "hostile": hostile_study,
    "unfinished": unfinished_study,
    "empty": empty_study,
}


@dataclass
class Seen:
    """What a page said and asked for while it was open."""

    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {name: folder / f"{name}.html" for name in STUDIES}
    for name, path in written.items():
        path.write_text(render_page(STUDIES[name]()), encoding="utf-8")
    return written


@contextmanager
def shown(
    browser: Any, at: Path | str, width: int = 1280, scheme: str = "light", drawn: bool = True, within: str = ""
) -> Iterator[Any]:
    """The page `at` open in a window of its own; leaving checks that it had no fault and asked for nothing else.

    A file may ask for nothing but itself, a served page for what lies `within` its server.
    """
    address = at.as_uri() if isinstance(at, Path) else at
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    page, seen = context.new_page(), Seen()
    page.on("console", lambda m: seen.faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: seen.faults.append(str(e)))
    page.on("dialog", lambda d: seen.faults.append(d.message))
    page.on("request", lambda r: seen.requests.append(r.url))
    page.set_default_timeout(20_000)
    page.goto(address)
    if drawn and page.locator(".plot").count():
        page.wait_for_selector("body[data-drawn]")
    try:
        yield page
    except Exception as e:
        raise AssertionError(f"{type(e).__name__} on a page that said: {seen.faults or 'nothing'}") from e
    context.close()
    assert seen.faults == []
    asked = [url for url in seen.requests if not url.startswith(("blob:", "data:"))]
    assert all(url.startswith(within) for url in asked) if within else asked == [address]


def until(page: Any, said: str) -> None:
    """Wait for what the script `said` says; Playwright's own way evaluates text in the page, which none may here."""
    for _ in range(100):
        if page.evaluate(said):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never: {said}")


def open_all(page: Any) -> None:
    """Unfold everything and let every figure be drawn."""
    page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((d) => { d.open = true; })")
    for box in page.locator(".plot:visible").all():
        box.scroll_into_view_if_needed()
    # one of the two panels of a gain is drawn too, though only the other is seen
    until(page, "[...document.querySelectorAll('.plot')].every((b) => b.querySelector('svg.marks'))")


def test_the_index_is_one_click_away(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["one"]) as page:
        old, new = page.locator(".panel.old"), page.locator(".panel.new")
        assert old.is_visible() and not new.is_visible()
        before = old.locator(".plot").get_attribute("aria-label")
        page.locator(".switch label").nth(1).click()
        assert new.is_visible() and not old.is_visible()
        assert new.locator(".plot").get_attribute("aria-label") != before
        page.wait_for_selector(".panel.new svg.marks")
        page.keyboard.press("ArrowLeft")
        assert old.is_visible(), "the switch is a radio group: arrow keys move it"


def test_a_comparison_is_reached_from_the_overview_and_the_menu(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["language"]) as page:
        page.evaluate("document.querySelectorAll('details.comparison').forEach((d) => { d.open = false; })")
        page.locator("#verdict .plot svg.marks").click(position={"x": 700, "y": 20})  # anywhere in a row
        until(page, "location.hash.startsWith('#comparison-')")
        assert page.locator(page.evaluate("location.hash")).get_attribute("open") is not None
        page.locator("details.menu > summary").focus()
        page.keyboard.press("Enter")
        links = page.locator("details.menu .pairlist a")
        assert links.count() == len(language_study().comparisons)
        links.last.click()
        target = page.locator(page.evaluate("location.hash"))
        assert target.get_attribute("open") is not None and page.locator("details.menu[open]").count() == 0
        top = "document.querySelector(location.hash).getBoundingClientRect().top"
        until(page, f"{top} >= 0 && {top} < 300")  # scrolling is smooth
        page.keyboard.press("Escape")


def test_runs_are_sorted_filtered_and_show_their_curve(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["language"]) as page:
        rows = page.locator("#run-table tbody tr")
        names = page.locator("#run-table th button").all_inner_texts()
        test = names.index("test")
        page.locator("#run-table th button").nth(test).click()
        up = [float(t) for t in rows.locator(f"td:nth-child({test + 1})").all_inner_texts() if t != "–"]
        assert up == sorted(up) and page.locator("#run-table th").nth(test).get_attribute("aria-sort") == "ascending"
        page.locator("#run-table th button").nth(test).click()
        down = [float(t) for t in rows.locator(f"td:nth-child({test + 1})").all_inner_texts() if t != "–"]
        assert down == sorted(down, reverse=True) and down[0] >= up[-1]
        page.locator("#filter").fill("lstm report")
        arms = rows.locator("td:nth-child(2)").all_inner_texts()
        expected = [r for r in language_study().runs if r["arm"] == "lstm" and r["purpose"] == "report"]
        assert set(arms) == {"lstm"} and page.locator("#shown").inner_text().startswith(f"{len(expected)} of ")
        page.locator("#filter").fill("")
        page.locator("#purpose").select_option("tune")
        assert set(rows.locator("td:nth-child(3)").all_inner_texts()) == {"tune"}
        run = page.locator("button.run").first
        run.hover()
        assert page.locator("#tip svg.spark polyline").is_visible()
        page.mouse.move(2, 2)
        assert not page.locator("#tip").is_visible()
        run.focus()
        page.keyboard.press("Enter")
        assert page.locator("tr.curve svg.spark").is_visible() and run.get_attribute("aria-expanded") == "true"
        page.keyboard.press("Enter")
        assert page.locator("tr.curve").count() == 0


def test_every_download_opens_and_parses(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["one"]) as page:
        page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((d) => { d.open = true; })")
        figures = page.evaluate("page.data.then((d) => d.figures.map((f) => [f.name, f.columns, f.values[0].length]))")
        kinds = {}
        for number, (name, columns, count) in enumerate(figures):
            if (kind := name.split("-")[0]) in kinds:
                continue
            got = kinds[kind] = {}
            for ending in ("svg", "png", "csv"):
                page.locator(f"#figure-{number}").scroll_into_view_if_needed()
                page.wait_for_timeout(150)  # Chromium drops what is over ten downloads in a second, silently
                with page.expect_download() as waited:
                    page.locator(f"[data-of='{number}'][data-save={ending}]").click()
                assert waited.value.suggested_filename == f"{name}.{ending}"
                got[ending] = Path(waited.value.path()).read_bytes()
            assert ElementTree.fromstring(got["svg"]).tag.endswith("svg")
            assert got["png"].startswith(b"\x89PNG") and len(got["png"]) > 2000
            rows = list(csv.reader(io.StringIO(got["csv"].decode())))
            assert rows[0] == columns and len(rows) == count + 1 and {len(r) for r in rows} == {len(columns)}
        assert len(kinds) >= 5, "gain, quality, what laws leave over, slope, costs, tuning"


@pytest.mark.parametrize("name", ["language", "one", "unfinished", "empty", "hostile"])
def test_nothing_is_wider_than_the_window(name: str, browser: Any, files: dict[str, Path]) -> None:
    for width in WIDTHS:
        with shown(browser, files[name], width) as page:
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            beyond = (
                "!e.closest('.scroll, pre, svg, select, label') && e.getBoundingClientRect().right > innerWidth + 1"
            )
            wide = page.evaluate(
                f"[...document.querySelectorAll('main *, header *')].filter((e) => {beyond}).map((e) => e.outerHTML)"
            )
            assert wide == []


def test_hostile_names_are_text(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["hostile"]) as page:
        open_all(page)
        for box in page.locator(".plot:visible svg.marks path").all()[:40]:
            box.dispatch_event("mousemove")
        table = page.locator("#run-table").inner_text()
        assert HOSTILE.split("<")[1][:6] in table, "a hostile name is shown as it is"
        assert (
            page.evaluate(
                "document.querySelectorAll('#run-table script, #run-table img, svg script, #tip script').length"
            )
            == 0
        )
        assert page.evaluate("document.scripts.length") == 5, (
            "the page's own: its data, Vega, its interpreter, two of ours"
        )


def test_no_text_can_become_code(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["one"]) as page:
        # what Vega would do without its interpreter; later, as what a test evaluates itself is let through
        tried = "try { resolve(Function('return 1')()); } catch (e) { resolve(e.name); }"
        assert page.evaluate(f"() => new Promise((resolve) => setTimeout(() => {{ {tried} }}))") == "EvalError"


def test_a_page_prints_with_everything_unfolded(browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files["language"], scheme="dark") as page:
        page.evaluate("document.querySelectorAll('details.comparison').forEach((d) => { d.open = false; })")
        assert len(page.pdf()) > 50_000
        assert page.evaluate("[...document.querySelectorAll('details.comparison')].every((d) => d.open)")


@pytest.mark.skipif(not AXE.exists(), reason="make test-page (npm install --prefix tests axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["language", "one", "unfinished", "empty"])
def test_axe_finds_nothing_serious(name: str, scheme: str, browser: Any, files: dict[str, Path]) -> None:
    with shown(browser, files[name], scheme=scheme) as page:
        open_all(page)
        assert serious_faults(page) == []


def serious_faults(page: Any) -> list[tuple[str, list[str]]]:
    """What axe-core calls serious or worse: the rule, and the first elements that break it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then((r) => r.violations)")
    return [
        (v["id"], [n["html"][:160] for n in v["nodes"]][:4]) for v in found if v["impact"] in ("serious", "critical")
    ]

"""`isoloss serve` in a real browser: the queue and a study's page follow a study while its runs finish."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY
from tests.test_page import AXE, CHROMIUM, browser, serious_faults, shown, until
from tests.test_serve import Served, start, stop

pytest.importorskip("starlette", reason="pip install 'isoloss[serve]'")
__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")
SLOW = RIDGE_PLUGIN.replace("n = round(spec.budget)", "__import__('time').sleep(0.1); n = round(spec.budget)")
SAID = "document.getElementById('said').textContent"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """A server on a ledger of two studies: one that has run, and one that is there to be run."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "ridge.py").write_text(SLOW, encoding="utf-8")
    for name, rungs in (("first", "[16, 64, 256]"), ("second", "[24, 96, 384]")):  # no run of one is the other's
        text = RIDGE_STUDY.replace('"ridge"\nq', f'"{name}"\nq').replace("[16, 64, 256]", rungs)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    assert work(folder, "first").wait() == 0
    made = start(folder, "--plugins")
    yield made, folder
    stop(made)


def work(folder: Path, study: str) -> subprocess.Popen[bytes]:
    """`isoloss run` as somebody would start it elsewhere."""
    command = [sys.executable, "-m", "isoloss", "run", f"{study}.toml", "--ledger", "runs.sqlite", "--workers", "1"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_queue_and_study_follow_runs_as_they_finish(browser: Any, served: tuple[Served, Path]) -> None:
    server, folder = served
    home = f"http://127.0.0.1:{server.port}/"
    with shown(browser, home, drawn=False, within=home) as queue:
        until(queue, f"{SAID}.startsWith('1 study, 0 running')")
        running = work(folder, "second")
        until(queue, f"{SAID}.startsWith('2 studies, 1 running')")
        queue.locator("#studies a", has_text="second").focus()
        told = {queue.evaluate(SAID)}
        with shown(browser, queue.evaluate("document.activeElement.href"), drawn=False, within=home) as study:
            until(study, f"{SAID}.startsWith('Running')")
            seen = {study.evaluate(SAID)}
            while running.poll() is None:
                queue.wait_for_timeout(300)
                seen.add(study.evaluate(SAID))
                told.add(queue.evaluate(SAID))
            until(study, f"{SAID}.startsWith('Finished')")
            cells = "[...document.querySelectorAll('#cells tbody td')].map((td) => td.textContent)"
            ended = study.evaluate(f"{SAID}.match(/[0-9]+/)[0]")
            assert sum(map(int, study.evaluate(cells))) == int(ended), "every run is in a cell"
            assert study.evaluate("document.querySelector('#report').hidden") is False
        until(queue, f"{SAID}.includes('0 running')")
        assert running.returncode == 0 and len(seen) >= 3 and len(told) >= 3, "numbers moved while runs finished"
        assert queue.evaluate("document.activeElement.textContent") == "second", "new rows leave the focus where it was"
        queue.locator("#filter").fill("first")
        assert queue.locator("#studies tbody tr").count() == 1


@pytest.mark.skipif(not AXE.exists(), reason="make test-page (npm install --prefix tests axe-core)")
def test_served_pages_fit_and_axe_finds_nothing_serious(browser: Any, served: tuple[Served, Path]) -> None:
    server, _ = served
    home = f"http://127.0.0.1:{server.port}/"
    study = next(s for s in server.json("/api/queue")["studies"] if s["study"] == "first")["study_id"]
    server.until(f"/study/{study}/report")
    for path in ("", f"study/{study}", f"study/{study}/report"):
        for width, scheme in ((1280, "light"), (390, "dark")):
            with shown(browser, home + path, width, scheme, drawn=path.endswith("report"), within=home) as page:
                until(page, "document.querySelectorAll('#studies a, #cells td, .plot').length")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
                assert serious_faults(page) == [], path

"""How large the report page is, how soon it shows its first figure, and what 200 viewers of `isoloss serve` wait.

    python benchmarks/page.py
    python benchmarks/page.py --screenshots docs/page     # the pictures of README and docs, from results/

Four studies: one comparison, nine, forty, and nine with 5,000 runs and their training curves. Bars (issue 8): under
3 MB, first figure within 1 s of opening, 95% of a server's answers within 300 ms (`benchmarks/serve.py`, which also
runs alone). Needs Debian's Chromium (``apt-get install chromium``) and the extra ``dev``.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from isoloss.gains import ArmRuns, compare
from isoloss.gains.analysis import ArmSummary, StudyResult, Trial
from isoloss.report import render_page

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES, MOST_SECONDS, OPENED = 3_000_000, 1.0, 7
RUNGS = np.geomspace(1e9, 1e12, 5)


def study(comparisons: int, runs: int) -> StudyResult:
    """A study of synthetic runs: one baseline, `comparisons` candidates, 5 rungs, tuning, `runs` runs in its table."""
    rng = np.random.default_rng(7)
    names = ["baseline", *(f"candidate-{k + 1}" for k in range(comparisons))]
    arms = [_arm(name, 14.0 * (1 - 0.01 * k), 0.1 + 0.0004 * k, rng) for k, name in enumerate(names)]
    curves = [
        compare(arms[0], arm, resource="train_flops", quality="loss", draws=200, floor="shared") for arm in arms[1:]
    ]
    table = [
        {"run_id": f"{rng.integers(2**63):020x}", "arm": names[i % len(names)], "purpose": ("report", "tune")[i % 2],
         "rung": float(RUNGS[i % 5]), "seed": i % 7, "status": "finished", "validation": 2 + rng.random(),
         "test": 2 + rng.random(), "train_flops": float(RUNGS[i % 5]) * (1 + 1e-3 * rng.random()), "parameters": 5e4,
         "seconds": 60 * rng.random(), "choices": f'{{"lr": {0.001 * 2 ** (i % 5)}, "width": {32 * (i % 5)}}}'}
        for i in range(runs)
    ]  # fmt: skip
    x = np.geomspace(1e6, 1e9, 200)
    histories = {
        str(r["run_id"]): (x.tolist(), (2 + 40 * x**-0.2 * (1 + 0.05 * rng.standard_normal(200))).tolist())
        for r in table
    }
    trials = [
        Trial(name, float(rung), {"lr": lr}, 3.0 + math.log(lr / 0.004) ** 2 / 20, 1, lr == 0.004)
        for name in names
        for rung in RUNGS
        for lr in (0.001, 0.002, 0.004, 0.008)
    ]
    return StudyResult(
        study="page", question="How large is a page, and how soon does it open?", resource="train_flops",
        resource_unit="FLOP", quality="loss", quality_unit="bits per byte", direction="lower", floor="shared",
        comparisons=tuple(curves), costs=(), trials=tuple(trials), diagnostics=(), missing=(),
        arms=tuple(ArmSummary(n, "synthetic", 1, 2026, "", "", {}, 20, 1e12, 15, 1e12) for n in names),
        counts={"finished": runs}, runs=tuple(table), curves=histories,
    )  # fmt: skip


def _arm(name: str, scale: float, exponent: float, rng: np.random.Generator) -> ArmRuns:
    budget = np.repeat(RUNGS, 3)
    quality = (1.2 + scale * budget**-exponent) * (1 + 0.004 * rng.standard_normal(15))
    ids = np.array([f"{name}{k}" for k in range(15)])
    return ArmRuns(name, budget, quality, np.repeat(np.arange(5), 3), np.tile(np.array(["1", "2", "3"]), 5), ids)


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium, or the line that installs it."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("isoloss: Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def seconds_to_first_figure(browser: Any, file: Path) -> tuple[float, float]:
    """From the start of loading `file` in a fresh window to its first figure; CPU time of the page's thread by then."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-drawn]")
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    taken = float(page.evaluate("document.body.dataset.drawn")) / 1000
    context.close()
    return taken, float(metrics["TaskDuration"])


def measure() -> bool:
    """Print a row for each study; whether all bars are met."""
    print(f"{'study':34} {'MB':>6} {'first figure, median (slowest) of ' + str(OPENED):>40} {'CPU':>9}")
    good = True
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for name, comparisons, runs in (
            ("1 comparison, 30 runs", 1, 30), ("9 comparisons, 500 runs", 9, 500),
            ("40 comparisons, 2,000 runs", 40, 2000), ("9 comparisons, 5,000 runs", 9, 5000),
        ):  # fmt: skip
            file = Path(folder) / "report.html"
            file.write_text(render_page(study(comparisons, runs)), encoding="utf-8")
            size = file.stat().st_size
            taken = [seconds_to_first_figure(browser, file) for _ in range(OPENED)]
            middle, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
            slowest = max(seconds for seconds, _ in taken)
            good &= size < MOST_BYTES and middle < MOST_SECONDS
            print(
                f"{name:34} {size / 1e6:6.2f} {f'{middle:.2f} s ({slowest:.2f} s)':>40} {f'{cpu:.2f} s':>9}", flush=True
            )
    print(f"bars (3 MB, 1 s): {'met' if good else 'missed'}")
    return good


#: Name of a picture, its page, width and height, colour scheme, and what stands at its top.
SHOTS = (
    ("page-top", "report", (1180, 860), "light", "#verdict"),
    ("page-dark", "report", (1180, 860), "dark", ".comparison"),
    ("page-phone", "report", (400, 860), "light", "#verdict"),
    ("atlas", "atlas", (1180, 860), "light", "#table"),
    ("origin", "origin", (1180, 860), "light", "#main"),
    ("queue", "queue", (1000, 400), "light", "#main"),
    ("study", "study", (1000, 620), "light", "#main"),
)


def screenshots(folder: Path, ledger: str | None) -> None:
    """The pictures: pages made from ``results/``; the queue and a study of `ledger`, where one is named."""
    from isoloss import api

    published = runpy.run_path(str(ROOT / "results" / "renew.py"))["published"]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, chromium() as browser, served(ledger) as live:
        pages = {
            "report": Path(made) / "report.html",
            "atlas": api.atlas_page(api.atlas(results=ROOT / "results"), made),
            "origin": api.origin_page(api.origin(results=ROOT / "results"), Path(made)),
        }
        pages["report"].write_text(render_page(published(ROOT / "results" / "laptop")), encoding="utf-8")
        addresses = {name: path.as_uri() for name, path in pages.items()} | live
        for name, page, size, scheme, anchor in SHOTS:
            if page in addresses:
                _shoot(browser, addresses[page], folder / f"{name}.webp", size, scheme, anchor)


def _shoot(browser: Any, address: str, file: Path, size: tuple[int, int], scheme: str, anchor: str) -> None:
    from PIL import Image

    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, device_scale_factor=1.5)
    page = context.new_page()
    page.goto(address)
    page.locator(anchor).first.evaluate("(e) => e.scrollIntoView({ behavior: 'instant' })")
    page.wait_for_timeout(2500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(file, quality=80, method=6)
    print(f"{file}  {file.stat().st_size / 1e3:.0f} kB")
    context.close()


@contextmanager
def served(ledger: str | None) -> Iterator[dict[str, str]]:
    """Addresses of the queue of `ledger` and of its first study while `isoloss serve` shows them; none without one."""
    if ledger is None:
        yield {}
        return
    command = [sys.executable, "-m", "isoloss", "serve", "--ledger", ledger, "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    told = ""
    while not told.rstrip().endswith("}"):
        told += server.stdout.readline()
    home = json.loads(told)["address"]
    time.sleep(3.0)
    with urllib.request.urlopen(f"{home}api/queue") as answer:
        studies = json.load(answer)["studies"]
    try:
        yield {"queue": home, "study": f"{home}study/{studies[0]['study_id']}"}
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write pictures there, measure nothing")
    parser.add_argument("--ledger", help="for --screenshots: a ledger whose queue is pictured too")
    asked = parser.parse_args()
    if asked.screenshots:
        screenshots(asked.screenshots, asked.ledger)
    else:
        opens = measure()
        waits = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "serve.py")], check=False).returncode == 0
        sys.exit(0 if opens and waits else 1)

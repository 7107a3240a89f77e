"""How large the report page is, and how soon it shows its first figure: ``python benchmarks/page.py``.

Four studies: one comparison, nine, forty, and nine with 5,000 runs and their training curves. Bars (issue 8): under
3 MB, first figure within 1 s of opening. Needs Debian's Chromium (``apt-get install chromium``) and the extra ``dev``.
``--screenshots FOLDER`` writes the pictures of the README from the folder of a report: ``--report reports/laptop``.
"""

from __future__ import annotations

import argparse
import io
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from isoloss.gains import ArmRuns, compare
from isoloss.gains.analysis import ArmSummary, StudyResult, Trial
from isoloss.report import render_page

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


def screenshots(report: Path, folder: Path) -> None:
    """Three pictures of the page of `report`: its top, a comparison in the dark, and a telephone's."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    shots = (
        ("page-top", 1180, 860, "light", "#verdict"),
        ("page-dark", 1180, 860, "dark", ".comparison"),
        ("page-phone", 400, 860, "light", "#verdict"),
    )
    with chromium() as browser:
        for name, width, height, scheme, anchor in shots:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1.5
            )
            page = context.new_page()
            page.goto((report / "report.html").resolve().as_uri())
            page.wait_for_selector("body[data-drawn]")
            page.locator(anchor).first.evaluate("(e) => e.scrollIntoView({ behavior: 'instant' })")
            page.wait_for_timeout(1500)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.save(folder / f"{name}.webp", quality=82, method=6)
            print(f"{folder / name}.webp  {(folder / f'{name}.webp').stat().st_size / 1e3:.0f} kB")
            context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER")
    parser.add_argument("--report", type=Path, default=Path("reports/laptop"))
    asked = parser.parse_args()
    if asked.screenshots:
        screenshots(asked.report, asked.screenshots)
    else:
        sys.exit(0 if measure() else 1)

"""What the README tells people to paste works when pasted."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isoloss.algorithms.innovation import innovations
from isoloss.algorithms.language import innovations as builtin
from isoloss.cli import app
from tests.conftest import ROOT
from tests.test_cli import isoloss

README = (ROOT / "README.md").read_text()
LANGUAGE = (ROOT / "docs" / "language.md").read_text()


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    assert len(found) == 1
    return found[0]


def test_the_example_algorithm_is_short():
    assert len(block("python").strip().splitlines()) <= 25


@pytest.mark.slow
def test_the_example_algorithm_and_study_run_as_pasted(tmp_path):
    (tmp_path / "relu2.py").write_text(block("python"))
    # the ladder is lowered to keep the test short; everything else is as pasted
    study = block("toml").replace("[1e9, 3e9, 9e9]", "[2e8, 4e8]")
    assert study != block("toml")
    (tmp_path / "relu2.toml").write_text(study)
    done = isoloss("run", "relu2.toml", "--workers", 2, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    runs = [r for r in result["runs"] if r["arm"] == "relu2"]
    assert runs and all(r["status"] == "finished" for r in runs)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", ["language.md", "extending.md", "corpora.md"])
def test_links_of_the_laboratorys_pages_lead_somewhere(page: str):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs" / page).read_text()):
        if not target.startswith("http"):
            assert (ROOT / "docs" / target).exists(), target


def test_the_table_of_parts_is_what_the_code_says():
    rows = re.findall(r"^\| (`.*`) \| .* → .* \| (`.*`) \| `([\w-]+)` \| (\d{4}) \|$", LANGUAGE, re.M)
    said = {name: (set(re.findall(r"`(\w+)`", choices)), int(year)) for choices, _, name, year in rows}
    # other tests file innovations of their own in this process
    shipped = re.findall(r'^    "([\w-]+)", field="language"', Path(builtin.__file__).read_text(), re.M)
    entries = [innovations.get(name) for name in shipped]
    assert said == {e.name: ({k for k in e.new if e.new[k] != e.old[k]}, e.year) for e in entries}
    for _, files, _, _ in rows:
        for file in re.findall(r"`([^`]+)`", files):
            below = ["", "algorithms/language", "tasks/text"]
            assert any((ROOT / "src/isoloss" / folder / file).exists() for folder in below), file


def test_the_table_of_studies_is_what_the_files_say():
    rows = re.findall(r"^\| `([\w-]+\.toml)` \| [^|]+ \| (\d+) \| (\d+): ", LANGUAGE, re.M)
    said = {name: (int(arms), int(rungs)) for name, arms, rungs in rows}
    files = {p.name: tomllib.loads(p.read_text()) for p in (ROOT / "studies" / "language").glob("*.toml")}
    assert said == {name: (len(f["arms"]), len(f["ladder"]["rungs"])) for name, f in files.items()}


@pytest.mark.slow
def test_the_innovation_of_ones_own_is_planned_as_pasted(tmp_path):
    page = (ROOT / "docs" / "extending.md").read_text()
    (tmp_path / "cubed_relu.py").write_text(re.findall(r"```python\n(.*?)```", page, re.S)[0])
    (tmp_path / "cubed-relu.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.S)[0])
    done = isoloss("plan", "cubed-relu.toml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["arms"]) == {"gelu", "gelu-again", "cubed-relu"}


@pytest.mark.parametrize("page", ["extending.md", "vision.md"])
def test_the_price_of_ones_own_is_compared_with_the_counter_as_printed(tmp_path, page):
    pytest.importorskip("torch")
    plugin, compared = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)[:2]
    (file,) = re.findall(r'Path\("(\w+\.py)"\)', compared)
    (tmp_path / file).write_text(plugin)
    done = subprocess.run([sys.executable, "-c", compared], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - 1) < 0.02


def test_the_innovation_that_is_an_algorithm_works_as_printed(tmp_path):
    pytest.importorskip("torch")
    fewer = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "vision.md").read_text(), re.S)[0]
    page = (ROOT / "docs" / "extending.md").read_text().split("## An innovation that is an algorithm")[1]
    (tmp_path / "fewer.py").write_text(fewer + re.findall(r"```python\n(.*?)```", page, re.S)[0])
    (tmp_path / "fewer.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.S)[0])
    done = isoloss("plan", "fewer.toml", "--json", "--no-timing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    arms = json.loads(done.stdout)["arms"]
    assert {name: arm["algorithm"] for name, arm in arms.items()} == {"cnn": "vision/cnn", "linear": "mine/linear"}


def test_commands_in_the_readme_are_commands():
    verbs = set(re.findall(r"^isoloss (\w+) ", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S)), re.M))
    assert verbs > {"plan", "run", "gain", "fit", "chain", "attribute", "rank", "next", "isoflop", "atlas"}
    assert verbs <= {c.name or c.callback.__name__ for c in app.registered_commands}
    for path in re.findall(r"studies/[\w/.-]+\.toml", README):
        assert (ROOT / path).exists()


def lines() -> list[str]:
    """Every command of the README over a run table."""
    found = re.findall(r"^isoloss (.*runs\.csv[^#\n]*)", README, re.M)
    assert len(found) >= 8
    return [line.strip() for line in found]


@pytest.mark.parametrize("line", lines())
def test_commands_over_run_tables_work_as_pasted(line: str, tmp_path):
    rng = np.random.default_rng(0)
    laws = {
        "adamw": (60.0, 0.1),
        "muon": (75.0, 0.107),
        "lstm": (36.0, 0.08),
        "retro": (60.0, 0.1),
        "modern": (80.0, 0.11),
    }
    rows = []
    for arm, (scale, alpha) in laws.items():
        for c in 1e15 * 4.0 ** np.arange(6):
            for seed in range(3):
                rows.append((arm, c, seed, (1.8 + scale * c**-alpha) * np.exp(0.002 * rng.standard_normal())))
    frame = pl.DataFrame(rows, schema=["optimizer", "train_flops", "seed", "loss"], orient="row")
    if "isoflop" in line or "chinchilla" in line:
        n = np.tile(np.geomspace(1e7, 1e9, 9), 5)
        d = np.repeat([1e18, 3e18, 1e19, 3e19, 1e20], 9) / (6 * n)
        loss = (1.7 + 400 * n**-0.34 + 410 * d**-0.28) * np.exp(0.001 * rng.standard_normal(45))
        frame = pl.DataFrame({"N": n, "D": d, "C": 6 * n * d, "loss": loss})
    if "--factors" in line:
        pairs = [(a, b) for a in (0, 1) for b in (0, 1)]
        cells = [(a, b, c, s) for a, b in pairs for c in 1e15 * 4.0 ** np.arange(5) for s in range(3)]
        a, b, c, s = (np.array(v) for v in zip(*cells, strict=True))
        loss = (1.8 + 60 * (c * 1.4**a * 1.7**b) ** -0.1) * np.exp(0.002 * rng.standard_normal(len(c)))
        frame = pl.DataFrame({"rope": a, "swiglu": b, "train_flops": c, "seed": s, "loss": loss})
    frame.write_csv(tmp_path / "runs.csv")
    done = isoloss(*shlex.split(line), cwd=ROOT if "results/" in line else tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 3

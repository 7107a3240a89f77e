"""What the README tells people to paste works when pasted."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT
from tests.test_cli import isoloss

README = (ROOT / "README.md").read_text()


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


def test_commands_in_the_readme_are_commands():
    verbs = set(re.findall(r"^isoloss (\w+) .*(?:studies|runs\.csv)", README, re.M))
    assert verbs == {"plan", "run", "gain", "fit"}
    for path in re.findall(r"studies/[\w/.-]+\.toml", README):
        assert (ROOT / path).exists()

"""A wheel built from the repository works outside it, and without the trainer it has no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import venv

import pytest

from tests.conftest import ROOT
from tests.test_ledger import CSV


@pytest.mark.slow
def test_a_wheel_without_the_lab_extra_measures_a_gain_and_imports_no_torch(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True, timeout=300)
    wheel = next(tmp_path.glob("isoloss-*.whl"))
    venv.create(tmp_path / "v", with_pip=True)
    python = tmp_path / "v" / "bin" / "python"
    install = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*install, "--constraint", ROOT / "constraints.txt", wheel], check=True, timeout=300)
    (tmp_path / "runs.csv").write_text(CSV)

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *map(str, words)], capture_output=True, text=True, cwd=tmp_path, timeout=120)

    said = run("-m", "isoloss", "gain", "runs.csv", "-b", "a", "-c", "b", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["verdict"]["level"] == "gain"
    assert run("-c", "import torch").returncode != 0
    listed = run("-m", "isoloss", "list", "algorithms")
    assert listed.returncode == 0 and "isoloss[lab]" in listed.stdout.replace("\n", "").replace(" ", "")
    travels = (
        "from importlib.resources import files as f; assert any(f('isoloss.report').joinpath('templates').iterdir())"
    )
    assert run("-c", travels).returncode == 0
    missing = run("-m", "isoloss", "plan", ROOT / "studies" / "smoke.toml")
    assert missing.returncode == 2 and "pip install 'isoloss[lab]'" in missing.stderr
    assert len(missing.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "v").glob("lib/*/site-packages/torch"))

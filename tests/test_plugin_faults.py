"""What the author of a plug-in meets when it is wrong: one line that names their own file, and the rest goes on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoloss import api
from isoloss.cli import app
from isoloss.errors import IsolossError, StudyError, UnknownNameError
from isoloss.planning.specs import planned
from isoloss.registry import load_plugin
from isoloss.verbs.studies import open_study
from tests.conftest import RIDGE_PLUGIN, TURNED_STUDY

SOLVE = "        w = np.linalg.solve(x.T @ x + spec.choices["


def spoil(study: Path, old: str, new: str, file: str = "ridge.py") -> int:
    """Replace `old` by `new` in the plug-in (or the study), once at least; the line of it."""
    path = study.with_name(file)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def test_an_edited_plug_in_is_planned_as_it_is_now(ridge):
    """In one process, as under a notebook: the study's own text is the same."""
    assert api.plan(ridge, timing=False).flops > 0
    spoil(ridge, "        return choices", "        return choices.model_copy(update={'penalty': 7.0})")
    opened = open_study(ridge)
    assert planned(opened.study, "ridge", 16, {"penalty": 0.1}, 1, "tune").spec.choices == {"penalty": 7.0}


def test_a_default_out_of_its_own_range_is_one_line(ridge, tmp_path):
    api.plan(ridge, timing=False)  # it was right, and then edited
    spoil(ridge, "penalty: float = Field(0.1, gt=0)", "alpha: float = Field(-1, gt=0)\n        penalty: float = 1.0")
    for call in (lambda: api.plan(ridge), lambda: api.run(ridge, ledger=str(tmp_path / "l"), workers=1)):
        with pytest.raises(StudyError, match=re.escape(f"{ridge}: arms.ridge: the default of choice 'alpha'")) as told:
            call()
        assert "greater than 0" in str(told.value) and "mend the default" in str(told.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        return 1e4", "        return {}['price']"),
        ("        return choices", "        return np.zeros(3) @ np.zeros(4)"),
        ("        n = round(spec.budget)", "        n = np.linalg.solve(np.ones((2, 3)), 1)"),
    ],
)
def test_a_plug_in_that_crashes_while_planned_or_timed_is_one_line(ridge, old, new):
    smoke = 'smoke={"task": "test/line", "resource": "examples", "budget": 16})'
    spoil(ridge, 'source="Hoerl & Kennard 1970")', 'source="Hoerl & Kennard 1970", ' + smoke)
    line = spoil(ridge, old, new)
    with pytest.raises(StudyError, match=rf"\(ridge\.py:{line}\)") as told:
        api.plan(ridge)
    assert str(told.value).startswith(str(ridge)) and "\n" not in str(told.value)


def test_a_price_that_is_nothing_names_the_file_though_no_line_of_it_fails(ridge):
    spoil(ridge, "        return 1e4", "        return None")
    with pytest.raises(StudyError, match=r"can't be worked out: TypeError.*built in ridge\.py, .*mend its train_flops"):
        api.plan(ridge, timing=False)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("class Own(Classifier):\n    pass", "Own has no encoder(), encoding(), features()"),
        ("class Own(CNN):\n    class Choices:\n        alpha = 1", "derive it: class Choices(CNN.Choices)"),
        ("class Own:\n    pass", "Own is no Algorithm; derive it: class Own(...)"),
    ],
)
def test_a_class_that_can_not_be_used_is_refused_where_it_is_registered(tmp_path, body, told):
    path = tmp_path / "own.py"
    card = 'version=1, summary="s", year=2026, source="mine"'
    path.write_text(
        "from isoloss.algorithms import algorithm\nfrom isoloss.algorithms.vision.cnn import CNN, Classifier\n"
        f'@algorithm("mine/own", {card})\n{body}\n'
    )
    with pytest.raises(StudyError, match=re.escape(told)) as error:
        load_plugin(path)
    assert "own.py:3" in str(error.value)


def test_a_plan_says_which_side_of_a_comparison_has_fewer_trials(ridge):
    assert api.plan(ridge, timing=False).cautions == ()
    own, again = ridge.read_text().split("[arms.ridge-again]")
    ridge.write_text(own + "[arms.ridge-again]" + again.replace("points = 3", "points = 5"))
    (said,) = api.plan(ridge, timing=False).cautions
    assert said.startswith("Tuned unequally: ridge-again by 5 trials a rung, ridge by 3;")


def test_an_arm_whose_trials_all_crash_is_not_reported_while_the_others_are(ridge, tmp_path):
    spoil(ridge, "seed_block = 1\n", "seed_block = 1\nsettings = { broken = true }\n", "ridge.toml")
    spoil(ridge, "penalty: float = Field(0.1, gt=0)", "penalty: float = Field(0.1, gt=0)\n        broken: bool = False")
    line = spoil(ridge, SOLVE, "        np.linalg.solve(x, y) if spec.choices['broken'] else 0\n" + SOLVE)
    words = ["run", str(ridge), "--ledger", str(tmp_path / "runs.sqlite"), "--workers", "1", "--out", str(tmp_path)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 1
    told = " ".join(said.stderr.split())
    failure = re.escape(f"(ridge.py:{line})")
    assert len(re.findall(failure, told)) == 2 and re.search(failure + ", 9 times", told)  # at first, and the count
    assert "ridge-again: every tuning trial failed at 16, 64, 256 examples, so it gets no fresh seeds" in told
    rows = api.status(ledger=str(tmp_path / "runs.sqlite"))
    assert rows[0]["runs"]["failed"] == 9 and rows[0]["runs"]["finished"] >= 18  # nine trials and nine reports
    shown = " ".join(said.stdout.split())
    assert "all 9 runs of ridge-again failed; mend that and run the study again" in shown
    assert "learning rate" not in shown and "ridge-again: the best value lies at the edge" not in shown


def test_a_study_whose_plug_in_was_mended_wants_only_the_mended_ones_runs(ridge, tmp_path):
    ledger = str(tmp_path / "runs.sqlite")
    spoil(ridge, SOLVE, "        raise RuntimeError('not yet')\n" + SOLVE)
    api.run(ridge, ledger=ledger, workers=1, out=tmp_path / "out")
    assert api.status(ledger=ledger)[0]["runs"]["failed"]
    spoil(ridge, "        raise RuntimeError('not yet')\n", "")
    api.run(ridge, ledger=ledger, workers=1, out=tmp_path / "out")
    (row,) = api.status(ledger=ledger)
    assert {status for status, runs in row["runs"].items() if runs} == {"finished"}
    assert row["runs"]["finished"] >= 3 * 2 * 3 + 3 * 2 * 3  # trials and reports of two arms at three rungs


def test_a_registration_that_lacks_its_version_names_file_and_line(ridge):
    line = spoil(ridge, '@algorithm("test/ridge", version=1,', '@algorithm("test/ridge",')
    with pytest.raises(StudyError, match=rf"ridge\.py: .*'version' \(ridge\.py:{line}\); mend the file"):
        api.open_study(ridge)


def test_a_forgotten_plug_in_is_hinted_at(ridge):
    spoil(ridge, 'plugins = ["ridge.py"]\n', "", "ridge.toml")
    spoil(ridge, "test/ridge", "test/never-loaded", "ridge.toml")
    spoil(ridge, "test/line", "vision/digits", "ridge.toml")
    with pytest.raises(UnknownNameError, match=r'If a file of yours registers it, add plugins = \["FILE.py"\]'):
        api.open_study(ridge)


def test_a_string_without_quotes_is_shown_with_them(ridge):
    spoil(ridge, 'name = "ridge"', "name = ridge", "ridge.toml")
    with pytest.raises(StudyError, match=rf'^{re.escape(str(ridge))}: .*a string needs quotes: name = "ridge"$'):
        api.open_study(ridge)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rungs = [16, 64, 256]", "rungs = [16, 64, 60000]", "arms.ridge: ladder.rungs: 60000 labels"),
        ("settings = {}", "settings = { lrr = 1 }", "arms.ridge: unknown choice 'lrr'; did you mean lr?"),
        ("settings = {}", "settings = { augment = 'x' }", "arms.ridge: augment: "),
    ],
)
def test_a_choice_that_an_arm_can_not_have_names_study_file_and_arm(ridge, old, new, told):
    for was, now in (
        ("test/line", "vision/digits"),
        ("test/ridge", "vision/cnn"),
        ('"examples"', '"labels"'),
        ('algorithm = "vision/cnn"', 'algorithm = "vision/cnn"\nsettings = {}'),
        ("penalty", "lr"),
        (old, new),
    ):
        spoil(ridge, was, now, "ridge.toml")
    with pytest.raises(IsolossError) as said:
        api.plan(ridge, timing=False)
    assert str(said.value).startswith(f"{ridge}: {told}")


HALF = """
from isoloss.algorithms import algorithm
from isoloss.algorithms.vision.cnn import CNN, SMOKE


@algorithm("mine/cheap", version=1, summary="a CNN that says twice its price", year=2026, source="tests", smoke=SMOKE)
class Cheap(CNN):
    def step_flops(self, task, choices):
        return 2 * super().step_flops(task, choices)
"""


def cheap_study(folder: Path) -> Path:
    """A study of labels whose candidate is `HALF`'s, in ``ridge.py``."""
    text = TURNED_STUDY.replace("RATES", "[0.01]").replace("geometry/rotated-digits", "vision/digits")
    text = text.replace("geometry/cnn-augmented", "mine/cheap").replace("geometry/cnn", "vision/cnn")
    study = folder / "turned.toml"
    study.write_text('plugins = ["ridge.py"]\n' + text)
    return study


def test_a_network_that_crashes_in_torch_alone_names_the_file_that_built_it(tmp_path):
    pytest.importorskip("torch")
    study = cheap_study(tmp_path)
    wrong = "    def features(self, task, choices):\n        return 7\n\n    def step_flops"
    (tmp_path / "ridge.py").write_text(HALF.replace("    def step_flops", wrong))
    with pytest.raises(StudyError, match=r"arms\.turned: .* \(built in ridge\.py, met at isoloss/training/"):
        api.plan(study, ledger=str(tmp_path / "runs.sqlite"))


def test_a_price_that_is_twice_the_counted_one_is_said_by_plan_and_run_on_a_ladder_over_labels(tmp_path):
    pytest.importorskip("torch")
    study = cheap_study(tmp_path)
    (tmp_path / "ridge.py").write_text(HALF)
    planned = api.plan(study, ledger=str(tmp_path / "runs.sqlite"))
    (said,) = [c for c in planned.cautions if "formula" in c]
    assert re.match(r"turned: counted FLOPs are 0\.(49|50)\d times", said)
    words = ["run", str(study), "--ledger", str(tmp_path / "runs.sqlite"), "--workers", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert said in " ".join(done.stderr.split()) and " ".join(done.stderr.split()).count("counted FLOPs are") == 1
    result, _ = api.report(study, ledger=str(tmp_path / "runs.sqlite"), out=tmp_path)
    (found,) = [d for d in result.diagnostics if d.code == "price-differs"]
    assert set(found.details["ratios"]) == {"turned"}


@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__':\n    "])
def test_a_script_runs_a_study_with_or_without_a_guard(ridge, tmp_path, guard):
    """A spawned worker that imported a script without one would run it anew, without end."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import isoloss\n{guard}print(isoloss.run({str(ridge)!r}, ledger='l.sqlite', workers=2)[0].study)\n"
    )
    told = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert told.stdout.split() == ["ridge"]


def test_what_a_script_registers_itself_is_refused_in_a_line(ridge, tmp_path):
    script = tmp_path / "script.py"
    ridge.write_text(ridge.read_text().replace('plugins = ["ridge.py"]\n', ""))
    script.write_text(f"{RIDGE_PLUGIN}\nimport isoloss\nisoloss.run({str(ridge)!r}, ledger='l.sqlite')\n")
    told = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "StudyError: algorithm 'test/ridge': is registered by the script itself" in told.stderr.splitlines()[-1]
    assert "name that in `plugins`" in told.stderr.splitlines()[-1]

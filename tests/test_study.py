"""Study files: what is accepted is what runs; what is wrong is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss import api
from isoloss.algorithms import algorithms
from isoloss.errors import IsolossError, StudyError, UnknownNameError
from isoloss.study import Axis, read_study
from isoloss.tasks import tasks
from tests.conftest import RIDGE_STUDY, ROOT

STUDIES = sorted((ROOT / "studies").rglob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_study_that_ships_is_valid_and_says_command_cost_and_expectation(path):
    opened = api.open_study(path)
    head = path.read_text().split("\nname", 1)[0]
    assert f"isoloss run {path.relative_to(ROOT)}" in head
    assert "# Cost:" in head and "# Expected:" in head
    assert opened.study.comparisons


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = 1", "seedz = 1", ("tuning.seedz", "unknown key", "did you mean seeds?")),
        ("seeds = 1", "seeds = 'one'", ("tuning.seeds", "integer")),
        ("rungs = [16, 64, 256]", "rungs = [256, 64, 16]", ("ladder.rungs", "upside down")),
        ("rungs = [16, 64, 256]", "rungs = [16]", ("ladder.rungs", "at least 2")),
        ("rungs = [16, 64, 256]", "rungs = [-1, 64]", ("ladder.rungs", "positive")),
        ("rungs = [16, 64, 256]", "rungs = [nan, 64]", ("ladder.rungs", "finite")),
        ('resource = "examples"', 'resource = "example"', ("ladder.resource", "did you mean examples?")),
        ('step_rule = { kind = "constant", value = 1 }', "", ("ladder", "step_rule")),
        ('candidate = "ridge-again"', 'candidate = "rigde"', ("'rigde' is not an arm", "did you mean ridge?")),
        (
            "points = 3 } }\n[arms.ridge-again]",
            "points = 0 } }\n[arms.ridge-again]",
            ("arms.ridge.sweep.penalty.points",),
        ),
        ("seeds = 1", "seeds = 1\nswept_rungs = 4", ("tuning.swept_rungs is 4", "ladder has 3")),
        ("seeds = 1", "seeds = 1\nswept_rungs = 0", ("tuning.swept_rungs", "greater than or equal to 1")),
        ("seeds = 1", "seeds = 1\nswept_rungs = 1\ncheck_axis = 'penal'", ("'penal'", "did you mean penalty?")),
        ("seeds = 1", "seeds = 1\ncheck_axis = 'penalty'", ("check_axis", "without swept_rungs")),
        ("seed_block = 1", "twin = 'rigde'", ("arms.ridge-again.twin 'rigde'", "did you mean ridge?")),
        ("seed_block = 1", "twin = 'ridge'\nsettings = { x = 1 }", ("ridge-again.settings", "leave it out")),
        ("seed_block = 1", "twin = 'ridge'\nseed_block = 0", ("ridge-again.seed_block", "leave it out")),
        ("seed_block = 1", "twin = 'ridge-again'", ("'ridge-again'", "is a twin itself")),
        ("seed_block = 1", "twin = [1]", ("ridge-again.twin", "is not an arm")),
        ("question =", "question", ("not valid TOML", "line 3")),
        ("seeds = 1", "seedz = 1\nx = 1", ("unknown key (and 1 more fault);",)),
        ("[task]\nname", "[task]\nnom", ("task.nom", "did you mean name?")),
        ("[task]\nname", f"[task]\n{'.'.join('a' * 20_000)} = 1\nname", ("key of more than 100 parts", "line")),
        ("seed_block = 1", f"settings = {{ x = {'[' * 300}{']' * 300} }}", ("can't be kept", "nested too deeply")),
    ],
)
def test_a_wrong_field_is_named_in_one_line(tmp_path, old, new, words):
    assert old in RIDGE_STUDY
    path = tmp_path / "s.toml"
    path.write_text(RIDGE_STUDY.replace(old, new, 1))
    with pytest.raises(StudyError) as caught:
        read_study(path)
    said = str(caught.value)
    assert "\n" not in said and str(path) in said
    for word in words:
        assert word in said, said


def test_an_unknown_algorithm_and_task_suggest_the_nearest(ridge):
    ridge.write_text(RIDGE_STUDY.replace('algorithm = "test/ridge"', 'algorithm = "test/rigde"', 1))
    with pytest.raises(UnknownNameError, match=r"arms\.ridge\.algorithm.*did you mean test/ridge"):
        api.open_study(ridge)
    ridge.write_text(RIDGE_STUDY.replace("test/line", "language/stou"))
    with pytest.raises(UnknownNameError, match=r"task\.name.*did you mean language/sotu"):
        api.open_study(ridge)


@pytest.mark.parametrize("plugin", ["../ridge.py", "\\u0000"])
def test_a_plugin_outside_the_studys_folder_is_refused(ridge, plugin):
    ridge.write_text(RIDGE_STUDY.replace("ridge.py", plugin))
    with pytest.raises(StudyError, match="outside the study's folder"):
        api.open_study(ridge)


def test_a_plugins_names_mean_what_the_file_that_a_study_names_says(ridge):
    plugin = ridge.with_name("ridge.py")
    first = plugin.read_text()
    codes = []
    for text in (first, first + "\n# edited\n", first):
        plugin.write_text(text)
        api.open_study(ridge)
        codes.append((algorithms.code("test/ridge"), tasks.code("test/line")))
    assert codes[0] == codes[2] != codes[1]


def test_a_broken_plugin_is_one_line(ridge):
    (ridge.parent / "ridge.py").write_text("1 / 0")
    with pytest.raises(StudyError, match=r"ridge\.py: plug-in failed to import: ZeroDivisionError"):
        api.open_study(ridge)


def test_a_plugins_bad_syntax_is_placed_once(ridge):
    (ridge.parent / "ridge.py").write_text("x = 1\ny = = 2")
    with pytest.raises(StudyError, match=r"SyntaxError: invalid syntax \(ridge\.py, line 2\); mend the file$"):
        api.open_study(ridge)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_study_or_one_line(tmp_path_factory, data):
    path = Path(tmp_path_factory.getbasetemp()) / "fuzz.toml"
    path.write_bytes(data)
    with pytest.raises(IsolossError) as caught:
        read_study(path)
    assert len(str(caught.value).splitlines()) == 1


scalars = st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.booleans(), st.just([]), st.just({}))


@settings(max_examples=200, deadline=None)
@given(
    field=st.sampled_from(
        ["name", "question", "task", "ladder", "arms", "comparisons", "tuning", "report", "floor", "x"]
    ),
    value=scalars,
)
def test_any_value_in_any_field_is_accepted_or_said_in_one_line(field, value):
    import tomllib

    from pydantic import ValidationError

    from isoloss.study import Study, _first_fault

    data = tomllib.loads(RIDGE_STUDY)
    data[field] = value
    try:
        Study.model_validate(data)
    except ValidationError as error:
        where, what, _ = _first_fault(Path("s.toml"), data, error)
        assert where.startswith("s.toml") and what


@given(
    centre=st.floats(1e-6, 1e3),
    factor=st.floats(1.5, 10),
    points=st.integers(2, 9),
)
def test_a_geometric_grid_is_ascending_centred_and_extends_by_its_ratio(centre, factor, points):
    axis = Axis(centre=centre, factor=factor, points=points)
    grid = axis.grid()
    assert len(grid) == points and list(grid) == sorted(set(grid))
    assert grid[0] * grid[-1] == pytest.approx(centre**2, rel=1e-4)
    assert axis.beyond(grid[-1], "high") / grid[-1] == pytest.approx(factor, rel=1e-4)
    assert axis.beyond(grid[0], "low") * factor == pytest.approx(grid[0], rel=1e-4)


def test_a_natural_limit_stops_widening():
    axis = Axis(values=(128, 512), min=128)
    assert axis.beyond(128, "low") is None
    assert axis.beyond(512, "high") == 2048


def test_a_study_that_uses_no_newer_key_keeps_its_id():
    """Ledgers file members under this digest: that of the study as it stood before the keys came."""
    import tomllib

    from isoloss.study import Study

    study = Study.model_validate(tomllib.loads(RIDGE_STUDY))
    newer = {"twin", "innovations", "without", "innovation", "swept_rungs", "check", "check_axis", "drop", "top_seeds"}
    assert not newer & set(study.model_dump_json().replace('"', " ").split())
    assert study.study_id == "44e3ba7b63695207"


def test_the_documentation_shows_every_key_in_a_study_that_is_accepted():
    import tomllib

    from isoloss.study import Arm, Axis, Comparison, Ladder, Report, Study, Tuning

    text = (ROOT / "docs" / "study-files.md").read_text()
    example = text.split("```toml", 1)[1].split("```", 1)[0]
    study = Study.model_validate(tomllib.loads(example))
    assert study.carried_rungs and study.arms["modern-again"].seed_block == 1
    for part in (Study, Ladder, Tuning, Report, Comparison, Arm, Axis):
        for key in part.model_fields:
            assert key in example, f"{part.__name__}.{key}"

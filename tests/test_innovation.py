"""Innovations: filed by one call, taken in or left out by an arm, refused by name where they do not apply."""

from __future__ import annotations

import pytest

from isoloss import api
from isoloss.algorithms import algorithms
from isoloss.algorithms.innovation import applies_to, change, innovation, innovations
from isoloss.diagnosis import diagnose
from isoloss.errors import StudyError, UnknownNameError
from isoloss.ledger.table import RunTable
from isoloss.planning.propose import propose
from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY

PLUGIN = (
    RIDGE_PLUGIN
    + """

@algorithm("test/lasso", version=1, summary="another", year=1996, source="Tibshirani 1996")
class Lasso(Ridge):
    class Choices(Ridge.Choices):
        sparse: bool = False
        rounds: int = Field(1, ge=1, le=8)

    def code(self, choices):
        return "parts" if choices.sparse else ""


from isoloss.algorithms.innovation import innovation

AT = dict(field="test", year=1996, source="Tibshirani 1996")
innovation("sparse", title="sparse weights", old={"sparse": False}, new={"sparse": True}, **AT)
innovation("twice", title="two rounds", old={"rounds": 1}, new={"rounds": 2}, **AT)
innovation("four", title="four rounds", old={"rounds": 2}, new={"rounds": 4}, **AT)
innovation("hundred", title="too many rounds", old={"rounds": 1}, new={"rounds": 100}, **AT)
innovation("lasso", title="lasso", old={"algorithm": "test/ridge"}, new={"algorithm": "test/lasso"}, **AT)
"""
)


def opened(folder, arm, comparison=""):
    (folder / "ridge.py").write_text(PLUGIN)
    text = RIDGE_STUDY.replace('[arms.ridge-again]\nalgorithm = "test/ridge"', f"[arms.ridge-again]\n{arm}")
    text = text.replace('candidate = "ridge-again"', f'candidate = "ridge-again"\n{comparison}')
    (folder / "ridge.toml").write_text(text)
    return api.open_study(folder / "ridge.toml").study


def candidate(study):
    return next(r for r in propose(study, RunTable.empty()).runs if r.arm == "ridge-again").spec


def test_an_arm_takes_innovations_in_and_its_settings_stand_on_top(tmp_path):
    arm = 'algorithm = "test/lasso"\ninnovations = ["sparse", "twice", "four"]'
    spec = candidate(opened(tmp_path, arm))
    assert (spec.choices["sparse"], spec.choices["rounds"]) == (True, 4)
    spec = candidate(opened(tmp_path, 'algorithm = "test/lasso"\nwithout = ["sparse"]\nsettings = { rounds = 3 }'))
    assert (spec.choices["sparse"], spec.choices["rounds"]) == (False, 3)


def test_an_innovation_may_change_the_algorithm_itself(tmp_path):
    arm = 'algorithm = "test/ridge"\ninnovations = ["lasso", "sparse"]'
    spec = candidate(opened(tmp_path, arm))
    assert spec.algorithm == "test/lasso" and spec.choices["sparse"]
    assert candidate(opened(tmp_path, 'algorithm = "test/lasso"\nwithout = ["lasso"]')).algorithm == "test/ridge"
    assert change("test/ridge", ["lasso"], [], "x") == ("test/lasso", {})


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (
            'algorithm = "test/ridge"\ninnovations = ["sparse"]',
            ("'sparse'", "test/ridge", "no choice 'sparse'", "applies to: test/lasso"),
        ),
        ('algorithm = "test/lasso"\ninnovations = ["hundred"]', ("'hundred'", "test/lasso", "rounds", "no registered")),
        ('algorithm = "test/lasso"\ninnovations = ["twice", "hundred"]', ("'twice' and 'hundred'", "rounds")),
        ('algorithm = "test/lasso"\ninnovations = ["twice"]\nsettings = { rounds = 1 }', ("settings.rounds", "undoes")),
        ('algorithm = "test/ridge"\nwithout = ["lasso"]', ()),
        (
            'algorithm = "language/lstm"\ninnovations = ["lasso"]',
            ("'lasso'", "language/lstm", 'algorithm = "test/ridge"'),
        ),
    ],
)
def test_what_does_not_apply_is_said_in_one_line(tmp_path, arm, words):
    study = opened(tmp_path, arm)
    if not words:
        assert candidate(study).algorithm == "test/ridge"  # already without it
        return
    with pytest.raises(StudyError) as caught:
        propose(study, RunTable.empty())
    said = str(caught.value)
    assert "arms.ridge-again" in said and "\n" not in said
    for word in words:
        assert word in said, said


def test_unknown_innovations_suggest_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match=r"arms\.ridge-again\.innovations.*did you mean sparse"):
        opened(tmp_path, 'algorithm = "test/lasso"\ninnovations = ["sparze"]')
    with pytest.raises(UnknownNameError, match=r"comparisons\[0\]\.innovation.*rotary"):
        opened(tmp_path, 'algorithm = "test/lasso"', 'innovation = "rotery"')


def test_an_innovation_that_changes_the_algorithm_may_name_choices_that_only_the_new_one_has(tmp_path):
    at = {"field": "test", "title": "t", "year": 2026, "source": "s"}
    entry = innovation(
        "both", old={"algorithm": "test/ridge"}, new={"algorithm": "test/lasso", "rounds": 2, "sparse": True}, **at
    )
    study = opened(tmp_path, 'algorithm = "test/ridge"\ninnovations = ["both"]', 'innovation = "both"')
    spec = candidate(study)
    assert (spec.algorithm, spec.choices["rounds"], spec.choices["sparse"]) == ("test/lasso", 2, True)
    out = candidate(opened(tmp_path, 'algorithm = "test/lasso"\nwithout = ["both"]'))
    assert out.algorithm == "test/ridge" and "rounds" not in out.choices
    assert applies_to(entry) == ["test/ridge"]
    assert [d.code for d in diagnose(study, RunTable.empty(), (), (), (), [])].count("untuned-innovation") == 1


def test_parts_from_a_plug_in_are_part_of_a_runs_identity(tmp_path):
    with_part = candidate(opened(tmp_path, 'algorithm = "test/lasso"\ninnovations = ["sparse"]'))
    without = candidate(opened(tmp_path, 'algorithm = "test/lasso"'))
    assert with_part.code == without.code + "+parts"


def test_a_change_that_is_none_is_refused():
    at = {"field": "test", "title": "t", "year": 2000, "source": "s"}
    with pytest.raises(StudyError, match="changes nothing"):
        innovation("x", old={"a": 1}, new={"a": 1}, **at)
    with pytest.raises(StudyError, match="same choices"):
        innovation("x", old={"a": 1}, new={"b": 1}, **at)
    with pytest.raises(StudyError, match="another name"):
        innovation("rotary", old={"a": 1}, new={"a": 2}, **at)
    assert "x" not in innovations.names()


def test_every_built_in_innovation_applies_somewhere_both_ways():
    for name in innovations.names():
        entry = innovations.get(name)
        if entry.field == "language":
            assert entry.title and entry.year > 1990 and entry.source
            assert applies_to(entry), f"{name} can be taken into no algorithm"
            assert applies_to(entry, into=False), f"{name} can be left out of no algorithm"


def test_a_comparison_must_differ_in_the_innovation_that_it_names(tmp_path):
    with pytest.raises(StudyError, match=r"comparisons\[0\].innovation: innovation 'sparse' has sparse"):
        candidate(opened(tmp_path, 'algorithm = "test/lasso"\nwithout = ["sparse"]', 'innovation = "sparse"'))


def test_an_innovation_can_not_be_both_in_and_out(tmp_path):
    with pytest.raises(StudyError, match="both taken in and left out"):
        candidate(opened(tmp_path, 'algorithm = "test/lasso"\ninnovations = ["sparse"]\nwithout = ["sparse"]'))


def test_a_slip_of_the_pen_is_no_new_field():
    changes = {"title": "t", "year": 2026, "source": "these tests 2026", "old": {"a": 1}, "new": {"a": 2}}
    for fields in ({"field": "vison"}, {"field": "geometry", "also": ["vison"]}):
        with pytest.raises(UnknownNameError, match=r"unknown field 'vison'; did you mean vision\?"):
            innovation("slipped", **fields, **changes)
    assert "slipped" not in innovations.names()
    algorithms.file("visions/mine", type("Mine", (), {}))  # a new field, told by an algorithm of its own
    try:
        assert innovation("new-field", field="visions", **changes).field == "visions"
        assert innovation("newer-field", field="robotics", **changes).field == "robotics"
    finally:
        algorithms._loaded.pop("visions/mine")
        for name in ("new-field", "newer-field"):
            innovations._filed.pop(name)

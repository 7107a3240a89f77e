"""Comparisons in another resource than the ladder's, and run by run."""

from __future__ import annotations

import json

import polars as pl
import pytest

from isoloss.analysis import analyse
from isoloss.errors import StudyError
from isoloss.evidence.cards import checked
from isoloss.ledger.table import SCHEMA, RunTable
from isoloss.report import render_page
from isoloss.report.card import card
from isoloss.report.terminal import print_result
from isoloss.study import Study, read_study

RUNGS = [4.57e9, 8.9e9, 1.76e10, 3.5e10]
SETTINGS = {"devices": 1, "width": 32, "steps": 20, "batch_tokens": 512}


def study(**comparison):
    arms = {
        "plain": {"algorithm": "systems/transformer", "settings": SETTINGS},
        "again": {
            "algorithm": "systems/transformer",
            "innovations": ["activation-checkpointing"],
            "settings": SETTINGS,
        },
    }
    return Study.model_validate(
        {
            "name": "modes",
            "question": "How much less memory?",
            "task": {"name": "language/sotu"},
            "ladder": {"resource": "train_flops", "rungs": RUNGS},
            "arms": arms,
            "comparisons": [{"baseline": "plain", "candidate": "again", **comparison}],
            "report": {"seeds": 2},
        }
    )


def table(apart=0.0, **more):
    """Activations as L without checkpointing and as its root with it, for a third more FLOPs at equal loss."""
    rows = []
    for arm in ("plain", "again"):
        for i, rung in enumerate(RUNGS):
            for seed in (1, 2):
                layers = 4.0 * 2**i
                rows.append(
                    {
                        "run_id": f"{arm}{i}{seed}", "study": "modes", "arm": arm, "algorithm": "systems/transformer",
                        "task": "language/sotu", "purpose": "report", "round": 0, "rung": rung, "seed": seed,
                        "cluster": f"{arm}{i}{seed}", "status": "finished",
                        "choices": json.dumps({**SETTINGS, "depth": int(layers)}),
                        "test": (4 - i / 2) * (1 + seed / 100) * (1 + apart * (arm == "again")),
                        "train_flops": rung * (1.0 if arm == "plain" else 1.33), "parameters": 1e4, "examples": 1e4,
                        "activation_bytes": 1e6 * (layers if arm == "plain" else layers**0.5),
                        **more,
                    }
                )  # fmt: skip
    return RunTable(pl.DataFrame(rows, schema=SCHEMA))


def test_exact_mode_gives_the_ratio_the_half_power_and_what_it_costs():
    found = analyse(study(mode="exact", resource="activation_bytes"), table())
    (curve,) = found.comparisons
    gains = [p.gain for p in curve.points if p.index == "old"]
    assert gains == pytest.approx([2, 8**0.5, 4, 32**0.5])
    assert curve.slope.value == pytest.approx(0.5) and curve.verdict.trend == "grows"
    said = "At the same loss (to 1e-05), where plain needs 32 MB of activation memory, again needs 5.7× less: a gain."
    assert curve.verdict.sentence.startswith(said)
    costs = {c.resource: c.ratio for c in found.costs if c.at == max(c.at for c in found.costs)}
    assert costs["train_flops"] == pytest.approx(1 / 1.33)
    assert "untuned-arm" not in {d.code for d in found.diagnostics}


def test_exact_mode_refuses_runs_of_unequal_quality_in_one_line():
    found = analyse(study(mode="exact", resource="activation_bytes"), table(apart=3e-5))
    assert not found.comparisons
    assert any("differ by more than 1e-05; compare these arms with mode curve" in line for line in found.missing)


def test_a_resource_that_runs_did_not_record_is_named():
    found = analyse(study(mode="exact", resource="bytes_communicated"), table(bytes_communicated=None))
    assert not found.comparisons
    assert any("arm 'plain': has runs without bytes_communicated" in line for line in found.missing)


def test_the_measure_is_said_wherever_the_comparison_is(capsys):
    from rich.console import Console

    found = analyse(study(mode="exact", resource="activation_bytes"), table())
    print_result(found, Console(width=100))
    assert "again against plain (in activation memory, run by run)" in capsys.readouterr().out
    page = render_page(found)
    assert "in activation memory, run by run" in page and "against activation memory</h" in page
    filed = checked(card(found), "card")
    assert filed.comparisons[0].mode == "exact" and filed.comparisons[0].resource == "activation_bytes"
    assert [r.budget for r in filed.arms[0].rungs] == pytest.approx([4e6, 8e6, 16e6, 32e6])


def test_a_study_that_does_not_use_them_keeps_its_identity():
    plain = study()
    assert plain.study_id == study(mode="curve").study_id
    assert "mode" not in plain.model_dump(mode="json")["comparisons"][0]
    assert plain.study_id != study(resource="activation_bytes").study_id


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('resource = "bytes_comunicated"', "unknown resource 'bytes_comunicated'; did you mean bytes_communicated"),
        ('mode = "exactly"', "comparisons.0.mode"),
        ('modes = "exact"', "did you mean mode"),
    ],
)
def test_a_mistake_in_a_comparison_is_named(tmp_path, line, said):
    path = tmp_path / "s.toml"
    path.write_text(
        'name = "s"\nquestion = "q"\n[task]\nname = "language/sotu"\n[ladder]\nresource = "train_flops"\n'
        f'rungs = [1e9, 2e9]\n[[comparisons]]\nbaseline = "a"\ncandidate = "b"\n{line}\n'
        '[arms.a]\nalgorithm = "systems/transformer"\n[arms.b]\nalgorithm = "language/lstm"\n'
    )
    with pytest.raises(StudyError, match=said):
        read_study(path)


def test_a_copy_has_no_partner_for_each_run():
    with pytest.raises(ValueError, match="does not go with a twin"):
        Study.model_validate(
            {
                **study().model_dump(mode="json"),
                "arms": {"plain": {"algorithm": "systems/transformer"}, "again": {"twin": "plain"}},
                "comparisons": [{"baseline": "plain", "candidate": "again", "mode": "exact"}],
            }
        )

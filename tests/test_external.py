"""Anybody's run table: what is guessed, what is refused and how, and that the order of a table changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isoloss
from isoloss.errors import IsolossError, TableError, UnknownNameError
from isoloss.ledger.external import SAME_RUNG, external_arms, read_runs, rungs_of, select_arms
from tests.conftest import ROOT

RUNGS = (1e15, 3e15, 9e15, 2.7e16)


def runs(seeds: int = 3, **more: list[str]) -> pl.DataFrame:
    """Two arms on four rungs with a planted gain of 2, each `more` column given per seed."""
    rng = np.random.default_rng(1)
    rows = []
    for arm, gain in (("adamw", 1.0), ("muon", 2.0)):
        for c in RUNGS:
            for s in range(seeds):
                loss = 1.5 + 50 * (gain * c) ** -0.1 * np.exp(rng.normal(0, 0.002))
                rows.append({"arm": arm, "flops": c, "loss": loss, "seed": s} | {k: v[s] for k, v in more.items()})
    return pl.DataFrame(rows)


def save(frame: pl.DataFrame, folder: Path, name: str = "runs.csv") -> Path:
    path = folder / name
    frame.write_csv(path)
    return path


def refusal(path: Path, **asked: object) -> str:
    with pytest.raises(IsolossError) as caught:
        isoloss.gain(path, "adamw", "muon", draws=200, **asked)
    said = str(caught.value)
    assert "\n" not in said
    return said


def gain_at(path: Path, c: float = 9e15, **asked: object) -> float:
    curve = isoloss.gain(path, "adamw", "muon", at=[c], draws=300, **asked)
    return next(p.gain for p in curve.asked if p.index == "old")


def codes(curve) -> set[str]:
    return {d.code for d in curve.diagnostics}


# --- guesses -----------------------------------------------------------------------------------------------------


def test_the_planted_gain_is_found_and_the_columns_are_named(tmp_path):
    curve = isoloss.gain(save(runs(), tmp_path), "adamw", "muon", at=[9e15], draws=500)
    low, high = curve.asked[0].interval
    assert low < 2 < high
    said = next(d for d in curve.diagnostics if d.code == "columns")
    assert said.details["roles"] == {"arm": "arm", "resource": "flops", "quality": "loss", "seed": "seed"}


def test_tracker_names_are_understood_and_a_run_name_is_no_arm(tmp_path):
    frame = runs().with_row_index("Name").with_columns(("run-" + pl.col("Name").cast(pl.String)).alias("Name"))
    frame = frame.rename({
        "arm": "config.optimizer", "flops": "summary.train_flops", "loss": "eval/loss", "seed": "config.seed",
    }).with_columns(State=pl.lit("finished"))  # fmt: skip
    roles = read_runs(save(frame, tmp_path)).roles
    assert roles["arm"] == "config.optimizer" and roles["run_id"] == "Name"
    assert (roles["resource"], roles["quality"], roles["seed"]) == ("summary.train_flops", "eval/loss", "config.seed")


def test_the_column_that_holds_both_names_is_the_arm(tmp_path):
    frame = runs().rename({"arm": "optimizer"}).with_columns(method=pl.lit("pretraining"))
    path = save(frame, tmp_path)
    assert read_runs(path, arms=("adamw", "muon")).roles["arm"] == "optimizer"
    unnamed = save(frame.drop("method").rename({"optimizer": "kind of step"}), tmp_path, "b.csv")
    assert "'kind of step' holds adamw and muon" in refusal(unnamed)


@pytest.mark.slow
def test_a_hundred_thousand_columns_of_junk_are_left_alone(tmp_path):
    frame = runs()
    rng = np.random.default_rng(0)
    junk = pl.DataFrame({f"junk{i}": rng.normal(size=frame.height) for i in range(100_000)})
    path = tmp_path / "wide.csv"
    frame.hstack(junk).write_csv(path)
    table = read_runs(path)
    external_arms(table, ("adamw", "muon"))
    assert set(table.roles.values()) == {"arm", "flops", "loss", "seed"}


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["lr", "config.learning_rate", "params.batch_size", "weight decay", "recipe note"])
def test_a_sweep_does_not_pass_for_seeds(tmp_path, column):
    values = ["a", "b", "c"] if column == "recipe note" else ["0.1", "0.2", "0.3"]
    path = save(runs(**{column: values}).drop("seed"), tmp_path)
    said = refusal(path)
    assert f"runs.csv: {column}: rows 1 and 2" in said and "--where" in said and "--best-of" in said


def test_a_sweep_with_a_seed_for_each_trial_is_a_sweep_all_the_same(tmp_path):
    assert "not seeds" in refusal(save(runs(lr=["0.1", "0.2", "0.3"]), tmp_path))


def test_measurements_and_scaled_settings_are_no_sweep(tmp_path):
    frame = runs()
    rng = np.random.default_rng(2)
    frame = frame.with_columns(
        runtime=pl.Series(rng.uniform(1, 9, frame.height)),
        grad_norm=pl.Series(rng.uniform(1, 9, frame.height)),
        host=pl.Series([f"node{i % 3}" for i in range(frame.height)]),
        lr=1e3 / pl.col("flops"),
    )
    for table in (frame, frame.drop("seed")):
        assert gain_at(save(table, tmp_path)) == pytest.approx(2, rel=0.2)


def test_where_narrows_and_best_of_takes_the_best_mean_and_says_so(tmp_path):
    grid = pl.concat([runs().with_columns(lr=pl.lit(lr), loss=pl.col("loss") * bad)
                      for lr, bad in ((0.1, 1.05), (0.2, 1.0), (0.4, 1.1))])  # fmt: skip
    path = save(grid, tmp_path)
    assert "not seeds" in refusal(path)
    chosen = isoloss.gain(path, "adamw", "muon", where=["lr=0.2"], draws=300)
    best = isoloss.gain(path, "adamw", "muon", best_of=["lr"], draws=300)
    assert [p.gain for p in best.points] == [p.gain for p in chosen.points]
    assert "winners-curse" in codes(best) and "winners-curse" not in codes(chosen)
    assert "best-at-edge" not in codes(best)
    edge = isoloss.gain(path, "adamw", "muon", where=["lr=0.2", "lr=0.4"], best_of=["lr"], draws=300)
    assert "best-at-edge" in codes(edge)
    uneven = save(grid.filter((pl.col("arm") == "muon") | (pl.col("lr") == 0.2)), tmp_path, "uneven.csv")
    assert "unequal-trials" in codes(isoloss.gain(uneven, "adamw", "muon", best_of=["lr"], draws=300))


def test_the_budget_that_was_planned_is_the_ladder(tmp_path):
    """A table of our own with two resources: the one that the rungs are made of, whatever else was recorded."""
    frame = runs().with_columns(labels=pl.col("flops") / 1e7, rung=pl.col("flops") / 1e7)
    assert isoloss.gain(save(frame, tmp_path), "adamw", "muon", draws=100).resource == "labels"
    assert isoloss.gain(save(frame, tmp_path), "adamw", "muon", resource="flops", draws=100).resource == "flops"
    assert isoloss.gain(save(frame.drop("rung"), tmp_path), "adamw", "muon", draws=100).resource == "flops"
    simclr = ROOT / "results" / "simclr" / "runs.csv.gz"
    assert isoloss.gain(simclr, "cnn-augmented", "simclr", where=["purpose=report"], draws=100).resource == "labels"


def test_a_copied_row_is_refused_with_its_numbers(tmp_path):
    frame = runs()
    assert "rows 1, 25 are exactly alike" in refusal(save(pl.concat([frame, frame.head(1)]), tmp_path))
    said = refusal(save(pl.concat([frame, frame.head(1).with_columns(loss=pl.lit(3.0))]), tmp_path))
    assert "row 25" in said and "repeats an arm, budget (flops) and seed" in said


@pytest.mark.parametrize("column", ["metric", "dataset", "config.tokenizer", "split", "benchmark"])
def test_mixed_metrics_and_data_are_refused_until_narrowed(tmp_path, column):
    frame = pl.concat([runs().with_columns(pl.lit(v).alias(column)) for v in ("one", "two")])
    path = save(frame, tmp_path)
    said = refusal(path)
    assert f"{column}: holds 2 values (one, two)" in said and f"--where '{column}=one'" in said
    assert gain_at(path, where=[f"{column}=one"]) == gain_at(path, where=[f"{column}=t?o"])


def test_tokenisers_may_differ_in_bits_per_byte_only(tmp_path):
    frame = runs().with_columns(tokenizer=pl.when(pl.col("arm") == "muon").then(pl.lit("bpe")).otherwise(pl.lit("spm")))
    assert "differs between the arms" in refusal(save(frame, tmp_path))
    assert gain_at(save(frame.rename({"loss": "bits_per_byte"}), tmp_path)) == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("step", ["step", "_step", "iteration"])
@pytest.mark.parametrize("named", [True, False])
def test_a_log_is_no_table_of_runs_and_its_ends_are(tmp_path, step, named):
    ends = runs()
    logs = pl.concat([
        ends.with_columns(loss=pl.col("loss") * (1 + 0.3 * (1 - f)), flops=pl.col("flops") * f,
                          budget=pl.col("flops"), run=pl.concat_str("arm", "flops", "seed", separator="-"),
                          **{step: pl.lit(int(1000 * f))})
        for f in (0.5, 0.7, 0.9, 1.0)
    ])  # fmt: skip
    if not named:
        logs = logs.drop("run").with_columns(width=pl.col("budget").sqrt())
    path = save(logs.drop("budget"), tmp_path)
    said = refusal(path)
    assert f"{step}: rises over 4 rows of one run" in said and "--curves end" in said
    whole = isoloss.gain(save(ends, tmp_path, "ends.csv"), "adamw", "muon", draws=300)
    last = isoloss.gain(path, "adamw", "muon", curves="end", draws=300)
    assert [p.gain for p in last.points] == [p.gain for p in whole.points] and "end-points" in codes(last)
    every = isoloss.gain(path, "adamw", "muon", curves="all", draws=300)
    assert "mid-schedule-points" in codes(every)
    arms, _ = select_arms(read_runs(path, curves="all"), ("adamw", "muon"))
    for arm in arms:  # clustered by run, and never two points of one run in a rung
        assert len(set(arm.cluster)) == 12
        assert len(set(zip(arm.rung.tolist(), arm.cluster.tolist(), strict=True))) == len(arm.rung)


def test_a_ladder_in_steps_is_no_log(tmp_path):
    path = save(runs().with_columns(step=(pl.col("flops") / 1e12).cast(pl.Int64)), tmp_path)
    assert gain_at(path) == pytest.approx(2, rel=0.2)
    assert "no logged points" in refusal(save(runs(), tmp_path, "b.csv"), curves="end")


@pytest.mark.parametrize("column", ["eval/accuracy", "acc@1", "win_rate", "topAcc", "test_f1", "pass@1"])
def test_a_score_needs_its_best_value(tmp_path, column):
    frame = runs().with_columns((1 - pl.col("loss") / 10).alias(column)).drop("loss")
    path = save(frame, tmp_path)
    assert "looks like a score" in refusal(path, quality=column)
    assert "lies in 0..1" in refusal(path, quality=column, best=100)
    percent = save(frame.with_columns(pl.col(column) * 100), tmp_path, "percent.csv")
    assert "say --best 100?" in refusal(percent, quality=column, best=1)
    one, hundred = (gain_at(p, quality=column, best=b) for p, b in ((path, 1.0), (percent, 100.0)))
    assert one == pytest.approx(hundred, rel=1e-6)


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("1,234.5", "as 1234.5"),
        ("3,5", "as 3.5"),
        ("3.5 nats", "without 'nats'"),
        ("12M", "without 'M'"),
        ("?", "mend"),
    ],
)
def test_a_number_written_as_text_is_named_with_its_row(tmp_path, cell, remedy):
    frame = runs().with_columns(pl.col("loss").cast(pl.String))
    frame = frame.with_columns(loss=pl.when(pl.int_range(pl.len()) == 4).then(pl.lit(cell)).otherwise("loss"))
    said = refusal(save(frame, tmp_path))
    assert "loss: row 5 is not a number" in said and remedy in said


@pytest.mark.parametrize("cell", ["", "nan"])
def test_rows_keep_their_number_in_the_file_when_narrowed(tmp_path, cell):
    frame = runs().with_columns(pl.col("loss").cast(pl.String), split=pl.lit("test"))
    frame = frame.with_columns(loss=pl.when(pl.int_range(pl.len()) == 20).then(pl.lit(cell)).otherwise("loss"))
    path = save(pl.concat([frame.head(3).with_columns(split=pl.lit("train")), frame]), tmp_path)
    said = refusal(path, where=["split=test"])
    assert "loss: row 24:" in said and "is no quality" in said and "--where 'loss=*'" in said


def test_tuning_runs_of_a_table_of_this_package_are_left_out_by_their_purpose(tmp_path):
    reported = runs().with_columns(purpose=pl.lit("report"))
    tuned = reported.with_columns(purpose=pl.lit("tune"), loss=pl.lit(None, pl.Float64))
    path = save(pl.concat([tuned, reported]), tmp_path)
    said = refusal(path)
    assert "loss: row 1: an empty cell is no quality; leave tuning runs out: --where purpose=report" in said
    assert gain_at(path, where=["purpose=report"]) == gain_at(save(runs(), tmp_path, "clean.csv"))
    unfinished = reported.with_columns(loss=pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise("loss"))
    assert "--where 'loss=*'" in refusal(save(pl.concat([unfinished, tuned]), tmp_path), where=["purpose=report"])


def test_rows_without_a_quality_can_be_left_out_on_purpose(tmp_path):
    frame = runs()
    path = save(pl.concat([frame, frame.head(1).with_columns(seed=pl.lit(9, pl.Int64), loss=None)]), tmp_path)
    assert gain_at(path, where=["loss=*"]) == gain_at(save(frame, tmp_path, "clean.csv"))


def test_inf_is_a_miss_however_it_is_written(tmp_path):
    found = []
    for word in ("inf", "Infinity", "+inf"):
        frame = runs().with_columns(pl.col("loss").cast(pl.String))
        frame = frame.with_columns(loss=pl.when(pl.int_range(pl.len()) == 4).then(pl.lit(word)).otherwise("loss"))
        curve = isoloss.gain(save(frame, tmp_path), "adamw", "muon", draws=200)
        assert "diverged-runs" in codes(curve)
        found.append([p.gain for p in curve.points])
    assert found[0] == found[1] == found[2]


def test_unfinished_runs_are_left_out_with_a_note_unless_asked_for(tmp_path):
    frame = runs().with_columns(State=pl.lit("finished"))
    crashed = frame.head(2).with_columns(
        State=pl.Series(["crashed", "killed"]), seed=pl.Series([8, 9]), loss=pl.lit(9.0)
    )
    path = save(pl.concat([frame, crashed]), tmp_path)
    curve = isoloss.gain(path, "adamw", "muon", draws=300)
    note = next(d for d in curve.diagnostics if d.code == "unfinished-runs")
    assert note.details["left_out"] == {"crashed": 1, "killed": 1} and note.severity == "warning"
    assert gain_at(path) == gain_at(save(frame, tmp_path, "clean.csv"))
    assert "unfinished-runs" not in codes(isoloss.gain(path, "adamw", "muon", where=["State=*"], draws=300))
    assert "no run finished" in refusal(save(frame.with_columns(State=pl.lit("failed")), tmp_path))


@pytest.mark.parametrize(
    ("condition", "said"),
    [("seed", "is no condition"), ("sed=1", "has no column 'sed'"), ("seed=77", "no row of")],
)
def test_a_condition_that_makes_no_sense_is_named(tmp_path, condition, said):
    assert said in refusal(save(runs(), tmp_path), where=[condition])


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("arm,flops,loss,loss\na,1,2,3\nb,1,2,3\n")
    with pytest.raises(TableError, match="name of two columns"):
        read_runs(path)


def test_an_unknown_arm_gets_suggestions(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean muon"):
        isoloss.gain(save(runs(), tmp_path), "adamw", "mun")


# --- invariances -------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1, 1e25), min_size=1, max_size=60))
def test_rungs_are_as_wide_as_they_may_be_and_no_wider(resource):
    c = np.array(resource)
    rung = rungs_of(c)
    starts = np.array([c[rung == r].min() for r in range(rung.max() + 1)])
    assert (c <= SAME_RUNG * starts[rung]).all() and (np.diff(starts) > 0).all()
    assert (starts[1:] > SAME_RUNG * starts[:-1]).all()
    assert set(rung) == set(range(rung.max() + 1))


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_changes_no_gain(tmp_path_factory, random):
    frame = runs()
    rows, columns = list(range(frame.height)), frame.columns
    random.shuffle(rows)
    random.shuffle(columns)
    folder = tmp_path_factory.mktemp("order")
    assert gain_at(save(frame[rows].select(columns), folder)) == pytest.approx(gain_at(save(frame, folder)), rel=1e-9)

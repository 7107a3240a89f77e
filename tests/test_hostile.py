"""Tables and command lines that a stranger brings: a right answer, or one line that says what is wrong."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from isoloss import api, cli
from isoloss.errors import IsolossError, StudyError, TableError
from isoloss.ledger.records import TEXT
from isoloss.study import LARGEST
from tests.test_ledger import run_ridge

TRUTH = {"adamw": 1.0, "muon": 2.0}


def laboratory(rungs=(1e15, 4e15, 1.6e16, 6.4e16), seeds=3, sd=0.004, arms=TRUTH) -> pl.DataFrame:
    """Runs of ``L = 1.7 + 200 (G C)^-0.13`` with a gain G per arm."""
    rng = np.random.default_rng(0)
    rows = [(a, c, s, g) for a, g in arms.items() for c in rungs for s in range(seeds)]
    return pl.DataFrame(
        {
            "optimizer": [r[0] for r in rows],
            "train_flops": [r[1] for r in rows],
            "loss": [1.7 + 200 * (r[1] * r[3]) ** -0.13 + sd * rng.standard_normal() for r in rows],
            "seed": [r[2] for r in rows],
        }
    )


def written(folder: Path, frame: pl.DataFrame, name: str = "runs.csv") -> Path:
    path = folder / name
    frame.write_csv(path)
    return path


def ran(capsys, monkeypatch, *words: str, width: int = 80) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command, through the real entry point."""
    monkeypatch.setattr(sys, "argv", ["isoloss", *words])
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out, out.err


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["gain"], "runs: missing"),
        (["gain", "x.csv"], "--baseline: missing"),
        (["gain", "x.csv", "-b", "a", "-c"], "-c: needs a value"),
        (["gain", "x.csv", "-b", "a", "-c", "b", "--at", "soon"], "--at: is no number"),
        (["gain", "x.csv", "-b", "a", "-c", "b", "--mode", "foo"], "--mode: 'foo' is not one of"),
        (["gain", "x.csv", "-b", "a", "-c", "b", "--flor", "1"], "--flor: no such option"),
        (["gain", "x.csv", "y.csv", "-b", "a", "-c", "b"], "gain: got unexpected extra argument"),
        (["fit", "x.csv", "--bootstrap", "-3"], "--bootstrap: must be"),
        (["list", "shoes"], "kind: 'shoes' is not one of"),
        (["gian"], "did you mean 'gain'"),
        (["gain", "nowhere.csv", "-b", "a", "-c", "b"], "nowhere.csv: no such file"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(capsys, monkeypatch, words, place):
    code, out, err = ran(capsys, monkeypatch, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("isoloss: ") and place in err


def test_a_right_command_line_still_exits_with_0(capsys, monkeypatch):
    assert ran(capsys, monkeypatch, "--version")[0] == 0
    assert ran(capsys, monkeypatch, "gain", "--help")[0] == 0
    assert ran(capsys, monkeypatch)[1].strip()  # nothing said: the help


@pytest.mark.parametrize(
    "spelt",
    [
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
    ],
    ids=["semicolons", "blanks", "CRLF", "BOM"],
)
def test_the_way_a_table_is_spelt_changes_no_number(tmp_path, spelt):
    text = laboratory().write_csv()
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    plain.write_text(text)
    other.write_bytes(spelt(text))
    wanted, found = (api.gain(p, "adamw", "muon", draws=200) for p in (plain, other))
    assert found.points == wanted.points


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"optimizer,loss\ra,1\rb,2\r", "CR alone"),
        (b"# note\noptimizer,train_flops,loss\na,1e3,2\n", "more cells than the header"),
        (b"adamw,1e15,3.9,0\nmuon,1e15,3.7,0\n", "looks like data"),
        (b"optimizer;train_flops;loss\na;1000;3,9\nb;2000;3,8\n", "decimal comma"),
    ],
    ids=["UTF-16", "CR", "comment", "no header", "decimal comma"],
)
def test_what_is_no_plain_table_says_how_to_mend_it(tmp_path, raw, said):
    path = tmp_path / "runs.csv"
    path.write_bytes(raw)
    arms = ("adamw", "muon") if b"adamw" in raw else ("a", "b")
    with pytest.raises(TableError, match=said):
        api.gain(path, *arms)


def test_a_score_that_nobody_called_one_is_not_compared_as_a_loss(tmp_path):
    score = laboratory().with_columns(metric=1 - (pl.col("loss") - 1.7) / 3).drop("loss")
    path = written(tmp_path, score)
    with pytest.raises(TableError, match=r"gets worse with the resource.*--best 1"):
        api.gain(path, "adamw", "muon", quality="metric")
    with pytest.raises(TableError, match=r"gets worse.*make it an error"):
        api.fit(path, quality="metric", bootstrap=0)
    point = api.gain(path, "adamw", "muon", quality="metric", best=1.0, draws=400).points[1]
    assert point.gain == pytest.approx(2.0, rel=0.1)
    named = written(tmp_path, score.rename({"metric": "accuracy"}), "named.csv")
    with pytest.raises(TableError, match="--quality 'accuracy' --best 1"):
        api.gain(named, "adamw", "muon")
    with pytest.raises(TableError, match="leave --best out"):
        api.gain(written(tmp_path, laboratory(), "loss.csv"), "adamw", "muon", best=50.0)


def test_the_luckiest_seed_is_no_setting(tmp_path):
    with pytest.raises(TableError, match="--best-of: 'seed' is the column of seeds"):
        api.gain(written(tmp_path, laboratory()), "adamw", "muon", best_of=["seed"])


def test_rows_of_an_arm_that_is_spelt_otherwise_are_named(tmp_path):
    frame = laboratory().with_row_index("i")
    arm = pl.when(pl.col("i") == 3).then(pl.lit("AdamW")).when(pl.col("i") == 5).then(None).otherwise("optimizer")
    path = written(tmp_path, frame.with_columns(optimizer=arm).drop("i"))
    notes = [d for d in api.gain(path, "adamw", "muon", draws=200).diagnostics if d.code == "arms-alike"]
    assert [(d.details["other"], d.details["rows"]) for d in notes] == [("AdamW", 1), ("", 1)]


def test_a_fault_found_in_the_numbers_names_the_file(tmp_path):
    one = written(tmp_path, laboratory(rungs=(1e15,)), "one.csv")
    for call in (api.gain, lambda p, a, b, **_: api.chain(p, [a, b]), lambda p, a, b, **_: api.rank(p, a)):
        with pytest.raises(TableError, match=r"one\.csv: arm 'adamw': has one rung only"):
            call(one, "adamw", "muon")
    with pytest.raises(TableError, match=r"one\.csv: arm 'adamw', train_flops: takes 1 distinct"):
        api.fit(one, bootstrap=0)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda f: pl.concat([f, f.head(2)]), "exactly alike"),
        (lambda f: f.with_columns(dataset=pl.Series(["c4", "pile"] * (len(f) // 2))), "dataset: holds 2 values"),
        (lambda f: f.with_columns(loss=pl.when(pl.col("seed") == 2).then(-1.0).otherwise("loss")), "row 3: -1 is not"),
        (
            lambda f: pl.concat([f.with_columns(step=k, loss=pl.col("loss") + 1 / k) for k in (10, 11, 12)]),
            "logged points",
        ),
    ],
    ids=["copies", "two data sets", "negative", "log"],
)
def test_a_law_is_refused_the_rows_that_a_gain_is(tmp_path, spoilt, said):
    with pytest.raises(TableError, match=said):
        api.fit(written(tmp_path, spoilt(laboratory())), bootstrap=0)


def test_a_loss_that_exploded_moves_no_law(tmp_path):
    frame = laboratory()
    hit = pl.int_range(pl.len()) == 4
    exploded = frame.with_columns(loss=pl.when(hit).then(1e30).otherwise("loss"))
    kept = api.fit(written(tmp_path, frame.filter(~hit), "without.csv"), bootstrap=0)
    found = api.fit(written(tmp_path, exploded), bootstrap=0)
    assert found.arms["adamw"].params == kept.arms["adamw"].params
    assert [n for why, n in found.left_out.items() if "diverged" in why] == [1]


def test_a_law_through_every_point_has_no_interval(tmp_path):
    saturated = written(tmp_path, laboratory(rungs=(1e15, 4e15, 1.6e16), seeds=1))
    report = api.fit(saturated, bootstrap=50)
    assert all(np.isnan(f.interval(name)).all() for f in report.arms.values() for name in f.params)
    pinned = api.fit(saturated, arm="adamw", pin={"E": 1.7}, bootstrap=50).arms["adamw"]
    assert pinned.interval("E") == pytest.approx((1.7, 1.7)) and np.ptp(pinned.interval("alpha")) > 0
    with pytest.raises(TableError, match="--bootstrap: 1 resamples"):
        api.fit(saturated, bootstrap=1)
    with pytest.raises(TableError, match="--cluster-column: 'optimizer' tells 2"):
        api.fit(saturated, cluster_column="optimizer")


def test_a_law_over_a_sweep_and_one_at_the_edge_say_so(tmp_path):
    frame = laboratory(seeds=1)
    swept = pl.concat([frame.with_columns(lr=lr, loss=pl.col("loss") + d) for lr, d in ((1e-3, 0.0), (1e-2, 0.05))])
    assert [n.code for n in api.fit(written(tmp_path, swept), bootstrap=0).notes] == ["sweep-in-law"]
    rising = pl.when(pl.col("optimizer") == "muon").then(6 - pl.col("loss")).otherwise("loss")
    arms = api.fit(written(tmp_path, laboratory().with_columns(loss=rising), "edge.csv"), bootstrap=0).arms
    assert arms["muon"].diagnostics["parameters_at_bound"] and not arms["adamw"].diagnostics["parameters_at_bound"]


def test_many_winners_make_no_endless_sentence(tmp_path):
    many = {f"arm{i:02d}": 1 + 0.5 * i for i in range(20)}
    path = written(tmp_path, laboratory(rungs=(1e15, 4e15, 1.6e16), seeds=2, arms=many))
    found = api.rank(path, "arm00", draws=500)
    assert len(found.sentence) < 200 and "more beat arm00" in found.sentence


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_of_a_ranking_is_cut(tmp_path, capsys, monkeypatch, width):
    arms = {"adamw": 1.0, "muon": 2.0, "soap": 1.5, "lion": 1.2}
    path = str(written(tmp_path, laboratory(arms=arms)))
    code, out, err = ran(capsys, monkeypatch, "rank", path, "-b", "adamw", width=width)
    assert code == 0 and not err and max(map(len, out.splitlines())) <= width
    header = next(line for line in out.splitlines() if line.startswith("candidate "))
    assert "all at once" in header and "verdict" in header
    assert ("Left out for want of width" in out) == (width < 90)


def test_a_switch_alone_is_shown_once(tmp_path, capsys, monkeypatch):
    path = str(written(tmp_path, laboratory()))
    out = ran(capsys, monkeypatch, "attribute", path, "--factors", "optimizer=muon")[1]
    assert out.count("Each switch") == 1


def test_import_does_not_write_over_what_it_reads(tmp_path):
    path = written(tmp_path, laboratory())
    before = path.read_bytes()
    with pytest.raises(IsolossError, match="is the table that is read"):
        api.import_runs(path, path)
    assert path.read_bytes() == before


def test_a_tracker_prefix_stays_out_of_sentences(tmp_path):
    path = tmp_path / "runs.jsonl"
    rows = laboratory().iter_rows(named=True)
    path.write_text(
        "\n".join(
            json.dumps(
                {
                    "config": {"optimizer": r["optimizer"], "seed": r["seed"]},
                    "summary": {"loss": r["loss"], "train_flops": r["train_flops"]},
                }
            )
            for r in rows
        )
    )
    found = api.gain(path, "adamw", "muon", draws=200)
    assert "summary" not in found.verdict.sentence and "training FLOPs" in found.verdict.sentence


LOUD = """
_run = Ridge.run
def run(self, task, spec, context):
    if spec.budget == 64:
        raise ValueError("\\x1b[31m[red]" * 2**17)
    notes = ("<b>\\x1b[2J\\u202e" * 2**18,) if spec.budget == 256 else ()
    return dataclasses.replace(_run(self, task, spec, context), notes=notes)
Ridge.run = run
"""


def test_a_megabyte_that_a_run_says_is_kept_moved_and_shown_in_a_line(ridge, tmp_path, capsys, monkeypatch):
    plugin = ridge.with_suffix(".py")
    plugin.write_text(f"import dataclasses\n{plugin.read_text()}{LOUD}")
    url, moved, bundle = (str(tmp_path / name) for name in ("l.sqlite", "moved.sqlite", "bundle"))
    run_ridge(api.open_study(ridge), url)
    code, out, err = ran(capsys, monkeypatch, "status", "--ledger", url, width=10_000)
    assert code == 0 and not err and max(map(len, out.splitlines())) < 1100
    assert all(line.isprintable() for line in out.splitlines())
    api.export_bundle(bundle, ledger=url)
    (taken,) = api.import_bundles([bundle], ledger=moved)
    assert taken["new"] == taken["records"] > 0 and not api.verify(moved)["faults"]
    (said,), (kept,) = api.status(ledger=url), api.status(ledger=moved)
    assert said["notes"] == kept["notes"] and said["errors"] == kept["errors"]
    assert [len(note) for note in kept["notes"]] == [TEXT]


def test_a_study_file_that_no_ledger_could_hold_is_refused(ridge):
    ridge.write_text(f"{ridge.read_text()}\n# {'y' * LARGEST}")
    with pytest.raises(StudyError, match=r"ridge\.toml: holds 26\d,\d{3} bytes, and a study at most 262,144; keep"):
        api.open_study(ridge)


@pytest.mark.parametrize("text", ["a.", "postgres:", "a:/b:", "postgres:x@", "x:", "a://u:"])
def test_a_long_message_takes_no_longer_than_its_length(text):
    """A quarter of a million characters: milliseconds, and minutes of CPU where every start is followed to the end."""
    began = time.process_time()
    for end in ("", "@", " @"):
        assert len(str(IsolossError("where", text * (250_000 // len(text)) + end, "remedy"))) < 1100
    assert time.process_time() - began < 20


def test_runs_of_infinite_size_are_no_sweep(tmp_path):
    frame = laboratory().with_columns(tokens=pl.lit(float("inf")))
    plain, odd = (written(tmp_path, f, f"{k}.csv") for k, f in enumerate((laboratory(), frame)))
    said = [api.gain(path, "adamw", "muon", draws=100).verdict.sentence for path in (plain, odd)]
    assert said[0] == said[1]

"""One set of runs in every form that trackers and people write gives one frame; damaged files are named."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path

import polars as pl
import pytest

import isoloss
from isoloss.errors import IsolossError, TableError
from isoloss.ledger.external import read_frame, read_runs
from isoloss.ledger.importers import load
from isoloss.ledger.importers.jsonlines import flatten
from tests.conftest import ROOT
from tests.test_cli import isoloss as command
from tests.test_external import RUNGS, runs

DATA = Path(os.environ.get("ISOLOSS_DATA", ROOT / "../shared/data"))
SEED_PAPER = DATA / "gundlach_experimental_progress" / "backup"


def gains(path: Path, **asked: object) -> list[float]:
    """The gain at every rung, nan where only a bound is given."""
    points = isoloss.gain(path, "adamw", "muon", draws=200, **asked).points
    return [math.nan if p.gain is None else p.gain for p in points]


def close(found: list[float], wanted: list[float]) -> bool:
    return not all(map(math.isnan, wanted)) and found == pytest.approx(wanted, rel=1e-5, nan_ok=True)


def objects(frame: pl.DataFrame) -> list[dict[str, object]]:
    """The runs as a tracker nests them."""
    return [
        {"id": f"run-{i}", "config": {"optimizer": r["arm"], "seed": r["seed"], "betas": [0.9, 0.95]},
         "summary": {"train_flops": r["flops"], "val/loss": r["loss"]}}
        for i, r in enumerate(frame.iter_rows(named=True))
    ]  # fmt: skip


# --- files -------------------------------------------------------------------------------------------------------


def test_every_file_format_gives_the_same_gain(tmp_path):
    frame = runs()
    frame.write_csv(tmp_path / "a.csv")
    wanted = gains(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "b.tsv", separator="\t")
    frame.write_csv(tmp_path / "tabs.txt", separator="\t")
    frame.write_parquet(tmp_path / "c.parquet")
    frame.write_parquet(tmp_path / "no suffix")
    frame.write_ipc(tmp_path / "d.arrow")
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes())
    (tmp_path / "quoted.csv").write_text(frame.write_csv(quote_style="always"))
    frame.write_ndjson(tmp_path / "f.jsonl")
    (tmp_path / "g.json").write_text(json.dumps(frame.to_dicts()))
    (tmp_path / "h.json").write_text(json.dumps(frame.to_dict(as_series=False)))
    by_row = {c: {str(i): v for i, v in enumerate(frame[c])} for c in frame.columns}
    (tmp_path / "i.json").write_text(json.dumps(by_row))
    (tmp_path / "j.jsonl").write_text("\n".join(map(json.dumps, objects(frame))) + "\n")
    (tmp_path / "k.json").write_text(json.dumps(objects(frame), indent=1))
    for path in sorted(tmp_path.iterdir()):
        assert close(gains(path), wanted), path.name


def test_nested_json_is_flattened_and_forbidden_numbers_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"a": {"b": {"c": 1}}, "l": [1, 2], "q": NaN}\n\n{"a": {"b": {"c": 2}}, "q": Infinity, "z": "x"}\n'
    )
    frame = read_frame(path)
    assert frame.columns == ["a.b.c", "l", "q", "z"]
    assert frame["a.b.c"].to_list() == [1, 2] and frame["l"].to_list() == ["[1, 2]", None]
    assert math.isnan(frame["q"][0]) and frame["q"][1] == math.inf
    nested = {"a": {"b": 1, "c": {"d": [1]}}, "e": None}
    assert flatten(flatten(nested)) == flatten(nested) == {"a.b": 1, "a.c.d": "[1]", "e": None}


def test_a_kind_that_shows_late_in_a_column_is_still_read(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("arm,flops,loss\n" + "a,1,2\n" * 12_000 + "a,1e3,2.5\nb,2,inf\n")
    frame = read_frame(path)
    assert frame["flops"][12_000] == 1000.0 and frame["loss"][12_001] == math.inf


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "no such file"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"a,b\n", "is empty"),
        ("bad.parquet", b"PAR1 not really", "can't be read as a table"),
        ("bad.arrow", b"ARROW1 not really", "can't be read as a table"),
        ("bad.csv.gz", b"\x1f\x8b not really", "can't be read"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3,4\n", "can't be read as a table"),
        ("bad.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("list.jsonl", b'{"a": 1}\n[1]\n', "line 2 is no object"),
        ("array.json", b"[1, 2]", "entry 1 of the array is no object"),
        ("ledger.sqlite", b"SQLite format 3\x00", "is an SQLite database"),
        ("folder", "folder", "holds no runs of a known kind"),
    ],
)
def test_what_can_not_be_read_is_named_in_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError, match=said) as caught:
        read_frame(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


# --- a folder of curves ------------------------------------------------------------------------------------------


def write_curves(folder: Path, frame: pl.DataFrame) -> None:
    for r in frame.iter_rows(named=True):
        path = folder / r["arm"] / f"{r['flops']:.0e}_seed{r['seed']}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({
            "step": [100, 200, 300], "validation_loss": [r["loss"] * 2, r["loss"] * 1.2, r["loss"]],
            "total_flops_profiler": [r["flops"] / 3, r["flops"] / 1.5, r["flops"]],
        }).write_csv(path)  # fmt: skip


def test_a_folder_of_curves_gives_end_points_and_all_points_only_when_asked(tmp_path):
    frame = runs()
    frame.write_csv(tmp_path / "runs.csv")
    write_curves(tmp_path / "curves", frame)
    assert close(gains(tmp_path / "curves"), gains(tmp_path / "runs.csv"))
    table = read_runs(tmp_path / "curves")
    assert table.frame.height == frame.height and set(table.frame["seed"]) == {"0", "1", "2"}
    every = isoloss.gain(tmp_path / "curves", "adamw", "muon", curves="all", draws=200)
    assert "mid-schedule-points" in {d.code for d in every.diagnostics}


def test_files_of_other_settings_are_no_repeats(tmp_path):
    write_curves(tmp_path, runs())
    extra = tmp_path / "muon" / f"{RUNGS[0]:.0e}_lr2_seed0.csv"
    extra.write_text((tmp_path / "muon" / f"{RUNGS[0]:.0e}_seed0.csv").read_text().replace("300,", "301,"))
    with pytest.raises(IsolossError, match=r"variant: rows .* not seeds"):
        isoloss.gain(tmp_path, "adamw", "muon")


def test_damaged_curves_are_named_and_empty_ones_noted(tmp_path):
    write_curves(tmp_path, runs())
    (tmp_path / "muon" / "never-began.csv").write_text("step,validation_loss,total_flops_profiler\n")
    assert load(tmp_path).notes[0].details["files"] == ["muon/never-began.csv"]
    (tmp_path / "muon" / "falls.csv").write_text("step,validation_loss\n2,1\n1,1\n")
    with pytest.raises(TableError, match=r"falls.csv: step: falls along the file"):
        read_frame(tmp_path)
    (tmp_path / "muon" / "falls.csv").write_text("name,validation_loss\nx,1\n")
    with pytest.raises(TableError, match=r"falls.csv: is no curve"):
        read_frame(tmp_path)


@pytest.mark.skipif(not SEED_PAPER.exists(), reason="the seed paper's curves are not here (isoloss fetch gundlach)")
def test_the_seed_papers_own_folder_is_read():
    table = read_runs(SEED_PAPER, resource="total_flops_profiler", quality="validation_loss")
    assert table.frame.height + len(table.notes[0].details["files"]) == 381
    lstm = table.frame.filter(arm="lstm_layer1", variant="64d")
    last = (SEED_PAPER / "lstm_layer1" / "64d.csv").read_text().split()[-1].split(",")
    assert lstm["validation_loss"][0] == float(last[2]) and lstm["total_flops_profiler"][0] == float(last[3])


# --- trackers, written by the trackers themselves ----------------------------------------------------------------


def test_tensorboard_events_written_by_torch(tmp_path):
    pytest.importorskip("tensorboard")
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    frame = runs(2)
    frame.write_csv(tmp_path / "runs.csv")
    for i, r in enumerate(frame.iter_rows(named=True)):
        with writer(str(tmp_path / "tb" / r["arm"] / f"run{i}")) as log:
            for step, factor in ((1, 1.5), (2, 1.2), (3, 1.0)):
                log.add_scalar("val/loss", r["loss"] * factor, step)
                log.add_scalar("train_flops", r["flops"] * step / 3, step)
            log.add_hparams({"seed": r["seed"], "lr": 0.1}, {}, run_name="hparams")
    frame = read_frame(tmp_path / "tb")
    assert frame.height == 16 and set(frame["hparams.seed"]) == {0.0, 1.0}
    assert close(gains(tmp_path / "tb"), gains(tmp_path / "runs.csv"))
    one = next((tmp_path / "tb").rglob("events.out.tfevents*"))
    assert read_frame(one).height == 1


def test_wandb_offline_runs_written_by_wandb(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for i in range(2):
        run = wandb.init(mode="offline", dir=str(tmp_path), project="p", config={"optimizer": "adamw", "seed": i})
        for factor in (1.5, 1.0):
            run.log({"val/loss": 3.0 * factor + i, "train_flops": 1e15 / factor})
        run.finish()
    frame = read_frame(tmp_path / "wandb")
    assert frame.height == 2 and sorted(frame["summary.val/loss"]) == [3.0, 4.0]
    assert set(frame["state"]) == {"finished"} and sorted(frame["config.seed"]) == [0, 1]
    log = next((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    log.write_bytes(log.read_bytes()[:-40])  # killed while it ran
    assert load(tmp_path / "wandb").notes[0].details["left_out"] == {"crashed": 1}


def test_wandb_run_folders_and_its_exported_table(tmp_path):
    pytest.importorskip("yaml")
    frame = runs()
    frame.write_csv(tmp_path / "runs.csv")
    for i, r in enumerate(frame.iter_rows(named=True)):
        files = tmp_path / "wandb" / f"offline-run-20260101_0000{i:02d}-id{i}" / "files"
        files.mkdir(parents=True)
        config = f"_wandb:\n  value:\n    t: 1\noptimizer:\n  value: {r['arm']}\nseed:\n  value: {r['seed']}\n"
        (files / "config.yaml").write_text(config)
        summary = {"val/loss": r["loss"], "train_flops": r["flops"], "_step": 10, "_wandb": {"runtime": 1}, "x": "NaN"}
        (files / "wandb-summary.json").write_text(json.dumps(summary))
    read = read_frame(tmp_path / "wandb")
    assert {"run_id", "config.optimizer", "summary.val/loss"} <= set(read.columns) and math.isnan(read["summary.x"][0])
    assert close(gains(tmp_path / "wandb"), gains(tmp_path / "runs.csv"))
    export = frame.rename({"arm": "optimizer", "loss": "eval/loss"}).with_row_index("ID").select(
        Name=pl.concat_str(pl.lit("fancy-"), pl.col("ID")), State=pl.lit("finished"),
        optimizer="optimizer", seed="seed", flops="flops", **{"eval/loss": "eval/loss"},
    )  # fmt: skip
    (tmp_path / "export.csv").write_text(export.write_csv(quote_style="always"))
    assert close(gains(tmp_path / "export.csv"), gains(tmp_path / "runs.csv"))
    damaged = next((tmp_path / "wandb").rglob("wandb-summary.json"))
    damaged.write_text("{")
    with pytest.raises(TableError, match=r"wandb-summary.json: can't be read as JSON"):
        read_frame(tmp_path / "wandb")
    damaged.with_name("config.yaml").write_text("seed: " + "[" * 5000)
    with pytest.raises(TableError, match=r"config.yaml: is nested too deeply"):
        read_frame(tmp_path / "wandb")


def test_mlflow_store_written_by_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    mlflow.set_experiment("ladder")
    for i in range(2):
        with mlflow.start_run():
            mlflow.log_params({"optimizer": "adamw", "seed": i})
            for step, factor in enumerate((1.5, 1.0)):
                mlflow.log_metrics({"val/loss": 3.0 * factor + i, "train_flops": 1e15 / factor}, step=step)
    frame = read_frame(tmp_path / "mlruns")
    assert sorted(frame["metrics.val/loss"]) == [3.0, 4.0] and set(frame["status"]) == {"FINISHED"}
    assert set(frame["experiment"]) == {"ladder"}


def test_mlflow_file_store_and_its_exported_table(tmp_path):
    pytest.importorskip("yaml")
    frame = runs()
    frame.write_csv(tmp_path / "runs.csv")
    experiment = tmp_path / "mlruns" / "123"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text("experiment_id: '123'\nname: ladder\n")
    for i, r in enumerate(frame.iter_rows(named=True)):
        run = experiment / f"id{i}"
        for name in ("params", "metrics/val", "tags"):
            (run / name).mkdir(parents=True)
        (run / "meta.yaml").write_text(f"run_id: id{i}\nstatus: 3\nlifecycle_stage: active\nrun_name: n{i}\n")
        (run / "params" / "optimizer").write_text(r["arm"])
        (run / "params" / "seed").write_text(str(r["seed"]))
        (run / "metrics" / "val" / "loss").write_text(f"2 {r['loss']} 20\n1 9.0 10\n")
        (run / "metrics" / "train_flops").write_text(f"1 {r['flops']} 20\n")
    failed = experiment / "failed"
    (failed / "metrics").mkdir(parents=True)
    (failed / "meta.yaml").write_text("run_id: failed\nstatus: 4\nlifecycle_stage: active\n")
    assert close(gains(tmp_path / "mlruns"), gains(tmp_path / "runs.csv"))
    assert load(tmp_path / "mlruns").notes[0].details["left_out"] == {"failed": 1}
    names = {
        "arm": "params.optimizer",
        "seed": "params.seed",
        "flops": "metrics.train_flops",
        "loss": "metrics.val_loss",
    }
    export = frame.rename(names).with_row_index("run_id").with_columns(status=pl.lit("FINISHED"))
    export.write_csv(tmp_path / "search.csv")
    assert close(gains(tmp_path / "search.csv"), gains(tmp_path / "runs.csv"))


def test_import_writes_what_was_read(tmp_path):
    write_curves(tmp_path / "curves", runs())
    for name in ("out.csv", "out.parquet"):
        done = command("import", tmp_path / "curves", "--out", tmp_path / name, "--json")
        assert json.loads(done.stdout)["rows"] == runs().height, done.stderr
        assert close(gains(tmp_path / name), gains(tmp_path / "curves"))
    wrong = command("import", tmp_path / "curves", "--out", tmp_path / "out.xlsx")
    assert wrong.returncode == 2 and "neither .csv nor .parquet" in wrong.stderr
    line = command("gain", tmp_path / "out.csv", "-b", "adamw", "-c", "muon").stdout.splitlines()[0]
    assert line.startswith("Columns: arm=arm, resource=total_flops_profiler, quality=validation_loss, seed=seed")


def test_half_of_a_utf_16_pair_is_kept_as_its_escape(tmp_path):
    """JSON may hold it, no text can: found by the millionth spoilt input."""
    path = tmp_path / "a.json"
    path.write_text('[{"arm": "a\\ud83d", "\\ud83dloss": 1}, {"arm": "b", "\\ud83dloss": 2}]')
    frame = read_frame(path)
    assert frame["arm"].to_list() == ["a\\ud83d", "b"] and frame.columns[1] == "\\ud83dloss"

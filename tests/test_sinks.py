"""Trackers hold what the ledger holds: one contract over every sink, read back with the tracker's own reader."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from isoloss import api
from isoloss.errors import IsolossError
from isoloss.runs import Amount, Outcome, RunSpec
from isoloss.sinks import Record, sink_of, sinks

STUDY = "one study"


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = {}
    for run in (folder / "logs" / STUDY).iterdir():
        events = EventAccumulator(str(run), {"scalars": 0}).Reload()
        start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        hparams = HParamsPluginData.FromString(start).session_start_info.hparams
        settings = {k: getattr(v, v.WhichOneof("kind")) for k, v in hparams.items()}
        scalars = {t: [(e.step, e.value) for e in events.Scalars(t)] for t in events.Tags()["scalars"]}
        found.setdefault(run.name, []).append((settings, scalars))
    return found


def read_wandb(folder):
    # W&B reads its offline log in no Python of its own any more: its protocol does, over our walk of the file
    from wandb.proto.wandb_internal_pb2 import Record as Logged

    from isoloss.ledger.importers.wandb_log import _records, read_log

    found = {}
    for log in folder.glob("wandb/offline-run-*/run-*.wandb"):
        whole = read_log(log)
        scalars = {k: [(0, v)] for k, v in whole["summary"].items() if not k.startswith("curve/")}
        for record in map(Logged.FromString, _records(log)):
            if record.WhichOneof("record_type") == "history":
                point = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
                for key, value in point.items():
                    scalars.setdefault(key, []).append((point["_step"], value))
        found.setdefault(whole["run_id"], []).append((whole["config"], scalars))
    return found


def read_mlflow(folder):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = {}
    for run in client.search_runs([client.get_experiment_by_name(STUDY).experiment_id]):
        history = {
            k: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, k)] for k in run.data.metrics
        }
        found.setdefault(run.data.tags["isoloss.run_id"], []).append((run.data.params, history))
    return found


def read_trackio(folder):
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    found = {}
    for run in trackio.Api().runs("project"):
        scalars = {}
        for row in SQLiteStorage.get_logs("project", run.name):
            for key, value in row.items():
                if isinstance(value, (int, float)):
                    scalars.setdefault(key, []).append((row["step"], float(value)))
        found.setdefault(run.name, []).append((run.config, scalars))
    return found


#: Of each sink: the package to be there, its target in a folder, and its reader.
TRACKERS = {
    "tensorboard": ("tensorboard", "{folder}/logs", read_tensorboard),
    "wandb": ("wandb", "project", read_wandb),
    "mlflow": ("mlflow", "sqlite:///{folder}/mlflow.db", read_mlflow),
    "trackio": ("trackio", "project", read_trackio),
}


@pytest.fixture(params=sorted(TRACKERS))
def tracker(request, tmp_path, monkeypatch):
    """A sink that writes below `tmp_path`, anew each time it is asked for, and its reader."""
    package, target, read = TRACKERS[request.param]
    pytest.importorskip(package, reason=f"pip install {package}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    if request.param == "trackio":
        import trackio.sqlite_storage
        import trackio.utils

        for module in (trackio, trackio.utils, trackio.sqlite_storage):
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path, raising=False)
    return (lambda: sink_of(f"{request.param}:{target.format(folder=tmp_path)}")), lambda: read(tmp_path)


def record(seed, outcome):
    spec = RunSpec("a/b", 1, "t", 1, {}, "train_flops", 1e9, None, {"lr": 0.1, "width": 8}, seed, ("validation",))
    return Record(STUDY, "adamw", 1e9, "tune", spec, outcome)


def finished(seed):
    curve = {"step": [1.0, 5.0, 9.0], "train_loss": [3.0, 2.5, 2.25 + seed], "examples": [8.0, 40.0, 72.0]}
    amounts = {"train_flops": Amount(1.25e9, "counted")}
    return record(seed, Outcome("finished", {"validation": 2.375}, curve, amounts, {"compute": 0.5}))


def send(sink, *records):
    sink.open(STUDY)
    written = [sink.run(r) for r in records]
    sink.close()
    return written


def test_every_sink_is_tested():
    assert set(TRACKERS) == set(sinks.names())


@pytest.mark.filterwarnings("default")
def test_what_was_written_is_read_back_and_sent_twice_it_is_not_doubled(tracker):
    make, read = tracker
    runs = [finished(1), finished(2)]
    assert send(make(), *runs) == [True, True]
    assert send(make(), *runs) == [False, False], "a second sender finds them there"
    found = read()
    assert sorted(found) == sorted(r.run_id for r in runs)
    for r in runs:
        ((settings, scalars),) = found[r.run_id]
        assert {k: str(settings[k]) for k in ("arm", "choices.width", "status")} == {
            "arm": "adamw", "choices.width": str(settings["choices.width"]), "status": "finished"
        }  # fmt: skip
        assert float(settings["choices.lr"]) == 0.1 and float(settings["seed"]) == r.spec.seed
        assert scalars["curve/train_loss"] == [(1, 3.0), (5, 2.5), (9, 2.25 + r.spec.seed)]
        assert scalars["quality/validation"][-1][1] == 2.375
        assert scalars["resource/train_flops"][-1][1] == 1.25e9


@pytest.mark.filterwarnings("default")
def test_a_run_that_failed_is_replaced_and_one_that_diverged_is_kept(tracker):
    make, read = tracker
    good = finished(3)
    failed = replace(good, outcome=Outcome("failed", {}, {}, {}, error="ValueError: no"))
    diverged = record(4, Outcome("diverged", {}, {"step": [1.0, 2.0], "train_loss": [9.0, math.inf]}, {}))
    assert send(make(), failed, diverged) == [True, True]
    assert send(make(), good, diverged) == [True, False]
    found = read()
    ((settings, scalars),) = found[good.run_id]
    assert settings["status"] == "finished" and len(scalars["curve/train_loss"]) == 3
    ((settings, scalars),) = found[diverged.run_id]
    assert settings["status"] == "diverged" and scalars["curve/train_loss"][0] == (1, 9.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tensorbored:x", "did you mean tensorboard"),
        ("tensorboard:", "names no folder"),
        ("", "unknown sink"),
    ],
)
def test_a_wrong_target_is_one_line(text, words):
    with pytest.raises(IsolossError, match=words) as caught:
        sink_of(text)
    assert "\n" not in str(caught.value)


def run_ridge(ridge, folder, to):
    words = ("run", ridge, "--ledger", folder / "l.sqlite", "--out", folder, "--to", to)
    return subprocess.run([sys.executable, "-m", "isoloss", *map(str, words)], capture_output=True, text=True)


def test_a_study_sends_its_runs_as_they_end_and_what_the_ledger_held_before(ridge, tmp_path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    logs, url = tmp_path / "logs" / "ridge", str(tmp_path / "l.sqlite")
    to = [f"tensorboard:{logs.parent}"]
    first = run_ridge(ridge, tmp_path, *to)
    assert first.returncode == 0, first.stderr
    (there,) = api.status("ridge", ledger=url)
    runs = {folder.name for folder in logs.iterdir()}
    assert len(runs) == there["runs"]["finished"]
    assert api.send("ridge", to, ledger=url) == [{"to": "tensorboard", "written": 0, "held": len(runs)}]
    for folder in list(logs.iterdir())[:3]:
        shutil.rmtree(folder)
    api.run(ridge, ledger=url, out=tmp_path, to=to)
    assert {folder.name for folder in logs.iterdir()} == runs


def test_a_tracker_that_fails_harms_no_study_and_is_named_once(ridge, tmp_path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    (tmp_path / "file").write_text("in the way")
    to = f"tensorboard:{tmp_path / 'file' / 'logs'}"
    ran = run_ridge(ridge, tmp_path, to)
    assert ran.returncode == 0 and ran.stderr.count("tensorboard: NotADirectoryError") == 1
    with pytest.raises(IsolossError, match="runs not sent"):
        api.send(ridge, [to], ledger=str(tmp_path / "l.sqlite"))

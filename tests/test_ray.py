"""Four Ray nodes on this machine: the local table to the last bit, a node that is killed, one that joins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest

from isoloss.errors import IsolossError
from isoloss.execution.driver import Observer
from isoloss.execution.engines import open_engine
from tests.conftest import RIDGE_PLUGIN, RIDGE_STUDY, ROOT
from tests.test_engines import driven, said

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("ray", reason="needs Ray: pip install 'isoloss[ray]'")
    from ray.cluster_utils import Cluster

#: Real training, small: a Transformer that carries a state, and its twin.
LANGUAGE = """
name = "words"
question = "Does Ray train the same bits?"
task = { name = "language/sotu" }
ladder = { resource = "train_flops", rungs = [2e8, 4e8] }
tuning = { seeds = 1 }
report = { seeds = 2 }
comparisons = [{ baseline = "lstm", candidate = "modern" }]
[arms.lstm]
algorithm = "language/lstm"
[arms.modern]
algorithm = "language/transformer-modern"
"""

#: Runs that take a while, and say on which node of the cluster they are.
SLOW = """
import os, sys, time
from pathlib import Path
_run = Ridge.run
def run(self, task, spec, context):
    def say(what):
        with open(Path({folder!r}) / "log", "a") as log:
            log.write(f"{{spec.run_id}} {{what}} {{_node()}} {{os.getpid()}}\\n")
    say("began")
    began = time.monotonic()
    while time.monotonic() - began < float((Path({folder!r}) / "seconds").read_text() or 0):
        time.sleep(0.05)
    outcome = _run(self, task, spec, context)
    say("ended")
    return outcome
def _node():
    ray = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray else "here"
Ridge.run = run
"""

#: A node that is gone is noticed in seconds.
ALERT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@pytest.fixture(scope="module")
def cluster():
    """A head and three nodes, one CPU each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        common = {"num_cpus": 1, "object_store_memory": 80_000_000}
        made = Cluster(initialize_head=True, head_node_args={**common, "_system_config": ALERT})
        for _ in range(3):
            made.add_node(**common, wait=False)
        made.wait_for_nodes()
        made.common = common
        yield made
        made.shutdown()


class Killer(Observer):
    """Kills a node at work after four runs; adds one when the engine has noticed, and lets runs last until it works."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder, self.ran, self.said, self.safe = cluster, folder, 0, [], []
        self.killed = self.joined = None

    def notice(self, text):
        self.said.append(text)

    def ended(self, ended, price):
        self.ran += 1
        if self.ran <= 4:
            self.safe.append(ended.spec.run_id)
        at_work = {line[2] for line in said(self.folder)}
        nodes = [n for n in self.cluster.list_all_nodes() if not n.is_head() and n.node_id in at_work]
        if self.ran >= 4 and self.killed is None and nodes:
            self.killed = nodes[0].node_id
            self.cluster.remove_node(nodes[0], allow_graceful=False)
        if self.joined is None and any("3 nodes" in line for line in self.said):
            self.joined = self.cluster.add_node(**self.cluster.common).node_id
            (self.folder / "seconds").write_text("5")
        if self.joined in at_work:
            (self.folder / "seconds").write_text("0.1")


def on(cluster: Cluster, **options: str):
    return open_engine("ray", device="cpu", options={"address": cluster.address, **options})


def slow(folder: Path, seconds: float) -> Path:
    (folder / "ridge.py").write_text(RIDGE_PLUGIN + SLOW.format(folder=str(folder)))
    (folder / "seconds").write_text(str(seconds))
    study = folder / "ridge.toml"
    study.write_text(RIDGE_STUDY)
    return study


def test_a_language_study_on_four_nodes_gives_the_local_table(cluster, tmp_path):
    (tmp_path / "study.toml").write_text(LANGUAGE)
    tables = []
    for name in ("ray", "local"):
        folder = tmp_path / name
        folder.mkdir()
        engine = on(cluster, cache=str(folder / "cache")) if name == "ray" else open_engine("local", workers=2)
        tables.append(driven(tmp_path / "study.toml", folder / "l.sqlite", engine))
    assert tables[0].write_csv() == tables[1].write_csv()
    assert set(tables[0]["status"]) == {"finished"}


@pytest.mark.faults
def test_a_killed_node_costs_its_unfinished_run_and_one_that_joins_takes_work(cluster, tmp_path, capfd):
    study = slow(tmp_path, 0.5)
    engine, killer = on(cluster), Killer(cluster, tmp_path)
    found = driven(study, tmp_path / "l.sqlite", engine, killer)
    killed, joined = killer.killed, killer.joined
    assert "raylet" not in capfd.readouterr().out, "Ray's own messages stay out of what is piped on"
    log = said(tmp_path)
    (tmp_path / "whole").mkdir()
    (tmp_path / "seconds").write_text("0")
    assert found.equals(driven(study, tmp_path / "whole" / "l.sqlite", open_engine("local", workers=2)))
    ray_log = [line for line in log if line[2] != "here"]
    begun = Counter(line[0] for line in ray_log if line[1] == "began")
    assert set(begun) == set(found["run_id"])
    assert all(begun[run_id] == 1 for run_id in killer.safe), "what came back is not trained again"
    again = [run_id for run_id, times in begun.items() if times > 1]
    assert len(again) <= 1, "the node had one CPU"
    assert all(any(line[0] == run_id and line[2] == killed for line in ray_log) for run_id in again)
    assert any(line[2] == killed for line in ray_log) and any(line[2] == joined for line in ray_log)
    assert any("3 nodes with room for 3 runs" in line for line in killer.said), killer.said
    assert any("4 nodes with room for 4 runs" in line for line in killer.said), killer.said


def test_a_killed_driver_leaves_no_task_on_the_cluster(cluster, tmp_path):
    study = slow(tmp_path, 60)
    command = [sys.executable, "-m", "isoloss", "run", str(study), "--engine", "ray", "--ledger", "l.sqlite"]
    command += ["--engine-option", f"address={cluster.address}", "--device", "cpu"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
        deadline = time.monotonic() + 60
        while not said(tmp_path) and time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.1)
        driver.send_signal(signal.SIGKILL)
        _, told = driver.communicate()
    assert said(tmp_path), told
    pids = {line[3] for line in said(tmp_path)}
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)


def alive(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_where_there_is_no_cluster_it_says_so_in_a_line(tmp_path, ridge):
    command = [sys.executable, "-m", "isoloss", "run", str(ridge), "--engine", "ray", "--ledger", "l.sqlite"]
    told = subprocess.run(
        [*command, "--engine-option", "address=127.0.0.1:1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert told.returncode == 2
    assert "Ray at 127.0.0.1:1" in told.stderr and "Traceback" not in told.stderr
    with pytest.raises(IsolossError, match="Ray chooses the GPU"):
        open_engine("ray", device="cuda:1")

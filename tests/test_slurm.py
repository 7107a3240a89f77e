"""Slurm: the script that is submitted, and a study through real sbatch on a cluster of one node, pre-empted and taken
over. (A study through submitit's own executor: test_engines.py.)"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from isoloss.errors import IsolossError, StudyError
from isoloss.execution.engines import open_engine
from isoloss.verbs.studies import open_study
from tests import slurm_cluster
from tests.conftest import RIDGE_PLUGIN, ROOT
from tests.test_engines import FEW, driven, said

pytest.importorskip("submitit", reason="needs submitit: pip install 'isoloss[slurm]'")

#: Runs that count to thirty, keep where they are when told to stop, and go on from there.
COUNTING = """
import os, time
from pathlib import Path
from isoloss.runs import Stopped
HERE = Path({folder!r})
_run = Ridge.run
def run(self, task, spec, context):
    kept = context.checkpoint(spec.run_id)
    count = int(kept.read_text()) if kept.exists() else 0
    slurm = "_".join(os.environ.get(f"SLURM_ARRAY_{{part}}_ID", "") for part in ("JOB", "TASK"))
    slurm = slurm if slurm != "_" else os.environ.get("SLURM_JOB_ID", "")
    with open(HERE / "log", "a") as log:
        log.write(f"{{spec.run_id}} {{count}} {{slurm or 'here'}}\\n")
    context.stop.heeded = True
    while count < 30:
        time.sleep(0.1)
        count += 1
        if context.stop.told:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(str(count))
            raise Stopped
    context.stop.heeded = False
    return _run(self, task, spec, context)
Ridge.run = run
"""


def counting(folder: Path) -> Path:
    (folder / "ridge.py").write_text(RIDGE_PLUGIN + COUNTING.format(folder=str(folder)))
    study = folder / "ridge.toml"
    study.write_text(FEW)
    return study


@pytest.fixture
def no_cluster(tmp_path, monkeypatch):
    """An sbatch that takes every script and says a number, for looking at the script alone."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n[ {name} = sbatch ] && cp $1 {tmp_path}/script && echo Submitted batch job 7\n:\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def test_the_script_says_what_was_asked_for(no_cluster, ridge):
    from isoloss.execution.engine import Job
    from isoloss.planning.propose import propose

    asked = {"partition": "gpu", "time": "90", "account": "us", "mem_gb": "1.5", "gpus": "1", "warn": "120"}
    asked["setup"] = "module load cuda"
    engine = open_engine("slurm", workers=5, options=asked, folder=no_cluster / "reports")
    engine.start([])
    study = open_study(ridge).study
    from isoloss.ledger.table import RunTable

    for run in propose(study, RunTable.empty()).runs[:3]:
        engine.submit(Job((run.spec,), (None,)))
    assert engine.collect(0) == []
    script = (no_cluster / "script").read_text()
    for line in ("--partition=gpu", "--time=90", "--account=us", "--mem=1536MB", "--gpus-per-node=1"):
        assert f"#SBATCH {line}\n" in script
    assert "#SBATCH --signal=USR2@120\n" in script and "#SBATCH --array=0-2%3\n" in script
    assert "#SBATCH --cpus-per-task=1\n" in script and "\nmodule load cuda\n" in script
    assert shlex.quote(sys.executable) + " -u -m submitit.core._submit" in script
    folder = no_cluster / "reports" / "slurm"
    assert folder.stat().st_mode & 0o777 == 0o700
    engine.stop()


def test_what_it_refuses(no_cluster, tmp_path):
    with pytest.raises(StudyError, match="engine 'slurm' has no option 'partitoin'; did you mean partition"):
        open_engine("slurm", options={"partitoin": "gpu"})
    with pytest.raises(StudyError, match="--engine-option time=soon"):
        open_engine("slurm", options={"time": "soon"})
    folder = tmp_path / "shared" / "slurm"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(IsolossError, match="is not this user's alone"):
        open_engine("slurm", folder=tmp_path / "shared").start([])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Slurm itself."""
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(reason)
    with slurm_cluster.slurm(tmp_path_factory.mktemp("slurm") / "cluster") as environment:
        yield environment


@pytest.fixture
def here(cluster, monkeypatch):
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])


@pytest.mark.faults
def test_a_study_through_sbatch_whose_jobs_are_told_to_stop(here, tmp_path, monkeypatch):
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path / "cache"))
    study = counting(tmp_path)

    def preempt() -> None:
        # two jobs that have begun to count: one is told by SIGUSR2 and goes back into the queue, one by SIGTERM
        begun: list[str] = []
        while len(begun) < 2:
            time.sleep(0.2)
            running = subprocess.run(["squeue", "-h", "-r", "-t", "R", "-o", "%i"], capture_output=True, text=True)
            begun = [line[2] for line in said(tmp_path) if line[2] in running.stdout.split()]
        time.sleep(0.5)
        for name, job in zip(("USR2", "TERM"), begun, strict=False):
            subprocess.run(["scancel", f"--signal={name}", job])

    thread = threading.Thread(target=preempt, daemon=True)
    thread.start()
    found = driven(
        study, tmp_path / "l.sqlite", open_engine("slurm", workers=4, folder=tmp_path, options={"time": "10"})
    )
    thread.join(5)
    resumed = [line for line in said(tmp_path) if int(line[1]) > 0]
    assert len({line[0] for line in resumed}) == 2, said(tmp_path)
    (tmp_path / "local").mkdir()
    assert found.equals(driven(study, tmp_path / "local" / "l.sqlite", open_engine("local", workers=1)))
    assert not list((tmp_path / "slurm" / "jobs").iterdir()), "recorded jobs leave nothing behind"
    assert not list((tmp_path / "cache" / "checkpoints").iterdir())


@pytest.mark.faults
def test_jobs_of_a_killed_driver_are_taken_over(here, tmp_path):
    study = counting(tmp_path)
    command = [sys.executable, "-m", "isoloss", "run", str(study), "--engine", "slurm", "-j", "2"]
    command += ["--ledger", "l.sqlite", "--out", "reports"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "ISOLOSS_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as driver:
        deadline = time.monotonic() + 120
        while not said(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        driver.kill()
        _, told = driver.communicate()
    assert said(tmp_path), told
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode in (0, 1) and "Traceback" not in again.stderr, again.stderr
    assert "taken over" in again.stderr
    begun = [line[0] for line in said(tmp_path)]
    assert len(begun) == len(set(begun)), "no run was trained twice"

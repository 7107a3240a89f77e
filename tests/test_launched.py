"""A study under a launcher: the same runs as with processes started here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isoloss.errors import StudyError
from isoloss.training.distributed.launch import join

SOURCE = Path(__file__).parents[1] / "src"
STUDY = """
name = "launched"
question = "Does a launcher's group train as one that is started here?"
task = { name = "language/sotu" }
ladder = { resource = "train_flops", rungs = [4e8, 8e8] }
report = { seeds = 1 }
comparisons = [{ baseline = "one", candidate = "two", mode = "exact", resource = "peak_memory_bytes" }]
[arms.one]
algorithm = "systems/transformer"
settings = { width = 32, steps = 20, batch_tokens = 128, devices = 1 }
[arms.two]
algorithm = "systems/transformer"
settings = { width = 32, steps = 20, batch_tokens = 128, strategy = "zero-1" }
"""


def _run(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    told = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_torchrun_gives_the_table_of_the_local_engine(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    common = ["-m", "isoloss", "run", "study.toml"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = _run(tmp_path, *launcher, *common, "--engine", "launched", "--ledger", "a.sqlite", "--out", "a")
    assert said.count("less: a gain") == 1  # of two processes, one speaks
    _run(tmp_path, *common, "--workers", "1", "--ledger", "b.sqlite", "--out", "b")
    tables = [(tmp_path / place / "launched" / "runs.csv").read_bytes() for place in "ab"]
    assert tables[0] == tables[1] and tables[0].count(b"finished") == 4


def test_outside_of_a_launcher_the_engine_says_so(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StudyError, match="start this with torchrun, srun or Ray Train"):
        join()
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(StudyError, match="MASTER_ADDR: is not set"):
        join()

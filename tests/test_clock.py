"""A wall clock that jumps, back and forth, changes nothing: claims are held by beats, not by times."""

from __future__ import annotations

import os
import subprocess
import sys

from isoloss import api
from isoloss.ledger.store import Ledger
from tests.test_ledger import run_ridge

#: Loaded by every Python process of the study before anything else: each look at the clock jumps by up to ten years.
JUMPING = """
import random, time
real, rng = time.time, random.Random()
time.time = lambda: real() + rng.uniform(-3e8, 3e8)
"""


def test_two_drivers_whose_clocks_jump_by_years_train_each_run_once(ridge, tmp_path):
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(JUMPING)
    paths = os.pathsep.join([str(clock), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": paths}
    where = ["--workers", "1", "--ledger", str(tmp_path / "l.sqlite"), "--out", str(tmp_path / "reports")]
    command = [sys.executable, "-m", "isoloss", "run", str(ridge), *where]
    drivers = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    for driver in drivers:
        said, _ = driver.communicate(timeout=240)
        assert driver.returncode == 0, said.decode()
    opened, ledger = api.open_study(ridge), Ledger(str(tmp_path / "l.sqlite"))
    table, records = ledger.table(opened.study), ledger.machine(opened.study)
    with ledger.database.reading() as db:
        attempts = db.exec_driver_sql("SELECT max(attempts) FROM runs").scalar()
        left = db.exec_driver_sql("SELECT count(*) FROM owners").scalar()
    ledger.close()
    assert attempts == 1 and left == 0, "none was claimed twice"
    assert max(r["ended"] for r in records) - min(r["ended"] for r in records) > 1e6, "the clocks did jump"
    assert table.reproducible().equals(run_ridge(opened, tmp_path / "calm.sqlite"))

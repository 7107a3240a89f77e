"""What the run database costs: per run from plan to ledger, and to ask a ledger of a million runs.

    python benchmarks/ledger.py [--quick]     10 minutes, and 2 GB of a temporary folder; --quick is a tenth of it

Bars, each printed with what was measured and the ratio:

- 10,000 runs that take microseconds, by the real driver and the local engine on 2 workers: at most 5 ms of wall time a
  run on SQLite, 10 ms on PostgreSQL, everything between the plan and the last record counted, start-up of workers too;
- a ledger of 1,000,000 runs, all of one study, or 1,000 studies of 1,000: `isoloss status` under 1 s, and the gain of
  one arm over another in a study under 5 s, each as a whole process;
- 8 drivers at once with 1,000 runs each: none lost, none doubled.

A ratio is what was measured over the bar. PostgreSQL is Debian's, started here; it is left out where it is not
installed. CPU seconds are those of the process that is timed, which a busy machine stretches less than wall time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from isoloss import api
from isoloss.execution.driver import drive
from isoloss.execution.local import LocalEngine
from isoloss.execution.worker import environment
from isoloss.ledger import schema
from isoloss.ledger.digest import canonical_json, environment_id
from isoloss.ledger.records import record_of
from isoloss.ledger.store import Ledger
from isoloss.runs import Amount, Outcome, RunSpec, StepRule
from tests import postgres
from tests.test_ledger_postgres import many, work_at_once

STUDY = """
name = "trivial"
question = "What does a run cost that costs nothing?"
plugins = ["trivial.py"]
[task]
name = "bench/nothing"
[ladder]
resource = "examples"
rungs = [10, 100, 1000, 10000]
step_rule = {{ kind = "constant", value = 1 }}
[tuning]
seeds = {tuning}
widen = false
[report]
seeds = {report}
[[comparisons]]
baseline = "old"
candidate = "new"
[arms.old]
algorithm = "bench/formula"
sweep = {{ lr = {{ centre = 0.1, factor = 10, points = 3 }} }}
[arms.new]
algorithm = "bench/formula"
settings = {{ factor = 0.5 }}
sweep = {{ lr = {{ centre = 0.1, factor = 10, points = 3 }} }}
"""
PLUGIN = """
import random
from pydantic import Field
from isoloss.algorithms import Algorithm, algorithm
from isoloss.runs import Amount, Outcome
from isoloss.tasks import Floor, Task, task


@task("bench/nothing", version=1, summary="nothing to learn", year=2026, source="this benchmark")
class Nothing(Task):
    quality, unit, floor = "loss", "", Floor("shared")
    trivial_quality = 9.0
    resources = ("examples",)

    def prepare(self):
        pass

    def facts(self):
        return {}


@algorithm("bench/formula", version=1, summary="a power law with noise", year=2026, source="this benchmark")
class Formula(Algorithm):
    class Choices(Algorithm.Choices):
        lr: float = Field(0.1, gt=0)
        factor: float = Field(1.0, gt=0)

    def resolve(self, task, rung, choices):
        return choices

    def train_flops(self, task, choices):
        return 1e4

    def run(self, task, spec, context):
        lr, factor = spec.choices["lr"], spec.choices["factor"]
        noise = random.Random(f"{spec.seed} {spec.budget} {lr} {factor}").gauss(0, 0.01)
        loss = 1 + 3 * (spec.budget / factor) ** -0.3 * (1 + abs(lr - 0.1)) * (1 + noise)
        curve = {"step": [1.0, 2.0], "examples": [spec.budget / 2, spec.budget], "train_loss": [2 * loss, loss]}
        used = {"examples": Amount(spec.budget, "counted"), "train_flops": Amount(1e4 * spec.budget, "analytic")}
        return Outcome("finished", {s: loss for s in spec.evaluate}, curve, used, {"compute": 1e-5})
"""


def trivial_study(folder: Path, runs: int) -> Any:
    """A study of `runs` runs that take microseconds: about a quarter of them tune."""
    folder.mkdir(parents=True, exist_ok=True)
    tuning = max(1, runs // 100)
    report = (runs - tuning * 24) // 8
    (folder / "trivial.py").write_text(PLUGIN)
    (folder / "trivial.toml").write_text(STUDY.format(tuning=tuning, report=report))
    return api.open_study(folder / "trivial.toml")


def overhead(url: str, folder: Path, runs: int) -> tuple[float, int]:
    """Wall seconds from an empty ledger to the last record, and how many runs it holds then."""
    opened = trivial_study(folder, runs)
    began = time.perf_counter()
    ledger, engine = Ledger(url), LocalEngine(2)
    try:
        ledger.open_study(opened.study, opened.text, str(opened.path))
        drive(opened.study, ledger, engine, opened.plugins)
        wall = time.perf_counter() - began
        return wall, ledger.progress_of(opened.study.study_id)["finished"][0]
    finally:
        engine.stop()
        ledger.close()


def build(url: str, folder: Path, studies: int, each: int) -> None:
    """Fill an empty ledger with `studies` studies of `each` finished runs, as drivers would have left it."""
    opened = trivial_study(folder, 1000)
    base = RunSpec(
        "bench/formula", 1, "bench/nothing", 1, {}, "examples", 10.0, StepRule("constant", 1.0),
        {"factor": 1.0, "lr": 0.1}, 1, ("validation", "test"), code="0" * 16,
    )  # fmt: skip
    ledger = Ledger(url)
    place = canonical_json(environment())
    data = [{"environment_id": environment_id(place), "data": place}]
    ledger.database.write(lambda db: db.execute(schema.environments.insert(), data))
    rungs = opened.study.ladder.rungs
    rng = random.Random(1)
    for number in range(studies):
        study = opened.study.model_copy(update={"name": f"study-{number}"})
        ledger.open_study(study, opened.text.replace('"trivial"', f'"study-{number}"'), str(opened.path))
        for first in range(0, each, 20_000):
            runs, members = [], []
            for i in range(first, min(each, first + 20_000)):
                rung, arm = rungs[i % 4], ("old", "new")[i // 4 % 2]
                choices = {"factor": 1.0 if arm == "old" else 0.5, "lr": 0.1}
                spec = replace(base, budget=rung, choices=choices, seed=1 + i // 8 + number * each)
                loss = 1 + 3 * (rung / choices["factor"]) ** -0.3 * (1 + rng.gauss(0, 0.01))
                used = {"examples": Amount(rung, "counted"), "train_flops": Amount(1e4 * rung, "analytic")}
                curve = {"step": [1.0, 2.0], "examples": [rung / 2, rung], "train_loss": [2 * loss, loss]}
                outcome = Outcome("finished", {"test": loss, "validation": loss}, curve, used, {"compute": 1e-5})
                text = canonical_json(spec.to_dict())
                run_id = hashlib.sha256(text.encode()).hexdigest()[:20]  # as RunSpec.run_id does
                row = record_of(run_id, text, outcome, data[0]["environment_id"], 1.7e9 + i)
                same = {"run_id": run_id, "price": 1e4 * rung, "status": "finished"}
                runs.append({**row, **same, "spec": text, "attempts": 1})
                where = {"position": i, "round": 1, "rung": rung, "purpose": "report"}
                members.append({**same, **where, "study_id": study.study_id, "arm": arm})

            def work(db: Connection, runs: Any = runs, members: Any = members) -> None:
                db.execute(schema.runs.insert(), runs)
                db.execute(schema.members.insert(), members)

            ledger.database.write(work)
    ledger.close()


def ask(bar: float, what: str, *words: str) -> bool:
    """Time `isoloss` with `words` as a whole process, the better of two, and print it beside its bar."""
    walls, cpus = [], []
    for _ in range(2):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "isoloss", *words], capture_output=True, text=True)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode != 0:
            sys.exit(done.stderr)
    return judge(what, min(walls), bar, "s", f"CPU {min(cpus):.2f} s")


def judge(what: str, found: float, bar: float, unit: str, more: str = "") -> bool:
    """Print a bar, what was found, and their ratio; whether it was kept."""
    verdict = "within" if found <= bar else "ABOVE"
    print(
        f"{what:<62} {found:8.2f} {unit}   bar {bar:g} {unit}   ratio {found / bar:5.2f}   {verdict}   {more}",
        flush=True,
    )
    return found <= bar


def trivial_runs(url: str, folder: Path, runs: int, bar: float, where: str) -> bool:
    """Judge the overhead of `runs` runs."""
    before = time.process_time()
    wall, done = overhead(url, folder, runs)
    cpu = 1e3 * (time.process_time() - before) / done
    return judge(f"{done:,} trivial runs on {where}, a run", 1e3 * wall / done, bar, "ms", f"driver's CPU {cpu:.2f} ms")


def together(url: str, folder: Path, each: int, where: str) -> bool:
    """Eight drivers at once: whether each run was recorded by exactly one."""
    study, runs = trivial_study(folder, 1000).study, many(8 * each)
    ledger, recorded = work_at_once(url, study, runs)
    lost, doubled = len(runs) - len(set(recorded)), len(recorded) - len(set(recorded))
    held = ledger.progress_of(study.study_id)
    ledger.close()
    print(
        f"8 drivers x {each:,} runs on {where}: lost {lost}, doubled {doubled}, in the ledger {held['finished'][0]:,}"
    )
    return lost == doubled == 0 and held["finished"][0] == len(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--part", choices=["runs", "together", "large"], help="only this part")
    given = parser.parse_args()
    share = 10 if given.quick else 1
    parts = [given.part] if given.part else ["runs", "together", "large"]
    kept = []
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        server = stack.enter_context(postgres.server()) if postgres.program("initdb") else None
        if server is None:
            print("PostgreSQL is left out: apt-get install postgresql")
        if "runs" in parts:
            kept.append(trivial_runs(str(folder / "l.sqlite"), folder / "s", 10_000 // share, 5, "SQLite"))
            if server is not None:
                kept.append(trivial_runs(server.new_ledger(), folder / "s", 10_000 // share, 10, "PostgreSQL"))
        if "together" in parts:
            kept.append(together(str(folder / "t.sqlite"), folder / "s", 1000 // share, "SQLite"))
            if server is not None:
                kept.append(together(server.new_ledger(), folder / "s", 1000 // share, "PostgreSQL"))
        for studies, each in ((1, 1_000_000 // share), (1000 // share, 1000)) if "large" in parts else ():
            ledger = str(folder / f"large-{studies}.sqlite")
            build(ledger, folder / "s", studies, each)
            what = f"{studies * each:,} runs in {studies:,} stud{'y' if studies == 1 else 'ies'}"
            kept.append(ask(1, f"status, {what}", "status", "--ledger", ledger))
            pair = ["gain", ledger, "-b", "old", "-c", "new", "--where", "study=study-0"]
            kept.append(ask(5, f"gain in one study, {what}", *pair))
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()

"""The engines side by side: what a run costs beyond its work, and whether they train the same bits.

Command:  python benchmarks/engines.py            (the quickstart; some 10 minutes on 2 idle cores)
          python benchmarks/engines.py --quick    (a short study in its place, fewer trivial runs)
Needs:    pip install 'isoloss[lab,ray]'

Overhead is wall time of a study of trivial runs, from the first submit to the last record, over their number; what
workers need to start is taken off by a first study of a few runs on the same engine. The identical tables are compared
as CSV text, every column, floats with all their digits.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from isoloss.execution.driver import Observer, drive
from isoloss.execution.engines import open_engine
from isoloss.ledger.store import Ledger
from isoloss.verbs.studies import open_study

ROOT = Path(__file__).resolve().parent.parent

PLUGIN = """
from isoloss.algorithms import Algorithm, algorithm
from isoloss.runs import Amount, Outcome
from isoloss.tasks import Floor, Task, task
@task("bench/none", version=1, summary="nothing to learn", year=2026, source="benchmarks/engines.py")
class Nothing(Task):
    quality, unit, floor = "error", "", Floor("shared")
    trivial_quality = 1.0
    resources = ("examples",)
    def prepare(self): pass
    def facts(self): return {}
@algorithm("bench/none", version=1, summary="does nothing", year=2026, source="benchmarks/engines.py")
class None_(Algorithm):
    class Choices(Algorithm.Choices):
        pass
    def resolve(self, task, rung, choices): return choices
    def train_flops(self, task, choices): return 1.0
    def run(self, task, spec, context):
        quality = 1.0 / (1.0 + spec.budget) + 1e-6 * (spec.seed % 97)
        amounts = {"examples": Amount(spec.budget, "counted"), "train_flops": Amount(1.0, "analytic")}
        return Outcome("finished", {s: quality for s in spec.evaluate}, {}, amounts, {"compute": 0.0})
"""

TRIVIAL = """
name = "trivial-{name}"
question = "What does a run cost that does nothing?"
plugins = ["none.py"]
task = {{ name = "bench/none" }}
ladder = {{ resource = "examples", rungs = {rungs}, step_rule = {{ kind = "constant", value = 1 }} }}
tuning = {{ seeds = 1 }}
report = {{ seeds = {seeds} }}
comparisons = [{{ baseline = "a", candidate = "b" }}]
arms = {{ a = {{ algorithm = "bench/none" }}, b = {{ algorithm = "bench/none", seed_block = 1 }} }}
"""

#: The quickstart's arms on two short rungs.
QUICK = """
name = "engines-quick"
question = "Do two engines train the same bits?"
task = { name = "language/sotu" }
ladder = { resource = "train_flops", rungs = [5e8, 1e9] }
tuning = { seeds = 1 }
report = { seeds = 2 }
comparisons = [{ baseline = "lstm", candidate = "modern" }]
[arms.lstm]
algorithm = "language/lstm"
[arms.modern]
algorithm = "language/transformer-modern"
"""


class Killer(Observer):
    """Kills a node of the cluster, with its processes, when a third of the first round's runs ended."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.wanted, self.ran, self.killed = cluster, 0, 0, False

    def round(self, plan: Any, total: float) -> None:
        self.wanted = self.wanted or len(plan.runs) // 3

    def ended(self, ended: Any, price: float) -> None:
        self.ran += 1
        if self.ran >= self.wanted and not self.killed:
            self.killed = True
            node = next(node for node in self.cluster.list_all_nodes() if not node.is_head())
            self.cluster.remove_node(node, allow_graceful=False)

    def notice(self, text: str) -> None:
        print(f"    {text}")


def run(study: Path, ledger: Path, engine: Any, observer: Any = None) -> tuple[Any, float]:
    """The reproducible table and the seconds that it took, the engine's start included."""
    opened, began = open_study(study), time.perf_counter()
    store = Ledger(str(ledger))
    with contextlib.closing(store):
        store.open_study(opened.study, opened.text, str(study))
        table = drive(opened.study, store, engine, opened.plugins, observer)
    return table.reproducible(), time.perf_counter() - began


class Unstopped:
    """An engine that lives through several studies."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def stop(self) -> None: ...


def overhead(folder: Path, name: str, make: Any, runs: int) -> float:
    """Milliseconds a trivial run beyond the start of the engine."""
    (folder / "none.py").write_text(PLUGIN)
    engine, seconds, count = make(), 0.0, 0
    try:
        for kind, rungs, seeds in (("first", 2, 2), ("timed", 10, runs // 20)):
            study = folder / f"{name}-{kind}.toml"
            study.write_text(TRIVIAL.format(name=kind, rungs=[2**i for i in range(rungs)], seeds=seeds))
            table, seconds = run(study, folder / f"{name}-{kind}.sqlite", Unstopped(engine))
            count = table.height
    finally:
        engine.stop()
    print(f"  {name:6s} {1000 * seconds / count:7.2f} ms a run over {count} runs")
    return 1000 * seconds / count


def main() -> int:
    """Print overheads, their ratio, and whether tables are identical; 1 where they are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        room = {"num_cpus": 1, "object_store_memory": 80_000_000}
        alert = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
        cluster = Cluster(initialize_head=True, head_node_args={**room, "_system_config": alert})
        for _ in range(3):
            cluster.add_node(**room)

    def on_ray() -> Any:
        return open_engine("ray", device="cpu", options={"address": cluster.address})

    def here() -> Any:
        return open_engine("local", workers=2, device="cpu")

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print("overhead of a trivial run (plan, queue, carry out, record; SQLite)")
        runs = 200 if quick else 1000
        local, ray = (overhead(folder, name, make, runs) for name, make in (("local", here), ("ray", on_ray)))
        print(f"  ray / local: {ray / local:.2f}")
        study = ROOT / "studies" / "quickstart.toml"
        if quick:
            study = folder / "quick.toml"
            study.write_text(QUICK)
        print(f"{study.stem}: local on 2 processes, Ray on 4 nodes of which one is killed")
        engine = here()
        try:
            table, seconds = run(study, folder / "local.sqlite", engine)
        finally:
            engine.stop()
        print(f"  local  {table.height} runs in {seconds:.0f} s")
        engine, killer = on_ray(), Killer(cluster)
        try:
            other, on_nodes = run(study, folder / "ray.sqlite", engine, killer)
        finally:
            engine.stop()
            cluster.shutdown()
        print(f"  ray    {other.height} runs in {on_nodes:.0f} s ({on_nodes / seconds:.2f} times)")
        same = table.write_csv() == other.write_csv()
        print(
            f"  tables identical, every bit: {'yes' if same else 'NO'}; node killed: {'yes' if killer.killed else 'NO'}"
        )
    return 0 if same and killer.killed else 1


if __name__ == "__main__":
    raise SystemExit(main())

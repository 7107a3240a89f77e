"""What share of a study's wall time goes to anything but forward, backward, optimiser and evaluation.

    python benchmarks/overhead.py [STUDY] [--workers N]

Runs the study (default: the quickstart) from nothing in a temporary ledger, then prints: wall time x workers, of it
compute (forward, backward, clipping, optimiser), evaluation (apart), and the rest: start-up of workers, data, set-up,
recording, the ledger, the driver, waiting at the end of a round, statistics and the page. The bar is 5% for the rest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console

from isoloss import api
from isoloss.ledger.store import Ledger
from isoloss.report.live import LiveProgress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="studies/quickstart.toml")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bar", type=float, default=0.05)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = str(Path(folder) / "ledger.sqlite")
        began = time.perf_counter()
        with LiveProgress(Console(stderr=True)) as live:
            api.run(given.study, workers=given.workers, ledger=ledger, out=Path(folder) / "reports", observer=live)
        wall = time.perf_counter() - began
        store = Ledger(ledger)
        records = store.machine(api.open_study(given.study).study)
        store.close()
    phases: dict[str, float] = {}
    for record in records:
        for phase, seconds in record["seconds"].items():
            phases[phase] = phases.get(phase, 0.0) + seconds
    total = wall * given.workers
    compute, evaluation = phases.pop("compute", 0.0), phases.pop("evaluate", 0.0)
    rest = total - compute - evaluation
    print(f"study                 {given.study}: {len(records)} runs, {given.workers} workers")
    print(f"wall                  {wall:8.1f} s   x workers {total:8.1f} s   100%")
    print(f"compute               {compute:8.1f} s   {compute / total:6.1%}   forward, backward, clipping, optimiser")
    print(f"evaluation            {evaluation:8.1f} s   {evaluation / total:6.1%}   reported apart")
    for phase, seconds in sorted(phases.items()):
        print(f"  in runs: {phase:<10}  {seconds:8.1f} s   {seconds / total:6.1%}")
    outside = rest - sum(phases.values())
    print(f"  outside runs         {outside:8.1f} s   {outside / total:6.1%}   start-up, idle ends, analysis, page")
    verdict = "within" if rest / total <= given.bar else "ABOVE"
    print(f"overhead              {rest:8.1f} s   {rest / total:6.1%}   {verdict} the bar of {given.bar:.0%}")


if __name__ == "__main__":
    main()

"""Every speed bar of the trainer that this machine can measure, as ratios printed by the parts in ``benchmarks/speed``.

    python benchmarks/training.py [--quick] [--nanogpt PATH]

In turn: 16 small runs against a plain loop; one large run beside nanoGPT and against the product rate; what everything
but arithmetic takes of a run; the cost of a verdict; a GPU's bars, where there is one. About 15 minutes on two idle
cores, a third of that with --quick, whose medians are of fewer repeats. Each part runs in a process of its own, and one
that can't (nanoGPT's file can't be had) says why and the others go on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "speed"
PARTS = {
    "16 small runs": ("stacked.py", [], ["--seconds", "2", "--repeats", "3"]),
    "one large run": ("single.py", [], ["--repeats", "3"]),
    "overhead": ("overhead.py", [], ["--seconds", "20"]),
    "cost of a verdict": ("verdict.py", [], ["--seconds", "1"]),
    "GPU": ("gpu.py", [], []),
}


def main() -> int:
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--quick", action="store_true", help="fewer repeats")
    told.add_argument("--nanogpt", help="folder of nanoGPT, or its model.py; left out: fetched from its origin")
    asked = told.parse_args()
    failed = 0
    for title, (script, usual, quick) in PARTS.items():
        print(f"== {title}: benchmarks/speed/{script}", flush=True)
        more = ["--nanogpt", asked.nanogpt] if asked.nanogpt and script == "single.py" else []
        code = subprocess.run(
            [sys.executable, str(HERE / script), *(quick if asked.quick else usual), *more]
        ).returncode
        if code:
            failed += 1
            print(f"this part ended with code {code}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

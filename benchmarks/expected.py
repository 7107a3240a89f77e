"""Which seed noise and which steepness does each task have, by the studies that were published on it?

command:   python benchmarks/expected.py          (seconds)
expected:  texts 1% and 0.09; images ten times noisier, and steeper

What `isoloss plan` goes by before a study has runs of its own (`Task.expected`): the SD of ln quality between report
seeds of one arm and rung, pooled in each study, and the median over its arms of ``-d ln quality / d ln resource``; of
several studies the median. Read from the run tables in ``results/``.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from isoloss.ledger.external import read_frame
from isoloss.planning.resolution import measured_noise

RESULTS = Path(__file__).resolve().parents[1] / "results"


def measured() -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """(task, ladder resource) -> study -> seed noise and exponent."""
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for path in sorted(RESULTS.glob("*/card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        seen = measured_noise(read_frame(next(path.parent.glob("runs.csv*"))))
        if seen is not None:
            found.setdefault((card["task"], card["resource"]), {})[path.parent.name] = seen
    return found


def medians() -> dict[tuple[str, str], tuple[float, float]]:
    """(task, ladder resource) -> median over studies of noise and exponent."""
    return {
        key: (statistics.median(n for n, _ in seen.values()), statistics.median(e for _, e in seen.values()))
        for key, seen in measured().items()
    }


def images() -> tuple[float, float]:
    """Median noise and exponent over the tasks of ``vision/`` with a ladder over labels."""
    seen = [v for (task, resource), v in medians().items() if task.startswith("vision/") and resource == "labels"]
    return statistics.median(n for n, _ in seen), statistics.median(e for _, e in seen)


def main() -> None:
    """A line for each task and ladder resource."""
    studies = measured()
    print(f"{'task':26}{'ladder over':20}{'noise':>8}{'exponent':>10}  studies")
    for (task, resource), (noise, exponent) in medians().items():
        print(f"{task:26}{resource:20}{noise:8.2%}{exponent:10.3f}  {', '.join(studies[task, resource])}")
    noise, exponent = images()
    print(f"{'median of vision tasks':26}{'labels':20}{noise:8.2%}{exponent:10.3f}")


if __name__ == "__main__":
    main()

"""What several test files need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# a slow machine is no fault; CI looks at the same examples every time, people's machines at new ones
settings.register_profile("isoloss", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("isoloss")

ROOT = Path(__file__).resolve().parent.parent

#: A study that runs for real in a second or two: one arm, its A/A twin, no torch.
RIDGE_STUDY = """
name = "ridge"
question = "Does an A/A comparison give a gain of one?"
plugins = ["ridge.py"]
[task]
name = "test/line"
[ladder]
resource = "examples"
rungs = [16, 64, 256]
step_rule = { kind = "constant", value = 1 }
[tuning]
seeds = 1
[report]
seeds = 3
[[comparisons]]
baseline = "ridge"
candidate = "ridge-again"
[arms.ridge]
algorithm = "test/ridge"
sweep = { penalty = { centre = 0.1, factor = 10, points = 3 } }
[arms.ridge-again]
algorithm = "test/ridge"
seed_block = 1
sweep = { penalty = { centre = 0.1, factor = 10, points = 3 } }
"""

#: A task and an algorithm that is not trained by gradient, as somebody else would write them.
RIDGE_PLUGIN = """
import numpy as np
from pydantic import Field
from isoloss.algorithms import Algorithm, algorithm
from isoloss.runs import Amount, Outcome
from isoloss.tasks import Floor, Task, task


@task("test/line", version=1, summary="noisy linear function of 12 features", year=2026, source="these tests")
class Line(Task):
    quality, unit, floor = "squared error", "", Floor("shared")
    trivial_quality = 1.0
    resources = ("examples",)

    def prepare(self):
        pass

    def facts(self):
        return {"features": 12}

    def draw(self, n, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 12))
        return x, x @ np.full(12, 0.3) + 0.5 * rng.normal(size=n)


@algorithm("test/ridge", version=1, summary="ridge regression", year=1970, source="Hoerl & Kennard 1970")
class Ridge(Algorithm):
    class Choices(Algorithm.Choices):
        penalty: float = Field(0.1, gt=0)

    def resolve(self, task, rung, choices):
        return choices

    def train_flops(self, task, choices):
        return 1e4

    def run(self, task, spec, context):
        n = round(spec.budget)
        x, y = task.draw(n, spec.seed)
        w = np.linalg.solve(x.T @ x + spec.choices["penalty"] * n * np.eye(12), x.T @ y)
        held = {split: task.draw(4000, 10**6 + i) for i, split in enumerate(("validation", "test"))}
        qualities = {s: float(np.mean((held[s][0] @ w - held[s][1]) ** 2)) for s in spec.evaluate}
        amounts = {"examples": Amount(float(n), "counted"), "train_flops": Amount(2.0 * n * 144, "analytic")}
        return Outcome("finished", qualities, {}, amounts, {"compute": 0.0})
"""


#: A small study trained by gradient: a network without and with turned images. RATES stands for learning rates to try;
#: a test may add tables.
TURNED_STUDY = """
name = "turned"
question = "How many labels do turned images save?"
[task]
name = "geometry/rotated-digits"
[ladder]
resource = "labels"
rungs = [64, 128]
step_rule = { kind = "constant", value = 60 }
[report]
seeds = 2
[[comparisons]]
baseline = "plain"
candidate = "turned"
[arms.plain]
algorithm = "geometry/cnn"
settings = { width = 4 }
sweep = { lr = { values = RATES } }
[arms.turned]
algorithm = "geometry/cnn-augmented"
settings = { width = 4 }
sweep = { lr = { values = RATES } }
"""


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread, as a training process has it: sums in another order are other bits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def ridge(tmp_path: Path) -> Path:
    """Path of a study file beside its plug-in."""
    (tmp_path / "ridge.py").write_text(RIDGE_PLUGIN)
    path = tmp_path / "ridge.toml"
    path.write_text(RIDGE_STUDY)
    return path

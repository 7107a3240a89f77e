"""Training losses of every version of what learns from images: another algorithm must not pass for this one."""

from __future__ import annotations

import pytest

from isoloss.algorithms import algorithms
from isoloss.execution.timing import smoke_run

pytestmark = pytest.mark.usefixtures("one_thread")

#: Changes to the contract run: five steps tell networks apart; masks need some more, and a rate at which they matter.
FIVE, FORTY = {"steps": 5}, {"steps": 40, "lr": 0.03}

#: Algorithm -> its version, what was changed, the last five training losses (seed 1). A loss that moves without a new
#: version would let old runs pass for new ones.
GOLDEN = {
    "geometry/plane-cnn": (1, FIVE, [2.38148, 2.32903, 2.2498, 2.22627, 2.15116]),
    "geometry/steerable-harmonic": (1, FIVE, [2.24075, 2.26052, 2.10373, 2.1194, 2.0815]),
    "geometry/steerable-regular": (1, FIVE, [2.27991, 2.45146, 2.33674, 2.45561, 2.26787]),
    "vision/cnn": (1, FIVE, [2.36348, 2.01153, 1.88349, 1.57448, 1.5797]),
    "vision/vit": (1, FIVE, [2.30099, 2.38697, 2.4211, 2.29362, 2.3233]),
    "vision/mlp-mixer": (1, FIVE, [2.33157, 2.32494, 2.38177, 2.28418, 2.28515]),
    "vision/simclr": (2, FIVE, [2.32113, 2.03228, 1.8129, 1.61327, 1.53968]),
    "vision/mae": (1, FIVE, [2.30747, 2.33627, 2.37126, 2.31915, 2.29476]),
    "vision/compact-dense": (1, FORTY, [1.27166, 1.33991, 1.17252, 1.11406, 1.10951]),
    "vision/compact-distilled": (1, FORTY, [4.5675, 4.71081, 4.77213, 4.5414, 4.37938]),
    "vision/pruned-iterative": (1, FORTY, [1.68384, 1.34412, 1.62575, 1.93717, 1.7475]),
    "vision/pruned-one-shot": (1, FORTY, [1.64191, 1.41741, 1.3264, 1.14267, 1.08504]),
    "vision/sparse-random": (1, FORTY, [0.9955, 0.9951, 1.14445, 0.89584, 0.82074]),
    "vision/sparse-rigl": (1, FORTY, [1.08215, 1.09802, 1.16932, 1.05889, 0.98313]),
    "vision/sparse-set": (1, FORTY, [0.99358, 1.03009, 1.16749, 0.92374, 0.83141]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_losses_guard_the_version(name):
    version, changes, golden = GOLDEN[name]
    losses = smoke_run(name, changes=changes)[1].curve["train_loss"][-5:]
    assert algorithms.get(name).card.version == version, f"new version: record {losses}"
    # not bit-exact across machines: other kernels round otherwise
    assert losses == pytest.approx(golden, rel=2e-3)

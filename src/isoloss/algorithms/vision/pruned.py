r"""Pruning: the large network is trained, its smallest weights go, what is left is trained on, in equal steps in all.

*One-shot* (Han et al. 2015, arXiv 1506.02626): half of the steps dense, the prune, the other half fine-tuning.
*Iterative with rewinding* (Frankle & Carbin 2019, arXiv 1803.03635; Frankle et al. 2020, arXiv 1912.05671): R times, a
share :math:`1 - d^{1/R}` of the weights left goes and the others return to where they were early in the run; R + 1
equal rounds. Its source gives every round the steps of a whole training: set `steps` to R + 1 times as many for that.

The rate warms up and falls to zero in every round.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from pydantic import Field

from isoloss.algorithms import algorithm
from isoloss.algorithms.vision import masks as of
from isoloss.algorithms.vision.compact import SMOKE
from isoloss.algorithms.vision.masked_adam import MaskedAdam
from isoloss.algorithms.vision.sparse import Sparse
from isoloss.training.gradient import Trainee
from isoloss.training.schedules import cosine

#: Weights return to where they were after this share of the first round.
EARLY = 0.1


def rounds_schedule(progress: float, rounds: int) -> float:
    """`cosine` to zero once a round.

    >>> [round(rounds_schedule(p, 2), 3) for p in (0.05, 0.5, 0.55, 1.0)]
    [1.0, 0.0, 1.0, 0.0]
    """
    within = progress * rounds
    return cosine(within - math.ceil(within) + 1, final=0.0)


@algorithm(
    "vision/pruned-one-shot",
    version=1,
    summary="trained dense for half of the steps, pruned once by magnitude, fine-tuned for the other half",
    year=2015,
    source="Han et al. 2015, arXiv 1506.02626",
    claim="LeNet-300-100 on MNIST with a twelfth of its weights and no loss of accuracy (Han et al. 2015)",
    smoke=SMOKE,
)
class PrunedOneShot(Sparse):
    """`prunings` prunes at equal distances; what is left goes on from where it is."""

    class Choices(Sparse.Choices):
        """`prunings`: how often."""

        prunings: int = Field(1, ge=1, le=20)

    def first_masks(self, layers: list[tuple[int, int]], kept: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Everything."""
        return [torch.ones(shape) for shape in layers]

    def rule(self, optimizer: MaskedAdam, step: int, choices: Any, kept: int, generator: torch.Generator) -> None:
        """At the end of each round but the last, the smallest weights go."""
        for done in range(1, choices.prunings + 1):
            if step == self.boundary(choices, done):
                places = sum(w.numel() for w in optimizer.weights)
                left = round(places * (kept / places) ** (done / choices.prunings))
                optimizer.keep(of.largest(optimizer.weights, left))
                self.goes_on(optimizer)

    def goes_on(self, optimizer: MaskedAdam) -> None:
        """From the weights that are left."""

    def boundary(self, choices: Any, done: int) -> int:
        """Steps of the first `done` rounds."""
        return round(choices.steps * done / (choices.prunings + 1))

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """With a schedule of rounds."""
        trainee = super().build(task, choices, seed)
        trainee.schedule = functools.partial(rounds_schedule, rounds=choices.prunings + 1)
        return trainee


@algorithm(
    "vision/pruned-iterative",
    version=1,
    summary="pruned by magnitude in rounds, the weights left rewound to an early step after each (lottery tickets)",
    year=2018,
    source="Frankle & Carbin 2019, arXiv 1803.03635; Frankle et al. 2020, arXiv 1912.05671 (rewinding)",
    claim="10 to 20% of the weights of LeNet-300-100 train to full accuracy (Frankle & Carbin 2019)",
    smoke=SMOKE,
)
class PrunedIterative(PrunedOneShot):
    """Weights return to an early step after every prune."""

    class Choices(PrunedOneShot.Choices):
        """Three prunes."""

        prunings: int = Field(3, ge=1, le=20)

    def rule(self, optimizer: MaskedAdam, step: int, choices: Any, kept: int, generator: torch.Generator) -> None:
        """Remembers early weights in the first round."""
        if step == round(EARLY * self.boundary(choices, 1)):
            optimizer.remember()
        super().rule(optimizer, step, choices, kept, generator)

    def goes_on(self, optimizer: MaskedAdam) -> None:
        """From the weights of then."""
        optimizer.rewind()

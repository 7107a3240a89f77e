r"""Sparse training: the large network with most weights zero from the first step to the last.

Where the zeros lie is drawn once (`random`), or a share of them is exchanged every so often: the smallest weights go,
and others come at zero, at random (SET: Mocanu et al. 2018, arXiv 1707.04780) or where the gradient is largest (RigL:
Evci et al. 2020, arXiv 1911.11134). The share falls as :math:`\frac{\alpha}{2}(1 + \cos \pi t / t_{end})` with
:math:`\alpha = 0.3` until three quarters of the run.

Training computes the dense network and masks it, which is what its FLOPs are counted as; inference FLOPs and bytes are
those of the weights kept.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import torch

from isoloss.algorithms import algorithm
from isoloss.algorithms.vision import masks as of
from isoloss.algorithms.vision.compact import LARGE, SMOKE, Compact, shapes
from isoloss.algorithms.vision.masked_adam import MaskedAdam
from isoloss.training.gradient import Trainee

#: Share exchanged at first, exchanges in a run, and where they end.
SHARE, EXCHANGES, END = 0.3, 20, 0.75


class Sparse(Compact):
    """The large network under masks. Subclasses give the first masks and the `rule` that changes them."""

    @abc.abstractmethod
    def first_masks(self, layers: list[tuple[int, int]], kept: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Masks of the first step."""

    @abc.abstractmethod
    def rule(self, optimizer: MaskedAdam, step: int, choices: Any, kept: int, generator: torch.Generator) -> None:
        """What happens before the update that `step` others precede."""

    def fits(self, task: Any) -> tuple[int, int]:
        """From a weight for every output on."""
        layers, most = shapes(task.pixels, LARGE, task.classes), super().fits(task)[1]
        return 2 * sum(out for out, _ in layers), most

    def kept(self, task: Any, choices: Any) -> int:
        """Weights within the budget once all biases are in."""
        return choices.nonzeros - sum(LARGE) - task.classes

    def once(self, task: Any, choices: Any) -> float:
        """Masking gradients: 1 a weight."""
        return float(sum(out * into for out, into in shapes(task.pixels, LARGE, task.classes)))

    def sizes(self, task: Any, choices: Any) -> dict[str, float]:
        """Those of the weights kept."""
        sizes, kept, cost = super().sizes(task, choices), self.kept(task, choices), self.cost(task, choices)
        zeros = cost.parameters - choices.nonzeros
        layers = shapes(task.pixels, LARGE, task.classes)
        return sizes | {
            "inference_flops": cost.forward - 2 * zeros,
            "active_parameters": choices.nonzeros,
            "non_embedding_parameters": choices.nonzeros,
            "stored_bytes": of.stored_bytes(layers, kept, sum(out for out, _ in layers)),
        }

    def build(self, task: Any, choices: Any, seed: int) -> Trainee:
        """The dense network's, with masks; they have a generator of their own."""
        trainee = super().build(task, choices, seed)
        generator, kept = torch.Generator().manual_seed(seed + 2_000_003), self.kept(task, choices)
        parameters = list(trainee.model.parameters())
        weights = [p for p in parameters if p.dim() == 2]
        trainee.optimizer = MaskedAdam(
            parameters,
            weights,
            self.first_masks([(p.shape[0], p.shape[1]) for p in weights], kept, generator),
            lambda optimizer, step: self.rule(optimizer, step, choices, kept, generator),
            generator,
            choices.lr,
            choices.weight_decay,
        )
        return trainee


@algorithm(
    "vision/sparse-random",
    version=1,
    summary="random weights of a large network, drawn before training and kept (Erdős-Rényi by layer)",
    year=2018,
    source="Mocanu et al. 2018, arXiv 1707.04780; Liu et al. 2022, arXiv 2202.02643 (as a rival)",
    claim="with the right share a layer, random pruning matches methods that choose (Su et al. 2020, Liu et al. 2022)",
    smoke=SMOKE,
)
class SparseRandom(Sparse):
    """Masks that never change; they are stored as the seed that draws them."""

    def first_masks(self, layers: list[tuple[int, int]], kept: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Erdős and Rényi's."""
        return of.at_random(layers, of.erdos_renyi(layers, kept), generator)

    def rule(self, optimizer: MaskedAdam, step: int, choices: Any, kept: int, generator: torch.Generator) -> None:
        """Nothing."""

    def sizes(self, task: Any, choices: Any) -> dict[str, float]:
        """Bytes: weights, biases and a seed of 8."""
        return super().sizes(task, choices) | {"stored_bytes": of.WEIGHT * choices.nonzeros + 8}


class Exchanging(SparseRandom):
    """Masks of which a share is exchanged `EXCHANGES` times a run, the last at `END`."""

    @abc.abstractmethod
    def merit(self, gradient: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """How much each weight is wanted, 0 or more."""

    def rule(self, optimizer: MaskedAdam, step: int, choices: Any, kept: int, generator: torch.Generator) -> None:
        """An exchange in every layer, every `EXCHANGES`-th part of the run until `END`."""
        progress, every = step / choices.steps, max(choices.steps // EXCHANGES, 1)
        if step == 0 or step % every or progress > END:
            return
        share = SHARE / 2 * (1 + math.cos(math.pi * progress / END))
        found = []
        for mask, weight in zip(optimizer.masks, optimizer.weights, strict=True):
            assert weight.grad is not None
            found.append(of.exchanged(mask, weight, self.merit(weight.grad, generator), share))
        optimizer.keep(found)

    def sizes(self, task: Any, choices: Any) -> dict[str, float]:
        """The masks are the result of training: they must be stored."""
        return Sparse.sizes(self, task, choices)


@algorithm(
    "vision/sparse-set",
    version=1,
    summary="sparse from the start, the smallest weights exchanged for random ones (SET)",
    year=2017,
    source="Mocanu et al. 2018, arXiv 1707.04780",
    claim="MNIST and CIFAR-10: no loss of accuracy with a tenth of the weights or fewer (Mocanu et al. 2018)",
    smoke=SMOKE,
)
class SparseSET(Exchanging):
    """New weights anywhere."""

    def merit(self, gradient: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Random."""
        return torch.rand(gradient.shape, generator=generator)


@algorithm(
    "vision/sparse-rigl",
    version=1,
    summary="sparse from the start, the smallest weights exchanged for those of largest gradient (RigL)",
    year=2019,
    source="Evci et al. 2020, arXiv 1911.11134",
    claim="ResNet-50, 80% sparse: 75.1% top-1 at 0.42 of the dense training FLOPs, dense 76.8% (Evci et al. 2020)",
    smoke=SMOKE,
)
class SparseRigL(Exchanging):
    """New weights where the loss falls fastest."""

    def merit(self, gradient: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The gradient's size."""
        return gradient.abs()

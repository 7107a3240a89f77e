"""A network of the vision laboratory: an encoder and a linear head, with or without augmentation."""

from __future__ import annotations

import abc
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isoloss.algorithms.cost import Cost, linear
from isoloss.algorithms.vision.augment import random_views
from isoloss.algorithms.vision.base import ImageAlgorithm


class Classifier(ImageAlgorithm):
    """Supervised training of `encoder` and a linear head. Subclasses give `encoder`, `features` and `encoding`."""

    outside_loss = ImageAlgorithm.outside_loss | {"augment"}

    class Choices(ImageAlgorithm.Choices):
        """`augment`: every drawn image is shown as it is (``none``) or as a new random view (``crop``)."""

        augment: Literal["none", "crop"] = "none"

    @abc.abstractmethod
    def encoder(self, task: Any, choices: Any) -> nn.Module:
        """Images ``(batch, 1, pixels, pixels)`` to features ``(batch, features)``."""

    @abc.abstractmethod
    def features(self, task: Any, choices: Any) -> int:
        """How many features an image has."""

    @abc.abstractmethod
    def encoding(self, task: Any, choices: Any) -> Cost:
        """What an image costs the encoder, by formula."""

    def model(self, task: Any, choices: Any) -> nn.Module:
        """`encoder`, then `head`."""
        head = nn.Linear(self.features(task, choices), task.classes)
        return nn.Sequential(OrderedDict(encoder=self.encoder(task, choices), head=head))

    def cost(self, task: Any, choices: Any) -> Cost:
        """`encoding` and the head."""
        return self.encoding(task, choices) + linear(self.features(task, choices), task.classes, bias=True)

    def batches(
        self, task: Any, choices: Any, seed: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The order is that of `generator` alone; views have a generator of their own, so that they do not move it."""
        chance = torch.Generator().manual_seed(seed + 1_000_003)
        for x_b1hw, y_b in super().batches(task, choices, seed, generator):
            yield (x_b1hw if choices.augment == "none" else random_views(x_b1hw, chance, task.mirrors)), y_b

r"""SimCLR: an encoder learns to tell which two views are of one image, then is trained on with labels.

Of each of b images two random views are made (`isoloss.algorithms.vision.augment`, those of the supervised baseline).
With z the normalised outputs of a two-layer projector behind the encoder, the loss of a view i whose partner is j is

.. math:: -\log \frac{\exp(z_i \cdot z_j / \tau)}{\sum_{k \ne i} \exp(z_i \cdot z_k / \tau)},

the mean over all 2b views. The projector is thrown away.

Source: Chen, Kornblith, Norouzi & Hinton 2020, arXiv 2002.05709, eq. 1.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import linear
from isoloss.algorithms.vision.augment import random_views
from isoloss.algorithms.vision.base import UPDATE_FLOPS
from isoloss.algorithms.vision.cnn import SMOKE
from isoloss.algorithms.vision.cost import pointwise
from isoloss.algorithms.vision.fine_tuning import AdaptedCNN
from isoloss.algorithms.vision.pretrained import Pretrained, Pretraining, without_labels
from isoloss.training.formulas import NORMALISE_FLOPS_PER_ELEMENT
from isoloss.training.gradient import Trainee

#: Outputs of the projector that views are compared in, and its hidden units.
PROJECTED, HIDDEN = 32, 64


class Contrasted(nn.Module):
    """The encoder, and a projector that is used in pre-training alone."""

    def __init__(self, encoder: nn.Module, features: int, temperature: float) -> None:
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        self.projector = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTED))

    def forward(self, x_n1hw: Tensor) -> Tensor:
        """The loss of views, first ones in front of their partners."""
        return contrast(functional.normalize(self.projector(self.encoder(x_n1hw)), dim=1), self.temperature)


def contrast(z_nd: Tensor, temperature: float) -> Tensor:
    """The loss above; the first half of the rows are first views, the second half their partners.

    >>> z = torch.eye(4)[[0, 1, 0, 1]]
    >>> bool(contrast(z, 0.05) < 1e-6), round(float(contrast(torch.ones(4, 4) / 2, 0.5)), 4)  # told apart; log 3
    (True, 1.0986)
    """
    n = len(z_nd)
    alike_nn = (z_nd @ z_nd.T / temperature).masked_fill(torch.eye(n, dtype=torch.bool, device=z_nd.device), -torch.inf)
    partners = torch.arange(n, device=z_nd.device).roll(n // 2)
    return functional.cross_entropy(alike_nn, partners)


@algorithm(
    "vision/simclr",
    version=2,
    summary="the CNN's encoder pre-trained by contrast of two views, then trained with labels",
    year=2020,
    source="Chen, Kornblith, Norouzi & Hinton 2020, arXiv 2002.05709",
    claim="ImageNet with 1% of the labels: 75.5% top-5 against 48.4% supervised (ResNet-50)",
    smoke=SMOKE
    | {
        "choices": {
            "lr": 1e-2,
            "width": 8,
            "unlabelled": 256,
            "pretrain_steps": 12,
            "pretrain_batch": 32,
        }
    },
)
class SimCLR(Pretrained):
    """Contrast first, then the `CNN` with labels from the encoder that it left: all of it, or a linear probe
    (``adapt = "head"``), as `isoloss.algorithms.vision.fine_tuning` has it."""

    supervised = AdaptedCNN()
    second_phase = Pretrained.second_phase | {"adapt", "rank"}

    class Choices(Pretraining, AdaptedCNN.Choices):
        """`temperature`: tau of the loss."""

        temperature: float = Field(0.2, gt=0)

    def pretext(self, task: Any, choices: Any, seed: int) -> Trainee:
        """Encoder and projector on two views of each image drawn."""
        encoder, features = self.supervised.encoder(task, choices), self.supervised.features(task, choices)

        def two(x_b1hw: Tensor, generator: torch.Generator) -> Tensor:
            return random_views(torch.cat([x_b1hw, x_b1hw]), generator, task.mirrors)

        return without_labels(Contrasted(encoder, features, choices.temperature), two, task, choices, seed)

    def pretext_step_flops(self, task: Any, choices: Any) -> float:
        r"""For each of n = 2b views the encoder, the projector and its normalisation; n^2 similarities of d entries:
        2d each forward and 4d backward, divided, and a log-softmax over every row."""
        n = 2 * choices.pretrain_batch
        features = self.supervised.features(task, choices)
        projector = linear(features, HIDDEN, bias=True) + pointwise(HIDDEN) + linear(HIDDEN, PROJECTED, bias=True)
        network = self.supervised.encoding(task, choices) + projector
        compared = n * n * (6 * PROJECTED + 2 * NORMALISE_FLOPS_PER_ELEMENT + 2)
        normalised = 6 * n * PROJECTED
        return n * network.training + compared + normalised + UPDATE_FLOPS * network.parameters

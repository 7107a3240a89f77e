"""Contrastive learning of images and texts (CLIP): which text of the batch belongs to which image."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.vision.image_text import SMOKE, Captions, ImageText, Objective

#: Where the temperature starts, and the largest factor that it may become (Radford et al. 2021, section 2.5).
START, LARGEST = 0.07, 100.0


class Contrastive(Objective):
    r"""Symmetric InfoNCE with a learned temperature.

    Features and texts become unit vectors :math:`u_i, v_j`; with :math:`z_{ij} = e^s u_i \cdot v_j` the loss is the
    mean of two cross-entropies over the b pairs of a batch, of rows and of columns:

    .. math:: \frac{1}{2b} \sum_i \Big[\ln \sum_j e^{z_{ij}} + \ln \sum_j e^{z_{ji}} - 2 z_{ii}\Big]

    The text encoder is a sum of word vectors: as the prediction of a bag of words it has one vector a word, so the two
    differ in nothing but what is asked of them, as in figure 2 of Radford et al. (2021).
    """

    def __init__(self, vocabulary: int, features: int) -> None:
        super().__init__()
        self.text = nn.Linear(vocabulary, features, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(START)))

    def forward(self, f_nd: Tensor, bag_cv: Tensor) -> Tensor:
        """The scaled cosines ``(n, c)``."""
        u_nd, v_cd = nn.functional.normalize(f_nd), nn.functional.normalize(self.text(bag_cv))
        return self.log_scale.clamp(max=math.log(LARGEST)).exp() * (u_nd @ v_cd.T)

    def loss(self, f_bd: Tensor, texts: Captions) -> Tensor:
        """The formula above."""
        z_bb = self(f_bd, texts.bag_nv)
        own_b = torch.arange(len(z_bb), device=z_bb.device)
        return (nn.functional.cross_entropy(z_bb, own_b) + nn.functional.cross_entropy(z_bb.T, own_b)) / 2

    def scores(self, f_nd: Tensor, texts: Captions) -> Tensor:
        """The scaled cosines."""
        return self(f_nd, texts.bag_nv)


@algorithm(
    "vision/contrastive",
    version=1,
    summary="image and text encoder trained to tell which text of a batch belongs to which image (CLIP)",
    year=2021,
    source="Radford et al. 2021 (CLIP), arXiv 2103.00020; Zhang et al. 2020 (ConVIRT), arXiv 2010.00747",
    claim="zero-shot ImageNet with 4 times fewer images than predicting bags of words (Radford et al. 2021, figure 2)",
    smoke=SMOKE,
)
class ContrastivePairs(ImageText):
    """`Contrastive` on the shared encoder. What a batch holds are its negatives: `batch` is part of the method."""

    def objective(self, vocabulary: int, longest: int, choices: Any) -> Objective:
        """A `Contrastive`."""
        return Contrastive(vocabulary, choices.features)

    def objective_cost(self, vocabulary: int, longest: int, choices: Any) -> Cost:
        """The word vectors, the products of all pairs, and pointwise work on both."""
        d, b = choices.features, choices.batch
        text = linear(vocabulary, d, bias=False)
        # no gradient with respect to the words themselves
        return Cost(text.parameters + 1, text.active + 1, 0.0, text.forward, 2 * text.forward) + work(
            2 * d * b, 4 * d * b
        )

"""Predict which words are in an image's text: each word a yes or no of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.vision.image_text import SMOKE, Captions, ImageText, Objective


class BagOfWords(Objective):
    r"""With logits :math:`z_v` of the words, :math:`-\ln p(S) = \sum_v \ln(1 + e^{z_v}) - \sum_{v \in S} z_v`.

    The first sum does not depend on the text S, so of several texts the one with the largest :math:`\sum_{v \in S} z_v`
    is the likeliest.
    """

    def __init__(self, vocabulary: int, features: int) -> None:
        super().__init__()
        self.words = nn.Linear(features, vocabulary)

    def loss(self, f_bd: Tensor, texts: Captions) -> Tensor:
        """Mean of :math:`-\\ln p` over the batch."""
        both = nn.functional.binary_cross_entropy_with_logits(self.words(f_bd), texts.bag_nv, reduction="sum")
        return both / len(f_bd)

    def scores(self, f_nd: Tensor, texts: Captions) -> Tensor:
        """Sums of the words' logits."""
        return self.words(f_nd) @ texts.bag_nv.T


@algorithm(
    "vision/bag-of-words",
    version=1,
    summary="image encoder trained to predict the set of words of each image's name",
    year=2015,
    source="Joulin et al. 2015, arXiv 1511.02251",
    claim="zero-shot ImageNet with 3 times fewer images than captioning needs (Radford et al. 2021, figure 2)",
    smoke=SMOKE,
)
class BagOfWordsPrediction(ImageText):
    """`BagOfWords` on the shared encoder."""

    def objective(self, vocabulary: int, longest: int, choices: Any) -> Objective:
        """A `BagOfWords`."""
        return BagOfWords(vocabulary, choices.features)

    def objective_cost(self, vocabulary: int, longest: int, choices: Any) -> Cost:
        """The linear layer and a pointwise loss."""
        return linear(choices.features, vocabulary, bias=True) + work(2 * vocabulary, 3 * vocabulary)

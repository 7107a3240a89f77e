"""Caption an image: predict its text word by word, each from the image and the words before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear
from isoloss.algorithms.vision.image_text import SMOKE, Captions, ImageText, Objective
from isoloss.training.formulas import NORMALISE_FLOPS_PER_ELEMENT

HEADS = 2
#: Images whose captions are scored at a time.
ROWS = 32


class Captioner(Objective):
    r"""A Transformer of one layer over the caption, the image's features added to every word's vector.

    :math:`-\ln p(w_1 \dots w_n) = -\sum_t \ln p(w_t \mid w_{<t}, \text{image})`, the end of the caption included; what
    fills it up behind counts nothing. A text is chosen by its likelihood.
    """

    def __init__(self, vocabulary: int, longest: int, features: int) -> None:
        super().__init__()
        d = features
        self.embedding = nn.Embedding(vocabulary, d)
        self.position = nn.Parameter(torch.randn(longest, d) * 0.02)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.mix = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.head = nn.Linear(d, vocabulary)

    def forward(self, f_nd: Tensor, words_nt: Tensor) -> Tensor:
        """Logits ``(n, longest, vocabulary)`` of each word from those before it."""
        n, t = words_nt.shape
        before_nt = nn.functional.pad(words_nt[:, :-1], (1, 0))
        x_ntd = self.embedding(before_nt) + self.position[:t] + f_nd[:, None]
        q, k, v = self.qkv(self.norm1(x_ntd)).view(n, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_ntd = x_ntd + self.mix(mixed.transpose(1, 2).reshape(n, t, -1))
        x_ntd = x_ntd + self.down(self.up(self.norm2(x_ntd)).relu())
        return self.head(self.norm3(x_ntd))

    def loss(self, f_bd: Tensor, texts: Captions) -> Tensor:
        """Mean of :math:`-\\ln p` over the batch."""
        return -self._log_likelihood(f_bd, texts.words_nt).mean()

    def scores(self, f_nd: Tensor, texts: Captions) -> Tensor:
        """Log-likelihoods."""
        longest = int((texts.words_nt != 0).sum(1).max()) + 1
        c, words_ct, rows = len(texts.words_nt), texts.words_nt[:, :longest], []
        for f_rd in f_nd.split(ROWS):
            every = self._log_likelihood(f_rd.repeat_interleave(c, 0), words_ct.repeat(len(f_rd), 1))
            rows.append(every.view(len(f_rd), c))
        return torch.cat(rows)

    def _log_likelihood(self, f_nd: Tensor, words_nt: Tensor) -> Tensor:
        logits_ntv = self(f_nd, words_nt)
        nats_nt = nn.functional.cross_entropy(logits_ntv.flatten(0, 1), words_nt.flatten(), reduction="none")
        ended_nt = nn.functional.pad(words_nt[:, :-1] == 0, (1, 0))  # after the first end
        return -nats_nt.view_as(words_nt).masked_fill(ended_nt, 0.0).sum(1)


@algorithm(
    "vision/captioning",
    version=1,
    summary="image encoder and small decoder trained to write each image's name word by word",
    year=2014,
    source="Vinyals et al. 2014, arXiv 1411.4555; Desai & Johnson 2020 (VirTex), arXiv 2006.06666",
    claim="the baseline of CLIP: 12 times the images for equal zero-shot ImageNet (Radford et al. 2021, figure 2)",
    smoke=SMOKE,
)
class Captioning(ImageText):
    """`Captioner` on the shared encoder."""

    def objective(self, vocabulary: int, longest: int, choices: Any) -> Objective:
        """A `Captioner`."""
        return Captioner(vocabulary, longest, choices.features)

    def objective_cost(self, vocabulary: int, longest: int, choices: Any) -> Cost:
        r"""Of a whole caption of T words, filled up to the longest: a word's linear layers, three norms, activation and
        softmax T times, and attention, :math:`T^2 (4d + 5h)` forward and :math:`T^2 (10d + 10h)` back for h heads."""
        d, v, t = choices.features, vocabulary, longest
        word = linear(d, 3 * d, bias=False) + linear(d, d, bias=False) + linear(d, 2 * d, bias=True)
        word += linear(2 * d, d, bias=True) + linear(d, v, bias=True)
        pointwise = (3 * NORMALISE_FLOPS_PER_ELEMENT + 6) * d + NORMALISE_FLOPS_PER_ELEMENT * v
        tables = v * d + t * d + 3 * 2 * d
        return Cost(
            word.parameters + tables,
            word.parameters + tables,
            v * d,
            t * (word.forward + pointwise) + t * t * (4 * d + 5 * HEADS),
            t * (word.training + 2 * pointwise) + t * t * (14 * d + 15 * HEADS),
        )

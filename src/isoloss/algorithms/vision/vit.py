r"""The Vision Transformer: an image as a sequence of patches, mixed by attention; and MLP-Mixer, by a dense layer.

With t patches of p x p and d = ``width``: every patch is embedded linearly, a learned position is added, and ``depth``
blocks follow, each :math:`h \leftarrow h + \mathrm{mix}(\mathrm{norm}(h))`,
:math:`h \leftarrow h + W_2\,\mathrm{gelu}(W_1\,\mathrm{norm}(h))` with 2d hidden units; the features are the mean of
the normalised patches. There is no class token, and two hidden units a channel in place of four, as in Hassani et al.
2021 (arXiv 2104.05704) for small images. The convolutional stem has stride-2 convolutions with norm and ReLU in place
of the patches, as many as halve the image to the same t places (Xiao et al. 2021, arXiv 2106.14881).

Source: Dosovitskiy et al. 2021, arXiv 2010.11929; Tolstikhin et al. 2021, arXiv 2105.01601.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.vision.classifier import Classifier
from isoloss.algorithms.vision.cnn import SMOKE, halved
from isoloss.algorithms.vision.cost import at, convolution, norm, patch_cost, pointwise
from isoloss.errors import StudyError
from isoloss.training.formulas import NORMALISE_FLOPS_PER_ELEMENT

HEAD = 16
EXPANSION = 2
#: Attention takes longer than convolutions to beat a guess.
PATCH_SMOKE = SMOKE | {
    "step_rule": {"kind": "constant", "value": 120},
    "choices": {"lr": 1e-2, "width": 16, "patch": 2, "depth": 2},
}


class PatchStem(nn.Module):
    """Patches of `patch` x `patch`, each embedded by one linear map."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch, self.embed = patch, nn.Linear(patch**2, width)

    def patches(self, x_b1hw: Tensor) -> Tensor:
        """The image cut up, row by row: ``(batch, t, patch^2)``."""
        b, _, h, w = x_b1hw.shape
        p = self.patch
        return x_b1hw.view(b, h // p, p, w // p, p).transpose(2, 3).reshape(b, -1, p * p)

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Tokens ``(batch, t, width)``."""
        return self.embed(self.patches(x_b1hw))


class ConvolutionStem(nn.Module):
    """Convolutions of stride 2, norm and ReLU, down to the places of the patches; channels double."""

    def __init__(self, halvings: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in stem_channels(halvings, width):
            layers += [nn.Conv2d(into, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Tokens ``(batch, t, width)``."""
        return self.layers(x_b1hw).flatten(2).transpose(1, 2)


def stem_channels(halvings: int, width: int) -> list[tuple[int, int]]:
    """Channels into and out of each convolution of the stem.

    >>> stem_channels(2, 32)
    [(1, 16), (16, 32)]
    """
    outs = [width >> k for k in reversed(range(halvings))]
    return list(zip([1, *outs], outs, strict=False))


def halvings(pixels: int, places: int) -> int:
    """How many convolutions of stride 2 make `places` a side of `pixels`. Raises `StudyError` where none do.

    >>> halvings(28, 7), halvings(28, 4)  # 28, 14, 7, 4
    (2, 3)
    """
    side = pixels
    for count in range(pixels):
        if side == places:
            return count
        side = halved(side)
    what = f"convolutions of stride 2 do not make {places} places of {pixels} pixels"
    raise StudyError("patch", what, "use another patch, or stem 'patch'")


class Attention(nn.Module):
    """Attention of every patch to all patches, heads of `HEAD` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_btd: Tensor) -> Tensor:
        """``(batch, t, width)`` to the same."""
        q, k, v = (part.unflatten(2, (-1, HEAD)).transpose(1, 2) for part in self.qkv(x_btd).chunk(3, 2))
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class AcrossPatches(nn.Module):
    """MLP-Mixer's token mixing: a two-layer network over the patches of each channel, with t hidden units."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.layers = Hidden(patches, patches)

    def forward(self, x_btd: Tensor) -> Tensor:
        """``(batch, t, width)`` to the same."""
        return self.layers(x_btd.transpose(1, 2)).transpose(1, 2)


class Hidden(nn.Sequential):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Block(nn.Module):
    """Mixing of patches, then of channels, each behind a norm and beside a residual."""

    def __init__(self, width: int, mix: nn.Module) -> None:
        super().__init__()
        self.norm1, self.mix = nn.LayerNorm(width), mix
        self.norm2, self.channels = nn.LayerNorm(width), Hidden(width, EXPANSION * width)

    def forward(self, h_btd: Tensor) -> Tensor:
        """``(batch, t, width)`` to the same."""
        h_btd = h_btd + self.mix(self.norm1(h_btd))
        return h_btd + self.channels(self.norm2(h_btd))


class PatchNetwork(nn.Module):
    """Stem, positions where there are any, blocks, norm, mean over patches."""

    def __init__(self, stem: nn.Module, blocks: list[Block], width: int, positions: int) -> None:
        super().__init__()
        self.stem, self.blocks, self.norm = stem, nn.Sequential(*blocks), nn.LayerNorm(width)
        self.position = nn.Parameter(0.5 * torch.randn(positions, width)) if positions else None

    def forward(self, x_b1hw: Tensor) -> Tensor:
        """Images to features ``(batch, width)``."""
        h_btd = self.stem(x_b1hw)
        if self.position is not None:
            h_btd = h_btd + self.position
        return self.norm(self.blocks(h_btd)).mean(1)


class PatchClassifier(Classifier):
    """What the networks of patches share: attention mixes them, unless `mix` and `mix_cost` say otherwise."""

    positions = True

    class Choices(Classifier.Choices):
        """`width`: channels of a patch, a multiple of 16; `patch`: its pixels a side; `depth`: blocks; `stem`: how
        patches are embedded, linearly (``patch``) or by convolutions (``convolution``) to as many places."""

        lr: float = Field(3e-3, gt=0)
        width: int = Field(32, ge=HEAD, multiple_of=HEAD)
        depth: int = Field(3, ge=1, le=32)
        patch: int = Field(4, ge=1)
        stem: Literal["patch", "convolution"] = "patch"

    def mix(self, patches: int, width: int) -> nn.Module:
        """The mixing of patches: attention."""
        return Attention(width)

    def mix_cost(self, patches: int, width: int) -> Cost:
        """What it costs."""
        scores = patches * patches * width / HEAD
        softmax = NORMALISE_FLOPS_PER_ELEMENT
        return at(patches, linear(width, 3 * width, bias=True) + linear(width, width, bias=True)) + work(
            scores * (4 * HEAD + softmax), scores * (10 * HEAD + 2 * softmax)
        )

    def patches(self, task: Any, choices: Any) -> int:
        """Patches of an image. Raises `StudyError` where they do not tile it."""
        if task.pixels % choices.patch:
            what = f"patches of {choices.patch} pixels do not tile an image of {task.pixels}"
            raise StudyError("patch", what, f"use a divisor of {task.pixels}")
        return (task.pixels // choices.patch) ** 2

    def halvings(self, task: Any, choices: Any) -> int:
        """Convolutions of the convolutional stem."""
        return halvings(task.pixels, task.pixels // choices.patch)

    def encoder(self, task: Any, choices: Any) -> nn.Module:
        """A `PatchNetwork`."""
        patches, width = self.patches(task, choices), choices.width
        stem: nn.Module = PatchStem(choices.patch, width)
        if choices.stem == "convolution":
            stem = ConvolutionStem(self.halvings(task, choices), width)
        blocks = [Block(width, self.mix(patches, width)) for _ in range(choices.depth)]
        return PatchNetwork(stem, blocks, width, patches if self.positions else 0)

    def features(self, task: Any, choices: Any) -> int:
        """Channels of a patch."""
        return choices.width

    def encoding(self, task: Any, choices: Any) -> Cost:
        """Stem, positions, blocks, last norm and the mean."""
        t, d = self.patches(task, choices), choices.width
        ends = pointwise(t * d) + at(t, norm(d))  # the mean and the norm before it
        places = pointwise(t * d) + Cost(t * d, t * d) if self.positions else Cost()
        return self.stem_cost(task, choices) + places + ends + self.blocks_cost(t, t, choices)

    def blocks_cost(self, patches: int, shown: int, choices: Any) -> Cost:
        """All blocks of a network made for `patches`, of which `shown` are there."""
        return block_cost(shown, choices.width, self.mix_cost(shown, choices.width)) * choices.depth

    def stem_cost(self, task: Any, choices: Any) -> Cost:
        """From pixels to patches."""
        t, d = self.patches(task, choices), choices.width
        if choices.stem == "patch":
            return patch_cost(t, choices.patch, d)
        total, side = Cost(), task.pixels
        for number, (into, out) in enumerate(stem_channels(self.halvings(task, choices), d)):
            side = halved(side)
            total += convolution(into, out, 3, side**2, first=number == 0)
            total += norm(out, side**2) + pointwise(out * side**2)
        return total


def block_cost(patches: int, width: int, mix: Cost) -> Cost:
    """A block on so many patches: two norms, two residuals, the mixing and the hidden layer."""
    hidden = EXPANSION * width
    channels = linear(width, hidden, bias=True) + pointwise(hidden) + linear(hidden, width, bias=True)
    return mix + at(patches, norm(width)) * 2 + pointwise(patches * width) * 2 + at(patches, channels)


@algorithm(
    "vision/vit",
    version=1,
    summary="Vision Transformer: attention over patches, with a linear or a convolutional stem",
    year=2020,
    source="Dosovitskiy et al. 2021, arXiv 2010.11929; Xiao et al. 2021, arXiv 2106.14881 (convolutional stem)",
    claim="two to four times less pre-training compute than a ResNet on 300M images; behind it on 1.3M",
    smoke=PATCH_SMOKE,
)
class VisionTransformer(PatchClassifier):
    """Patches mixed by attention."""


@algorithm(
    "vision/mlp-mixer",
    version=1,
    summary="MLP-Mixer: patches mixed by a dense layer over them",
    year=2021,
    source="Tolstikhin et al. 2021, arXiv 2105.01601",
    claim="close to a Vision Transformer on 300M images, further behind it on fewer",
    smoke=PATCH_SMOKE,
)
class MlpMixer(PatchClassifier):
    """Patches mixed by a network of t hidden units, which knows their places: no positions are added."""

    positions = False

    def mix(self, patches: int, width: int) -> nn.Module:
        """`AcrossPatches`."""
        return AcrossPatches(patches)

    def mix_cost(self, patches: int, width: int) -> Cost:
        """Two dense layers for every channel."""
        layer = linear(patches, patches, bias=True)
        return at(width, layer + pointwise(patches) + layer)

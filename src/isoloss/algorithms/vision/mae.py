r"""Masked autoencoder: a Vision Transformer learns to fill in hidden patches, then is trained on with labels.

Of t patches a random share ``mask`` is hidden. The encoder works on the v = t (1 - mask) others alone, so that at 75%
it takes a quarter of the FLOPs or less; a small decoder gets its outputs and a learned token in place of each hidden
patch, and predicts their pixels. The loss is the squared error of the hidden pixels. The decoder is thrown away.
With ``encoder_sees = "all"`` the encoder gets the tokens of hidden patches too, as in BEiT: the same task, at the full
price.

Source: He et al. 2022, arXiv 2111.06377; Bao et al. 2022, arXiv 2106.08254 (BEiT).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.vision.augment import random_views
from isoloss.algorithms.vision.base import UPDATE_FLOPS
from isoloss.algorithms.vision.cnn import SMOKE
from isoloss.algorithms.vision.cost import at, norm, patch_cost, pointwise
from isoloss.algorithms.vision.pretrained import Pretrained, Pretraining, without_labels
from isoloss.algorithms.vision.vit import Attention, Block, PatchNetwork, VisionTransformer, block_cost
from isoloss.training.gradient import Trainee

#: Channels of the decoder, which has one block.
DECODER_WIDTH = 32

#: Images, and of each the places of patches that are shown and hidden.
Masked = tuple[Tensor, Tensor, Tensor]


class Autoencoder(nn.Module):
    """The encoder, and the decoder that is used in pre-training alone."""

    def __init__(self, encoder: PatchNetwork, patches: int, patch: int, width: int, *, sees_all: bool) -> None:
        super().__init__()
        self.encoder, self.sees_all = encoder, sees_all
        self.narrow = nn.Linear(width, DECODER_WIDTH)
        self.missing = nn.Parameter(0.02 * torch.randn(width if sees_all else DECODER_WIDTH))
        self.position = nn.Parameter(0.5 * torch.randn(patches, DECODER_WIDTH))
        self.block = Block(DECODER_WIDTH, Attention(DECODER_WIDTH))
        self.norm, self.pixels = nn.LayerNorm(DECODER_WIDTH), nn.Linear(DECODER_WIDTH, patch**2)

    def encoded(self, patches_btp: Tensor, shown_bv: Tensor, hidden_bm: Tensor) -> Tensor:
        """What the encoder makes of the patches shown ``(batch, v, width)``; with `sees_all`, of all, hidden ones last
        and as `missing`."""
        encoder = self.encoder
        h_btd = encoder.stem.embed(at_places(patches_btp, shown_bv))  # type: ignore[operator]
        places = shown_bv
        if self.sees_all:
            h_btd = torch.cat([h_btd, self.missing.expand(*hidden_bm.shape, -1)], 1)
            places = torch.cat([shown_bv, hidden_bm], 1)
        assert encoder.position is not None
        return encoder.norm(encoder.blocks(h_btd + encoder.position[places]))

    def forward(self, batch: Masked) -> Tensor:
        """Mean squared error of the hidden pixels."""
        x_b1hw, shown_bv, hidden_bm = batch
        patches_btp = self.encoder.stem.patches(x_b1hw)  # type: ignore[operator]
        h_btd = self.narrow(self.encoded(patches_btp, shown_bv, hidden_bm))
        if not self.sees_all:
            h_btd = torch.cat([h_btd, self.missing.expand(*hidden_bm.shape, -1)], 1)
        h_btd = self.block(h_btd + self.position[torch.cat([shown_bv, hidden_bm], 1)])
        guess_bmp = self.pixels(self.norm(h_btd[:, shown_bv.shape[1] :]))
        return functional.mse_loss(guess_bmp, at_places(patches_btp, hidden_bm))


def at_places(patches_btp: Tensor, places_bv: Tensor) -> Tensor:
    """Of each image the patches at its places, ``(batch, v, pixels)``."""
    return patches_btp.gather(1, places_bv.unsqueeze(2).expand(-1, -1, patches_btp.shape[2]))


@algorithm(
    "vision/mae",
    version=1,
    summary="the Vision Transformer pre-trained to fill in hidden patches, then trained with labels",
    year=2021,
    source="He et al. 2022, arXiv 2111.06377",
    claim="ImageNet: 84.9% against 82.5% from scratch (ViT-L), in a pre-training three or more times as fast",
    smoke=SMOKE
    | {
        "step_rule": {"kind": "constant", "value": 60},
        "choices": {
            "lr": 1e-2,
            "width": 16,
            "depth": 2,
            "patch": 2,
            "unlabelled": 512,
            "pretrain_steps": 30,
            "pretrain_batch": 32,
        },
    },
)
class MAE(Pretrained):
    """Hidden patches first, then the `VisionTransformer` with labels from the encoder that it left."""

    supervised = VisionTransformer()

    class Choices(Pretraining, VisionTransformer.Choices):
        """`mask`: the share of patches that is hidden; `encoder_sees`: the patches shown, or all with tokens for the
        hidden ones. A convolutional stem would see what is hidden."""

        stem: Literal["patch"] = "patch"
        mask: float = Field(0.75, gt=0, lt=1)
        encoder_sees: Literal["visible", "all"] = "visible"

    def shown(self, task: Any, choices: Any) -> tuple[int, int]:
        """Patches of an image that are shown, and all of them."""
        patches = self.supervised.patches(task, choices)
        return min(max(round(patches * (1 - choices.mask)), 1), patches - 1), patches

    def pretext(self, task: Any, choices: Any, seed: int) -> Trainee:
        """The autoencoder on random views with random patches hidden."""
        shown, patches = self.shown(task, choices)
        encoder = self.supervised.encoder(task, choices)
        assert isinstance(encoder, PatchNetwork)
        sees_all = choices.encoder_sees == "all"
        model = Autoencoder(encoder, patches, choices.patch, choices.width, sees_all=sees_all)

        def masked(x_b1hw: Tensor, generator: torch.Generator) -> Masked:
            order_bt = torch.rand(len(x_b1hw), patches, generator=generator).argsort(1)
            return random_views(x_b1hw, generator, task.mirrors), order_bt[:, :shown], order_bt[:, shown:]

        return without_labels(model, masked, task, choices, seed)

    def encoder_cost(self, task: Any, choices: Any) -> Cost:
        """What an image costs the encoder in pre-training: only the patches that it sees."""
        shown, patches = self.shown(task, choices)
        seen, d = patches if choices.encoder_sees == "all" else shown, choices.width
        ends = at(seen, norm(d)) + pointwise(seen * d) + Cost(patches * d, patches * d)  # last norm, positions
        return patch_cost(shown, choices.patch, d) + ends + self.supervised.blocks_cost(patches, seen, choices)

    def pretext_step_flops(self, task: Any, choices: Any) -> float:
        """The encoder on what it sees, the decoder's block on all patches, its prediction of the hidden ones."""
        shown, patches = self.shown(task, choices)
        hidden, d, pixels = patches - shown, choices.width, choices.patch**2
        sees_all = choices.encoder_sees == "all"
        w = DECODER_WIDTH
        decoder = at(patches if sees_all else shown, linear(d, w, bias=True))
        decoder += block_cost(patches, w, self.supervised.mix_cost(patches, w)) + pointwise(patches * w)
        decoder += at(hidden, norm(w) + linear(w, pixels, bias=True))
        decoder += Cost(patches * w + (d if sees_all else w)) + work(
            0, hidden * (d if sees_all else w) + hidden * pixels
        )
        network = self.encoder_cost(task, choices) + decoder
        return choices.pretrain_batch * network.training + UPDATE_FLOPS * network.parameters

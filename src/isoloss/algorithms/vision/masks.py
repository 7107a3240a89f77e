r"""Which weights a sparse network keeps: masks of ones and zeros, one a weight matrix.

Layer by layer at random (Erdős and Rényi: Mocanu et al. 2018; Evci et al. 2020, arXiv 1911.11134, section 3), by
magnitude over all layers (Han et al. 2015, arXiv 1506.02626), or exchanged while training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Bytes of a stored weight, of a column's number where a matrix is stored row by row, and of a row's length.
WEIGHT, COLUMN, ROW = 4, 2, 4


def erdos_renyi(shapes: Sequence[tuple[int, int]], kept: int) -> list[int]:
    r"""How many weights each layer keeps of `kept` in all: a share proportional to
    :math:`(n_{out} + n_{in}) / (n_{out} n_{in})`, so that small layers stay dense; none keeps more than it has.

    >>> erdos_renyi([(300, 196), (100, 300), (10, 100)], 9000)
    [4958, 3997, 45]
    """
    full: set[int] = set()
    while True:
        left = kept - sum(shapes[i][0] * shapes[i][1] for i in full)
        open_layers = [i for i in range(len(shapes)) if i not in full]
        unit = left / max(sum(sum(shapes[i]) for i in open_layers), 1)
        over = [i for i in open_layers if unit * sum(shapes[i]) > shapes[i][0] * shapes[i][1]]
        if not over:
            break
        full.update(over)
    counts = [o * i if k in full else int(unit * (o + i)) for k, (o, i) in enumerate(shapes)]
    if open_layers:
        counts[open_layers[0]] += kept - sum(counts)
    return counts


def at_random(shapes: Sequence[tuple[int, int]], counts: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """A mask a shape with so many ones, anywhere."""
    masks = []
    for (out, into), count in zip(shapes, counts, strict=True):
        mask = torch.zeros(out * into)
        mask[torch.randperm(out * into, generator=generator)[:count]] = 1.0
        masks.append(mask.view(out, into))
    return masks


def largest(weights: Sequence[Tensor], kept: int) -> list[Tensor]:
    """Masks of the `kept` weights of largest magnitude over all layers."""
    sizes = torch.cat([w.detach().abs().flatten() for w in weights])
    mask = torch.zeros_like(sizes)
    mask[sizes.topk(kept).indices] = 1.0
    return [m.view(w.shape) for m, w in zip(mask.split([w.numel() for w in weights]), weights, strict=True)]


def exchanged(mask: Tensor, weight: Tensor, merit: Tensor, share: float) -> Tensor:
    """`mask` after the `share` of its ones with the smallest weights went, and as many of the highest `merit` came."""
    kept = int(mask.sum())
    moved = min(round(share * kept), mask.numel() - kept)
    if moved == 0:
        return mask
    left = torch.zeros(mask.numel())
    left[torch.where(mask > 0, weight.detach().abs(), -1.0).flatten().topk(kept - moved).indices] = 1.0
    # what has just gone may come back, as in the sources
    left[torch.where(left > 0, -1.0, merit.flatten()).topk(moved).indices] = 1.0
    return left.view(mask.shape)


def stored_bytes(shapes: Sequence[tuple[int, int]], kept: int, biases: int) -> float:
    """Bytes of a sparse model: its weights, and which they are by the shorter of two codes, a bit for each place or
    the columns of each row."""
    places = sum(out * into for out, into in shapes)
    rows = sum(out for out, _ in shapes)
    return WEIGHT * (kept + biases) + min(places / 8, COLUMN * kept + ROW * rows)

"""What the layers of an image network cost, by formula: parameters, and FLOPs of one image.

A whole network is the sum of its parts (`isoloss.algorithms.cost.Cost`, whose "token" is an image here).
"""

from __future__ import annotations

import dataclasses

from isoloss.algorithms.cost import Cost, work
from isoloss.training.formulas import NORMALISE_FLOPS_PER_ELEMENT


def at(places: int, part: Cost) -> Cost:
    """`part` applied at so many places of an image (pixels, patches), with one set of parameters."""
    return dataclasses.replace(part, forward=places * part.forward, training=places * part.training)


def convolution(into: int, out: int, window: int, pixels: int, *, bias: bool = False, first: bool = False) -> Cost:
    r"""A convolution with a window of `window` x `window` to an output of `pixels` places.

    :math:`2 c c' k^2 p` forward, as much for the gradient of the kernel and, unless it is the `first` layer, for that
    of the input.
    """
    weights = into * out * window**2
    product = 2.0 * weights * pixels
    parameters = weights + out * bias
    return Cost(parameters, parameters, 0.0, product, (2 if first else 3) * product)


def patch_cost(patches: int, patch: int, width: int) -> Cost:
    """The linear embedding of so many patches; nothing goes back into the image."""
    weights = patch**2 * width
    parameters = weights + width
    return Cost(parameters, parameters, 0.0, 2.0 * weights * patches, (4.0 * weights + width) * patches)


def norm(channels: int, pixels: int = 1) -> Cost:
    """A normalisation with scale and shift per channel: 5 FLOPs an element each way."""
    elements = NORMALISE_FLOPS_PER_ELEMENT * channels * pixels
    return Cost(2 * channels, 2 * channels, 0.0, elements, 2 * elements)


def pointwise(elements: int) -> Cost:
    """An activation or a sum without parameters: 1 FLOP an element each way."""
    return work(elements, elements)

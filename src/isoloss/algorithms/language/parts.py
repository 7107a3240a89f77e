"""The families of interchangeable parts. A new member is a decorated class in one file, a plug-in's as well.

    @feed_forward("cubed", version=1, summary="cubed ReLU", year=2026, source="mine")
    class CubedReLU(FeedForward):
        activation_flops = 3
        ...

and a study names it: ``settings = { feed_forward = "cubed" }``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoloss.registry import Registry

if TYPE_CHECKING:
    from isoloss.algorithms.language.feed_forward import FeedForward
    from isoloss.algorithms.language.mixer import Mixer
    from isoloss.algorithms.language.normalisation import Norm

_HERE = "isoloss.algorithms.language"

feed_forwards: Registry[FeedForward] = Registry(
    "feed-forward",
    dict.fromkeys(("relu", "gelu", "relu2", "swiglu"), f"{_HERE}.feed_forward"),
    "isoloss.language.feed_forwards",
)
norms: Registry[Norm] = Registry(
    "norm", dict.fromkeys(("layer", "rms"), f"{_HERE}.normalisation"), "isoloss.language.norms"
)
mixers: Registry[Mixer] = Registry(
    "mixer",
    {"attention": f"{_HERE}.attention", "gated-delta": f"{_HERE}.recurrence"},
    "isoloss.language.mixers",
)

feed_forward = feed_forwards.register
norm = norms.register
mixer = mixers.register

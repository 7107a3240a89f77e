"""The point groups of the square grid and how they act on images, exactly.

p4 has the four quarter turns ``r^k``; p4m adds the mirror ``m``: eight elements ``r^k m^s``. An element acts on an
image by moving pixels, ``(g . f)(x) = f(g^-1 x)``; no interpolation. The tables (product, inverse) are read off that
action, so they can't disagree with it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PlaneGroup:
    """A group of quarter turns, with (`mirrors`) or without reflections. Elements are numbered ``4 s + k``.

    >>> p4 = PlaneGroup("p4", mirrors=False)
    >>> p4.order, int(p4.product[1, 3]), int(p4.inverse[1])
    (4, 0, 3)
    """

    name: str
    mirrors: bool

    @property
    def order(self) -> int:
        """Number of elements |G|."""
        return 8 if self.mirrors else 4

    def act(self, element: int, image: NDArray) -> NDArray:
        """`image` (last two axes square) moved by `element`: mirrored left to right first, then turned."""
        mirrored = np.flip(image, axis=-1) if element >= 4 else image
        return np.rot90(mirrored, element % 4, axes=(-2, -1))

    @functools.cached_property
    def product(self) -> NDArray[np.int64]:
        """Table ``(|G|, |G|)``: ``product[g, h]`` is the number of ``g h`` (first h, then g)."""
        probe = np.arange(4).reshape(2, 2)  # four distinct pixels: no two elements move them alike
        images = [self.act(g, probe).tobytes() for g in range(self.order)]
        rows = [[images.index(self.act(g, self.act(h, probe)).tobytes()) for h in range(self.order)]
                for g in range(self.order)]  # fmt: skip
        return np.array(rows)

    @functools.cached_property
    def inverse(self) -> NDArray[np.int64]:
        """``inverse[g]``: the number of ``g^-1``."""
        return np.argmax(self.product == 0, axis=1)

    def kernel_index(self, channels: int, inputs: int, size: int) -> NDArray[np.int64]:
        r"""Where each entry of an expanded kernel comes from in the free one; shape ``(|G|, channels*inputs*size**2)``.

        The free kernel is :math:`\psi(c, h, y)` with `channels` c, `inputs` group elements h (1 for the lifting
        layer, |G| after it) and pixels y of a `size` x `size` window. Row g lists, in the order ``(c, h, y)``, the
        flat places of

        .. math:: (g\psi)(c, h, y) = \psi(c, g^{-1}h, g^{-1}y).
        """
        free = np.arange(channels * inputs * size**2).reshape(channels, inputs, size, size)
        rows = []
        for g in range(self.order):
            permuted = free if inputs == 1 else free[:, self.product[self.inverse[g]]]
            rows.append(self.act(g, permuted).ravel())
        return np.stack(rows)


P4 = PlaneGroup("p4", mirrors=False)
P4M = PlaneGroup("p4m", mirrors=True)

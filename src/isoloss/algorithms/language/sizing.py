"""The one dial of a language model: a rung's budget decides width and depth."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ASPECT = 16  # width per layer, and the largest width of a head unless told (Gundlach et al. 2025, section 4.1)


@dataclass(frozen=True)
class Shape:
    """Width (of the residual stream or the recurrent state), number of layers, and the widest that a head may be."""

    width: int
    depth: int
    head: int = ASPECT

    @property
    def heads(self) -> int:
        """As many heads as keep a head at `head` or narrower.

        >>> Shape(16, 1).heads, Shape(20, 1).heads, Shape(384, 6, 64).heads
        (1, 2, 6)
        """
        return math.ceil(self.width / self.head)


def choose(shapes: Iterable[Shape], ratio: Callable[[Shape], float]) -> Shape:
    """The shape whose `ratio` (tokens per parameter, as a multiple of the asked one) is nearest to 1 in logarithm.

    `shapes` runs through each depth from narrow to wide, along which `ratio` falls. For each depth the best width is
    found, then the depth whose aspect is nearest to ``width = 16 depth``: size stays smooth in the budget where a
    fixed depth-from-width rule would jump.

    >>> choose([Shape(d, l) for l in (1, 2) for d in range(4, 64, 4)], lambda s: 8000 / (s.width**2 * s.depth * 12))
    Shape(width=24, depth=1, head=16)
    """
    best = []
    for _, same in itertools.groupby(shapes, key=lambda s: s.depth):
        widths = list(same)
        # the first width whose ratio is below 1, or the one before it
        here = bisect.bisect_left(widths, True, key=lambda s: ratio(s) < 1)
        near = widths[max(here - 1, 0) : here + 1]
        best.append(min(near, key=lambda s: abs(math.log(ratio(s)))))
    return min(best, key=lambda s: abs(math.log(s.width / (ASPECT * s.depth))))

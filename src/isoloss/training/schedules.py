"""Learning-rate schedules as functions of progress in [0, 1]: a multiplier of the base rate."""

from __future__ import annotations

import math


def cosine(progress: float, warmup: float = 0.1, final: float = 0.1) -> float:
    """Linear warm-up over the first `warmup` of the run, then a half cosine down to `final`.

    >>> round(cosine(0.1), 3), round(cosine(1.0), 3)
    (1.0, 0.1)
    """
    if progress < warmup:
        return progress / warmup
    x = (progress - warmup) / (1 - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x))


def inverse_sqrt(progress: float, warmup: float = 0.1) -> float:
    """Linear warm-up, then ``sqrt(warmup / progress)`` (Vaswani et al. 2017): does not reach zero.

    >>> round(inverse_sqrt(0.4), 3)
    0.5
    """
    return progress / warmup if progress < warmup else math.sqrt(warmup / progress)


def constant(progress: float) -> float:
    """No schedule."""
    return 1.0

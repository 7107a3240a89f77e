"""Learning-rate schedules as functions of progress in [0, 1]: a multiplier of the base rate.

Every one warms up linearly, over the first tenth of the run where its source does not say otherwise, to a peak of 1.
Their names are choices of an algorithm (``schedule``); another package adds one with the entry-point group
``isoloss.schedules``, a plug-in file with the `schedule` decorator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

from isoloss.registry import Registry

Schedule = Callable[[float], float]
F = TypeVar("F", bound=Callable[..., float])

WARM_UP = 0.1

schedules: Registry[Any] = Registry("schedule", {}, "isoloss.schedules")


def schedule(name: str, *, year: int, source: str, summary: str, version: int = 1) -> Callable[[F], F]:
    """Decorator: gives a function of progress its `card` and files it under `name`."""
    decorate = schedules.register(name, version=version, summary=summary, year=year, source=source)
    return cast(Callable[[F], F], decorate)


@schedule("cosine", year=2016, source="Loshchilov & Hutter 2017 (arXiv 1608.03983)", summary="half cosine to a tenth")
def cosine(progress: float, warmup: float = WARM_UP, final: float = 0.1) -> float:
    r"""Linear warm-up over the first `warmup` of the run, then a half cosine down to `final`:
    :math:`f + (1 - f) (1 + \cos \pi x) / 2` with :math:`x` from 0 to 1 after the warm-up. To a tenth: Hoffmann et
    al. 2022 (arXiv 2203.15556), appendix B.

    >>> round(cosine(0.1), 3), round(cosine(1.0), 3)
    (1.0, 0.1)
    """
    if progress < warmup:
        return progress / warmup
    x = (progress - warmup) / (1 - warmup)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x))


@schedule(
    "inverse_sqrt", year=2017, source="Vaswani et al. 2017 (arXiv 1706.03762) s5.3", summary="inverse square root"
)
def inverse_sqrt(progress: float, warmup: float = WARM_UP) -> float:
    """Linear warm-up, then ``sqrt(warmup / progress)`` (Vaswani et al. 2017): does not reach zero.

    >>> round(inverse_sqrt(0.4), 3)
    0.5
    """
    return progress / warmup if progress < warmup else math.sqrt(warmup / progress)


@schedule("linear", year=2018, source="Devlin et al. 2018 (arXiv 1810.04805) s A.2", summary="straight line to a tenth")
def linear(progress: float, warmup: float = WARM_UP, final: float = 0.1) -> float:
    r"""Linear warm-up, then a straight line down to `final`: :math:`1 - (1 - f) x`. The source's line ends at zero,
    see `linear_to_zero`; this one ends where `cosine` does, so that the two differ in shape alone.

    >>> round(linear(0.1), 3), round(linear(0.55), 3), round(linear(1.0), 3)
    (1.0, 0.55, 0.1)
    """
    if progress < warmup:
        return progress / warmup
    return 1 - (1 - final) * (progress - warmup) / (1 - warmup)


@schedule("linear-to-zero", year=2025, source="Bergsma et al. 2025 (arXiv 2502.15938)", summary="straight line to zero")
def linear_to_zero(progress: float, warmup: float = WARM_UP) -> float:
    r"""Linear warm-up, then a straight line to nothing: :math:`1 - x`.

    >>> round(linear_to_zero(0.55), 3), linear_to_zero(1.0)
    (0.5, 0.0)
    """
    return linear(progress, warmup, final=0.0)


@schedule(
    "wsd", year=2024, source="Haegele et al. 2024 (arXiv 2405.18392)", summary="warm-up, plateau, square-root decay"
)
def wsd(progress: float, warmup: float = WARM_UP, decay: float = 0.2) -> float:
    r"""Warm-up, stable, decay: 1 until the last `decay` of the run, then :math:`1 - \sqrt{x}` to zero.

    Equation 1 of the source with its best cool-down. Until the decay, the rate does not depend on the length of the
    run past the warm-up. Named in Hu et al. 2024 (arXiv 2404.06395).

    >>> round(wsd(0.1), 3), round(wsd(0.8), 3), round(wsd(0.85), 3), wsd(1.0)
    (1.0, 1.0, 0.5, 0.0)
    """
    if progress < warmup:
        return progress / warmup
    return 1 - math.sqrt(1 - min((1 - progress) / decay, 1.0))


@schedule("constant", year=2017, source="warm-up: Goyal et al. 2017 (arXiv 1706.02677) s2.2", summary="no decay")
def constant(progress: float, warmup: float = WARM_UP) -> float:
    """Linear warm-up, then 1: what is left to an optimiser that averages instead of slowing down.

    >>> constant(0.05), constant(1.0)
    (0.5, 1.0)
    """
    return progress / warmup if progress < warmup else 1.0

"""Logarithmic axes that people can read: few ticks at round numbers, labelled as 1×, 2×, 10⁹, 3×10⁹."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from isoloss.report import words

Domain = tuple[float, float]

#: Mantissas of ticks within one decade, coarse to fine.
_LADDERS: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
)
#: Steps of ticks where the whole axis spans less than a factor of two or so, coarse to fine.
_STEPS = (0.5, 0.25, 0.2, 0.1, 0.05, 0.025, 0.02, 0.01, 0.005, 0.0025, 0.002, 0.001)


def finite(values: Iterable[float | None]) -> list[float]:
    """The numbers among `values`: no None, NaN or infinity."""
    return [float(v) for v in values if v is not None and math.isfinite(v)]


def positive(values: Iterable[float | None]) -> list[float]:
    """The numbers above zero among `values`."""
    return [v for v in finite(values) if v > 0]


def padded(values: Iterable[float], share: float = 0.06, least: float = 0.05) -> Domain:
    """A logarithmic domain around positive `values` with a margin of `share` of its width, at least `least` decades."""
    logs = [math.log10(v) for v in values] or [0.0, 1.0]
    low, high = min(logs), max(logs)
    margin = max(share * (high - low), least)
    return 10 ** (low - margin), 10 ** (high + margin)


def reach(core: Iterable[float], wide: Iterable[float], room: float = 0.6, least: float = 0.35) -> Domain:
    """A domain that shows all of `core` and as much of `wide` as leaves `core` at least a good half of the height."""
    low, high = padded(core)
    allowed = max(room * math.log10(high / low), least)
    outer = padded([*wide, low, high], share=0.0, least=0.0)
    return max(outer[0], low / 10**allowed), min(outer[1], high * 10**allowed)


def clamp(value: float, domain: Domain) -> float:
    """`value` moved to the nearer end of `domain` where it lies outside; infinities included."""
    return min(max(value, domain[0]), domain[1])


def log_ticks(domain: Domain, most: int = 7, anchor: float | None = None) -> list[float]:
    """At most `most` round numbers inside `domain`, as fine as that allows; `anchor` is kept whenever it is inside.

    >>> log_ticks((0.8, 6.0), anchor=1.0)
    [1.0, 1.5, 2.0, 3.0, 5.0]
    >>> log_ticks((1e9, 1e11), 5)
    [1000000000.0, 3000000000.0, 10000000000.0, 30000000000.0, 100000000000.0]
    """
    low, high = domain
    decades = math.log10(high / low)
    best: list[float] = []
    for ladder in _LADDERS:
        for stride in (1,) if len(ladder) > 1 else tuple(range(math.ceil(decades / most) + 1, 0, -1)):
            ticks = _ladder_ticks(domain, ladder, stride)
            if len(ticks) <= most:
                best = ticks
    if len(best) < 4 and decades < 2:
        for step in (s * 10 ** math.floor(math.log10(high)) for s in (1.0, *_STEPS)):
            ticks = [
                round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
            ]
            ticks = [t for t in ticks if t > 0]
            if len(best) < len(ticks) <= most:
                best = ticks
    if anchor is not None and low <= anchor <= high and not any(math.isclose(t, anchor) for t in best):
        best = sorted([*(t for t in best if abs(math.log10(t / anchor)) > 0.04 * decades), anchor])
    return best


def _ladder_ticks(domain: Domain, ladder: tuple[float, ...], stride: int) -> list[float]:
    low, high = domain
    first, last = math.floor(math.log10(low)) - stride, math.ceil(math.log10(high))
    powers = [p for p in range(first, last + 1) if p % stride == 0]
    ticks = [float(f"{m * 10.0**p:.12g}") for p in powers for m in ladder]
    return [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]


def linear_ticks(domain: Domain, most: int = 6) -> list[float]:
    """At most `most` evenly spaced round numbers inside `domain`."""
    low, high = domain
    scale = 10.0 ** math.floor(math.log10((high - low) or 1.0))
    for step in (s * scale for s in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(k * step, 12) for k in range(first, last + 1)]
    return []


def linear_axis(domain: Domain, most: int = 6) -> dict[str, Any]:
    """Axis properties of a linear axis, all labels with the same decimals."""
    ticks = linear_ticks(domain, most)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    places = next((k for k in range(9) if abs(step * 10**k - round(step * 10**k)) < 1e-6), 3)
    return labelled(ticks, lambda v: words.fixed(v, places) if abs(v) < 1e6 else words.tick(v))


def log_axis(domain: Domain, most: int = 7) -> dict[str, Any]:
    """Axis properties of a logarithmic axis of amounts."""
    return labelled(log_ticks(domain, most), words.tick)


def labelled(ticks: list[float], label: Callable[[float], str]) -> dict[str, Any]:
    """Axis properties that put exactly `ticks` on an axis, each with its own `label`."""
    cases = "".join(
        f"abs(datum.value - {t!r}) <= {abs(t) * 1e-6 + 1e-12!r} ? {json.dumps(label(t), ensure_ascii=False)} : "
        for t in ticks
    )
    return {"values": ticks, "labelExpr": cases + "''"}

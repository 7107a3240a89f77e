"""How small a gain a design can resolve, and how many seeds a gain needs: for planning, before anything is run."""

from __future__ import annotations

import math

from scipy import special

MOST_SEEDS = 100_000


def smallest_resolvable_gain(
    n_seeds: int,
    sd_ln_quality: float | tuple[float, float],
    local_exponent: float,
    *,
    rungs: int = 1,
    correlation: float = 0.0,
    level: float = 0.95,
    power: float = 0.8,
) -> float:
    """The gain that an interval of `level` would tell from 1 with probability `power`, at one budget.

    ``ln G = (t_level + t_power) * sd_ln C``, with ``sd_ln C = sqrt((s_a^2 + s_b^2 - 2 rho s_a s_b) / n) / e``: seed
    noise of ``ln quality`` (one number, or one an arm) turned into resource by the local exponent
    ``e = -d ln quality / d ln C`` of the curves. The t quantiles have the ``rungs * (n - 1)`` degrees of freedom of a
    variance pooled over rungs in the arm (one degree for a single seed: nothing is known then). With equal unpaired
    arms this is ``exp(t * sd / e * sqrt(2 / n))``.

    >>> round(smallest_resolvable_gain(3, 0.002, 0.05, rungs=6), 3)
    1.106
    """
    if n_seeds < 1 or local_exponent <= 0:
        raise ValueError("n_seeds must be at least 1 and local_exponent positive")
    a, b = sd_ln_quality if isinstance(sd_ln_quality, tuple) else (sd_ln_quality, sd_ln_quality)
    dof = max(1, rungs * (n_seeds - 1))
    t = special.stdtrit(dof, (1 + level) / 2) + special.stdtrit(dof, power)
    spread = math.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0) / n_seeds) / local_exponent
    return math.exp(min(float(t) * spread, 700.0))


def seeds_to_resolve(
    gain: float,
    sd_ln_quality: float | tuple[float, float],
    local_exponent: float,
    *,
    rungs: int = 1,
    correlation: float = 0.0,
    level: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Fewest seeds an arm and rung at which `gain` (or its inverse) is resolvable; None beyond 100,000."""
    target = max(gain, 1 / gain)
    if target <= 1:
        return None
    low, high = 1, 2
    keywords = {"rungs": rungs, "correlation": correlation, "level": level, "power": power}

    def enough(n: int) -> bool:
        return smallest_resolvable_gain(n, sd_ln_quality, local_exponent, **keywords) <= target  # type: ignore[arg-type]

    if enough(low):
        return low
    while not enough(high):
        low, high = high, high * 2
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

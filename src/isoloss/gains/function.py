"""A gain as a function of budget under an explicit index, for the algebra of chains.

Two algorithms are compared by the pairs of budgets ``(C_old, C_new)`` that reach one quality. That curve is the whole
gain: under the `old` index it reads ``G(C_old) = C_old / C_new``, under the `new` index ``G(C_new) = C_old / C_new``,
and under the `quality` index the same at a level. Inverting an index is reading the curve along its other axis; chains
follow it from one arm's axis to the next. Where several points of the curve share a coordinate the gain is two-valued
there, where none does it is undefined, and both are said, never smoothed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from isoloss.errors import TableError
from isoloss.gains.measured import quantile_interval
from isoloss.gains.result import GainCurve, GainPoint, Index, Interval, Region

Array = NDArray[np.float64]
ByBudget = Literal["old", "new"]

DECADE = float(np.log(10.0))
FARTHEST = 2.0  # decades beyond the data after which an estimate of our own is withheld
PER_DECADE = 60  # knots a decade: linear pieces then bend away from a smooth curve by less than one part in 10,000
MOST_KNOTS = 2000


@dataclass(frozen=True, eq=False)
class GainFunction:
    """How many times less budget `new` needs than `old`, as a curve of matching budgets.

    `log_old` and `log_new` (1 + B, P) are ``ln`` budgets of equal quality along the curve: row 0 is the estimate, the
    B others are draws (none for a law that is quoted without uncertainty). `quality` (1 + B, P) is the level itself
    where it is known. `decades_out` (P,) is the estimate's distance from measured data, in decades; NaN where the
    source does not say what was measured. A non-finite `log_new` or `log_old` is an arm that never gets so good.
    """

    old: str
    new: str
    log_old: Array
    log_new: Array
    decades_out: Array
    quality: Array | None = None

    @property
    def draws(self) -> int:
        """How many draws there are beside the estimate."""
        return max(len(self.log_old), len(self.log_new)) - 1

    def log_gain(self, index: Index, at: Array | float) -> tuple[Array, Array]:
        """Bounds ``(low, high)`` on ``ln G`` (1 + B, Q) at `at`, (Q,) or (1 + B, Q): ``ln C``, or a quality.

        The two are equal where the gain has one value, apart where it has several, and NaN where it is undefined.
        """
        return read_curve(self._axis(index), self.log_old - self.log_new, at)

    def budgets(self, index: ByBudget, log_c: Array | float) -> tuple[Array, Array]:
        """Bounds on the other arm's ``ln`` budget (1 + B, Q) where the indexing arm spends `log_c`."""
        other = self.log_new if index == "old" else self.log_old
        return read_curve(self._axis(index), other, log_c)

    def out(self, index: Index, at: float) -> float:
        """Decades between the estimate at `at` and measured data: 0 inside them, NaN where nobody says."""
        low, high = read_curve(self._axis(index)[:1], self.decades_out[None], at)
        return float(high[0, 0]) if np.isfinite(low[0, 0]) else float("nan")

    def domain(self, index: Index) -> Interval:
        """Least and greatest budget (or quality) at which the estimate is defined."""
        key, gain = self._axis(index)[0], (self.log_old - self.log_new)[0]
        known = key[np.isfinite(key) & np.isfinite(gain)]
        ends = float(known.min()), float(known.max())
        return ends if index == "quality" else (float(np.exp(ends[0])), float(np.exp(ends[1])))

    def two_valued(self, index: Index) -> tuple[Interval, ...]:
        """Stretches of budget (or quality) at which the estimate has more than one gain."""
        key = self._axis(index)[0]
        step = np.diff(key)
        falls = np.sign(np.nanmedian(step)) * step < 0  # against the curve's own direction
        found: list[Interval] = []
        for i in np.flatnonzero(falls & np.isfinite(step)):
            low, high = sorted((float(key[i]), float(key[i + 1])))
            if found and low <= found[-1][1] + 1e-12 and high >= found[-1][0] - 1e-12:
                low, high = min(low, found[-1][0]), max(high, found[-1][1])
                found.pop()
            found.append((low, high))
        if index == "quality":
            return tuple(found)
        return tuple((float(np.exp(a)), float(np.exp(b))) for a, b in found)

    def budgets_of(self, index: ByBudget, gain: float) -> tuple[float, ...]:
        """Every budget at which the estimate of the gain is `gain`, in order; empty where there is none.

        More than one where the gain first falls and then grows: its inverse is then many-valued.
        """
        key, excess = self._axis(index)[0], (self.log_old - self.log_new)[0] - np.log(gain)
        sides = np.sign(excess)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = excess[:-1] / (excess[:-1] - excess[1:])
        cross = np.flatnonzero(np.isfinite(share) & (sides[:-1] * sides[1:] < 0))
        roots = [float(key[i] + share[i] * (key[i + 1] - key[i])) for i in cross]
        roots += [float(key[i]) for i in np.flatnonzero(sides == 0)]
        return tuple(sorted(float(np.exp(r)) for r in roots))

    def slope(self, index: ByBudget, log_c: float, half: float = 0.05) -> tuple[float, Array]:
        """``d ln G / d ln C`` of the estimate and of every draw (B,), over ``log_c ± half``."""
        low, high = self.log_gain(index, np.array([log_c - half, log_c + half]))
        middle = np.where(low == high, low, np.nan)
        slope = (middle[:, 1] - middle[:, 0]) / (2 * half)
        return float(slope[0]), slope[1:]

    def at(self, index: Index, at: float, level: float = 0.95) -> GainPoint:
        """The gain at one budget (or quality), with its interval, region and, where there is no one value, why."""
        key = float(at) if index == "quality" else float(np.log(at))
        low, high = self.log_gain(index, key)
        return gain_point(index, at, low[:, 0], high[:, 0], self.out(index, key), level, self._absent(index, key))

    def _axis(self, index: Index) -> Array:
        if index == "quality":
            if self.quality is None:
                where = f"gain of {self.new} over {self.old}"
                raise TableError(where, "is known by budget alone", "use the old or the new index")
            return self.quality
        return self.log_old if index == "old" else self.log_new

    def _absent(self, index: Index, key: float) -> str:
        axis = self._axis(index)[0]
        known = axis[np.isfinite(axis)]
        if known.size and known.min() <= key <= known.max():
            return f"{self.new if index == 'old' else self.old} never gets this good"
        return "outside the domain of this gain"


def gain_point(
    index: Index, at: float, low: Array, high: Array, out: float, level: float, absent: str = "undefined here"
) -> GainPoint:
    """A `GainPoint` from bounds ``(1 + B,)`` on ``ln G`` and the distance from data in decades (NaN: not said)."""
    draws = (low[1:], high[1:]) if len(low) > 1 else None
    ends = None if draws is None else _up(quantile_interval(*draws, level))
    if np.isnan(low[0]):
        return GainPoint(index, at, None, None, "undefined", note=absent)
    if low[0] != high[0]:
        bounds = _up((float(low[0]), float(high[0])))
        if np.isfinite([low[0], high[0]]).all():
            note = f"two-valued: between {bounds[0]:.4g} and {bounds[1]:.4g}"
            return GainPoint(index, at, None, ends or bounds, "undefined", note=note)
        return GainPoint(index, at, None, ends or bounds, "censored", note="only a bound")
    if np.isinf(low[0]):
        return GainPoint(index, at, None, None, "undefined", note=absent)
    value = float(np.exp(low[0]))
    if np.isnan(out):
        return GainPoint(index, at, value, ends, "extrapolated", note="quoted: its source gives no measured range")
    if out > FARTHEST:
        return GainPoint(index, at, None, ends, "withheld", decades_out=out)
    region: Region = "measured" if out <= 1e-9 else "extrapolated"
    return GainPoint(index, at, value, ends, region, decades_out=out)


def from_laws(
    old: str,
    new: str,
    laws: tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]],
    budgets: Interval,
    measured: Interval | None = None,
) -> GainFunction:
    """The gain between two laws ``L(C) = E + A C^-alpha``, each given as ``(E, A, alpha)``.

    Numbers for published constants, arrays (1 + B,) for an estimate and its draws. `budgets`: the old arm's budgets
    over which the function is wanted; `measured`: those over which both arms had data, if known. Under a common floor
    ``ln G`` is a straight line in ``ln C`` and this is exact; where the old law goes below the new one's floor the
    gain is undefined.
    """
    (e0, a0, alpha0), (e1, a1, alpha1) = (tuple(np.atleast_1d(np.asarray(v, float))[:, None] for v in w) for w in laws)
    _positive(np.concatenate([v.ravel() for v in (a0, alpha0, a1, alpha1)]), f"{old} to {new}", "a scale or exponent")
    x = _grid(*budgets)
    excess = a0 * np.exp(-alpha0 * x)
    above = excess + (e0 - e1)  # not the loss less the floor: near the floor that would be rounding alone
    loss = e0 + excess
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(above > 0, (np.log(a1) - np.log(above)) / alpha1, np.inf)
    return GainFunction(old, new, np.broadcast_to(x, y.shape), y, _outside(x, measured), np.broadcast_to(loss, y.shape))


def from_formula(
    old: str,
    new: str,
    formula: Callable[[Array], Array],
    index: ByBudget,
    budgets: Interval,
    measured: Interval | None = None,
) -> GainFunction:
    """The gain of a closed form ``G(C)``, `C` being the budget of the arm that `index` names."""
    x = _grid(*budgets)
    gain = np.asarray(formula(np.exp(x)), float)
    _positive(gain, f"{old} to {new}", "a gain")
    return _indexed(old, new, index, x, np.log(gain)[None], _outside(x, measured))


def from_table(
    old: str,
    new: str,
    index: ByBudget,
    budget: Sequence[float] | Array,
    gain: Sequence[float] | Array,
    low: Sequence[float] | Array | None = None,
    high: Sequence[float] | Array | None = None,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    decades_out: Sequence[float] | Array | None = None,
) -> GainFunction:
    """The gain of a table: linear in ``ln G`` against ``ln C`` between its rows, undefined beyond them.

    With `low` and `high` (the ends of an interval of `level`, rows alike), a draw moves the whole curve up or down by
    one normal score, scaled by the width on that side: a table says nothing about how errors at two budgets go
    together, and errors that go together are the ones that don't average out along a chain. `decades_out` per row;
    0 unless given.
    """
    where = f"gain of {new} over {old}"
    x, g = np.asarray(budget, float), np.asarray(gain, float)
    if x.ndim != 1 or x.shape != g.shape or len(x) < 2:
        raise TableError(where, f"has {x.size} budgets and {g.size} gains", "give two rows or more, a gain in each")
    _positive(x, where, "a budget")
    _positive(g, where, "a gain")
    order = np.argsort(x, kind="stable")
    x, g = np.log(x[order]), np.log(g[order])
    if np.any(np.diff(x) <= 0):
        again = np.exp(x[1:][np.diff(x) <= 0][0])
        raise TableError(where, f"gives budget {again:.6g} twice", "keep one row a budget")
    knots = np.unique(np.r_[_grid(float(np.exp(x[0])), float(np.exp(x[-1]))), x])
    out = np.zeros(len(x)) if decades_out is None else np.asarray(decades_out, float)[order]
    rows = np.interp(knots, x, g)[None]
    if low is not None and high is not None:
        ends = [np.asarray(v, float)[order] for v in (low, high)]
        for v in ends:
            _positive(v, where, "an end of an interval")
        if np.any(np.log(ends[0]) > g + 1e-9) or np.any(np.log(ends[1]) < g - 1e-9):
            raise TableError(where, "has a gain outside its own interval", "check low, gain and high")
        unit = float(special.ndtri((1 + level) / 2))
        down, up = (np.interp(knots, x, np.abs(np.log(v) - g)) / unit for v in ends)
        z = np.random.default_rng([seed, 11]).standard_normal((draws, 1))
        rows = np.concatenate([rows, rows + np.where(z < 0, z * down, z * up)])
    return _indexed(old, new, index, knots, rows, np.interp(knots, x, out))


def from_curve(curve: GainCurve, index: ByBudget = "old", draws: int = 2000, seed: int = 0) -> GainFunction:
    """The gain of a comparison, from its band under `index`: measured inside the overlap, laws for a decade outside.

    Points that a band leaves open (no estimate, no bound) are left out; draws are those of `from_table`. Raises
    TableError where fewer than two points are left.
    """
    band = curve.old if index == "old" else curve.new
    rows = [
        (x, v, lo, hi, r)
        for x, v, lo, hi, r in zip(band.at, band.value, band.low, band.high, band.region, strict=True)
        if v is not None and v > 0
    ]
    if len(rows) < 2:
        where = f"gain of {curve.candidate} over {curve.baseline}"
        raise TableError(where, f"is known at {len(rows)} budgets", "give runs whose qualities overlap")
    at, value, low, high, region = zip(*rows, strict=True)
    inside = [np.log(a) for a, r in zip(at, region, strict=True) if r == "measured"]
    span = (float(np.exp(min(inside))), float(np.exp(max(inside)))) if inside else None
    if span is None and curve.overlap is not None:
        span = curve.overlap
    # without any overlap every point lies at least as far out as the first and last of the band lie apart
    out = _outside(np.log(at), span) if span else np.full(len(at), np.nan)
    bounded = all(v is not None and np.isfinite(v) and v > 0 for v in (*low, *high))
    return from_table(
        curve.baseline,
        curve.candidate,
        index,
        at,
        value,
        low if bounded else None,
        high if bounded else None,
        level=curve.level,
        draws=draws,
        seed=seed,
        decades_out=out,
    )


def from_constant(old: str, new: str, gain: Any, budgets: Interval, measured: Interval | None = None) -> GainFunction:
    """The same gain at every budget; `gain` a number, or (1 + B,) for an estimate and its draws."""
    g = np.atleast_1d(np.asarray(gain, float))[:, None]
    _positive(g, f"{old} to {new}", "a gain")
    x = _grid(*budgets)
    return _indexed(old, new, "old", x, np.log(g) * np.ones(len(x)), _outside(x, measured))


def read_curve(key: Array, value: Array, at: Array | float) -> tuple[Array, Array]:
    """Least and greatest `value` (R, Q) of piecewise-linear curves where `key` equals `at`; NaN where none does.

    `key`, `value` (R or 1, P) hold the knots; `at` is (Q,) for all rows or (R, Q) row by row. Knots that are not
    finite end the pieces beside them.
    """
    target = np.atleast_1d(np.asarray(at, float))
    target = target[None] if target.ndim == 1 else target
    rows = max(len(key), len(value), len(target))
    known = np.isfinite(key) & np.isfinite(value)
    here = np.flatnonzero(known[0])
    if here.size > 1 and (known == known[0]).all() and here[-1] - here[0] == here.size - 1:
        # the usual case: one stretch of knots, rising or falling throughout
        stretch = slice(here[0], here[-1] + 1)
        step = np.diff(key[:, stretch], axis=1)
        if (step > 0).all() or (step < 0).all():
            found = _read_monotone(key[:, stretch], value[:, stretch], target, rows)
            return found, found
    low = np.full((rows, target.shape[1]), np.inf)
    high = -low
    if not known.any():
        nothing = np.full(low.shape, np.nan)
        return nothing, nothing
    target, key, value = (np.broadcast_to(v, (rows, v.shape[1])) for v in (target, key, value))
    for i in range(key.shape[1] - 1):
        k0, k1, v0, v1 = key[:, i, None], key[:, i + 1, None], value[:, i, None], value[:, i + 1, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            met = (target >= np.minimum(k0, k1)) & (target <= np.maximum(k0, k1)) & np.isfinite(k1 - k0 + v1 - v0)
            share = np.where(k1 == k0, 0.0, (target - k0) / np.where(k1 == k0, 1.0, k1 - k0))
            v = v0 + share * (v1 - v0)
        low, high = np.where(met, np.minimum(low, v), low), np.where(met, np.maximum(high, v), high)
    none = low > high
    low, high = np.where(none, np.nan, low), np.where(none, np.nan, high)
    # a knot that two pieces share is met twice, with rounding between the two
    close = np.abs(high - low) <= 1e-9 * (1 + np.abs(low))
    return low, np.where(close, low, high)


def _read_monotone(key: Array, value: Array, target: Array, rows: int) -> Array:
    """The one value per reading: all rows are searched at once, each moved to a stretch of the axis of its own."""
    if key[0, -1] < key[0, 0]:
        key, value = key[:, ::-1], value[:, ::-1]
    if len(key) == 1 and len(value) == 1:
        flat = np.interp(target.ravel(), key[0], value[0], left=np.nan, right=np.nan)
        return np.broadcast_to(flat.reshape(target.shape), (rows, target.shape[1]))
    key, target = np.broadcast_to(key, (rows, key.shape[1])), np.broadcast_to(target, (rows, target.shape[1]))
    value = np.broadcast_to(value, (rows, value.shape[1]))
    first, last = key[:, :1], key[:, -1:]
    inside = (target >= first) & (target <= last)
    safe = np.where(inside, target, first)
    apart = float((last - first).max()) + 1.0
    shift = np.arange(rows)[:, None] * apart - first
    j = np.searchsorted((key + shift).ravel(), (safe + shift).ravel(), side="right").reshape(safe.shape) - 1
    j = np.clip(j - np.arange(rows)[:, None] * key.shape[1], 0, key.shape[1] - 2)
    k0, k1 = np.take_along_axis(key, j, 1), np.take_along_axis(key, j + 1, 1)
    v0, v1 = np.take_along_axis(value, j, 1), np.take_along_axis(value, j + 1, 1)
    return np.where(inside, v0 + (safe - k0) / (k1 - k0) * (v1 - v0), np.nan)


def _indexed(old: str, new: str, index: ByBudget, x: Array, log_gain: Array, out: Array) -> GainFunction:
    here = np.broadcast_to(x, log_gain.shape)
    if index == "old":
        return GainFunction(old, new, here, here - log_gain, out)
    return GainFunction(old, new, here + log_gain, here, out)


def _grid(first: float, last: float) -> Array:
    if not (np.isfinite([first, last]).all() and 0 < first < last):
        raise TableError("budgets", f"{first:g} to {last:g} is no range", "give a smaller and a larger positive budget")
    knots = int(np.clip(np.ceil(PER_DECADE * np.log10(last / first)), 2, MOST_KNOTS)) + 1
    return np.linspace(np.log(first), np.log(last), knots)


def _outside(x: Array | Sequence[float], measured: Interval | None) -> Array:
    x = np.asarray(x, float)
    if measured is None:
        return np.full(len(x), np.nan)
    low, high = np.log(measured)
    return np.maximum(0.0, np.maximum(low - x, x - high)) / DECADE


def _positive(values: Array, where: str, what: str) -> None:
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        raise TableError(where, f"{what} is {np.ravel(values)[np.argmax(bad)]:g}", "give positive numbers")


def _up(ends: Interval) -> Interval:
    with np.errstate(over="ignore"):
        return float(np.exp(ends[0])), float(np.exp(ends[1]))

"""Phantoms: synthetic laboratories whose gains are known, to test whatever claims to measure gains.

An arm's true loss is a power law with a floor, smoothly broken if asked (Caballero et al. 2022, one break),

``L(C) = E + S (C/C0)^-a [1 + (C/Cb)^(1/w)]^(-(b - a) w)``

with E the floor, S the loss above it at the anchor C0, a and b the exponents before and after the budget Cb, and w
the width of the break in natural logarithms of C. A `Phantom` holds two such arms and their seed noise; a
`FactorialPhantom` holds one arm for every set of innovations switched on, whose log gains need not add. Losses are in
nats, budgets in the unit of the anchor (training FLOPs in the ready-made ones).
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoloss.gains.arms import ArmRuns
from isoloss.gains.result import Interval, Level, Trend

Array = NDArray[np.float64]

ANCHOR = 1e15  # training FLOPs of the first rung of the ready-made phantoms
STEP = 4.0  # between their rungs
KINDS = ("constant", "growing", "vanishing", "crossing", "no gain")


@dataclass(frozen=True)
class TrueCurve:
    """One arm's true loss against budget; see the formula above. A `break_at` of ``inf`` means no break.

    Raises ValueError if the loss would not fall with the budget.
    """

    floor: float
    above: float
    exponent: float
    anchor: float = ANCHOR
    break_at: float = math.inf
    exponent_after: float = math.nan
    width: float = 0.5

    def __post_init__(self) -> None:
        after = self.exponent if math.isinf(self.break_at) else self.exponent_after
        if not (self.floor >= 0 and self.above > 0 and self.exponent > 0 and after > 0 and self.width > 0):
            raise ValueError("a true curve needs floor >= 0 and positive `above`, exponents and width")

    def loss(self, budget: ArrayLike) -> Array:
        """L in nats at `budget`, of its shape."""
        return self.floor + np.exp(self._log_above(np.log(np.asarray(budget, float))))

    def exponent_at(self, budget: ArrayLike) -> Array:
        """``-d ln(L - E) / d ln C`` at `budget`, of its shape."""
        x = np.log(np.asarray(budget, float))
        if math.isinf(self.break_at):
            return np.full(x.shape, self.exponent)
        share = 1 / (1 + np.exp(-(x - math.log(self.break_at)) / self.width))
        return self.exponent + (self.exponent_after - self.exponent) * share

    def budget(self, loss: ArrayLike) -> Array:
        """C at which the arm reaches `loss`, of its shape; ``inf`` at or below the floor."""
        loss = np.asarray(loss, float)
        target = np.log(np.where(loss > self.floor, loss - self.floor, self.above))
        x = math.log(self.anchor) + (math.log(self.above) - target) / self.exponent
        if not math.isinf(self.break_at):
            # the curve lies between those of its two exponents, so bisection brackets the root
            steep, flat = sorted((self.exponent, self.exponent_after), reverse=True)
            reach = (math.log(self.above) - target) / np.array([[steep], [flat]]).reshape(2, *[1] * target.ndim)
            slack = abs(steep - flat) / flat * (abs(math.log(self.break_at / self.anchor)) + 4 * self.width) + 1
            low, high = (
                math.log(self.anchor) + reach.min(axis=0) - slack,
                math.log(self.anchor) + reach.max(axis=0) + slack,
            )
            for _ in range(80):
                x = 0.5 * (low + high)
                short = self._log_above(x) > target
                low, high = np.where(short, x, low), np.where(short, high, x)
        return np.where(loss > self.floor, np.exp(x), np.inf)

    def _log_above(self, x: Array) -> Array:
        out = math.log(self.above) - self.exponent * (x - math.log(self.anchor))
        if math.isinf(self.break_at):
            return out
        bend = self.width * (self.exponent_after - self.exponent)
        return out - bend * np.logaddexp(0.0, (x - math.log(self.break_at)) / self.width)


@dataclass(frozen=True)
class SeedNoise:
    """How runs scatter about the true loss.

    `sd` in nats: one number for every arm, or one for the first (baseline) and one for all others. `relative`: the SD
    is that at a loss of `reference` nats and in proportion elsewhere; otherwise it is the same at every loss.
    `correlation` (0 to 1) is that of runs of two arms with the same budget and seed. `tail` are the degrees of freedom
    (> 2) of Student-t noise, scaled to the same SD; ``inf`` is normal. `diverging` is the probability that a run's
    loss is infinite. Raises ValueError for values outside these ranges.
    """

    sd: float | tuple[float, float] = 0.005
    relative: bool = False
    correlation: float = 0.0
    tail: float = math.inf
    diverging: float = 0.0
    reference: float = 3.0

    def __post_init__(self) -> None:
        if not (0 <= self.correlation <= 1 and self.tail > 2 and 0 <= self.diverging < 1):
            raise ValueError("seed noise needs 0 <= correlation <= 1, tail > 2 and 0 <= diverging < 1")

    def of(self, arm: int) -> float:
        """SD in nats of one arm by its position; the baseline is 0."""
        return self.sd if isinstance(self.sd, float | int) else self.sd[min(arm, 1)]

    def runs(self, arm: int, loss: Array, shared: Array, rng: np.random.Generator) -> Array:
        """Noisy losses of one arm about `loss` (n,); `shared` (n,) is the normal that all arms have in common."""
        z = math.sqrt(self.correlation) * shared + math.sqrt(1 - self.correlation) * rng.standard_normal(loss.shape)
        if math.isfinite(self.tail):
            z = z * np.sqrt((self.tail - 2) / rng.chisquare(self.tail, loss.shape))
        scale = loss / self.reference if self.relative else 1.0
        noisy = np.maximum(loss + self.of(arm) * scale * z, 1e-6 * loss)
        return np.where(rng.random(loss.shape) < self.diverging, np.inf, noisy)


@dataclass(frozen=True)
class Phantom:
    """Two arms with a known gain. ``arms`` are the names `old` and `new`, the baseline first."""

    name: str
    old: TrueCurve
    new: TrueCurve
    noise: SeedNoise = field(default_factory=SeedNoise)
    arms: tuple[str, str] = ("old", "new")

    def curve(self, arm: str) -> TrueCurve:
        """The true curve of an arm by name."""
        return (self.old, self.new)[self.arms.index(arm)]

    def loss(self, arm: str, budget: ArrayLike) -> Array:
        """True loss in nats."""
        return self.curve(arm).loss(budget)

    def gain(self, budget: ArrayLike) -> Array:
        """``G_old(C) = C / C_new(L_old(C))``; 0 where the candidate never gets so good."""
        c = np.asarray(budget, float)
        return c / self.new.budget(self.old.loss(c))

    def new_index_gain(self, budget: ArrayLike) -> Array:
        """``G_new(C) = C_old(L_new(C)) / C``; ``inf`` where the baseline never gets so good."""
        c = np.asarray(budget, float)
        return self.old.budget(self.new.loss(c)) / c

    def slope(self, budget: ArrayLike) -> Array:
        """``d ln G_old / d ln C`` at a budget, exact."""
        c = np.asarray(budget, float)
        loss = self.old.loss(c)
        there = self.new.budget(loss)
        fall_old = self.old.exponent_at(c) * (loss - self.old.floor)
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - fall_old / (self.new.exponent_at(there) * (loss - self.new.floor))

    def mean_slope(self, first: float, last: float) -> float:
        """The secant ``(ln G(last) - ln G(first)) / ln(last / first)``, which is what a trend over a span estimates."""
        ends = np.log(self.gain(np.array([first, last])))
        return float((ends[1] - ends[0]) / math.log(last / first))

    def crossing(self, first: float, last: float) -> float:
        """The budget between two where ``G = 1``; NaN if the arms don't change order between them."""
        ends = np.log([first, last])
        side = [self._lead(x) > 0 for x in ends]
        if side[0] == side[1]:
            return math.nan
        for _ in range(100):
            middle = float(ends.mean())
            ends[int((self._lead(middle) > 0) == side[1])] = middle
        return math.exp(float(ends.mean()))

    def _lead(self, x: float) -> float:
        return float(self.old.loss(math.exp(x)) - self.new.loss(math.exp(x)))

    def settled(
        self, budget: float, first: float | None = None, rope: Interval = (0.95, 1.05), slope_rope: float = 0.02
    ) -> tuple[Level, Trend]:
        """The true level at a budget and the true trend, at it or as the mean over ``first..budget``."""
        g = float(self.gain(budget))
        s = float(self.slope(budget)) if first is None else self.mean_slope(first, budget)
        level: Level = "gain" if g > rope[1] else "loss" if g < rope[0] else "none"
        trend: Trend = "grows" if s > slope_rope else "shrinks" if s < -slope_rope else "constant"
        return level, trend

    def run(self, arm: str, budget: float, seed: int | str, laboratory: int = 0) -> float:
        """One run's loss: a function of its arguments alone. Another `laboratory` repeats the experiment afresh."""
        return _one_run(self.noise, self.arms.index(arm), self.curve(arm), budget, seed, laboratory)

    def runs(
        self, budgets: Sequence[float], seeds: int, rng: np.random.Generator, paired: bool = True
    ) -> tuple[ArmRuns, ArmRuns]:
        """Runs of both arms at the same budgets, `seeds` each; seeds are named alike in both arms if `paired`."""
        found = _ladders((self.old, self.new), self.arms, self.noise, budgets, seeds, rng, paired)
        return found[0], found[1]


@dataclass(frozen=True)
class FactorialPhantom:
    """A laboratory with one arm per set of innovations; arm ``a+b`` has a and b switched on, ``none`` is the baseline.

    The gain of an arm in the `new` index (how many times its budget the baseline needs) is
    ``ln G(C) = sum over T subset of the arm of [effect_T + trend_T ln(C / C0)]``, so an entry of `effects` for one
    innovation is its gain alone and an entry for several is their interaction in log gain. `effects` maps sets
    (``"a"``, ``"a+b"``) to ``(effect, trend)``.
    """

    name: str
    baseline: TrueCurve
    effects: Mapping[str, tuple[float, float]]
    noise: SeedNoise = field(default_factory=SeedNoise)

    @property
    def innovations(self) -> tuple[str, ...]:
        """Names in the order of first mention."""
        return tuple(dict.fromkeys(i for key in self.effects for i in key.split("+")))

    @property
    def arms(self) -> tuple[str, ...]:
        """All 2^k arms, fewest innovations first."""
        names = self.innovations
        sets = itertools.chain.from_iterable(itertools.combinations(names, k) for k in range(len(names) + 1))
        return tuple("+".join(s) or "none" for s in sets)

    def switches(self, arm: str) -> dict[str, int]:
        """1 for each innovation that `arm` has, 0 for the others."""
        return {i: int(i in arm.split("+")) for i in self.innovations}

    def log_gain(self, arm: str, budget: ArrayLike) -> Array:
        """``ln G_new(C)`` of an arm against ``none``."""
        effect, trend = self._sums(arm)
        return effect + trend * np.log(np.asarray(budget, float) / self.baseline.anchor)

    def curve(self, arm: str) -> TrueCurve:
        """An arm's true curve: the baseline's at ``C G(C)``, which again is a power law above the same floor."""
        effect, trend = self._sums(arm)
        b = self.baseline
        if trend and not math.isinf(b.break_at):
            raise ValueError("effects with a trend need a baseline without a break")
        if not math.isinf(b.break_at):
            return replace(b, anchor=b.anchor * math.exp(-effect), break_at=b.break_at * math.exp(-effect))
        return replace(b, above=b.above * math.exp(-b.exponent * effect), exponent=b.exponent * (1 + trend))

    def against(self, arm: str, reference: str = "none") -> Phantom:
        """The two-arm phantom of `arm` as candidate and `reference` as baseline."""
        noise = replace(self.noise, sd=(self.noise.of(self.arms.index(reference)), self.noise.of(self.arms.index(arm))))
        return Phantom(f"{self.name}: {arm}", self.curve(reference), self.curve(arm), noise, (reference, arm))

    def loss(self, arm: str, budget: ArrayLike) -> Array:
        """True loss in nats."""
        return self.curve(arm).loss(budget)

    def run(self, arm: str, budget: float, seed: int | str, laboratory: int = 0) -> float:
        """One run's loss: a function of its arguments alone. Another `laboratory` repeats the experiment afresh."""
        return _one_run(self.noise, self.arms.index(arm), self.curve(arm), budget, seed, laboratory)

    def runs(
        self, budgets: Sequence[float], seeds: int, rng: np.random.Generator, arms: Iterable[str] = ()
    ) -> dict[str, ArmRuns]:
        """Runs of `arms` (all, if none are named) at the same budgets, with the same `seeds`."""
        names = tuple(arms) or self.arms
        curves = [self.curve(a) for a in names]
        found = _ladders(curves, names, self.noise, budgets, seeds, rng, True, [self.arms.index(a) for a in names])
        return dict(zip(names, found, strict=True))

    def _sums(self, arm: str) -> tuple[float, float]:
        on = set(() if arm == "none" else arm.split("+"))
        if not on <= set(self.innovations):
            raise ValueError(f"'{arm}' names an innovation that is none of {', '.join(self.innovations)}")
        inside = [v for key, v in self.effects.items() if set(key.split("+")) <= on]
        return sum(v[0] for v in inside), sum(v[1] for v in inside)


def budgets_of(rungs: int, first: float = ANCHOR, step: float = STEP) -> Array:
    """A ladder of `rungs` budgets: ``first * step ** k``."""
    return first * step ** np.arange(rungs, dtype=float)


def phantom(
    kind: str,
    noise: SeedNoise | None = None,
    *,
    rungs: int = 6,
    floors: tuple[float, float] = (1.8, 1.8),
    broken: str | None = None,
) -> Phantom:
    """A ready-made two-arm phantom over the ladder ``budgets_of(rungs)``.

    `kind`: ``constant`` (1.5x), ``growing`` (1.3x at the first rung, slope +0.09), ``vanishing`` (2.2x, slope -0.11),
    ``crossing`` (slope +0.17, G = 1 at the middle of the ladder) or ``no gain``; the slopes hold while the floors are
    equal, and with unequal `floors` (baseline, candidate) the true gain is whatever the two curves say. `broken` bends
    both laws at one loss to 0.6 of their exponents, ``inside`` the ladder (two thirds up) or ``beyond`` it (one rung
    above the top). Raises ValueError for another word.
    """
    half = STEP ** ((rungs - 1) / 2)
    shapes = {
        "constant": (0.10, 1.5),
        "growing": (0.11, 1.3),
        "vanishing": (0.09, 2.2),
        "crossing": (0.12, half ** -(1 - 0.10 / 0.12)),
        "no gain": (0.10, 1.0),
    }
    if kind not in shapes:
        raise ValueError(f"'{kind}' is not known: use {', '.join(KINDS)}")
    if broken not in (None, "inside", "beyond"):
        raise ValueError(f"'{broken}' is not known: a law breaks inside or beyond the ladder")
    exponent, first_gain = shapes[kind]
    bend_at = ANCHOR * STEP ** (rungs if broken == "beyond" else 2 * (rungs - 1) / 3)

    def arm(floor: float, alpha: float, gain: float) -> TrueCurve:
        # the candidate's curve is the baseline's moved left by the gain, at the anchor and at the break
        above = 60.0 * ANCHOR**-0.10 * gain**-alpha
        if not broken:
            return TrueCurve(floor, above, alpha)
        there = bend_at / (gain * (bend_at / ANCHOR) ** (1 - 0.10 / alpha))
        return TrueCurve(floor, above, alpha, break_at=there, exponent_after=0.6 * alpha)

    return Phantom(kind, arm(floors[0], 0.10, 1.0), arm(floors[1], exponent, first_gain), noise or SeedNoise())


def interacting(noise: SeedNoise | None = None) -> FactorialPhantom:
    """Three innovations whose log gains don't add: a and b overlap, b and c help each other more at scale."""
    effects = {
        "a": (math.log(2.0), 0.0),
        "b": (math.log(1.6), 0.03),
        "c": (math.log(1.2), 0.0),
        "a+b": (-0.35, 0.0),
        "b+c": (0.10, 0.02),
    }
    baseline = TrueCurve(1.8, 60.0 * ANCHOR**-0.10, 0.10)
    return FactorialPhantom("interacting", baseline, effects, noise or SeedNoise())


def _ladders(
    curves: Sequence[TrueCurve],
    names: Sequence[str],
    noise: SeedNoise,
    budgets: Sequence[float],
    seeds: int,
    rng: np.random.Generator,
    paired: bool,
    positions: Sequence[int] | None = None,
) -> list[ArmRuns]:
    rung = np.repeat(np.arange(len(budgets)), seeds)
    seed = np.tile(np.arange(seeds), len(budgets))
    resource = np.asarray(budgets, float)[rung]
    shared = rng.standard_normal(resource.shape)
    found = []
    for k, (curve, name) in enumerate(zip(curves, names, strict=True)):
        quality = noise.runs(k if positions is None else positions[k], curve.loss(resource), shared, rng)
        pair = seed.astype(str) if paired else np.char.add(f"{name}-", seed.astype(str))
        cluster = np.char.add(np.char.add(f"{name}-", rung.astype(str)), np.char.add("-", seed.astype(str)))
        found.append(ArmRuns(name, resource, quality, rung, pair, cluster))
    return found


def _one_run(noise: SeedNoise, arm: int, curve: TrueCurve, budget: float, seed: int | str, laboratory: int) -> float:
    def stream(*words: object) -> np.random.Generator:
        digest = hashlib.sha256(repr(words).encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, np.uint32))

    shared = stream("shared", float(budget), str(seed), laboratory).standard_normal(1)
    own = stream(arm, float(budget), str(seed), laboratory)
    return float(noise.runs(arm, curve.loss(np.array([float(budget)])), shared, own)[0])

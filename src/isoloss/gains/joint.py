"""Rung means of many arms drawn together, so that whatever is built from them keeps what they have in common.

A pair of arms is the business of `gains.compare`; chains, factorial designs and rankings need K arms at once, with the
baseline's errors shared by all comparisons against it. Noise is pooled over rungs within an arm; with three or more
arms the variances are then drawn towards each other by as much as they are alike (Smyth 2004, "moderated" variances),
which is what makes two seeds an arm worth something when there are twenty arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from isoloss.errors import TableError
from isoloss.gains.arms import ArmRuns
from isoloss.gains.ladder import Ladder, ladder_of
from isoloss.gains.monotone import MonotoneCurve, monotone_curve
from isoloss.gains.noise import LARGEST_DEVIATION, SMALLEST_SD, estimate_noise
from isoloss.laws.power import PowerFits, fit_power_laws

Array = NDArray[np.float64]

DECADE = float(np.log(10.0))


@dataclass(frozen=True, eq=False)
class JointArms:
    """K arms and joint draws of their rung means.

    `rows[k]` (1 + B, R_k) is ``ln quality`` at the rungs of arm k, row 0 as observed; `sd` and `dof` (K,) the noise
    of one run's ``ln quality`` and how well it is known; `correlation` that of runs of two arms with the same rung
    and seed. `known` is False where no run was repeated and no law could stand in: then the draws say nothing.
    `laws` are joint fits with one floor to every row (None until `with_laws`).
    """

    ladders: tuple[Ladder, ...]
    rows: tuple[Array, ...]
    sd: Array
    dof: Array
    correlation: float
    known: bool
    laws: PowerFits | None = None
    floor: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(a.name for a in self.ladders)

    def curve(self, arm: int) -> MonotoneCurve:
        """The interpolated curve of one arm, all rows at once; needs two rungs."""
        a = self.ladders[arm]
        if len(a.log_c) < 2:
            raise TableError(f"arm '{a.name}'", "has one rung only", "run it at two or more budgets, or use --at")
        return monotone_curve(a.log_c, self.rows[arm], 1 / a.variance_factor)

    def quality_at(self, arm: int, log_c: float) -> Array:
        """``ln quality`` (1 + B,) that an arm reaches with a budget within its ladder, or NaN outside."""
        a = self.ladders[arm]
        if len(a.log_c) == 1:
            return self.rows[arm][:, 0] if abs(a.log_c[0] - log_c) < 0.05 else np.full(len(self.rows[arm]), np.nan)
        if not a.log_c[0] - 1e-9 <= log_c <= a.log_c[-1] + 1e-9:
            return np.full(len(self.rows[arm]), np.nan)
        return self.curve(arm).at(np.array([log_c]))[:, 0]

    def budget_for(self, arm: int, log_q: Array) -> tuple[Array, Array]:
        """Bounds (1 + B,) on the least ``ln`` budget with which an arm reaches ``ln quality`` (1 + B,).

        Equal inside its ladder; ``(-inf, first rung)`` where it was already better there, ``(last rung, inf)`` where
        it never got so good.
        """
        a = self.ladders[arm]
        if len(a.log_c) == 1:  # one rung: known to be on one side of it
            x, reached = float(a.log_c[0]), self.rows[arm][:, 0] <= log_q
            return np.where(reached, -np.inf, x), np.where(reached, x, np.inf)
        low, high = self.curve(arm).inverse(log_q[:, None])
        return low[:, 0], high[:, 0]

    def with_laws(self, floor: str | float = "shared") -> JointArms:
        """The same arms with power laws ``E + A C^-alpha`` fitted jointly to every row, for budgets beyond the data.

        A floor that is estimated needs more rungs than parameters; with fewer, it is left out.
        """
        total, k = sum(len(a.log_c) for a in self.ladders), len(self.ladders)
        asked: str | float = floor
        if (floor == "shared" and total < 2 * k + 1) or (floor == "free" and min(map(self._rungs, range(k))) < 3):
            asked = 0.0
        if not isinstance(asked, str):
            best = min(float(np.exp(r.min())) for r in self.rows)
            if not 0 <= asked < best:
                what = f"{asked:g} is not between 0 and the best rung mean {best:.4g}"
                raise TableError("floor", what, "pin it lower, or estimate it with --floor shared")
        weight = [1 / (self.sd[i] ** 2 * a.variance_factor) for i, a in enumerate(self.ladders)]
        fits = fit_power_laws([a.log_c for a in self.ladders], list(self.rows), weight, asked)
        name = asked if isinstance(asked, str) else "none" if asked == 0 else f"pinned at {asked:g}"
        return replace(self, laws=fits, floor=name)

    def budgets(self, arm: int, log_c: float) -> tuple[Array, Array, Array]:
        """Bounds (1 + B, K) on all arms' ``ln`` budgets at the quality that `arm` reaches with `log_c`, and (K,) how
        many decades outside its own ladder each arm is then read from a law.

        An arm that is not measured at that quality is read from its law, if laws were fitted; else it is a bound.
        """
        log_q = self.quality_at(arm, log_c)
        out = np.zeros(len(self.ladders))
        if not np.isfinite(log_q[0]):
            if self.laws is None:
                where = f"arm '{self.names[arm]}'"
                raise TableError(where, f"was not run near a budget of {np.exp(log_c):.4g}", "ask within its ladder")
            log_q = self.laws.log_loss(arm, np.array([log_c]))[:, 0]
            out[arm] = self._beyond(arm, log_c)
        low, high = (np.empty((len(log_q), len(self.ladders))) for _ in range(2))
        for k in range(len(self.ladders)):
            if k == arm:
                low[:, k] = high[:, k] = log_c
                continue
            low[:, k], high[:, k] = self.budget_for(k, log_q)
            if low[0, k] != high[0, k] and self.laws is not None:
                x = self.laws.invert(k, np.exp(log_q)[:, None])[:, 0]
                low[:, k] = high[:, k] = x
                out[k] = self._beyond(k, float(x[0]))
        return low, high, out

    def slope(self, index: Literal["old", "new"], old: int, new: int, log_c: float) -> Array:
        """``d ln G / d ln C`` (1 + B,) by the laws: ``1 - r`` (old index) or ``1/r - 1`` (new), with
        ``r = alpha_old (L - E_old) / (alpha_new (L - E_new))`` at the quality L; NaN without laws.
        """
        if self.laws is None:
            return np.full(len(self.rows[0]), np.nan)
        own = old if index == "old" else new
        loss = np.exp(self.laws.log_loss(own, np.array([log_c]))[:, 0])
        falls = [self.laws.exponent[:, k] * (loss - self.laws.floor[:, k]) for k in (old, new)]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((falls[0] > 0) & (falls[1] > 0), falls[0] / falls[1], np.nan)
            return 1 - ratio if index == "old" else 1 / ratio - 1

    def _rungs(self, arm: int) -> int:
        return len(self.ladders[arm].log_c)

    def _beyond(self, arm: int, log_c: float) -> float:
        x = self.ladders[arm].log_c
        return max(0.0, float(x[0]) - log_c, log_c - float(x[-1])) / DECADE


def draw_arms(arms: Sequence[ArmRuns], draws: int = 4000, seed: int = 0, least_rungs: int = 2) -> JointArms:
    """Group the runs of every arm into rungs and draw all rung means jointly.

    A draw scales each arm's noise by a scaled inverse chi-square, so that few seeds give t-like intervals; runs of two
    arms with the same rung and seed share what their correlation says. An arm without repeats takes the noise of the
    others; where none has any, the scatter of the first two arms about power laws stands in. `least_rungs` 1 admits
    arms run at a single budget. Draws depend on the arms' names, not on their order. Raises TableError.
    """
    names = [a.name for a in arms]
    again = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if again is not None:
        raise TableError("arms", f"'{again}' is named twice", "name each arm once")
    ladders = tuple(ladder_of(a) if least_rungs > 1 or len(np.unique(a.rung)) > 1 else _single(a) for a in arms)
    order = sorted(range(len(arms)), key=lambda k: names[k])
    full = [k for k in order if len(ladders[k].log_c) > 1]
    relative = [np.ones(len(a.log_c)) for a in ladders]
    for k in full if len(full) > 1 else ():
        relative[k] = estimate_noise(ladders[k], ladders[full[1] if k == full[0] else full[0]]).relative[0]
    sd, dof = _pooled(ladders, relative)
    known = bool((dof > 0).any())
    if not known and len(full) > 1:
        noise = estimate_noise(ladders[full[0]], ladders[full[1]])
        known = noise.source != "unknown"
        sd[:], dof[:] = (float(np.mean(noise.sd)), float(np.min(noise.dof))) if known else (0.0, 0.0)
    else:
        sd, dof = moderated(sd, dof)
    sd = np.maximum(sd, SMALLEST_SD)
    rho, pair_dof = _correlation(ladders, relative, sd)
    rng = np.random.default_rng([seed, 4])
    rows: list[Array] = [np.empty(0)] * len(arms)
    cells = sorted({(int(r), p) for a in ladders for r, ps in zip(a.rung, a.pairs, strict=True) for p in ps.tolist()})
    place = {cell: i for i, cell in enumerate(cells)}
    common = rng.standard_normal((draws, len(cells))) if pair_dof > 2 else np.zeros((draws, len(cells)))
    bent = np.tanh(np.arctanh(rho) + rng.standard_normal(draws) / np.sqrt(max(pair_dof - 1, 1)))
    share = np.clip(bent, 0.0, 0.99)[:, None] if pair_dof > 2 else np.zeros((draws, 1))
    for k in order:
        a = ladders[k]
        mix = np.zeros((len(cells), len(a.log_c)))
        for i, (r, pairs) in enumerate(zip(a.rung, a.pairs, strict=True)):
            for p in pairs.tolist():
                mix[place[int(r), p], i] += 1 / a.runs[i]
        own = rng.standard_normal((draws, len(a.log_c))) / np.sqrt(a.runs)
        scale = sd[k] * np.sqrt(dof[k] / rng.chisquare(dof[k], draws)) if known else np.zeros(draws)
        z = (np.sqrt(share) * (common @ mix) + np.sqrt(1 - share) * own) * np.sqrt(a.variance_factor * a.runs)
        moved = np.clip(scale[:, None] * z * relative[k], -LARGEST_DEVIATION, LARGEST_DEVIATION)
        rows[k] = a.log_q + np.concatenate([np.zeros((1, len(a.log_c))), moved])
    return JointArms(ladders, tuple(rows), sd, dof, rho, known)


def moderated(sd: Array, dof: Array) -> tuple[Array, Array]:
    """Noise of K arms drawn towards each other: ``(d0 s0^2 + d s^2) / (d0 + d)`` with ``d0 + d`` degrees of freedom.

    `d0` and `s0` are those of a scaled inverse chi-square from which the arms' variances would have come (moments of
    ``ln s^2``; Smyth 2004, eq. 3-5). An arm without repeats (``dof`` 0) gets ``s0`` itself. With fewer than three
    arms that have repeats nothing is moderated: those without take the pooled noise of the others.

    >>> sd, dof = moderated(np.array([1.0, 1.0, 1.0, 0.0]), np.array([4.0, 4.0, 4.0, 0.0]))
    >>> sd.round(3).tolist(), dof.tolist()
    ([1.0, 1.0, 1.0, 1.0], [12.0, 12.0, 12.0, 12.0])
    """
    has = dof > 0
    total = float(dof.sum())
    if not has.any():
        return sd, dof
    pooled = float(np.sqrt(np.sum(dof * sd**2) / total))
    if has.sum() < 3:
        return np.where(has, sd, pooled), np.where(has, dof, total)
    d, s2 = dof[has], np.maximum(sd[has], SMALLEST_SD) ** 2
    e = np.log(s2) - special.digamma(d / 2) + np.log(d / 2)
    excess = float(np.var(e, ddof=1) - np.mean(special.polygamma(1, d / 2)))
    if excess <= 0:
        return np.full(len(sd), pooled), np.full(len(sd), total)
    d0 = 2 * _inverse_trigamma(excess)
    s02 = float(np.exp(e.mean() + special.digamma(d0 / 2) - np.log(d0 / 2)))
    return np.sqrt((d0 * s02 + dof * sd**2) / (d0 + dof)), np.minimum(d0 + dof, total)


def _inverse_trigamma(value: float) -> float:
    """The y > 0 with ``trigamma(y) = value``, by Newton on its reciprocal (convex, so it never overshoots)."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, y))
        y += step
        if abs(step) < 1e-8 * y:
            break
    return y


def _pooled(ladders: tuple[Ladder, ...], relative: list[Array]) -> tuple[Array, Array]:
    sd, dof = np.zeros(len(ladders)), np.zeros(len(ladders))
    for k, (a, h) in enumerate(zip(ladders, relative, strict=True)):
        dof[k] = float(np.sum(a.runs - 1))
        if dof[k] > 0:
            squares = sum(float(np.var(np.log(v)) * len(v)) / w**2 for v, w in zip(a.values, h, strict=True))
            sd[k] = np.sqrt(squares / dof[k])
    return sd, dof


def _correlation(ladders: tuple[Ladder, ...], relative: list[Array], sd: Array) -> tuple[float, float]:
    """Correlation of runs that share rung and seed, pooled over all pairs of arms, and the degrees of freedom behind.

    Only arms with the same seeds at a rung enter, as residuals about a rung mean are those of all its seeds; a
    negative estimate counts as none.
    """
    groups: dict[tuple[int, tuple[str | int, ...]], list[Array]] = {}
    for k, (a, h) in enumerate(zip(ladders, relative, strict=True)):
        for i, (r, pairs) in enumerate(zip(a.rung, a.pairs, strict=True)):
            if len(pairs) > 1 and len(np.unique(pairs)) == len(pairs):
                v = np.log(a.values[i])
                groups.setdefault((int(r), tuple(pairs.tolist())), []).append((v - v.mean()) / (h[i] * sd[k]))
    cross = expected = dof = 0.0
    for (_, names), residuals in groups.items():
        m, n = len(residuals), len(names)
        if m > 1:
            total = np.sum(residuals, axis=0)
            cross += float(np.sum(total**2) - np.sum(np.square(residuals))) / 2
            expected += m * (m - 1) / 2 * (n - 1)
            dof += n - 1
    return (float(np.clip(cross / expected, 0.0, 0.99)), dof) if expected else (0.0, 0.0)


def _single(arm: ArmRuns) -> Ladder:
    """The ladder of an arm run at one budget: a scaled copy stands in for the second rung and is dropped again."""
    twice = ArmRuns(
        arm.name,
        np.r_[arm.resource, 10 * arm.resource],
        np.r_[arm.quality, 0.5 * arm.quality],
        np.r_[np.asarray(arm.rung), np.asarray(arm.rung) + 1],
        np.r_[arm.pair, arm.pair],
        np.r_[arm.cluster, np.char.add(np.asarray(arm.cluster).astype(str), "'")] if len(arm.rung) else arm.cluster,
    )
    return ladder_of(twice).keep(np.array([0]))

"""Where two arms stand: the level and the trend as the comparison judges them, each with a belief to plan runs by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from isoloss.gains.arms import ArmRuns
from isoloss.gains.diagnostics import contradict
from isoloss.gains.estimate import Estimator
from isoloss.gains.ladder import Ladder, ladder_of
from isoloss.gains.measured import Measured, measure, measured_slope, quantile_interval
from isoloss.gains.modelled import Modelled, check_floor, fit_laws, floor_name, treatments
from isoloss.gains.monotone import monotone_curve
from isoloss.gains.noise import Noise, draw_rung_means, estimate_noise
from isoloss.gains.result import GainPoint, Interval, Level, Slope, Trend
from isoloss.gains.verdict import level_of, trend_of
from isoloss.planning.information import Belief

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Question:
    """One quantity that a verdict rests on: ``ln G`` at the judged budget (level) or ``d ln G / d ln C`` (trend).

    `edges` bound its region of practical equivalence; `answer` is the verdict's word. `belief` is None where nothing
    can be planned by it (no overlap, unknown noise).
    """

    about: Literal["level", "trend"]
    value: float
    interval: Interval
    edges: Interval
    answer: Level | Trend
    belief: Belief | None

    @property
    def settled(self) -> bool:
        """Whether the verdict has an answer."""
        return self.answer != "unknown"


@dataclass(frozen=True, eq=False)
class Standing:
    """Both ladders and their noise, the curves and the laws, and the two questions that a verdict answers."""

    ladders: tuple[Ladder, Ladder]
    noise: Noise
    curves: Measured
    law: Modelled
    judged_at: float
    level: Question
    trend: Question

    @property
    def dof(self) -> float:
        """Degrees of freedom behind the less well known of the two arms' noise."""
        return min(self.noise.dof)

    def run_sd(self, arm: int, log_c: Array) -> Array:
        """SD of ``ln quality`` of one run of an arm at ``ln`` budgets (M,), held constant beyond its ladder."""
        return self.noise.sd[arm] * np.interp(log_c, self.ladders[arm].log_c, self.noise.relative[arm])


def stand(
    baseline: ArmRuns,
    candidate: ArmRuns,
    *,
    floor: str | float = "shared",
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
    rope: Interval = (0.95, 1.05),
    slope_rope: float = 0.02,
) -> Standing:
    """Level and trend exactly as `isoloss.gains.compare` judges them (same draws, same intervals), ready to plan by.

    Only the treatment of the floor that decides is fitted. Raises TableError for runs that support no comparison.
    """
    ladders = (ladder_of(baseline), ladder_of(candidate))
    noise = estimate_noise(*ladders)
    deviations = _draws(ladders, noise, draws, np.random.default_rng([seed, 1]))
    rows = [np.concatenate([np.zeros((1, d.shape[1])), d]) + a.log_q for d, a in zip(deviations, ladders, strict=True)]
    precision = [noise.mean_sd(k, a) ** -2.0 for k, a in enumerate(ladders)]
    curves = measure((ladders[0].log_c, ladders[1].log_c), (rows[0], rows[1]), (precision[0], precision[1]), level)
    asked = check_floor(floor, ladders)
    law = fit_laws(ladders, noise, deviations, treatments(asked, ladders)[0], np.random.default_rng([seed, 2]))
    known = noise.source != "unknown"

    points = Estimator(ladders, curves, [law], level, known).levels()
    point = next((p for p in points if level_of(_interval(p), rope) != "unknown"), points[0])
    window = curves.window
    judged_at = window[1] if window is not None else float(np.log(point.at))
    ends = _interval(point)
    with np.errstate(divide="ignore"):
        in_logs = (float(np.log(ends[0])), float(np.log(ends[1])))
    height = Question(
        "level",
        float(np.log(point.gain)) if point.gain else np.nan,
        in_logs,
        (float(np.log(rope[0])), float(np.log(rope[1]))),
        level_of(ends, rope),
        _level_belief(ladders, noise, judged_at) if known and window is not None else None,
    )

    span = window or curves.overlap or (float(ladders[0].log_c[0]), float(ladders[0].log_c[-1]))
    slopes = [_slope(law.slope(span), level, known)]
    if window is not None:
        slopes.append(_slope(measured_slope(curves, span), level, known))
    as_asked = law.kind == floor_name(asked) or len(slopes) == 1
    slope = slopes[0] if as_asked else slopes[1]
    agrees = len(slopes) == 1 or not contradict(*slopes)
    trend = Question(
        "trend",
        slope.value if slope.value is not None else np.nan,
        slope.interval or (-np.inf, np.inf),
        (-slope_rope, slope_rope),
        trend_of(slope, slope_rope) if agrees else "unknown",
        _trend_belief(ladders, noise, law, span) if known else None,
    )
    return Standing(ladders, noise, curves, law, judged_at, height, trend)


def predictions(law: Modelled, arm: int, log_c: Array) -> Array:
    """Gradient (M, P) of a law's ``ln L`` at ``ln`` budgets (M,) in its parameters."""
    rows, steps = _perturbed(law)
    value = rows.fits.log_loss(arm, log_c)
    n = len(steps)
    return ((value[:n] - value[n:]) / (2 * steps[:, None])).T


def rung_covariance(ladders: tuple[Ladder, Ladder], noise: Noise) -> Array:
    """Covariance of the rung means of ``ln quality`` of both arms, the baseline's first; pairs correlate the arms."""
    sd = [noise.mean_sd(k, a) for k, a in enumerate(ladders)]
    first, second = ladders
    out = np.diag(np.concatenate(sd) ** 2)
    if noise.pair_dof > 2:
        share = noise.common / np.sqrt(np.outer(first.runs, second.runs))
        across = noise.correlation * share * np.outer(*sd)
        n = len(sd[0])
        out[:n, n:], out[n:, :n] = across, across.T
    return out


def _draws(ladders: tuple[Ladder, Ladder], noise: Noise, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    # in order of name, as `compare` draws them
    if ladders[0].name <= ladders[1].name:
        return draw_rung_means(*ladders, noise, draws, rng)
    second, first = draw_rung_means(ladders[1], ladders[0], noise.swapped(), draws, rng)
    return first, second


def _interval(point: GainPoint) -> Interval:
    return point.interval if point.interval is not None else (0.0, np.inf)


def _slope(drawn: Array, level: float, known: bool) -> Slope:
    value = float(drawn[0]) if np.isfinite(drawn[0]) else None
    return Slope(value, quantile_interval(drawn[1:], drawn[1:], level) if known else None, "")


def _level_belief(ladders: tuple[Ladder, Ladder], noise: Noise, log_c: float) -> Belief:
    """Rung means as latent numbers; the gradient of the measured ``ln G`` is a secant over half their own SD.

    A secant, because pooled violators make the curve's own derivative jump.
    """
    sd = np.concatenate([noise.mean_sd(k, a) for k, a in enumerate(ladders)])
    means = np.concatenate([a.log_q for a in ladders])
    step = 0.5 * sd
    rows = np.concatenate([means + np.diag(step), means - np.diag(step)])
    n, p = len(ladders[0].log_q), len(means)
    weight = [noise.mean_sd(k, a) ** -2.0 for k, a in enumerate(ladders)]
    curves = [
        monotone_curve(a.log_c, y, w) for a, y, w in zip(ladders, (rows[:, :n], rows[:, n:]), weight, strict=True)
    ]
    low, high = Measured(curves[0], curves[1], None, None).log_gain("old", np.array([log_c]))
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (low + high)[:, 0]
        gradient = (middle[:p] - middle[p:]) / (2 * step)
    return Belief(rung_covariance(ladders, noise), np.where(np.isfinite(gradient), gradient, 0.0))


def _trend_belief(ladders: tuple[Ladder, Ladder], noise: Noise, law: Modelled, span: Interval) -> Belief | None:
    """The laws' parameters as latent numbers, with the covariance that weighted least squares leaves them."""
    design = np.concatenate([predictions(law, k, a.log_c) for k, a in enumerate(ladders)])
    weight = np.concatenate([noise.mean_sd(k, a) ** -2.0 for k, a in enumerate(ladders)])
    rows, steps = _perturbed(law)
    slope = rows.slope(span)
    n = len(steps)
    gradient = (slope[:n] - slope[n:]) / (2 * steps)
    # parameters differ in size by many powers of ten, so the inverse is taken in units of what the data say of each
    unit = np.sqrt(np.maximum(np.einsum("rp,r,rp->p", design, weight, design), 1e-300))
    scaled = design / unit
    inverse = np.linalg.pinv(scaled.T @ (scaled * weight[:, None]), rcond=1e-10)
    solve = (inverse @ (scaled * weight[:, None]).T) / unit[:, None]
    covariance = solve @ rung_covariance(ladders, noise) @ solve.T
    if not (np.isfinite(covariance).all() and np.isfinite(gradient).all()):
        return None
    return Belief(covariance, gradient)


def _perturbed(law: Modelled) -> tuple[Modelled, Array]:
    """The fit to the means with each parameter moved up (rows 0..P-1) and down (P..2P-1), and the steps (P,).

    Parameters: the floor(s) where they are estimated and off their bound, ``ln`` of what lies above, the exponents.
    """
    fits = law.fits
    arms = fits.floor.shape[1]
    moves: list[tuple[str, Array, float]] = []
    if law.kind == "shared" and not fits.floor_at_bound[0].any():
        moves.append(("floor", np.ones(arms), 1e-4 * float(fits.floor[0, 0] + fits.reducible[0, 0])))
    if law.kind == "free":
        moves += [
            ("floor", np.eye(arms)[k], 1e-4 * float(fits.floor[0, k] + fits.reducible[0, k]))
            for k in range(arms)
            if not fits.floor_at_bound[0, k]
        ]
    moves += [("reducible", np.eye(arms)[k], 1e-4) for k in range(arms)]
    moves += [("exponent", np.eye(arms)[k], 1e-4 * float(fits.exponent[0, k])) for k in range(arms)]
    steps = np.array([m[2] for m in moves])
    value = {
        name: np.repeat(getattr(fits, name)[:1], 2 * len(moves), axis=0) for name in ("floor", "reducible", "exponent")
    }
    for i, (name, direction, step) in enumerate(moves):
        for row, sign in ((i, 1.0), (i + len(moves), -1.0)):
            if name == "reducible":
                value[name][row] *= np.exp(sign * step * direction)
            else:
                value[name][row] += sign * step * direction
    moved = replace(fits, floor=value["floor"], reducible=value["reducible"], exponent=value["exponent"])
    return replace(law, fits=moved), steps


def t_quantile(level: float, dof: float) -> float:
    """Two-sided Student quantile of `level`."""
    return float(stats.t.ppf((1 + level) / 2, max(dof, 1.0)))

"""Gains from fitted laws: beyond the ladders, along the bands of the figures, and the evidence for each floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.gains.ladder import Ladder
from isoloss.gains.measured import quantile_interval
from isoloss.gains.noise import Noise
from isoloss.gains.result import FloorEvidence, Interval, LawSummary
from isoloss.laws.power import PowerFits, fit_power_laws

Array = NDArray[np.float64]

SLOPE_LIMIT = 10.0  # of d ln G / d ln C, beyond which it is called not identified


@dataclass(frozen=True, eq=False)
class Modelled:
    """Laws of both arms under one treatment of the floor; row 0 is the fit to the means, the rest to the draws."""

    kind: str
    fits: PowerFits
    chi2: float
    dof: int
    aicc: float
    lack_of_fit_p: float | None
    inflation: float

    def log_gain(self, index: Literal["old", "new"], log_c: Array) -> Array:
        """``ln G`` (1 + draws, P); infinite where a law never reaches the other's quality."""
        if index == "old":
            return log_c - self.other_budget("old", log_c)
        return self.other_budget("new", log_c) - log_c

    def other_budget(self, index: Literal["old", "new"], log_c: Array) -> Array:
        """``ln`` budget (1 + draws, P) at which the other arm reaches what the indexing arm reaches at `log_c`."""
        own, other = (0, 1) if index == "old" else (1, 0)
        floor = self.fits.floor
        excess = self.fits.excess(own, log_c)
        above = excess + (floor[:, own] - floor[:, other])[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.log(self.fits.reducible[:, other, None]) - np.log(np.where(above > 0, above, np.nan))
        x = self.fits.centre[other] + steps / self.fits.exponent[:, other, None]
        return np.where(above > 0, x, np.inf)

    def slope(self, span: Interval) -> Array:
        """``d ln G_old / d ln C`` (1 + draws,), the secant over `span`; exact where the floor is common to the arms."""
        if self.kind != "free":
            return 1 - self.fits.exponent[:, 0] / self.fits.exponent[:, 1]
        gain = self.log_gain("old", np.array(span))
        with np.errstate(invalid="ignore"):
            return (gain[:, 1] - gain[:, 0]) / (span[1] - span[0])


def sane_slope(value: float, interval: Interval | None) -> tuple[float | None, Interval | None]:
    """A slope and its interval as far as they are identified.

    A slope of -10 says that one exponent is eleven times the other (``1 - alpha_old / alpha_new``); published ones
    differ by less than threefold, and beyond it a flat stretch of a curve is divided by nothing. There the slope is
    None, and an interval's end beyond ±10 is infinite.
    """
    if not abs(value) <= SLOPE_LIMIT:
        return None, None
    if interval is None:
        return value, None
    low, high = interval
    return value, (low if low >= -SLOPE_LIMIT else -np.inf, high if high <= SLOPE_LIMIT else np.inf)


def floor_name(floor: str | float) -> str:
    """How a treatment of the floor is called in results: shared, free, none, or ``pinned at 1.9``."""
    if isinstance(floor, str):
        return floor
    return "none" if floor == 0 else f"pinned at {floor:g}"


def treatments(asked: str | float, ladders: tuple[Ladder, Ladder]) -> list[str | float]:
    """Treatments to show side by side, `asked` first; those with more parameters than rungs are left out."""
    total = sum(len(a.log_q) for a in ladders)
    shortest = min(len(a.log_q) for a in ladders)
    possible: list[str | float] = [0.0]
    if total >= 5:
        possible.append("shared")
    if shortest >= 3:
        possible.append("free")
    if not isinstance(asked, str) and asked not in possible:
        possible.append(asked)
    return sorted(possible, key=lambda f: f != asked)


def check_floor(floor: str | float, ladders: tuple[Ladder, Ladder]) -> str | float:
    """A floor as given by a user: ``shared``, ``free``, ``none`` or a number below every rung mean."""
    if isinstance(floor, str) and floor in ("shared", "free"):
        return floor
    try:
        value = 0.0 if floor == "none" else float(floor)
    except ValueError:
        raise TableError("floor", f"'{floor}' is not known", "use shared, free, none or a number") from None
    best = min(float(np.exp(a.log_q.min())) for a in ladders)
    if not 0 <= value < best:
        what = f"{value:g} is not between 0 and the best rung mean {best:.4g}"
        raise TableError("floor", what, "pin it lower, or use --floor shared to estimate it")
    return value


def fit_laws(
    ladders: tuple[Ladder, Ladder],
    noise: Noise,
    deviations: tuple[Array, Array],
    floor: str | float,
    rng: np.random.Generator,
) -> Modelled:
    """Fit both arms to the rung means and to every draw under one treatment of the floor.

    Lack of fit compares the chi-square of the rung means with what seed noise alone would leave, noise that is itself
    estimated (a Monte Carlo of ``sum_arm chi2(d_arm) nu / chi2(nu)``). Where p < 0.05 the draws are spread by the
    Birge ratio ``sqrt(chi2 / dof)``, so that the law's misfit widens whatever is read from it.
    """
    log_c = [a.log_c for a in ladders]
    weight = [noise.mean_sd(k, a) ** -2.0 for k, a in enumerate(ladders)]
    moved = [np.concatenate([np.zeros((1, d.shape[1])), d]) for d in deviations]
    fits = fit_power_laws(log_c, [a.log_q + d for a, d in zip(ladders, moved, strict=True)], weight, floor)
    chi2, n, k = float(fits.chi2[0]), sum(len(c) for c in log_c), fits.parameters
    dof = n - k
    p = None
    if dof > 0 and noise.source == "replicates":
        shares = [len(c) - k / 2 for c in log_c]
        null = np.zeros(4000)
        for share, nu in zip(shares, noise.dof, strict=True):
            if share > 0:
                null += rng.chisquare(share, 4000) * nu / rng.chisquare(nu, 4000)
        p = float((1 + np.sum(null >= chi2)) / 4001)
    inflation = max(1.0, float(np.sqrt(chi2 / dof))) if p is not None and p < 0.05 else 1.0
    if inflation > 1:
        wider = [a.log_q + inflation * d for a, d in zip(ladders, moved, strict=True)]
        fits = fit_power_laws(log_c, wider, weight, floor)
    aicc = chi2 + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n - k - 1 > 0 else np.inf)
    return Modelled(floor_name(floor), fits, chi2, dof, aicc, p, inflation)


def evidence(
    law: Modelled, ladders: tuple[Ladder, Ladder], span: Interval, level: float, known: bool, chosen: bool
) -> FloorEvidence:
    """One row of the floors table: how well the treatment fits and the slope it implies."""
    slope = law.slope(span)
    interval = quantile_interval(slope[1:], slope[1:], level) if known else (-np.inf, np.inf)
    value, ends = sane_slope(float(slope[0]), interval)
    return FloorEvidence(
        kind=law.kind,
        floors={a.name: float(law.fits.floor[0, k]) for k, a in enumerate(ladders)},
        chi2=law.chi2,
        dof=law.dof,
        aicc=law.aicc,
        lack_of_fit_p=law.lack_of_fit_p,
        slope=value,
        slope_interval=ends,
        chosen=chosen,
    )


def summaries(
    law: Modelled, ladders: tuple[Ladder, Ladder], level: float, known: bool
) -> tuple[LawSummary, LawSummary]:
    """Parameters of both arms' laws with percentile intervals."""
    fits = law.fits

    def one(k: int) -> LawSummary:
        estimated = law.kind in ("shared", "free")
        ends = quantile_interval(fits.exponent[1:, k], fits.exponent[1:, k], level)
        floor = quantile_interval(fits.floor[1:, k], fits.floor[1:, k], level)
        return LawSummary(
            arm=ladders[k].name,
            floor_kind=law.kind,
            floor=float(fits.floor[0, k]),
            floor_interval=(floor if known else (0.0, np.inf)) if estimated else None,
            scale=float(fits.scale()[0, k]),
            exponent=float(fits.exponent[0, k]),
            exponent_interval=ends if known else (0.0, np.inf),
            at_bound=bool(fits.exponent_at_bound[0, k] or (estimated and fits.floor_at_bound[0, k])),
        )

    return one(0), one(1)

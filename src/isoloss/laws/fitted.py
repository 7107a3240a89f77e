"""The public result of fitting one scaling law to one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Law
from isoloss.laws.noise import Noise

Array = NDArray[np.float64]
KINDS = ("mean", "new-run")
_PINNED_AT_ZERO = 1e-8  # in scaled units: a logarithm can't be 0 itself


@dataclass(frozen=True, eq=False)
class Units:
    """What the columns and the loss were divided by before the fit; all 1 for a law that isn't scaled."""

    columns: dict[str, float]
    loss: float

    def params(self, law: Law, theta: Array) -> dict[str, Array]:
        """Named parameters (...,) in the table's units from `theta` (..., P)."""
        scaled = {}
        for i, p in enumerate(law.parameters):
            value = np.exp(theta[..., i]) if p.log else theta[..., i]
            least = p.low if p.low < p.high else _PINNED_AT_ZERO
            scaled[p.name] = np.where(value <= least * 1.0001, 0.0, value) if p.vanishes else value
        return law.natural(scaled, self.columns, self.loss)


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A scaling law with its parameters and the draws of them.

    `params` are the unrounded optimum and `draws[name]` (B,) the same of every resample, in the units of the columns
    that were fitted. `objective` is the minimised sum over rows. `diagnostics` holds facts about the fit (rows, starts
    that agree, parameters at a bound, resampling unit, ...) under plain names. `theta` (P,) and `theta_draws` (B, P)
    are the same parameters in the engine's coordinates, from which predictions are made; `noise` is that of one run.
    """

    name: str
    params: dict[str, float]
    draws: dict[str, Array]
    objective: float
    law: Law = field(repr=False)
    units: Units = field(repr=False)
    theta: Array = field(repr=False)
    theta_draws: Array = field(repr=False)
    noise: Noise | None = field(default=None, repr=False)
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def predict(self, columns: Mapping[str, Any]) -> Array:
        """Predicted loss at `columns` (the names that were fitted), one value a row."""
        return self._predict(self.theta[None], columns)[0]

    def predict_draws(self, columns: Mapping[str, Any]) -> Array:
        """Predicted loss of every draw, shape (B, rows)."""
        return self._predict(self.theta_draws, columns)

    def predict_interval(
        self, columns: Mapping[str, Any], level: float = 0.95, kind: str = "mean", eval_sd: float = 0.0
    ) -> tuple[Array, Array]:
        """Ends (rows,) and (rows,) of the interval of the loss at `columns`.

        Kind ``mean`` is for the law itself, ``new-run`` for one more run, whose seed noise is added to each draw (and
        evaluation error of standard deviation `eval_sd`, in units of the loss). NaN without draws. Raises TableError.
        """
        if kind not in KINDS:
            raise TableError("--kind", f"'{kind}' is not known", f"use {' or '.join(KINDS)}")
        draws = self.predict_draws(columns) if kind == "mean" else self.predict_runs(columns, eval_sd)
        if len(draws) == 0:
            return np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def predict_runs(self, columns: Mapping[str, Any], eval_sd: float = 0.0, seed: int = 0) -> Array:
        """Losses (B, rows) of one more run at `columns`: every draw with noise, its variance as uncertain as it is."""
        if self.noise is None:
            raise TableError("--kind", "this fit has no estimate of the noise of a run", "use kind mean")
        draws = self.predict_draws(columns) / self.units.loss
        rng = np.random.default_rng([seed, 7])
        spread = np.sqrt(self.noise.dof / rng.chisquare(self.noise.dof, (len(draws), 1)))
        floor = np.zeros((len(draws), 1))
        for i, p in enumerate(self.law.parameters):
            floor = floor + np.exp(self.theta_draws[:, [i]]) if p.vanishes and p.log else floor
        sd = self.noise.sd(draws, floor, eval_sd / self.units.loss)
        step = sd * spread * rng.standard_normal(draws.shape)
        return (draws * np.exp(step) if self.noise.log else draws + step) * self.units.loss

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval of one parameter over the draws; NaN ends without draws, or where none differ."""
        if self.draws[name].size == 0 or (self.degenerate and not self._pinned(name)):
            return float("nan"), float("nan")
        low, high = np.quantile(self.draws[name], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    @property
    def degenerate(self) -> bool:
        """Whether there are draws and they are all one: no scatter about the law, or one cluster, tells no error."""
        spread = np.ptp(self.theta_draws, axis=0) if len(self.theta_draws) else np.ones(1)
        return bool(np.all(spread <= 1e-7 * (1 + np.abs(self.theta))))

    def _pinned(self, name: str) -> bool:
        return any(p.name == name and not p.low < p.high for p in self.law.parameters)

    def _predict(self, theta: Array, columns: Mapping[str, Any]) -> Array:
        given = {k: np.atleast_1d(np.asarray(v, float)) for k, v in columns.items()}
        data = self.law.prepare({k: given[k] / self.units.columns[k] for k in self.law.columns})
        value = self.law.evaluate(theta, data)[0]
        return (np.exp(value) if self.law.link == "log" else value) * self.units.loss

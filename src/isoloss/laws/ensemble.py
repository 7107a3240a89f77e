"""Several laws for one table: how much of a prediction is the choice of the form?

Each law is fitted below the rolling cuts and scored above them (`isoloss.laws.holdout`) by the log predictive density
of ``ln L`` at the held-out runs, averaged within each held-out rung. Weights are **pseudo-BMA+** (Yao, Vehtari,
Simpson & Gelman 2018): ``w_k`` proportional to ``exp(sum over rungs of the score of law k)``, averaged over
Bayesian-bootstrap weights of the rungs, so that few rungs leave the weights spread. Only cuts that every law was scored
at count. A mixture of the laws' draws in those shares predicts with the spread over forms in its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from isoloss.errors import TableError
from isoloss.laws.fit import fit
from isoloss.laws.fitted import KINDS, FittedLaw
from isoloss.laws.holdout import HeldOut, rolling
from isoloss.laws.law import Law
from isoloss.laws.optimum import pose

Array = NDArray[np.float64]
_RESHARES = 1000  # Bayesian-bootstrap weights of the held-out rungs
_CUTS = 4  # of the rolling forecast


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Laws fitted to one table and their `weights` (summing to 1); `left_out` says which were not and why.

    `scores` (laws,) are mean log predictive densities per held-out rung, `rungs` how many rungs they are over (0: the
    weights are equal for want of scores, and `diagnostics` says so).
    """

    laws: dict[str, FittedLaw]
    weights: dict[str, float]
    scores: dict[str, float]
    rungs: int
    left_out: dict[str, str]
    held_out: dict[str, HeldOut]
    diagnostics: dict[str, Any]
    seed: int

    def predict(self, columns: Mapping[str, Any]) -> Array:
        """Weighted mean (rows,) of the laws' predictions."""
        return np.sum([self.weights[k] * f.predict(columns) for k, f in self.laws.items()], axis=0)

    def predict_draws(self, columns: Mapping[str, Any], kind: str = "mean") -> Array:
        """Draws (B, rows) from the mixture: each law's draws in the share of its weight, whole curves at a time."""
        if kind not in KINDS:
            raise TableError("--kind", f"'{kind}' is not known", f"use {' or '.join(KINDS)}")
        share = np.array([self.weights[k] for k in self.laws])
        draws = [f.predict_draws(columns) if kind == "mean" else f.predict_runs(columns) for f in self.laws.values()]
        total = len(draws[0])
        rng = np.random.default_rng([self.seed, 11])
        pick = np.searchsorted(np.cumsum(share / share.sum()), (rng.permutation(total) + 0.5) / max(total, 1))
        return np.stack(draws)[np.minimum(pick, len(draws) - 1), np.arange(total)]

    def predict_interval(
        self, columns: Mapping[str, Any], level: float = 0.95, kind: str = "mean"
    ) -> tuple[Array, Array]:
        """Ends (rows,) of the mixture's interval, for the ``mean`` or a ``new-run``."""
        low, high = np.quantile(self.predict_draws(columns, kind), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def fan(self, columns: Mapping[str, Any], level: float = 0.95) -> list[dict[str, Any]]:
        """Each form's own prediction and interval at `columns`, best weight first."""
        names = sorted(self.laws, key=lambda k: -self.weights[k])
        return [
            {
                "law": k,
                "weight": self.weights[k],
                "predicted": self.laws[k].predict(columns),
                "interval": self.laws[k].predict_interval(columns, level),
            }
            for k in names
        ]


def ensemble(
    laws: Sequence[str | Law],
    columns: Mapping[str, Any],
    loss: Any,
    *,
    bootstrap: int = 4000,
    seed: int = 0,
    objective: str = "squared-log",
    **options: Any,
) -> Ensemble:
    """Fit every one of `laws` to the same rows and weigh them by how well they forecast held-out top rungs.

    All are fitted with one `objective`, or their scores could not be compared. `options` are those of
    `isoloss.laws.fit`. A law that this table can't determine is left out, with the reason; laws that were fitted but
    could not be scored below any cut get the lowest weight of those that could. Raises TableError when fewer than two
    laws remain, and for an unknown name.
    """
    chosen = {law if isinstance(law, str) else law.name: law for law in laws}
    fitted: dict[str, FittedLaw] = {}
    held: dict[str, HeldOut] = {}
    left_out: dict[str, str] = {}
    kept = {k: v for k, v in options.items() if k in ("delta", "weights", "pinned")}
    for name, law in chosen.items():
        try:
            fitted[name] = fit(
                law, columns, loss, bootstrap=bootstrap, seed=seed, objective=objective, held_out=0, **options
            )
        except TableError as error:
            if error.where.startswith("--"):
                raise
            left_out[name] = str(error)
            continue
        posed = pose(law, columns, loss, objective=objective, **kept)
        held[name] = rolling(posed, fitted[name].theta, seed, most=_CUTS)
    if len(fitted) < 2:
        why = next(iter(left_out.values()), "give more names")
        raise TableError("laws", f"{len(fitted)} of {len(chosen)} can be fitted to this table", why)
    score, rungs = _rung_scores(held)
    scored = {k: float(np.mean(v)) for k, v in score.items()}
    if rungs == 0:
        weights = dict.fromkeys(fitted, 1 / len(fitted))
        note = "equal weights: no rung could be held out for two laws"
    else:
        weights = _shares(score, seed)
        note = f"pseudo-BMA+ over {rungs} held-out rung(s)"
        least = min(weights.values())
        weights |= {k: least for k in fitted if k not in weights}
        total = sum(weights.values())
        weights = {k: weights[k] / total for k in fitted}
    return Ensemble(fitted, weights, scored, rungs, left_out, held, {"weighting": note}, seed)


def _rung_scores(held: Mapping[str, HeldOut]) -> tuple[dict[str, Array], int]:
    """Mean log predictive density (rungs,) of every scored law at each held-out rung, over the cuts common to all."""
    scored = {k: v for k, v in held.items() if v.folds}
    if len(scored) < 2:
        return {}, 0
    common = set.intersection(*({f.fitted for f in v.folds} for v in scored.values()))
    out: dict[str, Array] = {}
    for name, value in scored.items():
        folds = [f for f in value.folds if f.fitted in common]
        rung = np.concatenate([f.rung for f in folds])
        density = np.concatenate([f.log_density for f in folds])
        out[name] = np.array([density[rung == r].mean() for r in np.unique(rung)])
    return out, len(next(iter(out.values())))


def _shares(score: Mapping[str, Array], seed: int) -> dict[str, float]:
    value = np.stack(list(score.values()))  # (laws, rungs)
    rungs = value.shape[1]
    shares = np.random.default_rng([seed, 13]).dirichlet(np.ones(rungs), _RESHARES)
    total = rungs * value @ shares.T
    weight = np.exp(total - logsumexp(total, axis=0)).mean(axis=1)
    return dict(zip(score, (weight / weight.sum()).tolist(), strict=True))

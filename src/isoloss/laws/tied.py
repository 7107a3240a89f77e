"""One law for several arms, some of its parameters common to them: a floor of one data stream, equal exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.laws.law import Columns, Law

Array = NDArray[np.float64]
_LEVELS = 12  # of a shared parameter between the arms' own values and beyond, as starts


class TiedLaw(Law):
    """``L = f(columns; shared, own of the row's arm)`` for arms numbered in the column ``arm``.

    Parameters are the `shared` ones first, then each arm's own, named ``name[arm]``.
    """

    name = "tied"
    summary = "one law for several arms with common parameters"
    source = "isoloss"
    formula = "f(columns; shared, own[arm])"

    def __init__(self, law: Law, arms: Sequence[str], shared: frozenset[str]) -> None:
        self.law, self.arms = law, tuple(arms)
        self.link, self.scaled, self.columns = law.link, law.scaled, law.columns
        common = [i for i, p in enumerate(law.parameters) if p.name in shared]
        own = [i for i, p in enumerate(law.parameters) if p.name not in shared]
        parameters = [law.parameters[i] for i in common]
        self.place = np.zeros((len(arms), len(law.parameters)), np.intp)
        self.place[:, common] = np.arange(len(common))
        for k, arm in enumerate(arms):
            self.place[k, own] = len(parameters) + np.arange(len(own))
            parameters += [replace(law.parameters[i], name=f"{law.parameters[i].name}[{arm}]") for i in own]
        self.parameters = tuple(parameters)

    def prepare(self, columns: Columns) -> dict[str, Any]:
        """Data of each arm's rows and where those rows are."""
        rows = [np.flatnonzero(columns["arm"] == k) for k in range(len(self.arms))]
        parts = [self.law.prepare({c: columns[c][r] for c in self.law.columns}) for r in rows]
        return {"rows": rows, "parts": parts, "count": len(columns["arm"])}

    def evaluate(self, theta: Array, data: dict[str, Any]) -> tuple[Array, Array]:
        """Each arm's law on its own rows; the derivative is 0 in the other arms' parameters."""
        value = np.empty((len(theta), data["count"]))
        jac = np.zeros((len(theta), theta.shape[1], data["count"]))
        for place, rows, part in zip(self.place, data["rows"], data["parts"], strict=True):
            own, slope = self.law.evaluate(theta[:, place], part)
            value[:, rows] = own
            jac[:, place[:, None], rows] = slope
        return value, jac

    def starts(self, data: dict[str, Any], y: Array, weight: Array) -> Array:
        """`around` what each arm's own starts fit best by least squares."""
        own = []
        for rows, part in zip(data["rows"], data["parts"], strict=True):
            found = self.law.starts(part, y[rows], weight[rows])
            with np.errstate(invalid="ignore", over="ignore"):  # a start where the law has no value misfits infinitely
                misfit = np.square(y[rows] - self.law.evaluate(found, part)[0]) @ weight[rows]
            own.append(found[np.argmin(np.nan_to_num(misfit, nan=np.inf))])
        return self.around(np.array(own), float(np.exp(y.min()) if self.link == "log" else y.min()))

    def around(self, own: Array, least: float) -> Array:
        """Starts (S, P) from the arms' `own` parameters (K, P): the shared ones at every arm's value, at their mean,
        and at levels around. `least` is the lowest loss."""
        base = np.zeros(len(self.parameters))
        for place, best in zip(self.place, own, strict=True):
            base[place] = best
        common = [i for i in range(own.shape[1]) if len(np.unique(self.place[:, i])) == 1]
        if not common:
            return base[None]
        values = [*own, own.mean(axis=0)]
        for i in common:
            p = self.law.parameters[i]
            low, high = p.bounds
            if p.vanishes:  # a floor: from near 0 to just below the lowest loss
                levels = np.log(least * np.r_[1e-3, np.linspace(0.1, 0.98, _LEVELS)])
            else:
                levels = np.linspace(own[:, i].min() - 0.3, own[:, i].max() + 0.3, _LEVELS)
            for level in np.clip(levels, low, high):
                value = own.mean(axis=0)
                value[i] = level
                values.append(value)
        starts = np.repeat(base[None], len(values), axis=0)
        starts[:, self.place[0, common]] = np.array(values)[:, common]
        return starts

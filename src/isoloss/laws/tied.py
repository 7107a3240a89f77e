"""One law for several arms, some of its parameters common to them: a floor of one data stream, equal exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.laws.law import Columns, Law

Array = NDArray[np.float64]


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

    def starts(self, data: Any, y: Array, weight: Array) -> Array:
        """The arms' own starts aren't combined here; see `isoloss.laws.joint`."""
        raise NotImplementedError("tied laws are started from the arms' own fits")

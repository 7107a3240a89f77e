"""Closed forms of compute-optimal allocation under ``L(N, D) = E + A N^-alpha + B D^-beta`` with ``C = k N D``.

Written over plain arrays of parameters (B,), one entry a draw, so that a fitted law and its resamples are treated as
one batch and two laws with paired draws give paired gains. Budgets are (P,); results are (B, P).

Minimising the law along ``N D = C / k`` gives, with ``G = (alpha A / (beta B))^(1 / (alpha + beta))``,

    N*(C) = G (C/k)^(beta / (alpha+beta))        D*(C) = (C/k)^(alpha / (alpha+beta)) / G
    L*(C) = E + R (C/k)^-gamma                   gamma = alpha beta / (alpha+beta),  R = A G^-alpha + B G^beta
    C*(L) = k (R / (L - E))^(1/gamma)

Source: Hoffmann et al. 2022 (arXiv 2203.15556) eq. 4, for N* and D*; the other two follow by substitution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError, UnknownNameError

Array = NDArray[np.float64]
FLOPS_PER_PARAMETER_TOKEN = 6.0
_BISECTIONS = 80


@dataclass(frozen=True, eq=False)
class FrontierLaw:
    """The compute-optimal frontier of B draws of a law; `E`, `A`, `B`, `alpha`, `beta` are (B,), `k` is C / (N D)."""

    E: Array
    A: Array
    B: Array
    alpha: Array
    beta: Array
    k: float = FLOPS_PER_PARAMETER_TOKEN

    @property
    def exponent_n(self) -> Array:
        """``a`` of ``N* ~ C^a``, (B,)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def exponent_d(self) -> Array:
        """``b`` of ``D* ~ C^b``, (B,)."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def exponent(self) -> Array:
        """``gamma`` of ``L* - E ~ C^-gamma``, (B,)."""
        return self.alpha * self.beta / (self.alpha + self.beta)

    @property
    def log_balance(self) -> Array:
        """``ln G``, (B,)."""
        return np.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)

    @property
    def log_reducible(self) -> Array:
        """``ln R``, (B,)."""
        g = self.log_balance
        return np.logaddexp(np.log(self.A) - self.alpha * g, np.log(self.B) + self.beta * g)

    def n(self, c: Any) -> Array:
        """``N*`` at budgets `c`, (B, P)."""
        return np.exp(self.log_balance[:, None] + self.exponent_n[:, None] * self._log_product(c))

    def d(self, c: Any) -> Array:
        """``D*`` at budgets `c`, (B, P)."""
        return np.exp(-self.log_balance[:, None] + self.exponent_d[:, None] * self._log_product(c))

    def loss(self, c: Any) -> Array:
        """``L*`` at budgets `c`, (B, P)."""
        return self.E[:, None] + np.exp(self.log_reducible[:, None] - self.exponent[:, None] * self._log_product(c))

    def compute(self, loss: Any) -> Array:
        """The least budget that reaches `loss` (P,) or (B, P); ``inf`` at or below the floor, (B, P)."""
        above = np.atleast_2d(np.asarray(loss, float)) - self.E[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_product = (self.log_reducible[:, None] - np.log(above)) / self.exponent[:, None]
        return np.where(above > 0, self.k * np.exp(np.where(above > 0, log_product, 0.0)), np.inf)

    def loss_at(self, n: Any, d: Any) -> Array:
        """The law itself at parameters `n` and tokens `d`, each (P,) or (B, P); (B, P)."""
        log_n, log_d = (np.atleast_2d(np.log(np.asarray(v, float))) for v in (n, d))
        terms = zip((self.A, self.B), (self.alpha, self.beta), (log_n, log_d), strict=True)
        return self.E[:, None] + sum(np.exp(np.log(scale)[:, None] - power[:, None] * x) for scale, power, x in terms)

    def _log_product(self, c: Any) -> Array:
        return np.log(np.atleast_1d(np.asarray(c, float)) / self.k)[None, :]


@dataclass(frozen=True)
class PowerAllocation:
    """A way to spend a budget: ``N = coefficient C^exponent`` and ``D = C / (k N)``.

    Exponent 0 is a fixed model size, 1 a fixed number of tokens, 1/2 fixed tokens per parameter.
    """

    coefficient: float
    exponent: float
    k: float = FLOPS_PER_PARAMETER_TOKEN

    def n(self, c: Any) -> Array:
        """Parameters at budgets `c`."""
        return self.coefficient * np.asarray(c, float) ** self.exponent

    def d(self, c: Any) -> Array:
        """Tokens at budgets `c`."""
        return np.asarray(c, float) / (self.k * self.n(c))


#: ``N = 3.6e-6 C^0.73`` as Kaplan et al. 2020 (arXiv 2001.08361, figure 14) advise, with the digits of Gundlach et al.
#: 2025 (arXiv 2511.21622), whose ``D = 4.6e4 C^0.27`` it meets at ``C = 6 N D``.
KAPLAN = PowerAllocation(3.633e-6, 0.73)


def frontier_law(params: Mapping[str, Any], k: float = FLOPS_PER_PARAMETER_TOKEN) -> FrontierLaw:
    """The frontier of parameters ``E, A, B, alpha, beta``: numbers or draws (B,), as in a `FittedLaw`.

    Raises TableError where a value is not finite, or a scale or exponent not positive.
    """
    missing = [name for name in ("E", "A", "B", "alpha", "beta") if name not in params]
    if missing:
        raise TableError("params", f"no {', '.join(missing)} among {sorted(params)}", "give a law of N and D")
    columns = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(params[name], float)) for name in ("E", "A", "B", "alpha", "beta"))
    )
    for name, values in zip(("E", "A", "B", "alpha", "beta"), columns, strict=True):
        if not np.all(np.isfinite(values) & (values > 0 if name != "E" else True)):
            raise TableError(name, "is not finite and positive in every draw", "fit the law again")
    if not 0 < k < float("inf"):
        raise TableError("k", f"{k} FLOPs per parameter and token", "give a positive number, such as 6")
    return FrontierLaw(columns[0], columns[1], columns[2], columns[3], columns[4], k)


def frontier_gain(old: FrontierLaw, new: FrontierLaw, c: Any, index: Literal["old", "new"] = "old") -> Array:
    """Compute-equivalent gain of `new` over `old`, both optimally allocated, at budgets `c` (P,); (B, P).

    ``old`` index: ``C / C_new*(L_old*(C))`` at the old law's budget; ``new``: ``C_old*(L_new*(C)) / C`` at the new
    one's. 0 (or inf) where the loss lies at or below the floor of the law that should reach it.
    """
    budget = np.atleast_1d(np.asarray(c, float))[None, :]
    if index == "old":
        return budget / new.compute(old.loss(c))
    if index == "new":
        return old.compute(new.loss(c)) / budget
    raise UnknownNameError("index", "index", index, ("old", "new"))


def allocation_gain(
    law: FrontierLaw, allocation: PowerAllocation, c: Any, index: Literal["old", "new"] = "old"
) -> Array:
    """Compute-equivalent gain of the optimal allocation over another, under one law, at budgets `c` (P,); (B, P).

    ``old`` index: ``M(C) = C / C*(L(N(C), D(C)))`` at the budget spent the other way; never below 1, and 1 where the
    two allocations cross. ``new`` index: how much more than ``C`` the other way needs to reach ``L*(C)``. Its loss
    falls with ``C`` if its exponent is within 0..1, so that budget is found by bisection; ``inf`` where none is.
    Source: Gundlach et al. 2025 (arXiv 2511.21622) appendix B, whose closed form is the ``old`` index.
    """
    budget = np.atleast_1d(np.asarray(c, float))
    if index == "old":
        return budget[None, :] / law.compute(law.loss_at(allocation.n(budget), allocation.d(budget)))
    if index != "new":
        raise UnknownNameError("index", "index", index, ("old", "new"))
    if not 0 <= allocation.exponent <= 1:
        raise TableError("allocation", f"exponent {allocation.exponent} is outside 0..1", "its loss need not fall")
    target = law.loss(budget)
    low = np.broadcast_to(np.log(budget), target.shape)
    high = low + np.log(1e30)

    def loss(log_c: Array) -> Array:
        spent = np.exp(log_c)
        return law.loss_at(allocation.n(spent), allocation.d(spent))

    reached = loss(high) <= target
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        short = loss(middle) > target
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(reached, np.exp(high - np.log(budget)), np.inf)

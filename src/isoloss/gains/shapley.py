"""Attribution of a joint gain to the innovations behind it: Shapley values and their one-sided cousins.

In log gain ``v(S)`` of a set S of innovations over none of them, innovation i is worth between its gain alone
(first-in, ``v(i) - v(none)``) and its gain as the last part (last-in, ``v(all) - v(all but i)``). The Shapley value is
its mean worth over all orders of adding the parts; the values sum to the joint log gain exactly (Shapley 1953). With
``v(S) = sum_{T in S} m_T`` (main effects and interactions), ``phi_i = sum_{T containing i} m_T / |T|``: every
interaction is split evenly among its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Term = tuple[int, ...]


def terms_up_to(factors: int, order: int) -> list[Term]:
    """Every set of 1 to `order` factors, by size; the constant is not among them."""
    return [t for n in range(1, order + 1) for t in combinations(range(factors), n)]


def shapley_of_terms(terms: Sequence[Term], factors: int) -> Array:
    """Weights (K, T) that turn interaction terms into Shapley values: ``1/|T|`` where i is in T.

    >>> shapley_of_terms([(0,), (1,), (0, 1)], 2).tolist()
    [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]
    """
    weights = np.zeros((factors, len(terms)))
    for j, term in enumerate(terms):
        weights[list(term), j] = 1 / len(term)
    return weights


def shapley_weights(switches: NDArray[np.int64]) -> Array:
    """Weights (K, A) that turn the log gains of a full factorial, `switches` (A, K) of 0 and 1, into Shapley values.

    ``phi_i = sum_{S without i} [v(S + i) - v(S)] / (K C(K - 1, |S|))``. Work and memory are ``K 2^K``: 12 factors take
    milliseconds.
    """
    k = switches.shape[1]
    size = switches.sum(axis=1)
    gained = np.array([1 / (k * comb(k - 1, s - 1)) if s else 0.0 for s in range(k + 1)])  # for an arm that has i
    lost = np.array([-1 / (k * comb(k - 1, s)) if s < k else 0.0 for s in range(k + 1)])  # for an arm that has not
    return np.where(switches.T == 1, gained[size], lost[size])

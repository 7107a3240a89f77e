"""How single gains are spread: skew, few jumps or many small steps, and claims that shrink."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from isoloss.evidence.cards import CardComparison, FiledCard, of_innovation
from isoloss.evidence.claims import claims, constants
from isoloss.origin.accounts import Account
from isoloss.origin.consistent import consistent
from isoloss.origin.published import published
from isoloss.origin.spread import Claim, Distribution, JumpTest, SingleGain
from isoloss.origin.stack import value

Array = NDArray[np.float64]

SMALL_STEP = 1.05  # about what one run can resolve at 1e15 FLOP: seeds there scatter by 3% of compute
DRAWS = 20_000


def distribution(cards: Sequence[FiledCard] = ()) -> Distribution:
    """Moments of single log gains, tests for jumps in the accounting under each index, and the table of claims.

    What was measured here is taken from `cards`.
    """
    period = published().accounts[-1]
    singles = [
        SingleGain(str(c.more["title"]), int(c.more["introduced"]), c.value, 1e15, True)
        for n, c in constants().items()
        if n.startswith("singles.") and "title" in c.more
    ]
    large = [
        SingleGain(s.name, s.year, s.factor, s.at, False)
        for s in period.steps
        if s.kind == "scale-dependent" or s.name == "mixture of experts"
    ]
    gains = (*singles, *large)
    logs = np.log([g.gain for g in gains])
    found = claim_rows(cards)
    both = [np.log(c.later / c.claimed) for c in found if c.claimed and c.later]
    shrinking = sum(x < 0 for x in both)
    note = (
        f"{shrinking} of the {len(both)} claims that anybody has compared since are smaller; the median of later over "
        f"claimed is {np.exp(np.median(both)):.2f}. The list is of claims that somebody thought worth checking."
    )
    return Distribution(
        gains, float(stats.skew(logs, bias=False)), float(np.mean(logs)), float(np.median(logs)),
        _tests(singles, period), found, shrinking, float(np.median(both)), note,
    )  # fmt: skip


def _tests(singles: Sequence[SingleGain], period: Account) -> tuple[JumpTest, ...]:
    small = [g for g in singles if g.gain > 1 and g.name != "AdamW over SGD"]
    samples = {
        "ablations at 1e15 FLOP": {g.name: g.gain for g in small},
        "ablations and the Transformer at 1e15 FLOP": {
            **{g.name: g.gain for g in small},
            "LSTM to Transformer of 2017": value("stack.joint_lstm_retro"),
        },
        "the stack of 2013 to 2025, as published": {s.name: s.factor for s in period.steps},
    }
    for a in consistent().accounts:
        if a.years == period.years and a.index != "as-published":
            samples[f"the stack of 2013 to 2025, index {a.index}"] = {s.name: s.factor for s in a.steps}
    return tuple(test for name, gains in samples.items() for test in jump_tests(name, gains))


def jump_tests(sample: str, gains: dict[str, float], seed: int = 0) -> tuple[JumpTest, JumpTest]:
    """Is the largest share of the log too large for exchangeable steps, under two nulls?

    ``small steps``: the whole is many steps of 1.05 times each, and which innovation each belongs to is exchangeable
    (labels permuted at random; the p-value counts the observed arrangement too). ``uneven steps``: one step an
    innovation, the whole broken at random places (steps exponential, so unequal by chance alone); exact, by Fisher's
    (1929) formula for the largest piece. Gains must be 1 or more.
    """
    logs = np.log(np.array(list(gains.values())))
    n, total = len(logs), float(np.sum(logs))
    share = float(np.max(logs)) / total
    largest = list(gains)[int(np.argmax(logs))]
    count = max(round(total / float(np.log(SMALL_STEP))), 1)
    drawn = np.random.default_rng([seed, 47]).multinomial(count, np.full(n, 1 / n), size=DRAWS).max(axis=1) / count
    p = (1 + int(np.sum(drawn >= share))) / (1 + DRAWS)
    note = f"{count} steps of {SMALL_STEP:g} times; no p is below {1 / (1 + DRAWS):.1g}"
    return (
        JumpTest(sample, "small steps", n, largest, share, p, note),
        JumpTest(sample, "uneven steps", n, largest, share, largest_piece(share, n), "exact"),
    )


def largest_piece(share: float, n: int) -> float:
    """Chance that the largest of `n` pieces of a stick broken at random is at least `share` of it (Fisher 1929).

    ``sum_k (-1)^(k+1) C(n, k) (1 - k share)^(n-1)`` over k with ``k share < 1``.

    >>> largest_piece(0.5, 2), round(largest_piece(0.5, 3), 12)
    (1.0, 0.75)
    """
    terms = ((-1) ** (k + 1) * comb(n, k) * (1 - k * share) ** (n - 1) for k in range(1, n + 1) if k * share < 1)
    return float(min(1.0, max(0.0, sum(terms))))


def claim_rows(cards: Sequence[FiledCard] = ()) -> tuple[Claim, ...]:
    """Every claim of claims.toml that names a gain, by year; ours is the headline of the card of the largest scale."""
    rows = []
    for name, entry in claims("claims").items():
        claimed, later = (entry.get(k) for k in ("claimed", "later"))
        measured = of_innovation(cards, name)
        ours = measured[0][1].headline if measured else None
        if claimed is None and later is None and ours is None:
            continue
        rows.append(
            Claim(
                entry["title"], entry["year"], entry["resource"],
                claimed and float(claimed["gain"]), f"{claimed['paper']}; {claimed['scale']}" if claimed else "",
                later and float(later["gain"]), f"{later['paper']}; {later['scale']}" if later else "",
                None if ours is None else ours.gain, None if ours is None else ours.interval,
                "" if ours is None else _where(*measured[0]), entry["trend"], entry["check"],
            )
        )  # fmt: skip
    return tuple(sorted(rows, key=lambda c: (c.year, c.name)))


def _where(filed: FiledCard, comparison: CardComparison) -> str:
    """At which budget and in which study a headline was measured."""
    top = comparison.headline
    return f"{top.at:.2g} {filed.card.resource}, index {top.index} ({filed.card.study})" if top is not None else ""

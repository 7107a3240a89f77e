"""What an accounting of algorithmic progress is made of, under which index, and how it is read at one budget.

Every gain says under which index it is: ``old`` = a function of the reference's budget, ``new`` = of the newest
algorithm's, ``as-published`` = a product of step gains all read at one budget, each under the index its source used.
Shares are of the logarithm of the total. Budgets are in training FLOP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interval = tuple[float, float]
Composition = Literal["as-published", "old", "new"]
Kind = Literal["scale-dependent", "scale-invariant", "added"]


@dataclass(frozen=True)
class Step:
    """One step of an accounting: its `factor`, read at budget `at` under `index`, and its `share` of the log."""

    name: str
    year: int
    kind: Kind
    factor: float
    share: float
    at: float
    index: Literal["old", "new"]
    interval: Interval | None = None


@dataclass(frozen=True)
class Account:
    """A total and the steps it is made of.

    `budget` belongs to the reference (index old) or to the newest algorithm (new, as-published). `per_year` is
    ``total^(1 / years)``, `scale_dependent` the product of the scale-dependent steps and `scale_dependent_share` their
    part of the log. `printed` is what the paper prints for this total, where it prints one.
    """

    label: str
    index: Composition
    reference: str
    years: tuple[int, int]
    budget: float
    steps: tuple[Step, ...]
    total: float
    per_year: float
    scale_dependent: float
    scale_dependent_share: float
    interval: Interval | None = None
    printed: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Published:
    """The paper's own accounting: both periods, the same with its left-out factor restored, and the gap to Ho et al."""

    accounts: tuple[Account, ...]
    restored: tuple[Account, ...]
    ho_total: float
    gaps: tuple[float, ...]


@dataclass(frozen=True)
class Combined:
    """Single gains multiplied against what they give together, at the ablations' scale.

    `product` of the `singles`; `joint` as the paper's laws give it; `raw` as its curves do; `shrink` is
    ``ln joint / ln product``.
    """

    name: str
    singles: dict[str, float]
    product: float
    joint: float
    raw: float | None
    shrink: float
    note: str = ""


@dataclass(frozen=True)
class AllocationPoint:
    """How many times less the optimal allocation needs at one budget.

    `old`: at the other allocation's budget, exactly; `new`: at the optimal one's, exactly; `closed_form`: the
    printed formula (old index); `asymptote`: its printed large-budget limit.
    """

    budget: float
    old: float
    new: float
    closed_form: float
    asymptote: float


@dataclass(frozen=True)
class AllocationByLaw:
    """The same gain at one budget under another published law."""

    law: str
    source: str
    budget: float
    old: float
    new: float


@dataclass(frozen=True)
class Allocation:
    """Kaplan's balance of parameters and data against the optimal one, along budgets, under one law.

    The gain has a least value `least` at budget `least_at`; below that a larger gain belongs to a smaller budget, so
    `reached_at` gives every budget at which the gain is `reached` (two of them). `closed_form_error` is the largest
    relative error of the printed formula against the exact one over the points.
    """

    law: str
    reference: str
    points: tuple[AllocationPoint, ...]
    least: float
    least_at: float
    reached: float
    reached_at: tuple[float, ...]
    closed_form_error: float
    by_law: tuple[AllocationByLaw, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LadderPoint:
    """Gains over the LSTM at one budget from the printed laws; `measured` where the paper trained models."""

    budget: float
    retro_new: float
    retro_old: float
    modern_new: float
    modern_old: float
    measured: bool


@dataclass(frozen=True)
class Consistent:
    """The accounting under every index at one budget, and what goes with it.

    `accounts` at the rounded budgets that the paper speaks of; `restored` the same with the left-out factor;
    `direct` the modern law times mixture of experts, no chain.
    """

    accounts: tuple[Account, ...]
    restored: tuple[Account, ...]
    direct: tuple[Account, ...]
    combined: tuple[Combined, ...]
    allocation: Allocation
    ladder: tuple[LadderPoint, ...]

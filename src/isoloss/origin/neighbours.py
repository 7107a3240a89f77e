"""Other estimates of the pace of the field, and the criticisms of these, as rows in one currency: factors a year."""

from __future__ import annotations

import numpy as np

from isoloss.evidence.claims import claims, constants
from isoloss.origin.published import published
from isoloss.origin.spread import Neighbour
from isoloss.origin.stack import value


def neighbours() -> tuple[Neighbour, ...]:
    """This paper's two periods, Ho et al. from their printed coefficients, and the rows of claims.toml."""
    rows = [
        Neighbour(
            "Gundlach et al. 2025", "accounting, as published", f"{a.years[0]} to {a.years[1]}", a.total, a.per_year,
            _months(a.per_year), None, "arXiv 2511.21622v1", "recomputed",
        )
        for a in published().accounts
    ]  # fmt: skip
    rows.append(_ho())
    for entry in claims("neighbours").values():
        total, per_year, interval = entry.get("total"), entry.get("per_year"), None
        if "doubling" in entry:
            per_year = 2 ** (12 / entry["doubling"])
            if "interval" in entry:
                slow, fast = (2 ** (12 / m) for m in (entry["interval"][1], entry["interval"][0]))
                interval = (slow, fast)
        elif "months" in entry:
            per_year = total ** (12 / entry["months"])
        if "factor" in entry:  # a criticism: how far off the estimate of Ho et al. may be
            quoted, off, span = value("ho.total"), float(entry["factor"]), 11
            interval = ((quoted / off) ** (1 / span), (quoted * off ** entry["upwards"]) ** (1 / span))
            total, per_year = (None, None) if entry["upwards"] else (quoted / off, interval[0])
        rows.append(
            Neighbour(
                entry["title"], entry["quantity"], entry["years"], None if total is None else float(total), per_year,
                None if per_year is None else _months(per_year), interval, entry["paper"], entry["check"],
                entry.get("effect", ""),
            )
        )  # fmt: skip
    return tuple(rows)


def ho_rate(alpha_year: float, alpha_param: float, beta_year: float, beta_data: float) -> float:
    """Log growth a year of effective compute under model 7 of Ho et al. 2024 (arXiv 2403.05812).

    Its loss falls with time as if parameters grew by ``alpha_year / alpha_param`` and data by ``beta_year / beta_data``
    in log a year; compute is their product, so the two add.

    >>> round(ho_rate(0.0039, 0.0680, 0.0356, 0.0396), 4)
    0.9563
    """
    return alpha_year / alpha_param + beta_year / beta_data


def _ho() -> Neighbour:
    names = ("alpha_year", "alpha_param", "beta_year", "beta_data")
    rate = ho_rate(*(value(f"ho.{n}") for n in names))
    total, span = value("ho.total"), 11
    printed = value("ho.per_year")
    said = (
        f"From the coefficients; the bootstrap median is {value('ho.doubling'):g} months. The {total:,.0f} that is "
        f"quoted for 2012 to 2023 is {total ** (1 / span):.2f} a year over {span} years, while {printed:g} a year "
        f"would be {printed**span:,.0f}."
    )
    return Neighbour(
        "Ho et al. 2024, coefficients", "effective compute, model 7", "2012 to 2023", float(np.exp(rate * span)),
        float(np.exp(rate)), 12 * float(np.log(2)) / rate, None, constants()["ho.alpha_year"].paper, "recomputed", said,
    )  # fmt: skip


def _months(per_year: float) -> float:
    return 12 * float(np.log(2) / np.log(per_year))

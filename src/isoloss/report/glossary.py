"""The words of a report, explained in the report: a term, the anchor that the page links to, and what it means."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One word of the page: its anchor, the word, and its meaning (docs/verdicts.md has the whole)."""

    anchor: str
    name: str
    meaning: str


TERMS = (
    Term(
        "word-gain",
        "Gain",
        "How many times less of the resource the candidate needs to reach the same quality. Below 1 it needs more.",
    ),
    Term(
        "word-index",
        "Old and new index",
        "A gain is a function of a budget. Under the old index that is the baseline’s budget, under the new one the "
        "candidate’s. They are one curve read from its two ends, and at the same budget they can differ a lot.",
    ),
    Term(
        "word-known",
        "Measured, extrapolated, bound, withheld",
        "Measured: both arms reached this quality, and the gain is interpolated between rungs without a law. "
        "Extrapolated: from the fitted laws, at most two decades beyond the runs. Bound: the other arm never got this "
        "far, so only “more than” or “less than” is known. Withheld: further out still, so an interval only.",
    ),
    Term(
        "word-level",
        "Gain, loss, no gain, not settled",
        "At the largest budget where both are measured: a gain if the 95% interval lies wholly above 1.05, a loss if "
        "wholly below 0.95, no gain if wholly between. Anything else is not settled by these runs.",
    ),
    Term(
        "word-slope",
        "Slope, and grows, constant, shrinks",
        "d ln G / d ln C: how fast the gain changes with the budget. Grows if its interval lies wholly above +0.02, "
        "shrinks if wholly below −0.02, constant if wholly between.",
    ),
    Term(
        "word-floor",
        "Floor",
        "The quality that no budget gets below. One floor for both arms is shared, one each is free. A floor that is "
        "wrong makes a constant gain look growing or falling, so every treatment is shown.",
    ),
    Term(
        "word-misfit",
        "AICc and misfit p",
        "AICc weighs how well a law fits against how many parameters it has: lower is better. A small misfit p (below "
        "0.05) says that the runs scatter around the law by more than their seeds explain.",
    ),
    Term(
        "word-interval",
        "95% interval",
        "From resampling whole runs, never logged points. Each interval is for itself: of twenty, one may miss.",
    ),
)

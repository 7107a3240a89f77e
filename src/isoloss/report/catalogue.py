"""The figures of a result by name: what its page shows, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isoloss.errors import StudyError, UnknownNameError
from isoloss.gains.analysis import StudyResult
from isoloss.report import tables, words
from isoloss.report.figures import (
    Figure,
    figure_gain,
    figure_overview,
    figure_quality,
    figure_ratios,
    figure_residuals,
    figure_slopes,
    figure_tuning,
    swept_choices,
)
from isoloss.report.figures.residuals import residual_rows
from isoloss.report.figures.slopes import slope_rows
from isoloss.report.qualities import Quality

#: Figures of one comparison, then those of the study or of an arm.
OF_A_COMPARISON = ("gain", "quality", "residuals", "slope", "ratios")
NAMES = (*OF_A_COMPARISON, "overview", "tuning")


Index = Literal["old", "new"]


@dataclass(frozen=True)
class Entry:
    """One figure that there is: its name, the comparison (from 1) or the arm and choice that it is of, what it is."""

    name: str
    comparison: int | None
    arm: str | None
    choice: str | None
    about: str


def catalogue(result: StudyResult) -> list[Entry]:
    """Every figure that `result` has: what its page shows, and what `isoloss figure` can be asked for."""
    found = [Entry("overview", None, None, None, "all comparisons")] if result.comparisons else []
    for k, curve in enumerate(result.comparisons, 1):
        pair = f"{words.plain(curve.candidate, 40)} against {words.plain(curve.baseline, 40)}"
        about = f"{pair} {tables.measure(curve, result.resource)}".strip()
        there = {"gain": True, "quality": True, "residuals": bool(residual_rows(curve))}
        there |= {"slope": bool(slope_rows(curve)), "ratios": any(c.belongs_to(curve) for c in result.costs)}
        found += [Entry(n, k, None, None, about) for n in OF_A_COMPARISON if there[n]]
    for choice in swept_choices(result.trials):
        swept = dict.fromkeys(t.arm for t in result.trials if choice in t.values)
        found += [Entry("tuning", None, arm, choice, words.choice_title(choice)) for arm in swept]
    return found


def drawn(result: StudyResult, entry: Entry, index: Index = "old") -> Figure:
    """The figure of an `entry` of the catalogue of `result`; a gain is read by its `index`."""
    arms = [a.name for a in result.arms]
    if entry.name == "overview":
        return figure_overview(result.comparisons, [tables.measure(c, result.resource) for c in result.comparisons])
    if entry.arm is not None and entry.choice is not None:
        return figure_tuning(result.trials, entry.arm, entry.choice, arms, result.direction == "higher")
    assert entry.comparison is not None
    curve, read = result.comparisons[entry.comparison - 1], Quality.of(result)
    return {
        "gain": lambda: figure_gain(curve, index, arms),
        "quality": lambda: figure_quality(curve, arms, read),
        "residuals": lambda: figure_residuals(curve, arms),
        "slope": lambda: figure_slopes(curve),
        "ratios": lambda: figure_ratios([c for c in result.costs if c.belongs_to(curve)], arms),
    }[entry.name]()


def find_figure(
    result: StudyResult,
    name: str,
    *,
    comparison: int = 1,
    index: Index = "old",
    arm: str | None = None,
    choice: str | None = None,
) -> Figure:
    """One figure by name; raises `StudyError` or `UnknownNameError` naming the flag at fault."""
    if name not in NAMES:
        raise UnknownNameError("--name", "figure", name, NAMES)
    mine = [e for e in catalogue(result) if e.name == name]
    if name == "tuning":
        if not mine:
            raise StudyError("--name tuning", "this study swept nothing", "choose another figure: --list")
        mine = _narrowed(mine, "arm", "tuned arm", arm)
        mine = _narrowed(mine, "choice", "swept choice", choice)
    elif not result.comparisons:
        raise StudyError(f"--name {name}", "this study has no comparison yet", "isoloss run the study to go on")
    elif name != "overview":
        if not 1 <= comparison <= len(result.comparisons):
            counted = f"there are {len(result.comparisons)}" if len(result.comparisons) > 1 else "there is one"
            raise StudyError(f"--comparison {comparison}", f"no such comparison, {counted}", "see --list")
        mine = [e for e in mine if e.comparison == comparison]
    if not mine:
        raise StudyError(f"--name {name}", "this comparison has none", "see --list for what it has")
    return drawn(result, mine[0], index)


def _narrowed(entries: list[Entry], field: Literal["arm", "choice"], what: str, asked: str | None) -> list[Entry]:
    """Those whose `field` is the one that was asked for, or else the first one's."""
    known = list(dict.fromkeys(str(getattr(e, field)) for e in entries))
    if asked is not None and asked not in known:
        raise UnknownNameError(f"--{field}", what, asked, known)
    return [e for e in entries if getattr(e, field) == (asked or known[0])]

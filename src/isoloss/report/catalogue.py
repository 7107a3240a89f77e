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
from isoloss.report.qualities import Quality

#: Figures of one comparison, then those of the study or of an arm.
OF_A_COMPARISON = ("gain", "quality", "residuals", "slope", "ratios")
NAMES = (*OF_A_COMPARISON, "overview", "tuning")


@dataclass(frozen=True)
class Entry:
    """One figure that can be asked for: its name, the comparison (from 1) or the arm that it is of, and what it is."""

    name: str
    comparison: int | None
    arm: str | None
    about: str


def catalogue(result: StudyResult) -> list[Entry]:
    """Every figure that `result` has."""
    found = [Entry("overview", None, None, "all comparisons")] if result.comparisons else []
    for k, curve in enumerate(result.comparisons, 1):
        pair = f"{words.plain(curve.candidate, 40)} against {words.plain(curve.baseline, 40)}"
        measure = tables.measure(curve, result.resource)
        there = {"gain": True, "quality": True, "residuals": bool(curve.laws), "slope": True}
        there["ratios"] = any(c.belongs_to(curve) for c in result.costs)
        there["slope"] = any(s.value is not None for s in (*curve.slopes, curve.slope))
        found += [Entry(n, k, None, f"{pair} {measure}".strip()) for n in OF_A_COMPARISON if there[n]]
    for arm in dict.fromkeys(t.arm for t in result.trials):
        found += [Entry("tuning", None, arm, words.choice_title(c)) for c in _swept(result, arm)[:1]]
    return found


def find_figure(
    result: StudyResult,
    name: str,
    *,
    comparison: int = 1,
    index: Literal["old", "new"] = "old",
    arm: str | None = None,
) -> Figure:
    """One figure by name; raises `StudyError` or `UnknownNameError` naming the flag at fault."""
    if name not in NAMES:
        raise UnknownNameError("--name", "figure", name, NAMES)
    arms = [a.name for a in result.arms]
    if name == "tuning":
        swept = list(dict.fromkeys(t.arm for t in result.trials if _swept(result, t.arm)))
        if not swept:
            raise StudyError("--name tuning", "this study swept nothing", "choose another figure: --list")
        if arm is not None and arm not in swept:
            raise UnknownNameError("--arm", "tuned arm", arm, swept)
        chosen = arm or swept[0]
        return figure_tuning(result.trials, chosen, _swept(result, chosen)[0], arms, result.direction == "higher")
    if not result.comparisons:
        raise StudyError(f"--name {name}", "this study has no comparison yet", "isoloss run the study to go on")
    if name == "overview":
        return figure_overview(result.comparisons, [tables.measure(c, result.resource) for c in result.comparisons])
    if not 1 <= comparison <= len(result.comparisons):
        counted = f"there are {len(result.comparisons)}" if len(result.comparisons) > 1 else "there is one"
        raise StudyError(f"--comparison {comparison}", f"no such comparison, {counted}", "see --list")
    curve = result.comparisons[comparison - 1]
    read = Quality.of(result)
    costs = [c for c in result.costs if c.belongs_to(curve)]
    figure = {
        "gain": lambda: figure_gain(curve, index, arms),
        "quality": lambda: figure_quality(curve, arms, read),
        "residuals": lambda: figure_residuals(curve, arms, read),
        "slope": lambda: figure_slopes(curve),
        "ratios": lambda: figure_ratios(costs, arms) if costs else None,
    }[name]()
    if figure is None:
        raise StudyError(f"--name {name}", "this comparison has none", "see --list for what it has")
    return figure


def _swept(result: StudyResult, arm: str) -> list[str]:
    return swept_choices([t for t in result.trials if t.arm == arm])

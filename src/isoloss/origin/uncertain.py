"""Intervals for the accounting from the authors' own curves, and the totals over all defensible readings of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from isoloss.errors import MissingError
from isoloss.evidence.fetch import cache_folder, public_tables
from isoloss.laws.joint import fit_joint
from isoloss.origin.accounts import Interval
from isoloss.origin.spread import Specification, Uncertain
from isoloss.origin.stack import factors, value
from isoloss.reproduce import gundlach
from isoloss.reproduce.gundlach import Curve, Fit
from isoloss.reproduce.table import quantiles

POINTS: dict[str, tuple[Interval, bool]] = {
    "frontier, 1e14 up": ((1e14, 1e18), False),
    "frontier, 1e15 up": ((1e15, 1e18), False),
    "frontier, 1e16 up": ((1e16, 1e18), False),
    "run end-points": ((0.0, np.inf), True),
}
FLOORS = (1.5, 1.7, 1.9, 2.2)
COMPUTE = ("as logged", "cell counted")
_GAINS = ("retro_new", "retro_old", "as_published", "total_new", "total_old")


def uncertain(data: Path | None = None, tick: Callable[[], None] = lambda: None) -> Uncertain:
    """Totals at the paper's budget of 2025 with intervals that draw whole runs, and over every combination of choices.

    `data`: the folder of the authors' curves; by default where `isoloss fetch gundlach` puts them. Without them the
    tables are empty and `how` says what to do. The scale-invariant factor has no interval: each of its gains is one
    run against one run. Raises MissingError for a folder that was named and lacks them. `tick` is called after each
    specification.
    """
    budget = value("stack.budget_rounded_2025")
    folder = data or cache_folder() / public_tables()["gundlach"].folder
    if not folder.is_dir():
        if data is not None:
            raise MissingError(folder, "is not there", "bring the curves with `isoloss fetch gundlach`")
        how = (
            "intervals need the authors' curves: `isoloss fetch gundlach` and `isoloss fetch gundlach-2026`, or --data"
        )
        return Uncertain((), (), {}, budget, float("nan"), 0, how)
    campaigns = {"original": {a: gundlach.curves(folder, where) for a, where in gundlach.ORIGINAL.items()}}
    how = f"{gundlach.DRAWS} draws of whole runs with replacement; one seed a run, so that seed noise is in them only "
    how += "as far as runs of different width show it"
    for name, arms in gundlach.RERUNS.items():
        try:
            campaigns[name] = {a: gundlach.curves(folder, where) for a, where in arms.items()}
        except MissingError:
            if not how.endswith("2026`"):
                how += "; without the authors' re-runs: bring them with `isoloss fetch gundlach-2026`"
    known = [s for s in gundlach.SPECIFICATIONS if s.campaign in campaigns]
    rows = []
    for spec in known:
        rows.append(_with_interval(spec, campaigns[spec.campaign], budget))
        tick()
    rows += _estimated_floors(campaigns["original"], budget)
    tick()
    curve = specification_curve(campaigns, budget)
    top = max(float(r.flops[-1]) for runs in campaigns["original"].values() for r in runs)
    span = {
        name: (min(v), float(np.median(v)), max(v)) for name, v in ((g, [getattr(s, g) for s in curve]) for g in _GAINS)
    }
    return Uncertain(tuple(rows), curve, span, budget, float(np.log10(budget / top)), gundlach.DRAWS, how)


def specification_curve(campaigns: dict[str, dict[str, list[Curve]]], budget: float) -> tuple[Specification, ...]:
    """Every combination of campaign, points, floor and LSTM compute, in order of the total under the new index."""
    found = []
    for (name, runs), points, floor, compute in product(campaigns.items(), POINTS, FLOORS, COMPUTE):
        window, ends = POINTS[points]
        spec = gundlach.Specification("", window, floor, ends, name, compute == COMPUTE[1])
        fits = gundlach.estimate(_counted(runs, spec), spec)
        choices = {"campaign": name, "points": points, "floor": f"{floor:g}", "LSTM compute": compute}
        found.append(_read(f"{name}; {points}; floor {floor:g}; {compute}", choices, fits, budget))
    return tuple(sorted(found, key=lambda s: s.total_new))


def totals(fits: dict[str, Fit], budget: float, invariant: float) -> dict[str, float]:
    """The 2017 Transformer over the LSTM under both indexes, and the totals that they make with `invariant`.

    Composed: ``F G_new(F C)`` under the new index, ``F G_old(C)`` under the old; as published ``F G_new(C)``.
    """
    old, new = fits["lstm"], fits["retro"]
    g_new, g_old = (gundlach.gain(old, new, budget, i) for i in ("new", "old"))
    carried = gundlach.gain(old, new, invariant * budget, "new")
    return dict(zip(_GAINS, (g_new, g_old, invariant * g_new, invariant * carried, invariant * g_old), strict=True))


def _read(label: str, choices: dict[str, str], fits: dict[str, Fit], budget: float) -> Specification:
    return Specification(
        label, choices, {a: f.alpha for a, f in fits.items()}, **totals(fits, budget, _invariant()), intervals={}
    )


def _with_interval(spec: gundlach.Specification, runs: dict[str, list[Curve]], budget: float) -> Specification:
    runs = _counted(runs, spec)
    fits, drawn = gundlach.estimate(runs, spec), gundlach.resampled(runs, spec)
    read = [totals(d, budget, _invariant()) for d in drawn]
    choices = {
        "campaign": spec.campaign,
        "points": "run end-points" if spec.ends else f"frontier, {spec.window[0]:g} to {spec.window[1]:g}",
        "floor": f"{spec.floor:g}",
        "LSTM compute": COMPUTE[spec.mended],
    }
    point = _read(spec.label, choices, fits, budget)
    intervals = {g: quantiles([r[g] for r in read]) for g in _GAINS}
    intervals |= {f"alpha-{a}": quantiles([d[a].alpha for d in drawn]) for a in fits}
    return replace(point, intervals=intervals)


def _estimated_floors(runs: dict[str, list[Curve]], budget: float) -> list[Specification]:
    """The floor left to the data, one for all arms, on the frontier and on end-points."""
    found = []
    for points in ("frontier, 1e15 up", "run end-points"):
        read = {a: gundlach.frontier(mine, *POINTS[points]) for a, mine in runs.items()}
        arm = np.concatenate([np.full(len(C), a) for a, (C, _) in read.items()])
        C, loss = (np.concatenate([p[k] for p in read.values()]) for k in (0, 1))
        joint = fit_joint("power-floor", {"C": C}, loss, arm, shared=("E",), bootstrap=0, objective="squared")
        fits = {a: Fit(f.params["A"], f.params["alpha"], f.params["E"]) for a, f in joint.arms.items()}
        floor = f"estimated, shared: {fits['lstm'].floor:.2f}"
        choices = {"campaign": "original", "points": points, "floor": floor, "LSTM compute": COMPUTE[0]}
        found.append(_read(f"{points}, floor {floor}", choices, fits, budget))
    return found


def _counted(runs: dict[str, list[Curve]], spec: gundlach.Specification) -> dict[str, list[Curve]]:
    return {**runs, "lstm": [gundlach.mended(r) for r in runs["lstm"]]} if spec.mended else runs


def _invariant() -> float:
    return float(np.prod([f.gain for f in factors(rounded=False) if f.included]))

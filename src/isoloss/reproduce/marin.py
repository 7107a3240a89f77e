"""Wen et al. 2025: what matrix optimisers gain over a tuned AdamW, in tokens, at four model sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from isoloss.gains.arms import ArmRuns
from isoloss.gains.compare import compare
from isoloss.gains.ladder import ladder_of
from isoloss.gains.noise import estimate_noise
from isoloss.gains.result import GainCurve, GainPoint
from isoloss.laws.allocation_line import AllocationLine, fit_allocation_line
from isoloss.laws.power import fit_power_laws
from isoloss.reproduce.table import Cell, Interval, Reproduction, Row, Sheet, ours_only, published, read, row

NAME = "marin"
SIZES = {"130m": 130e6, "300m": 300e6, "520m": 520e6, "1.2b": 1.2e9}
MATRIX = ("muon", "soape", "kron", "scion")
SPELLED = {"soape": "SOAP", "muon": "Muon", "kron": "Kron", "scion": "Scion"}
COMMON = (1.0, 2.0, 4.0)  # Chinchilla ratios measured for every optimiser at every size
DRAWS = 4000
_ROPE = 0.02  # of the slope, as for every trend


def arm(runs: pl.DataFrame, optimizer: str, size: str) -> ArmRuns:
    """The best run of `optimizer` at `size`, one a Chinchilla ratio."""
    mine = runs.filter((pl.col("optimizer") == optimizer) & (pl.col("size") == size)).sort("chinchilla_ratio")
    ratio = mine["chinchilla_ratio"].cast(float).to_numpy()
    names = np.array([f"{optimizer} {r:g}" for r in ratio])
    rung = np.round(np.log2(ratio)).astype(np.int64)
    return ArmRuns(optimizer, ratio, mine["min_loss_c4en"].to_numpy(), rung, names, names)


@dataclass(frozen=True, eq=False)
class SizeGain:
    """One optimiser at one size: the comparison, its mean gain over the `COMMON` ratios, and the noise it rests on."""

    size: str
    curve: GainCurve
    mean: float
    sd: float
    noise: float

    @property
    def interval(self) -> Interval:
        """95% interval of the mean, as if the errors at the ratios went all together."""
        return float(np.exp(np.log(self.mean) - 1.96 * self.sd)), float(np.exp(np.log(self.mean) + 1.96 * self.sd))


def size_gain(runs: pl.DataFrame, optimizer: str, size: str, least: float = 0.0) -> SizeGain:
    """Tokens that AdamW needs for the loss of `optimizer`, over the tokens that `optimizer` spent (index new).

    The error of the mean is the larger of two: that of the comparison, from the scatter about its laws, and what noise
    of SD `least` in every ln loss makes of it, ``sqrt(2) least / |d ln L / d ln D|`` with AdamW's slope over `COMMON`.
    """
    arms = (arm(runs, "adamw", size), arm(runs, optimizer, size))
    curve = compare(*arms, resource="tokens", quality="loss", at=(*COMMON, 8.0), draws=DRAWS)
    points = [p for p in curve.asked if p.index == "new" and p.at in COMMON]
    known = [(p.gain, p.interval) for p in points if p.gain is not None and p.interval is not None]
    logs = np.log([g for g, _ in known])
    widths = [np.log(high / low) / (2 * 1.96) for _, (low, high) in known]
    noise = estimate_noise(ladder_of(arms[0], "curve"), ladder_of(arms[1], "curve"))
    base = arms[0].quality[np.isin(arms[0].resource, COMMON)]
    slope = np.log(base[0] / base[-1]) / np.log(COMMON[-1] / COMMON[0])
    sd = max(float(np.mean(widths)), float(np.sqrt(2) * least / slope))
    return SizeGain(size, curve, float(np.exp(np.mean(logs))), sd, max(noise.sd))


def placebo_noise(configs: pl.DataFrame, optimizers: tuple[str, ...]) -> tuple[float, int]:
    """SD of ln loss between runs that differ in Adam's epsilon alone, and its degrees of freedom.

    An epsilon of 1e-25 to 1e-10 hardly touches a step, so such runs repeat one another but for chaos (rounding grows
    along training); seed and data order are not renewed. Runs that agree to the last digit did not differ at all.
    """
    mine = configs.filter(pl.col("optimizer").is_in(optimizers))
    kept = mine.filter((pl.col("change") == "Baseline") | pl.col("change").str.contains("^(muon_)?epsilon="))
    total, dof = 0.0, 0
    for _, cell in kept.group_by("optimizer", "size", "chinchilla_ratio", maintain_order=True):
        values = np.log(np.unique(cell.filter(pl.col("loss").is_finite())["loss"].to_numpy()))
        if len(values) > 1:
            total, dof = total + float(np.sum((values - values.mean()) ** 2)), dof + len(values) - 1
    return float(np.sqrt(total / dof)), dof


def from_law(runs: pl.DataFrame, optimizer: str, size: str) -> list[float]:
    """Gains at the optimiser's own ratios, by inverting AdamW's law ``E + A D^-alpha`` of that size."""
    base, other = arm(runs, "adamw", size), arm(runs, optimizer, size)
    law = fit_power_laws([np.log(base.resource)], [np.log(base.quality)[None]], [np.ones(len(base.quality))], "free")
    needed = np.exp(law.invert(0, other.quality[None])[0])
    return (needed / other.resource).tolist()


def over_size(gains: list[SizeGain], seed: int = 0) -> AllocationLine:
    """``ln G`` against ``ln N``, with each size's error and whatever scatter there is between sizes."""
    rng = np.random.default_rng([seed, 23])
    spread = rng.standard_normal((DRAWS, len(gains))) * np.array([g.sd for g in gains])
    return fit_allocation_line(
        np.log([SIZES[g.size] for g in gains]), np.log([g.mean for g in gains]), spread, rng
    )  # fmt: skip


def two_sizes(small: SizeGain, large: SizeGain) -> tuple[float, Interval]:
    """Gain at the larger size over that at the smaller, with their own errors and no scatter between sizes."""
    fall, sd = float(np.log(large.mean / small.mean)), float(np.hypot(small.sd, large.sd))
    return float(np.exp(fall)), (float(np.exp(fall - 1.96 * sd)), float(np.exp(fall + 1.96 * sd)))


def trend(ends: Interval) -> str:
    """The word for a slope of ``ln G`` against ``ln N`` with these ends."""
    if ends[1] < -_ROPE:
        return "shrinks"
    if ends[0] > _ROPE:
        return "grows"
    return "constant" if ends[0] >= -_ROPE and ends[1] <= _ROPE else "unknown"


def reproduce(folder: Path) -> Reproduction:
    """Gains in tokens (index new) over AdamW per size by interpolation, and their trend over size.

    Source: arXiv 2509.02046. One run a ratio, so noise is the scatter about laws with a shared floor.
    """
    wanted = ("optimizer", "size", "chinchilla_ratio", "min_loss_c4en")
    runs = read(folder, "min_loss.csv", wanted, NAME).filter(pl.col("min_loss_c4en").is_finite())
    configs = read(folder, "all_configs.csv", ("optimizer", "size", "chinchilla_ratio", "change", "loss"), NAME)
    rows: list[Row] = []
    cells: list[tuple[Cell, ...]] = []
    law_cells: list[tuple[Cell, ...]] = []
    trends: list[tuple[Cell, ...]] = []
    lines: dict[str, AllocationLine] = {}
    noise: list[float] = []
    placebo, dof = placebo_noise(configs, ("adamw", *MATRIX))
    falls: dict[str, Row] = {}
    for optimizer in MATRIX:
        sizes = [s for s in SIZES if len(arm(runs, optimizer, s).resource) >= 4]
        gains = [size_gain(runs, optimizer, s, placebo) for s in sizes]
        for g in gains:
            noise.append(g.noise)
            shown = f"{SPELLED[optimizer]} over AdamW, {g.size}, mean of ratios 1, 2, 4"
            maker = partial(row, NAME, f"{optimizer}-{g.size}") if f"{optimizer}-{g.size}" in _numbers() else ours_only
            rows.append(maker(shown, g.mean, g.interval))
            asked = {p.at: p for p in g.curve.asked if p.index == "new"}
            verdict = f"{g.curve.verdict.level}, {g.curve.verdict.trend}"
            cells.append((SPELLED[optimizer], g.size, *(_said(asked[r]) for r in (*COMMON, 8.0)), verdict))
            if optimizer == "muon":
                law_cells.append((g.size, *from_law(runs, optimizer, g.size)[:4]))
        line = lines[optimizer] = over_size(gains)
        ends = line.interval()
        rows.append(ours_only(f"{SPELLED[optimizer]}: d ln G / d ln N over {len(gains)} sizes", line.exponent, ends))
        fall, apart = two_sizes(gains[0], gains[-1])
        falls[optimizer] = ours_only(
            f"{SPELLED[optimizer]}: gain at {gains[-1].size} over {gains[0].size}", fall, apart
        )
        rows.append(falls[optimizer])
        slope = tuple(np.log(apart) / np.log(SIZES[gains[-1].size] / SIZES[gains[0].size]))
        trends.append(
            (SPELLED[optimizer], len(gains), line.exponent, _ends(ends, 3), trend(ends), _ends(slope, 3), trend(slope))
        )
    about = published(NAME)
    muon = lines["muon"]
    at = [float(muon.at(SIZES[s])) for s in ("130m", "1.2b")]
    ended = next(str(t[-1]) for t in trends if t[0] == SPELLED["muon"])
    drawn = muon.draws_at([SIZES["130m"], SIZES["1.2b"]])
    kept = [(float(np.quantile(d, 0.025)), float(np.quantile(d, 0.975))) for d in drawn.T]
    both = ": a gain at both ends" if min(low for low, _ in kept) > 1 else ""
    findings = (
        f"Along a line over the four sizes Muon's gain falls from {at[0]:.2f} ({_ends(kept[0])}) at 130M to "
        f"{at[1]:.2f} "
        f"({_ends(kept[1])}) at 1.2B{both}. Its trend with size, slope {muon.exponent:.3f} "
        f"({_ends(muon.interval(), 3)}), reads {trend(muon.interval())} with a scatter between sizes that four sizes "
        "hardly tell "
        f"(a slope within {_ROPE} of 0 counts as none); by the errors of the two end sizes alone it reads {ended}.",
        "There is one run a ratio, so noise has to come from elsewhere. Four or five runs scatter about two laws "
        "with a "
        f"shared floor by {min(noise):.1e} to {max(noise):.1e} of ln loss, with next to no degrees of freedom; runs "
        "that "
        f"differ in epsilon alone, which are all but repeats, by {placebo:.1e} ({dof} degrees of freedom). The means "
        "and "
        "their trends take the larger error of the two; the gains at single ratios and the verdicts within a size "
        "rest on "
        "the first alone and may be too sure. Neither holds the luck of seed and data order, nor that a reported run "
        "is "
        "the best of a sweep of up to 33.",
        f"Muon's gain at 1.2B is {_said_row(falls['muon'])} times that at 130M, SOAP's {_said_row(falls['soape'])}.",
    )
    return Reproduction(
        NAME, about["title"], about["paper"], about["claim"],
        "Per size, best C4 loss against tokens (in Chinchilla ratios) of each optimiser and of AdamW; gain as a "
        "function of "
        "the candidate's tokens, by interpolation inside the overlap and from laws with a shared floor beyond it.",
        tuple(rows),
        (
            Sheet(
                "Gain in tokens at each Chinchilla ratio (95%), and the verdict within the size",
                ("optimiser", "size", "ratio 1", "2", "4", "8", "level, trend over tokens"),
                tuple(cells),
            ),
            Sheet("Muon, by inverting AdamW's law instead", ("size", "ratio 1", "2", "4", "8"), tuple(law_cells)),
            Sheet(
                "Trend over model size, d ln G / d ln N: along all sizes with scatter between them, and from the "
                "ends alone",
                ("optimiser", "sizes", "slope", "95%", "verdict", "ends alone, 95%", "verdict"),
                tuple(trends),
            ),
        ),
        findings,
        (
            "isoloss gain min_loss.csv -b adamw -c muon --arm-column optimizer --resource chinchilla_ratio "
            "--quality min_loss_c4en --where size=130m --at 1 --at 8",
        ),
    )  # fmt: skip


def _numbers() -> frozenset[str]:
    return frozenset(published(NAME)["numbers"])


def _said(point: GainPoint) -> str:
    if point.interval is None:
        return "–"
    low, high = point.interval
    ends = f"over {low:.2f}" if np.isinf(high) else f"{low:.2f} to {high:.2f}"
    value = "" if point.gain is None else f"{point.gain:.2f} "
    return f"{value}({ends}){'' if point.region == 'measured' else ' ' + point.region}"


def _ends(ends: Interval, digits: int = 2) -> str:
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _said_row(found: Row) -> str:
    assert found.ours is not None and found.interval is not None
    return f"{found.ours:.2f} ({_ends(found.interval)})"

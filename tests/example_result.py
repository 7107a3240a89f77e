"""Synthetic study results for the report: a good language study, and one with everything that can go wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from isoloss.gains.analysis import ArmSummary, Cost, StudyResult, Trial
from isoloss.gains.result import (
    Band,
    Crossover,
    Diagnostic,
    FloorEvidence,
    GainCurve,
    GainPoint,
    Index,
    LawSummary,
    Region,
    RungSummary,
    Slope,
    Verdict,
)

INF = float("inf")
FLOOR = 1.2
LAWS = {"lstm": (14.0, 0.100), "retro": (16.7, 0.110), "modern": (21.7, 0.125)}
RUNGS = tuple(float(f"{c:.1e}") for c in np.geomspace(1e9, 1e11, 5))
HOSTILE = '</script><script>alert(1)</script> "=[red]<b>x\x1b[31m\u202e {{7*7}}'


def loss(arm: str, budget: float) -> float:
    scale, exponent = LAWS[arm]
    return FLOOR + scale * budget**-exponent


def budget(arm: str, quality: float) -> float:
    scale, exponent = LAWS[arm]
    return ((quality - FLOOR) / scale) ** (-1 / exponent)


def true_gain(baseline: str, candidate: str, index: Index, at: float) -> float:
    if index == "old":
        return at / budget(candidate, loss(baseline, at))
    return budget(baseline, loss(candidate, at)) / at


def region_at(at: float, overlap: tuple[float, float]) -> tuple[Region, float]:
    out = max(0.0, math.log10(at / overlap[1]), math.log10(overlap[0] / at))
    return ("measured" if out <= 1e-9 else "extrapolated" if out <= 2 else "withheld"), out


def gain_band(baseline: str, candidate: str, index: Index, overlap: tuple[float, float]) -> Band:
    grid = np.geomspace(RUNGS[0] / 3, RUNGS[-1] * 300, 90)
    value, low, high, regions = [], [], [], []
    for at in grid:
        region, out = region_at(at, overlap)
        centre = true_gain(baseline, candidate, index, at)
        width = 1.14 + 0.9 * out + 0.5 * out**2
        value.append(None if region == "withheld" else centre)
        low.append(centre / width)
        high.append(centre * width)
        regions.append(region)
    return Band(tuple(map(float, grid)), tuple(value), tuple(low), tuple(high), tuple(regions))


def point(baseline: str, candidate: str, index: Index, at: float, overlap: tuple[float, float]) -> GainPoint:
    region, out = region_at(at, overlap)
    centre = true_gain(baseline, candidate, index, at)
    width = 1.14 + 0.9 * out + 0.5 * out**2
    gain = None if region == "withheld" else centre * (1 + 0.03 * math.sin(at))
    return GainPoint(index, at, gain, (centre / width, centre * width), region, loss(baseline, at), out)


def rung_summaries(arms: tuple[str, ...], rng: np.random.Generator) -> tuple[RungSummary, ...]:
    out = []
    for arm in arms:
        for rung in RUNGS:
            values = loss(arm, rung) * (1 + 0.006 * rng.standard_normal(3))
            half = 2.5 * float(np.std(values, ddof=1)) / math.sqrt(3)
            mean = float(np.mean(values))
            out.append(RungSummary(arm, rung, mean, (mean - half, mean + half), 3, tuple(map(float, values))))
    return tuple(out)


def law_band(arm: str) -> Band:
    grid = np.geomspace(RUNGS[0] / 3, RUNGS[-1] * 30, 60)
    out = [max(0.0, math.log10(c / RUNGS[-1]), math.log10(RUNGS[0] / c)) for c in grid]
    value = [loss(arm, c) for c in grid]
    half = [0.012 + 0.05 * o for o in out]
    return Band(
        tuple(map(float, grid)),
        tuple(value),
        tuple(v - h for v, h in zip(value, half, strict=True)),
        tuple(v + h for v, h in zip(value, half, strict=True)),
        tuple("measured" if o == 0 else "extrapolated" for o in out),
    )


def language_curve(baseline: str, candidate: str, seed: int = 1) -> GainCurve:
    """A gain that grows with scale, as two laws with one floor and different exponents give it."""
    rng = np.random.default_rng(seed)
    old = (max(RUNGS[0], budget(baseline, loss(candidate, RUNGS[0]))), RUNGS[-1])
    new = (RUNGS[0], min(RUNGS[-1], budget(candidate, loss(baseline, RUNGS[-1]))))
    points: list[GainPoint] = []
    for at in RUNGS:
        points.append(point(baseline, candidate, "old", at, old))
    for at in RUNGS:
        p = point(baseline, candidate, "new", at, new)
        if at > new[1] * 1.01:
            p = replace(p, gain=None, interval=(p.interval[0], INF) if p.interval else None, region="censored")
        points.append(p)
    alpha = {arm: LAWS[arm][1] for arm in (baseline, candidate)}
    slope = 1 - alpha[baseline] / alpha[candidate]
    laws = tuple(
        LawSummary(
            arm, "shared", FLOOR, (1.02, 1.33), LAWS[arm][0], LAWS[arm][1], (LAWS[arm][1] - 0.013, LAWS[arm][1] + 0.014)
        )
        for arm in (baseline, candidate)
    )
    floors = (
        FloorEvidence(
            "shared", {baseline: 1.2, candidate: 1.2}, 5.8, 5, 18.3, 0.33, slope, (slope - 0.11, slope + 0.1), True
        ),
        FloorEvidence(
            "free", {baseline: 1.31, candidate: 1.17}, 5.1, 4, 23.9, 0.28, slope - 0.08, (slope - 0.4, slope + 0.3)
        ),
        FloorEvidence(
            "pinned", {baseline: 1.5, candidate: 1.5}, 19.4, 6, 27.2, 0.004, slope + 0.09, (slope, slope + 0.17)
        ),
    )
    chosen = Slope(slope, (slope - 0.11, slope + 0.1), "law with a shared floor")
    at = RUNGS[-1]
    top = point(baseline, candidate, "old", at, old)
    sentence = (
        f"{candidate} reaches the quality of {baseline} with {top.gain:.1f}× less training compute at 10¹¹ FLOP "
        f"(95%: {top.interval[0]:.1f}–{top.interval[1]:.1f}×), and the gain grows with scale."  # type: ignore[index]
    )
    return GainCurve(
        baseline=baseline,
        candidate=candidate,
        resource="train_flops",
        quality="test",
        mode="curve",
        overlap=old,
        points=tuple(points),
        asked=(point(baseline, candidate, "old", 1e15, old),),
        old=gain_band(baseline, candidate, "old", old),
        new=gain_band(baseline, candidate, "new", new),
        rungs=rung_summaries((baseline, candidate), rng),
        law_bands={arm: law_band(arm) for arm in (baseline, candidate)},
        laws=laws,
        floors=floors,
        slope=chosen,
        slopes=(chosen, Slope(slope + 0.04, (slope - 0.06, slope + 0.13), "rungs inside the overlap, no law")),
        crossover=Crossover(3.1e7, (1.2e7, 8.8e7), "extrapolated", "1.5 decades below the smallest rung"),
        verdict=Verdict("gain", "grows", sentence, at, top.gain, top.interval),
        diagnostics=(
            Diagnostic(
                "floor_bounded", "info", "The shared floor's interval touches the lowest quality that was tried."
            ),
            Diagnostic(
                "edge", "warning", f"{candidate}'s best learning rate at 10⁹ FLOP lies at the end of its sweep."
            ),
        ),
        draws=4000,
        seed=7,
    )


def study_trials(arms: tuple[str, ...]) -> tuple[Trial, ...]:
    out = []
    for k, arm in enumerate(arms):
        for j, rung in enumerate(RUNGS):
            best = math.log10(3e-3) - 0.1 * j + 0.15 * k
            rates = [float(f"{r:.1e}") for r in np.geomspace(3e-4, 3e-2, 5)]
            qualities = [loss(arm, rung) * (1 + 0.05 * (math.log10(r) - best) ** 2) for r in rates]
            chosen = int(np.argmin(qualities))
            for i, (rate, q) in enumerate(zip(rates, qualities, strict=True)):
                diverged = k == 0 and i == 4 and j > 2
                edge = ("lr",) if i == chosen and i in (0, 4) else ()
                out.append(
                    Trial(arm, rung, {"lr": rate}, None if diverged else q, 1, i == chosen, edge, j == 0 and i == 4)
                )
    return tuple(out)


def study_runs(
    arms: tuple[str, ...], seed: int = 3
) -> tuple[list[dict[str, object]], dict[str, tuple[list[float], list[float]]]]:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    curves = {}
    for arm in arms:
        for rung in RUNGS:
            for purpose, count in (("tune", 5), ("report", 3)):
                for k in range(count):
                    run_id = f"{rng.integers(16**15):020x}"
                    diverged = purpose == "tune" and arm == "lstm" and k == 4 and rung > 2e10
                    final = loss(arm, rung) * (1 + 0.006 * float(rng.standard_normal()))
                    rows.append(
                        {
                            "run_id": run_id,
                            "study": "language",
                            "arm": arm,
                            "algorithm": arm,
                            "task": "tiny-text",
                            "purpose": purpose,
                            "round": 0,
                            "rung": rung,
                            "seed": k if purpose == "tune" else 1000 + k,
                            "cluster": run_id,
                            "status": "diverged" if diverged else "finished",
                            "choices": f'{{"lr": {10 ** (-3.5 + k / 2):.3g}, "width": {int(8 * rung**0.15)}}}',
                            "validation": None if diverged else final * 1.002,
                            "test": final if purpose == "report" else None,
                            "train_flops": rung * (1 + 0.01 * float(rng.random())),
                            "examples": rung / 3e5,
                            "parameters": 40.0 * rung**0.3,
                            "seconds": rung / 6e9,
                            "peak_memory_bytes": 2.1e8 + rung / 400,
                        }
                    )
                    steps = np.linspace(rung / 80, rung, 80)
                    curves[run_id] = (
                        list(map(float, steps)),
                        [float(loss(arm, s) + 0.4 * math.exp(-9 * s / rung)) for s in steps],
                    )
    return rows, curves


def language_study() -> StudyResult:
    """LSTM against a modern and a retro Transformer: complete, with everything filled."""
    arms = ("lstm", "modern", "retro")
    rows, curves = study_runs(arms)
    comparisons = (language_curve("lstm", "modern"), language_curve("lstm", "retro", seed=2))
    about = {
        "lstm": (1997, "Hochreiter & Schmidhuber, Neural Computation 9(8)", ""),
        "modern": (
            2023,
            "Touvron et al., arXiv 2302.13971",
            "SwiGLU, RoPE and RMSNorm reach a given loss with less compute.",
        ),
        "retro": (
            2017,
            "Vaswani et al., arXiv 1706.03762",
            "Attention alone outperforms recurrent models at a fraction of the training cost.",
        ),
    }
    costs = tuple(
        Cost("lstm", arm, resource, unit, at, ratio, (ratio / 1.2, ratio * 1.25))
        for arm, factor in (("modern", 1.0), ("retro", 0.7))
        for resource, unit, base in (
            ("examples", "examples", 3.4),
            ("parameters", "parameters", 0.55),
            ("seconds", "s", 2.2),
            ("peak_memory_bytes", "B", 0.81),
            ("inference_flops", "FLOP", 1.01),
        )
        for at, ratio in ((RUNGS[2], base * factor), (RUNGS[4], base * factor * 1.3))
    )
    return StudyResult(
        study="language",
        question="How much less compute does a modern Transformer need than an LSTM, and does it grow with scale?",
        resource="train_flops",
        resource_unit="FLOP",
        quality="test loss",
        quality_unit="nats/token",
        direction="lower",
        floor="shared",
        comparisons=comparisons,
        costs=costs,
        arms=tuple(ArmSummary(a, a, 2, *about[a], {"width": 64, "depth": 4}, 25, 1.1e12, 15, 4.2e11) for a in arms),
        trials=study_trials(arms),
        diagnostics=(Diagnostic("flops_6nd", "warning", "6ND and the counted FLOPs of lstm differ by 9%."),),
        missing=(),
        counts={"finished": 118, "diverged": 2},
        facts={"tokens": 1_115_394, "tokeniser": "bytes"},
        provenance={
            "command": "isoloss run studies/language.toml --workers 2",
            "versions": {"isoloss": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
            "hardware": "2 CPU cores",
            "ledger": "sqlite:///isoloss.db",
            "study_file": '[study]\nname = "language"\nquestion = "..."\n\n[task]\nname = "tiny-text"\n',
            "wall_seconds": 912.4,
        },
        runs=tuple(rows),
        curves=curves,
    )


def hostile_study() -> StudyResult:
    """An accuracy ladder over examples: hostile names, diverged runs, and every region of a gain at once."""
    good, bad = "base<line>", HOSTILE
    rungs = (100.0, 300.0, 1000.0, 3000.0, 10000.0)

    def band(
        values: list[float | None], low: list[float | None], high: list[float | None], regions: list[Region]
    ) -> Band:
        return Band(
            tuple(np.geomspace(50, 3e7, len(values)).tolist()), tuple(values), tuple(low), tuple(high), tuple(regions)
        )

    old = band(
        [None, None, 0.8, 1.0, 1.3, 1.7, 2.4, 4.0, None, None],
        [None, 0.0, 0.6, 0.8, 1.1, 1.2, 1.3, 0.9, 1e-3, 1e-9],
        [None, 0.9, 1.1, 1.3, 1.6, 2.6, 9.0, INF, INF, 1e15],
        ["undefined", "censored", *["measured"] * 3, *["extrapolated"] * 3, "withheld", "withheld"],
    )
    points = (
        GainPoint("old", 100.0, None, None, "undefined", note="the candidate's quality does not fall there"),
        GainPoint("old", 300.0, None, (0.0, 0.4), "censored", -0.41),
        GainPoint("old", 1000.0, 1.02, (0.8, 1.3), "measured", -0.52),
        GainPoint("old", 3000.0, 1.4, (1.1, INF), "measured", -0.61),
        GainPoint("old", 10000.0, None, (3.1, INF), "censored", -0.66),
        GainPoint("old", 5e6, None, (0.3, 9.6), "withheld", None, 2.7),
        GainPoint("new", 1000.0, 1.04, (0.7, 1.4), "measured", -0.55),
        GainPoint("new", 10000.0, 2.5, (0.2, 31.0), "extrapolated", -0.7, 0.9),
        GainPoint("quality", -0.6, 1.3, (1.0, 1.7), "measured", -0.6),
    )
    summaries = []
    for arm, shift in ((good, 0.0), (bad, 0.03)):
        for k, rung in enumerate(rungs):
            accuracy = 0.3 + 0.09 * k + shift
            values = (-accuracy, -accuracy + 0.01, INF if k == 0 else -accuracy - 0.01)
            summaries.append(
                RungSummary(
                    arm,
                    rung,
                    -accuracy if k else INF,
                    (-accuracy - 0.02, INF if k == 0 else -accuracy + 0.02),
                    3,
                    values,
                )
            )
    laws_band = Band(
        (100.0, 1000.0, 10000.0, 1e5),
        (-0.3, -0.5, -0.66, None),
        (-0.35, -0.53, -0.7, None),
        (-0.25, -0.46, INF, None),
        ("measured",) * 3 + ("extrapolated",),
    )
    codes: tuple[tuple[str, str], ...] = (
        ("edge", "warning"),
        ("never_heard_of_<this>", "error"),
        ("censored", "info"),
        ("crossing_curves", "warning"),
        ("diverged", "warning"),
    )
    curve = GainCurve(
        baseline=good,
        candidate=bad,
        resource="examples",
        quality="accuracy",
        mode="curve",
        overlap=(900.0, 3000.0),
        points=points,
        asked=(GainPoint("old", 1e9, None, (1e-6, 1e7), "withheld", None, 5.1),),
        old=old,
        new=band([1.0, None], [INF, None], [None, -INF], ["measured", "undefined"]),
        rungs=tuple(summaries),
        law_bands={good: laws_band, bad: laws_band},
        laws=(
            LawSummary(good, "free", -0.98, None, 3.1, 0.2, (-INF, INF), True),
            LawSummary(bad, "free", float("nan"), (-1.0, INF), 2.0, 0.25, (0.2, 0.3)),
        ),
        floors=(
            FloorEvidence("free", {good: -0.98, bad: float("nan")}, 0.0, 0, INF, None, None, None, True),
            FloorEvidence("known", {}, 3.0, 2, 12.0, 0.2, 0.1, (-INF, 0.4)),
        ),
        slope=Slope(None, None, "law with free floors", "fewer than three scales lie inside the overlap"),
        slopes=(Slope(None, None, "rungs", "too few"), Slope(0.1, (-INF, INF), "law")),
        crossover=Crossover(
            None, None, "not identified", "the interval of the gain includes 1 at every measured budget"
        ),
        verdict=Verdict(
            "unknown",
            "unknown",
            f"It is unknown whether {bad} needs fewer examples than {good}; buy 3 more seeds at 3,000.",
            None,
            None,
            None,
        ),
        diagnostics=tuple(Diagnostic(c, s, f"About {bad}: {c}.", {"arm": bad, "value": INF}) for c, s in codes),  # type: ignore[arg-type]
    )
    rows = tuple(
        {
            "run_id": f"{i:020x}",
            "study": "x",
            "arm": arm,
            "algorithm": arm,
            "task": "t",
            "purpose": "report",
            "round": 0,
            "rung": r,
            "seed": i,
            "cluster": str(i),
            "status": "diverged" if i == 0 else "finished",
            "choices": '{"note": "</script><img src=x onerror=alert(2)>"}',
            "validation": None if i == 0 else 0.5,
            "test": float("nan") if i == 0 else 0.5,
            "examples": r,
        }
        for i, (arm, r) in enumerate((a, r) for a in (good, bad) for r in rungs)
    )
    return StudyResult(
        study=HOSTILE,
        question=f"Does {HOSTILE} need fewer examples?",
        resource="examples",
        resource_unit="examples",
        quality="accuracy",
        quality_unit="",
        direction="higher",
        floor="free",
        comparisons=(curve,),
        costs=(
            Cost(good, bad, "train_flops", "FLOP", 1000.0, 0.4, (0.1, INF)),
            Cost(good, bad, "seconds", "s", 1000.0, INF),
            Cost(good, bad, "joules", "J", 1000.0, float("nan"), (0.0, INF)),
        ),
        arms=(
            ArmSummary(good, "g", 1, 2015, "x & y", "", {}, 4, 1e9, 5, 0.0),
            ArmSummary(
                bad, "b", 1, 2024, '<a href="javascript:alert(3)">', HOSTILE, {HOSTILE: HOSTILE}, 0, 0.0, 5, INF
            ),
        ),
        trials=tuple(
            Trial(
                arm,
                rung,
                {"depth": d, "<lr>": 0.1},
                None if d == 8.0 else 0.5 + d / 100,
                2,
                d == 4.0,
                ("depth",) if d == 4.0 else (),
            )
            for arm in (good, bad)
            for rung in rungs[:2]
            for d in (1.0, 2.0, 4.0, 8.0)
        ),
        diagnostics=(
            Diagnostic("diverged", "error", f"One run of {bad} diverged and counts as a miss.", {"runs": [HOSTILE]}),
        ),
        missing=(),
        counts={"finished": 9, "diverged": 1, "failed": 0},
        provenance={"command": f"isoloss run {HOSTILE}", "nested": {"a": [1, INF]}},
        runs=rows,
        curves={rows[1]["run_id"]: ([1.0, 2.0, 3.0], [3.0, INF, 1.0])},
    )


def unfinished_study() -> StudyResult:
    """A study whose first runs are not all in: nothing to compare yet."""
    full = language_study()
    return replace(
        full,
        comparisons=(),
        costs=(),
        trials=(),
        diagnostics=(Diagnostic("failed_runs", "error", "3 runs of retro failed: out of memory."),),
        missing=("modern has no finished run at 3×10¹⁰ FLOP.", "lstm has 2 of 5 rungs; a gain needs 3."),
        counts={"finished": 41, "failed": 3, "planned": 76},
        runs=full.runs[:44],
    )


def empty_study() -> StudyResult:
    """A study that has run nothing at all."""
    return replace(
        language_study(),
        comparisons=(),
        costs=(),
        trials=(),
        diagnostics=(),
        arms=(),
        runs=(),
        curves={},
        counts={},
        provenance={},
        missing=("no run has finished",),
    )

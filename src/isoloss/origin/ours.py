"""Our own ladder beside the published laws: measured gains over the LSTM, from study cards, at the budgets we reached.

The paper's losses are nats a token of web text and ours bits a byte of another text, so losses can't be compared; gains
can, being ratios of compute at equal quality within one laboratory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from isoloss.evidence.cards import CardArm, CardComparison, FiledCard, of_innovation
from isoloss.origin.accounts import LadderPoint
from isoloss.origin.result import OurGain, OurLadder, OurRung
from isoloss.origin.stack import law_gain, value

#: Innovations by name, and the two published laws whose gain each of them measures.
STEPS = {
    "transformer": ("lstm", "modern"),
    "transformer-2017": ("lstm", "retro"),
    "modern": ("retro", "modern"),
}
TITLES = {"lstm": "LSTM", "retro": "Transformer of 2017", "modern": "modern"}
_UP_TO = 1e19  # the laws are drawn as far as this: a decade beyond what the paper trained
_PER_DECADE = 4


def our_ladder(cards: Sequence[FiledCard]) -> OurLadder:
    """Measured steps of the ladder from the card of the largest scale of each, with what the printed laws foretell."""
    found = {name: of_innovation(cards, name) for name in STEPS}
    found = {name: [pair for pair in pairs if pair[1].resource == "train_flops"] for name, pairs in found.items()}
    first = {name: pairs[0] for name, pairs in found.items() if pairs}
    if not first:
        note = (
            "No ladder of our own is at hand: no study card measures LSTM against Transformer. "
            "`isoloss run studies/quickstart.toml`, then name its folder with --results."
        )
        return OurLadder((), (), (), (), note)
    gains = tuple(g for name, (filed, pair) in first.items() for g in _gains(name, filed, pair))
    rungs = {(r.arm, r.budget, r.study): r for filed, pair in first.values() for r in _rungs(filed, pair)}
    least = min([g.at for g in gains], default=1e9)
    files = tuple(dict.fromkeys(filed.file for filed, _ in first.values()))
    return OurLadder(gains, tuple(rungs.values()), _laws(least), files, "")


def _gains(name: str, filed: FiledCard, pair: CardComparison) -> list[OurGain]:
    old, new = STEPS[name]
    law = law_gain(old, new)
    return [
        OurGain(
            name, TITLES[old], TITLES[new], filed.card.study, g.index, g.at, g.gain, g.interval, g.region,
            float(np.exp(law.log_gain(g.index, np.log(np.array([g.at])))[0][0][0])),
        )
        for g in pair.gains
        if g.index != "quality" and g.region in ("measured", "censored")
    ]  # fmt: skip


def _rungs(filed: FiledCard, pair: CardComparison) -> list[OurRung]:
    arms: dict[str, CardArm] = {a.name: a for a in filed.card.arms}
    return [
        OurRung(name, filed.card.study, filed.card.task, r.budget, r.quality, filed.card.unit, r.interval, r.runs)
        for name in (pair.baseline, pair.candidate)
        if name in arms
        for r in arms[name].rungs
    ]


def _laws(least: float) -> tuple[LadderPoint, ...]:
    """The printed laws' gains over the LSTM from our budgets up to a little beyond the paper's."""
    start, end = math.floor(math.log10(least)), math.log10(_UP_TO)
    inside = [value("stack.measured_least"), value("stack.measured_most")]
    grid = np.unique(np.r_[np.logspace(start, end, 1 + round(_PER_DECADE * (end - start))), inside])
    x = np.log(grid)
    retro, modern = law_gain("lstm", "retro"), law_gain("lstm", "modern")
    read = [np.exp(f.log_gain(i, x)[0][0]) for f in (retro, modern) for i in ("new", "old")]
    rows = np.stack(read, axis=1).tolist()
    return tuple(
        LadderPoint(float(c), g[0], g[1], g[2], g[3], bool(inside[0] <= c <= inside[1]))
        for c, g in zip(grid, rows, strict=True)
    )

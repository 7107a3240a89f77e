"""A gain carried in a card is the gain that the runs give, at any budget, under either index, before and after JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from isoloss.gains import ArmRuns, compare
from isoloss.gains.portable import Portable
from isoloss.gains.result import GainCurve, to_json

BUDGETS = [float(c) for c in np.geomspace(1e13, 1e23, 61)]


def arm(name: str, scale: float, exponent: float, floor: float, seed: int, seeds: int = 3) -> ArmRuns:
    rng = np.random.default_rng(seed)
    budgets = np.repeat(np.geomspace(1e17, 1e19, 5), seeds)
    loss = (floor + scale * budgets**-exponent) * np.exp(0.004 * rng.standard_normal(len(budgets)))
    return ArmRuns(
        name, budgets, loss, np.repeat(np.arange(5), seeds), np.tile([f"s{i}" for i in range(seeds)], 5),
        np.array([f"{name}{i}" for i in range(len(budgets))]),
    )  # fmt: skip


def compared(**how: object) -> GainCurve:
    old, new = arm("old", 40.0, 0.08, 1.7, 1), arm("new", 60.0, 0.095, 1.7, 2)
    return compare(old, new, resource="train_flops", quality="loss", at=BUDGETS, draws=400, **how)  # type: ignore[arg-type]


def carried(curve: GainCurve) -> Portable:
    text = json.dumps(to_json(curve.portable), allow_nan=False)
    return TypeAdapter(Portable).validate_python(json.loads(text))


@pytest.mark.parametrize("floor", ["shared", "free", "none"])
def test_a_carried_gain_is_the_engine_s_at_every_budget(floor: str) -> None:
    curve = compared(floor=floor)
    read = carried(curve)
    regions = set()
    for asked in curve.asked:
        found = read.at(asked.index, asked.at)  # type: ignore[arg-type]
        regions.add(found.region)
        assert found.region == asked.region
        assert found.decades_out == pytest.approx(asked.decades_out, abs=1e-9)
        assert (found.gain is None) == (asked.gain is None)
        if asked.gain is not None:
            assert found.gain == pytest.approx(asked.gain, rel=1e-9)
        # intervals lie on straight pieces between knots, so to within three parts in a hundred (and mostly far less)
        if asked.interval is not None and found.interval is not None and 1e15 < asked.at < 1e21:
            for mine, theirs in zip(found.interval, asked.interval, strict=True):
                assert mine == theirs or math.log(mine / theirs) == pytest.approx(0.0, abs=0.03)
    assert {"measured", "extrapolated", "withheld"} <= regions


def test_ratios_are_carried_too_and_end_with_their_ladder() -> None:
    old = arm("old", 40.0, 0.08, 1.7, 1, seeds=1)
    new = ArmRuns("new", old.resource / np.linspace(2, 4, 5), old.quality, old.rung, old.pair, old.cluster)
    curve = compare(old, new, resource="bytes", quality="loss", mode="exact", at=BUDGETS)
    read = carried(curve)
    for asked in curve.asked:
        found = read.at(asked.index, asked.at)  # type: ignore[arg-type]
        assert (found.region, found.gain is None) == (asked.region, asked.gain is None)
        assert asked.gain is None or found.gain == pytest.approx(asked.gain, rel=1e-9)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p["arms"][0]["log_c"].reverse(),
        lambda p: p["arms"][1]["log_q"].pop(),
        lambda p: p["arms"][0].update(reducible=0),
        lambda p: p["beyond"]["old"]["low"].pop(),
        lambda p: p["measured"]["new"].update(at=["nan"] * len(p["measured"]["new"]["at"])),
        lambda p: p["arms"].pop(),
    ],
)
def test_a_spoiled_one_is_refused(spoil: object) -> None:
    data = to_json(compared().portable)
    spoil(data)  # type: ignore[operator]
    with pytest.raises(ValidationError):
        TypeAdapter(Portable).validate_python(data)

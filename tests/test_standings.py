"""Gains at a chosen budget: carried between arms by the gains, ranked, and alike in the browser's arithmetic."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from isoloss.errors import TableError, UnknownNameError
from isoloss.gains.portable import Ends, Portable, PortableArm
from isoloss.gains.result import to_json
from isoloss.gains.standings import Link, Setting, carry, ranked, standing
from isoloss.report import words
from isoloss.report.atlas import print_atlas
from isoloss.report.atlas_data import atlas_data
from isoloss.verbs.atlas import Atlas, atlas, references, stand

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(words.__file__).parent / "templates"
NODE = shutil.which("node")
RUNGS = tuple(math.log(c) for c in (1e10, 1e11, 1e12))


def arm(scale: float, exponent: float = 0.1) -> PortableArm:
    """A power law without a floor, its monotone curve lying on it."""
    quality = tuple(math.log(scale) - exponent * x for x in RUNGS)
    return PortableArm(RUNGS, quality, (-exponent,) * 3, 0.0, scale, exponent, 0.0)


def link(old: str, new: str, gain: float, card: str = "study") -> Link:
    """Two arms of which the new one needs `gain` times less at every budget."""
    ends = Ends((RUNGS[0], RUNGS[-1]), (0.0, 0.0), (3.0, 3.0))
    arms = (arm(40.0), arm(40.0 * gain**-0.1))
    return Link(card, old, new, "train_flops", Portable(arms, {"old": ends, "new": ends}, {"old": ends, "new": ends}))


def test_a_budget_is_carried_along_the_fewest_links_by_the_gains_between_them() -> None:
    links = [link("a", "b", 2.0), link("b", "c", 5.0), link("a", "c", 7.0), link("x", "y", 3.0)]
    found = carry(links, "a", 1e11)
    assert set(found) == {"a", "b", "c"}
    assert found["b"].budget == pytest.approx(5e10) and found["c"].budget == pytest.approx(1e11 / 7)
    assert found["c"].via == ("a", "c") and found["c"].region == "measured"
    back = carry(links, "c", 1e11 / 7)
    assert back["a"].budget == pytest.approx(1e11) and back["b"].budget == pytest.approx(5e11 / 7)


def test_a_reference_moves_the_budget_that_a_gain_is_read_at() -> None:
    links = [link("a", "b", 2.0), link("b", "c", 5.0), link("b", "d", 5.0, card="another study")]
    own = standing([links[1]], links, Setting(1e11))
    seen = standing([links[1]], links, Setting(1e11, "a"))
    assert own is not None and seen is not None
    assert (own.at, own.via) == (1e11, ()) and seen.at == pytest.approx(5e10) and seen.via == ("a", "b")
    assert own.gain == pytest.approx(5.0) and seen.gain == pytest.approx(5.0)
    assert standing([links[2]], links, Setting(1e11, "a")) is None, "budgets are not carried from study to study"
    assert standing([links[0]], links, Setting(1e11, resource="labels")) is None


def test_what_is_measured_at_the_budget_comes_before_what_is_not() -> None:
    far = link("a", "b", 2.0)
    near = link("a", "b", 3.0, card="smaller")
    budget = 1e14
    moved = tuple(x + math.log(100) for x in RUNGS)
    assert near.portable.arms is not None
    arms = tuple(PortableArm(moved, a.log_q, a.slope, 0.0, a.reducible, a.exponent, 0.0) for a in near.portable.arms)
    near = Link(
        "larger", "a", "b", "train_flops", Portable((arms[0], arms[1]), near.portable.measured, near.portable.beyond)
    )
    found = standing([far, near], [far, near], Setting(budget))
    assert found is not None and (found.option, found.region) == (1, "measured")
    assert standing([far], [far], Setting(1e15)).region == "withheld"  # type: ignore[union-attr]


@given(st.lists(st.none() | st.floats(0.01, 100.0), max_size=12))
def test_ranks_follow_gains_and_shares_sum_to_one(gains: list[float | None]) -> None:
    options = [None if g is None else link("a", "b", g) for g in gains]
    found = ranked([None if o is None else standing([o], [o], Setting(1e11)) for o in options])
    held = sorted((s for s in found if s is not None and s.rank), key=lambda s: s.rank or 0)
    assert [s.rank for s in held] == list(range(1, len(held) + 1))
    assert all(a.gain >= b.gain for a, b in pairwise(held))  # type: ignore[operator]
    shares = [s.share for s in held if s.share is not None]
    assert not shares or sum(shares) == pytest.approx(1.0)
    assert all((s.share is None) == (s.gain is None or s.gain <= 1) for s in held)


@pytest.fixture(scope="module")
def found() -> Atlas:
    return atlas(None, results=ROOT / "results")


def test_the_verb_stands_every_innovation_at_a_budget(found: Atlas) -> None:
    at = stand(found, 3e10, "modern")
    held = [r.standing for r in at.rows if r.standing is not None]
    assert {"measured", "extrapolated"} <= {s.region for s in held} and at.setting == Setting(3e10, "modern")
    console = Console(width=100, record=True)
    print_atlas(at, console)
    assert "spent by modern" in console.export_text()
    for bad in (-1.0, 0.0, math.inf, math.nan):
        with pytest.raises(TableError, match="is no budget"):
            stand(found, bad)
    with pytest.raises(UnknownNameError, match="modern"):
        stand(found, 1e10, "moderne")
    with pytest.raises(UnknownNameError, match="train_flops"):
        stand(found, 1e10, resource="train_flop")


def alike(mine: Any, other: Any) -> bool:
    """The same to one part in a million, part by part."""
    if isinstance(mine, list) and isinstance(other, list):
        return len(mine) == len(other) and all(map(alike, mine, other))
    if isinstance(mine, float) and isinstance(other, float | int):
        return math.isclose(mine, other, rel_tol=1e-6, abs_tol=1e-9)
    return bool(mine == other)


def in_node(module: str, body: str, data: Any) -> Any:
    """What `body` makes of the module ``m`` and the data ``d``."""
    code = (
        "const m=require(process.argv[1]),d=JSON.parse(require('fs').readFileSync(0));"
        f"console.log(JSON.stringify({body},(k,v)=>v===Infinity?'inf':v))"
    )
    told = [str(NODE), "-e", code, str(TEMPLATES / module)]
    return json.loads(subprocess.run(told, input=json.dumps(data), capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_browser_s_arithmetic_is_python_s(found: Atlas) -> None:
    """Budgets from below the ladders to beyond two decades, every reference and resource: alike to one part in 10⁶."""
    data = to_json(atlas_data(found))
    arms = ("old", "new", *references(found))
    asked: list[dict[str, Any]] = [
        {"budget": b, "reference": r, "resource": "train_flops"}
        for b in (1e8, 3e9, 2.1e10, 7.3e10, 4e11, 1e13, 1e15, 1e18)
        for r in arms
    ]
    asked += [{"budget": b, "reference": i, "resource": k} for k in ("bytes_communicated", "peak_memory_bytes")
                 for b in (1e5, 2e7, 1e8) for i in ("old", "new")]  # fmt: skip
    answers = in_node("atlas_model.js", "d.settings.map(s=>m.standings(d.rows,d.links,s))", {**data, "settings": asked})
    compared = 0
    for setting, theirs in zip(asked, answers, strict=True):
        mine = stand(found, setting["budget"], setting["reference"], setting["resource"])
        for row, other in zip(mine.rows, theirs, strict=True):
            assert (row.standing is None) == (other is None), (setting, row.name)
            if row.standing is None:
                continue
            mine_json = to_json(row.standing)
            mine_json["out"] = mine_json.pop("decades_out")
            for key, value in mine_json.items():
                assert alike(value, other[key]), (setting, row.name, key, value, other[key])
            compared += 1
    assert compared > 1000


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_browser_s_words_are_python_s() -> None:
    """For numbers that are no ties: those round one way here and another there, and nobody can tell."""
    values = [float(v) for v in 10 ** np.random.default_rng(1).uniform(-8, 12, 3000)]
    pairs = [sorted(p) for p in pairwise(values)]
    flop, size = "v=>m.amount(v*1e14,'FLOP')", "v=>m.amount(v*1e12,'B')"
    body = f"[d.values.map(m.times),d.pairs.map(m.span),d.values.map({flop}),d.values.map({size})]"
    times, spans, flops, sizes = in_node("numbers.js", body, {"values": values, "pairs": pairs})
    assert times == [words.times(v) for v in values]
    assert spans == [words.span((a, b)) for a, b in pairs]
    assert flops == [words.amount(v * 1e14, "FLOP") for v in values]
    assert sizes == [words.amount(v * 1e12, "B") for v in values]

"""Schedules: where they start, peak and end, and that they never rise again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.errors import UnknownNameError
from isoloss.training.schedules import WARM_UP, schedules

#: what is left of the peak at the end
ENDS = {
    "cosine": 0.1,
    "inverse_sqrt": math.sqrt(WARM_UP),
    "linear": 0.1,
    "linear-to-zero": 0.0,
    "wsd": 0.0,
    "constant": 1.0,
}
EVERY = pytest.mark.parametrize("name", ENDS)
PROGRESS = st.floats(0, 1)


def test_all_are_here():
    assert set(ENDS) <= set(schedules.names())


@EVERY
def test_start_peak_and_end(name):
    s = schedules.get(name)
    assert s(0.0) == 0.0
    assert s(WARM_UP) == pytest.approx(1.0, abs=1e-12)
    assert s(1.0) == pytest.approx(ENDS[name], abs=1e-12)


@EVERY
@given(a=PROGRESS, b=PROGRESS)
def test_up_to_the_peak_then_never_up_again(name, a, b):
    s = schedules.get(name)
    a, b = sorted((a, b))
    assert 0 <= s(a) <= 1 and 0 <= s(b) <= 1
    if b <= WARM_UP:
        assert s(a) <= s(b)
    if a >= WARM_UP:
        assert s(a) >= s(b) - 1e-12


@EVERY
@given(p=PROGRESS)
def test_no_jumps(name, p):
    s = schedules.get(name)
    assert abs(s(min(p + 1e-8, 1.0)) - s(p)) < 1e-3  # a square root may start vertically


@given(p=st.floats(WARM_UP, 0.8))
def test_wsd_is_stable_until_its_decay(p):
    assert schedules.get("wsd")(p) == pytest.approx(1.0, abs=1e-7)


@given(p=st.floats(WARM_UP, 1))
def test_shapes_between_their_ends(p):
    """The line lies where lines lie; the cosine is above it before half-way and below it after."""
    x = (p - WARM_UP) / (1 - WARM_UP)
    line = schedules.get("linear")(p)
    assert line == pytest.approx(1 - 0.9 * x)
    assert (schedules.get("cosine")(p) - line) * (0.5 - x) >= -1e-12
    assert schedules.get("linear-to-zero")(p) == pytest.approx(1 - x, abs=1e-12)


@EVERY
def test_every_schedule_says_where_it_is_from(name):
    card = schedules.get(name).card
    assert card.name == name and card.summary and card.source and 1950 <= card.year <= 2026


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean cosine"):
        schedules.get("cosin")

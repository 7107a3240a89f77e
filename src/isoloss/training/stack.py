"""Runs of one shape trained together, as one batched and compiled computation; or one such run alone.

Every run has its own batches, rates, optimiser, curve and end, as it would have alone, and agrees with itself alone to
rounding (float32: losses to a relative 1e-4 in the first hundred steps). A run that ends, diverges or is given up
leaves: its lane computes on until half of them are empty, then the rest go on in a narrower stack.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from isoloss.runs import Outcome
from isoloss.training.gradient import tell
from isoloss.training.graph import Lanes, StepGraph, Untraceable
from isoloss.training.loop import Member


def train_stack(members: Sequence[Member], key: Hashable) -> tuple[list[Outcome], str]:
    """Train all `members`, whose losses are one function, named by `key`. Their outcomes, and why they were trained one
    by one where they were, else nothing.

    The first steps of each, in which work is counted, are taken alone.
    """
    why = ""
    for member in members:
        member.send(None)
        while member.outcome is None and not member.step.meter.ready:
            member.advance()
    live = [m for m in members if m.outcome is None]
    while live and not why:
        try:
            _together(live, key)
        except Untraceable as reason:
            why = str(reason)
        live = [m for m in live if m.outcome is None]
    for member in live:
        _as_pytorch(member)
        member.finish()
    return [m.outcome for m in members if m.outcome is not None], why


def _together(lanes: list[Member], key: Hashable) -> None:
    """Steps of all lanes until half of them, or the only one, have ended."""
    graph = StepGraph(Lanes([m.trainee for m in lanes]), key)
    live: Sequence[int] = range(len(lanes))
    while 2 * len(live) > len(lanes):
        advance(graph, lanes, live)
        live = [i for i in live if lanes[i].outcome is None]


def advance(graph: StepGraph, lanes: Sequence[Member], live: Sequence[int]) -> None:
    """A step of the lanes in `live`; the others are computed with what they had last, and forgotten."""
    clock = time.perf_counter
    before = clock()
    losses = graph([m.batch for m in lanes]).unbind()
    spent = (clock() - before) / len(live)
    for place in live:
        began = clock()
        lanes[place].trainee.optimizer.step()
        lanes[place].send((losses[place], spent + clock() - began))


def _as_pytorch(member: Member) -> None:
    """As it was before it was a lane: gradients don't stay, and the optimiser takes each by itself."""
    for p in member.step.parameters:
        p.grad = None
    optimizer = member.trainee.optimizer
    for part in getattr(optimizer, "parts", (optimizer,)):
        tell(part, "leave")

"""What the atlas page's script starts from: every gain that can be read at a budget, and what one can choose."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.gains.standings import Link
from isoloss.report import words
from isoloss.report.figures import axes
from isoloss.report.figures.atlas import NAMES
from isoloss.verbs.atlas import Atlas, Row, references, stand

#: What the published gains of each resource are called in claims.toml.
PUBLISHED = {
    "train_flops": ("training FLOP",),
    "inference_flops": ("inference FLOP",),
    "peak_memory_bytes": ("peak memory",),
    "stored_bytes": ("stored bytes",),
    "active_parameters": ("parameters",),
    "bytes_communicated": ("communication",),
    "seconds": ("training time",),
    "steps": ("training steps",),
    "labels": ("labels",),
    "examples": ("training tokens", "image-text pairs"),
}
#: Choices that change everything at once: a step between architectures counts in no part of one.
WHOLE = "algorithm"
_TRIED = 0.5  # decades between the budgets that the slider's start is chosen from
_BELOW, _ABOVE = 0.5, 4.0  # decades that the slider goes beyond the measured budgets


@dataclass(frozen=True)
class Scale:
    """One resource that gains can be shown in: the slider's ends and start in ``log10``, and the strip's domain."""

    key: str
    title: str
    unit: str
    published: tuple[str, ...]
    low: float
    high: float
    start: float
    domain: tuple[float, float]
    ticks: tuple[float, ...]
    references: tuple[str, ...]


def scales(found: Atlas) -> list[Scale]:
    """Every resource in which an innovation was measured, the most used first."""
    uses = Counter(
        resource for row in found.rows for resource in {m.resource for m in row.ours if m.portable is not None}
    )
    return [_scale(found, resource) for resource, _ in uses.most_common()]


def atlas_data(found: Atlas) -> dict[str, Any]:
    """Rows, links and scales as `templates/atlas.js` reads them."""
    place = {id(link.portable): k for k, link in enumerate(found.links)}
    return {
        "names": NAMES,
        "command": words.plain(found.command, 1000),
        "rows": [
            {
                "name": words.plain(row.name, 60),
                "year": row.year,
                "part": part(row),
                "resource": row.resource,
                "claimed": row.claimed.gain if row.claimed else None,
                "later": row.later.gain if row.later else None,
                "options": [place[id(m.portable)] for m in row.ours if m.portable is not None],
                "elsewhere": sorted({words.resource_title(m.resource) for m in row.ours}),
            }
            for row in found.rows
        ],
        "links": [_link(link) for link in found.links],
        "scales": scales(found),
    }


def part(row: Row) -> str:
    """The part of an algorithm that an innovation changes; empty where it changes the whole."""
    changed = [k for k, v in row.new.items() if row.old.get(k) != v]
    return "" if WHOLE in changed else (changed[0] if changed else row.name)


def _link(link: Link) -> dict[str, Any]:
    names = {"card": link.card, "baseline": link.baseline, "candidate": link.candidate, "resource": link.resource}
    return {**{k: words.plain(v, 200) for k, v in names.items()}, "portable": link.portable}


def _scale(found: Atlas, resource: str) -> Scale:
    ladders = [_ladder(m.portable) for row in found.rows for m in row.ours if m.portable and m.resource == resource]
    low = np.floor((min(first for first, _ in ladders) - _BELOW) * 2) / 2
    high = np.ceil((max(last for _, last in ladders) + _ABOVE) * 2) / 2
    tried = [round(float(v), 1) for v in np.arange(low, high - _ABOVE + _TRIED, _TRIED)]
    count = {v: _measured(stand(found, 10**v, "old", resource)) for v in tried}
    published = PUBLISHED.get(resource, ())
    values = [q.gain for r in found.rows if r.resource in published for q in (r.claimed, r.later) if q]
    tops = [m for r in found.rows for m in r.ours if m.resource == resource]
    core = axes.positive([*values, *(m.gain for m in tops), 0.9, 1.1])
    domain = axes.reach(core, axes.positive(end for m in tops for end in m.interval or ()), room=0.15)
    return Scale(
        resource,
        words.resource_title(resource),
        words.resource_unit(resource),
        published,
        float(low),
        float(high),
        max(tried, key=lambda v: (count[v], v)),
        domain,
        tuple(axes.log_ticks(domain, 7, anchor=1.0)),
        references(found, resource),
    )


def _measured(found: Atlas) -> int:
    return sum(row.standing is not None and row.standing.region == "measured" for row in found.rows)


def _ladder(portable: Any) -> tuple[float, float]:
    knots = [portable.measured["old"].at] if portable.arms is None else [arm.log_c for arm in portable.arms]
    return min(k[0] for k in knots) / np.log(10), max(k[-1] for k in knots) / np.log(10)

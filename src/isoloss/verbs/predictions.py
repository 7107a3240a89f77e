"""What fitted laws say of places where nothing was run: with both kinds of interval, and how far out it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isoloss.errors import TableError

if TYPE_CHECKING:  # imported where used, so that `import isoloss` stays instant
    from isoloss.laws import FittedLaw, Law
    from isoloss.laws.ensemble import Ensemble

FARTHEST = 2.0  # decades beyond the runs after which no point estimate is given

Interval = tuple[float, float]


@dataclass(frozen=True)
class Prediction:
    """A law's loss at one place: `interval` is that of the law itself, `run_interval` that of one more run there.

    `decades_out` is the distance from the nearest run along the farthest column; beyond two decades `loss` is None.
    `fan` holds each form's own interval where several laws were weighed.
    """

    arm: str
    at: dict[str, float]
    loss: float | None
    interval: Interval | None
    run_interval: Interval | None
    decades_out: float
    fan: dict[str, Interval] = field(default_factory=dict)


def places(form: Law, given: Sequence[str]) -> list[dict[str, float]]:
    """``--at`` as columns of the law: ``1e20`` for a law in one column, ``N=1e9,D=2e10`` for others.

    Raises TableError naming what is missing or not a positive number.
    """
    found = []
    for text in given:
        pairs = [p.strip() for p in text.split(",") if p.strip()]
        if len(pairs) == 1 and "=" not in pairs[0] and len(form.columns) == 1:
            pairs = [f"{form.columns[0]}={pairs[0]}"]
        place: dict[str, float] = {}
        for pair in pairs:
            name, _, value = pair.rpartition("=")
            try:
                number = float(value)
            except ValueError:
                number = float("nan")
            if not name or not 0 < number < float("inf"):
                example = "1e20" if form.columns == ("*",) else ",".join(f"{c}=1e9" for c in form.columns)
                raise TableError(f"--at {text[:60]}", "is no place with positive amounts", f"write --at {example}")
            place[name.strip()] = number
        if set(place) != set(form.columns):
            wanted = ", ".join(form.columns)
            raise TableError(f"--at {text[:60]}", f"names {', '.join(sorted(place))}", f"the law needs {wanted}")
        found.append(place)
    return found


def predict(
    arms: Mapping[str, FittedLaw | Ensemble], at: Sequence[Mapping[str, float]], ranges: Mapping[str, Interval]
) -> tuple[Prediction, ...]:
    """Every arm's prediction at every place; `ranges` are the least and largest of each column that was fitted."""
    import numpy as np

    found = []
    for place in at:
        out = max(float(np.log10(max(low / place[c], place[c] / high, 1.0))) for c, (low, high) in ranges.items())
        for name, law in arms.items():
            columns = {c: np.array([v]) for c, v in place.items()}
            value = float(law.predict(columns)[0])
            fan = {
                f["law"]: _ends(f["interval"]) or (value, value) for f in law.fan(columns)
            } if hasattr(law, "fan") else {}  # fmt: skip
            found.append(
                Prediction(
                    name,
                    dict(place),
                    value if out <= FARTHEST else None,
                    _ends(law.predict_interval(columns)),
                    _ends(law.predict_interval(columns, kind="new-run")),
                    out,
                    fan,
                )
            )
    return tuple(found)


def _ends(interval: tuple[Any, Any]) -> Interval | None:
    low, high = (float(v[0]) for v in interval)
    return (low, high) if low == low and high == high else None

"""Parameters held at a given value: a law with a point for the range of each."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from isoloss.errors import TableError, UnknownNameError
from isoloss.laws.fitted import Units
from isoloss.laws.law import Law


def pinned_law(law: Law, pinned: dict[str, float], units: Units, lowest: float) -> Law:
    """The law with the parameters in `pinned` held, given in the table's units; `lowest` is the lowest loss.

    A floor must lie below every loss. Factors of terms can't be pinned, because they are fitted in scaled units.
    Raises TableError or UnknownNameError.
    """
    if not pinned:
        return law
    names = [p.name for p in law.parameters]
    held = []
    for p in law.parameters:
        if p.name not in pinned:
            held.append(p)
            continue
        value = float(pinned[p.name])
        if p.vanishes:
            if not 0 <= value < lowest:
                what = f"{value:g} is not between 0 and the lowest loss {lowest:.5g}"
                raise TableError(f"--pin {p.name}", what, "pin it lower, or leave it free")
            value = max(value / units.loss, p.low)
        elif p.linear and law.scaled:
            free = ", ".join(q.name for q in law.parameters if q.vanishes or not q.linear)
            raise TableError(f"--pin {p.name}", "is a factor of a term and can't be pinned", f"pin one of {free}")
        elif not p.low <= value <= p.high or not np.isfinite(value):
            raise TableError(f"--pin {p.name}", f"{value:g} is outside {p.low:g} to {p.high:g}", "give another value")
        held.append(replace(p, low=value, high=value, grid=() if p.linear else (value,)))
    for name in pinned:
        if name not in names:
            raise UnknownNameError("--pin", "parameter", name, names)
    law = copy.copy(law)
    law.parameters = tuple(held)
    return law

"""Laws by name: those that come with isoloss, entry points of other packages, plug-in files, and expressions."""

from __future__ import annotations

from typing import TypeVar

from isoloss.laws.law import Law
from isoloss.registry import Registry

_FORMS = "isoloss.laws.forms"
BUILTIN = {
    "power": f"{_FORMS}.power_terms",
    "power-floor": f"{_FORMS}.power_terms",
    "chinchilla": f"{_FORMS}.power_terms",
    "kaplan": f"{_FORMS}.kaplan",
    "shifted": f"{_FORMS}.shifted",
    "broken": f"{_FORMS}.broken",
    "data-constrained": f"{_FORMS}.data_constrained",
    "transfer": f"{_FORMS}.transfer",
    "routed": f"{_FORMS}.routed",
    "bounded": f"{_FORMS}.bounded",
}

LAWS: Registry[Law] = Registry("law", BUILTIN, "isoloss.laws")

C = TypeVar("C", bound=type[Law])


def law(cls: C) -> C:
    """Class decorator: files a `Law` under its `name`, so that ``isoloss fit --law NAME`` finds it."""
    LAWS.file(cls.name, cls)
    return cls


def find_law(name: str) -> Law:
    """The law called `name`; raises UnknownNameError with the nearest names."""
    return LAWS.get(name, "--law")()

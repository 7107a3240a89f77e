"""Innovations: named changes of one or more choices of an algorithm, each with its year and source.

An arm takes innovations in (`innovations`: their `new` choices) or leaves them out (`without`: their `old` ones). Those
of this package stand in one module a field; a plug-in file adds its own with one call of `innovation`.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from isoloss.errors import IsolossError, StudyError, UnknownNameError
from isoloss.registry import filed

#: Modules of this package that file innovations, imported on the first look.
BUILTIN = (
    "isoloss.algorithms.geometry.innovations",
    "isoloss.algorithms.language.innovations",
    "isoloss.algorithms.systems.innovations",
    "isoloss.algorithms.vision.innovations",
    "isoloss.algorithms.vision.small_networks",
)


@dataclass(frozen=True)
class Innovation:
    """A named change: where an algorithm has the choices `old`, it gets `new`.

    The key ``algorithm`` changes the algorithm itself; then each side may name choices that only its own algorithm has.
    `field` is the first part of the names of the algorithms and tasks that it belongs to (``language``); `title` a few
    words for people; `claim` what its source says it gains; `also` other fields whose atlas shows it (a symmetry of
    images belongs to geometry and to vision).
    """

    name: str
    field: str
    title: str
    year: int
    source: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    claim: str = ""
    also: tuple[str, ...] = ()


class Innovations:
    """The innovations known in this process, by name."""

    def __init__(self, builtin: Sequence[str]) -> None:
        self._modules = tuple(builtin)
        self._filed: dict[str, tuple[Innovation, str]] = {}

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._filed)

    def get(self, name: str, where: object = "") -> Innovation:
        """The innovation called `name`; raises `UnknownNameError` with the nearest names."""
        self._load()
        if name not in self._filed:
            raise UnknownNameError(where or "innovation", "innovation", name, self._filed)
        return self._filed[name][0]

    def plugged_in(self, name: str) -> Innovation | None:
        """The innovation called `name` if it is here and not one of this package's."""
        self._load()
        entry, module = self._filed.get(name, (None, ""))
        return None if module.startswith("isoloss.") else entry

    def file(self, entry: Innovation, module: str) -> None:
        """File `entry`, said by `module`. Raises `StudyError` where it would change one of this package's."""
        if not module.startswith("isoloss."):
            self._load()
        held = self._filed.get(entry.name)
        if held is not None and held[1].startswith("isoloss.") and held[1] != module:
            raise StudyError(
                f"innovation '{entry.name}'", "is already the name of a built-in one", "give yours another name"
            )
        filed(module, lambda: self._filed.update({entry.name: (entry, module)}))

    def _load(self) -> None:
        for module in self._modules:
            importlib.import_module(module)


innovations = Innovations(BUILTIN)


def innovation(
    name: str,
    *,
    field: str,
    title: str,
    year: int,
    source: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    claim: str = "",
    also: Sequence[str] = (),
) -> Innovation:
    """File a named change of choices and return it.

    Raises `StudyError` where `old` and `new` do not name the same choices (unless both name an ``algorithm``) or change
    nothing, and where the name is a built-in innovation's; `UnknownNameError` for a field that is nearly one of this
    package's and that no algorithm has: it would be missing from that field's atlas.
    """
    where = f"innovation '{name}'"
    for given in (field, *also):
        near = _slip(given)
        if near:
            raise UnknownNameError(where, "field", given, [near])
    odd = sorted(set(old) ^ set(new))
    if not new or (odd and not ("algorithm" in old and "algorithm" in new)):
        what = f"`old` and `new` must name the same choices (apart: {', '.join(odd) or 'none named'})"
        raise StudyError(where, what, "say both values; a choice that only one algorithm has goes beside `algorithm`")
    if dict(old) == dict(new):
        raise StudyError(where, "`old` and `new` are equal: it changes nothing")
    entry = Innovation(
        name, field, title, year, source, MappingProxyType(dict(old)), MappingProxyType(dict(new)), claim, tuple(also)
    )
    innovations.file(entry, sys._getframe(1).f_globals.get("__name__", ""))
    return entry


def _slip(field: str) -> str:
    """The field of this package that `field` is probably meant to be; empty where it is one, or a new one."""
    from isoloss.algorithms import algorithms

    known = {name.partition("/")[0] for name in algorithms.builtin}
    near = [] if field in known else difflib.get_close_matches(field, known, n=1, cutoff=0.8)
    return near[0] if near and not any(name.startswith(f"{field}/") for name in algorithms.names()) else ""


def change(algorithm: str, taken: Sequence[str], left_out: Sequence[str], where: str) -> tuple[str, dict[str, Any]]:
    """`algorithm` and its choices once the innovations `taken` are in and those `left_out` are out, in that order.

    A choice may be changed twice only along a chain (the second starts from the value that the first gave). Raises
    `UnknownNameError`, and `StudyError` where two contradict each other or one does not apply to the algorithm: it
    lacks one of the choices, or refuses the value.
    """
    from isoloss.algorithms import algorithms

    steps = [(innovations.get(n, f"{where}.innovations"), True) for n in taken]
    steps += [(innovations.get(n, f"{where}.without"), False) for n in left_out]
    both = set(taken) & set(left_out)
    if both:
        raise StudyError(where, f"innovation '{min(both)}' is both taken in and left out", "keep one")
    choices: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    for entry, into in steps:
        start, end = (entry.old, entry.new) if into else (entry.new, entry.old)
        for key, value in end.items():
            if key == "algorithm":
                if algorithm not in (start[key], value):
                    said = f"{'starts' if into else 'is left out'} from {start[key]}, not from {algorithm}"
                    raise StudyError(where, f"innovation '{entry.name}' {said}", f'set algorithm = "{start[key]}"')
                algorithm = value
                continue
            if key in choices and choices[key] not in (value, start.get(key, value)):
                raise StudyError(
                    where,
                    f"innovations '{set_by[key]}' and '{entry.name}' both set {key} ({choices[key]!r} and {value!r})",
                    "keep one",
                )
            choices[key], set_by[key] = value, entry.name
    cls = algorithms.get(algorithm, f"{where}.algorithm")
    for entry, into in steps:
        why = refusal(cls, entry, into)
        if why:
            others = applies_to(entry, into)
            remedy = f"it applies to: {', '.join(others)}" if others else "no registered algorithm takes it"
            raise StudyError(where, f"innovation '{entry.name}' does not apply to {algorithm}: {why}", remedy)
    return algorithm, choices


def refusal(cls: type[Any], entry: Innovation, into: bool = True) -> str:
    """Why the algorithm class `cls` can't take `entry` in (or leave it out); empty where it can."""
    choices = {k: v for k, v in (entry.new if into else entry.old).items() if k != "algorithm"}
    missing = [k for k in choices if k not in cls.Choices.model_fields]
    if missing:
        return f"it has no choice '{missing[0]}'"
    try:
        cls.Choices(**choices)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(str(p) for p in fault["loc"]) or next(iter(choices))
        return f"{field}: {fault['msg'].removeprefix('Value error, ')}"
    return ""


def applies_to(entry: Innovation, into: bool = True) -> list[str]:
    """Names of the registered algorithms of its field that `entry` can be taken into (or left out of), sorted."""
    from isoloss.algorithms import algorithms

    found = []
    before, after = (entry.old, entry.new) if into else (entry.new, entry.old)
    for name in algorithms.names():
        if name.split("/")[0] != entry.field or name != before.get("algorithm", name):
            continue
        try:
            if not refusal(algorithms.get(after.get("algorithm", name)), entry, into):
                found.append(name)
        except IsolossError:  # needs a package that is not installed
            continue
    return found

"""Published constants, laws and claims: reads this folder's TOML files and checks that every entry has a source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from isoloss.errors import TableError, UnknownNameError

CHECKS = ("read", "code", "recomputed", "second-hand")
TRENDS = ("grows", "constant", "shrinks", "contested", "unknown")
_SHARED = ("paper", "year", "resource", "scale", "check")
_FORMS = {
    "power": ("E", "A", "alpha"),
    "chinchilla": ("E", "A", "B", "alpha", "beta"),
    "allocation": ("coefficient", "exponent"),
    "allocation-gain": ("scale", "n_scale", "n_exponent", "d_scale", "d_exponent", "power"),
}


@dataclass(frozen=True)
class Constant:
    """One published number: where it stands, at which scale, of which resource, and how its transcription was checked.

    `more` holds what else its entry says (a rounded value, an interval, a title, the year of introduction).
    """

    name: str
    value: float
    paper: str
    year: int
    where: str
    resource: str
    scale: str
    check: str
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedLaw:
    """A law as printed: its `form` (see laws.toml) and parameters."""

    name: str
    title: str
    form: str
    params: Mapping[str, float]
    paper: str
    year: int
    where: str
    scale: str
    check: str


@cache
def constants() -> Mapping[str, Constant]:
    """Every entry of constants.toml by ``group.name``; raises TableError for one without a source."""
    return read_constants(_text("constants.toml"))


def read_constants(text: str) -> dict[str, Constant]:
    """The same from the text of such a file."""
    found = {}
    for group, table in tomllib.loads(text).items():
        shared = {k: v for k, v in table.items() if k in _SHARED}
        for name, entry in table.items():
            if name in _SHARED:
                continue
            where = f"constants.toml: {group}.{name}"
            if not isinstance(entry, dict):
                raise TableError(where, "is not a table", "write { value = 1.0, where = 'section 2' }")
            whole = {**shared, **entry}
            _complete(where, whole, ("value", "where", *_SHARED))
            more = {k: v for k, v in entry.items() if k not in ("value", "where", *_SHARED)}
            found[f"{group}.{name}"] = Constant(
                f"{group}.{name}", float(whole["value"]), **{k: whole[k] for k in ("where", *_SHARED)}, more=more
            )
    return found


@cache
def published_laws() -> Mapping[str, PublishedLaw]:
    """Every law of laws.toml by name; raises TableError for a parameter that its form lacks or does not have."""
    found = {}
    for name, entry in tomllib.loads(_text("laws.toml")).items():
        where = f"laws.toml: {name}"
        _complete(where, entry, ("title", "form", "params", "paper", "year", "where", "scale", "check"))
        if entry["form"] not in _FORMS:
            raise UnknownNameError(where, "form", str(entry["form"]), _FORMS)
        wanted = _FORMS[entry["form"]]
        if set(entry["params"]) != set(wanted):
            raise TableError(where, f"has parameters {', '.join(entry['params'])}", f"give {', '.join(wanted)}")
        found[name] = PublishedLaw(name=name, **entry)
    return found


def published_law(name: str, form: str) -> PublishedLaw:
    """One law of one form; raises UnknownNameError naming those there are."""
    known = {n: law for n, law in published_laws().items() if law.form == form}
    if name not in known:
        raise UnknownNameError("laws.toml", f"{form} law", name, known)
    return known[name]


@cache
def claims(table: str) -> Mapping[str, Mapping[str, Any]]:
    """The entries of one table of claims.toml, ``claims`` or ``neighbours``, by name; raises TableError as above."""
    entries: Mapping[str, Mapping[str, Any]] = tomllib.loads(_text("claims.toml"))[table]
    for name, entry in entries.items():
        where = f"claims.toml: {table}.{name}"
        _complete(where, entry, ("title", "check"))
        if table == "neighbours":
            _complete(where, entry, ("quantity", "years", "paper"))
            continue
        _complete(where, entry, ("year", "field", "resource", "trend"))
        if entry["trend"] not in TRENDS:
            raise TableError(where, f"trend is '{entry['trend']}'", f"use one of {', '.join(TRENDS)}")
        for part in ("claimed", "later"):
            if part in entry:
                _complete(f"{where}.{part}", {**entry[part], "check": entry["check"]}, ("gain", "scale", "paper"))
        if not {"claimed", "later", "said"} & set(entry):
            raise TableError(where, "has neither a gain nor words", "give claimed, later or said")
    return entries


def evidence_rows() -> list[dict[str, Any]]:
    """All evidence as rows for `isoloss list evidence`: what, value, year, scale, source, how it was checked."""
    rows = [
        {"name": c.name, "value": c.value, "year": c.year, "scale": c.scale, "check": c.check, "source": _cite(c)}
        for c in constants().values()
    ]
    for law in published_laws().values():
        value = ", ".join(f"{k} {v:g}" for k, v in law.params.items())
        source = f"{law.paper}, {law.where}"
        rows.append(
            {"name": f"laws.{law.name}", "value": value, "year": law.year, "scale": law.scale, "check": law.check,
             "source": source}
        )  # fmt: skip
    for name, claim in claims("claims").items():
        for part in ("claimed", "later"):
            if part in claim:
                said = claim[part]
                rows.append(
                    {"name": f"claims.{name}.{part}", "value": said["gain"], "year": claim["year"],
                     "scale": said["scale"], "check": claim["check"], "source": said["paper"]}
                )  # fmt: skip
    for name, other in claims("neighbours").items():
        value = next(f"{k} {other[k]:g}" for k in ("total", "doubling", "per_year", "factor") if k in other)
        rows.append(
            {"name": f"neighbours.{name}", "value": value, "year": other["years"], "scale": other["quantity"],
             "check": other["check"], "source": f"{other['title']}, {other['paper']}"}
        )  # fmt: skip
    return rows


def _cite(constant: Constant) -> str:
    return f"{constant.paper}, {constant.where}"


def _complete(where: str, entry: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    missing = [k for k in wanted if k not in entry]
    if missing:
        raise TableError(where, f"has no {', '.join(missing)}", "every number needs its source")
    if entry.get("check") not in CHECKS:
        raise TableError(where, f"check is '{entry.get('check')}'", f"use one of {', '.join(CHECKS)}")


def _text(file: str) -> str:
    return files("isoloss.evidence").joinpath(file).read_text(encoding="utf-8")

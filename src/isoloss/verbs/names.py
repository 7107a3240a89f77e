"""What can be named on the command line, and the versions line for bug reports."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from isoloss.errors import IsolossError, MissingError, StudyError, UnknownNameError
from isoloss.study import read_study

#: How pydantic's bounds on a choice are shown.
_BOUNDS = {
    "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of",
    "min_length": "length >=", "max_length": "length <=", "pattern": "matches",
}  # fmt: skip


def known(kind: str, name: str = "", plugins: Sequence[str | os.PathLike[str]] = ()) -> list[dict[str, Any]]:
    """What there is of `kind` (algorithms, tasks, laws, resources, studies, engines, evidence), as rows for a table; of
    the kind ``choices`` what a study may set or sweep of the algorithm `name`. `plugins`: files loaded before.
    """
    from isoloss.registry import load_plugin

    for plugin in plugins:
        load_plugin(Path(plugin))
    if kind == "choices":
        return _choices(name)
    if name:
        raise IsolossError(f"list {kind}", f"takes no name, such as '{name}'", "only the choices are those of one")
    if kind in ("algorithms", "tasks"):
        from isoloss.algorithms import algorithms
        from isoloss.tasks import tasks

        registry: Any = algorithms if kind == "algorithms" else tasks
        rows = []
        for name in registry.names():
            try:
                card = registry.get(name).card
                rows.append({"name": name, "year": card.year, "summary": card.summary, "source": card.source})
            except MissingError as error:
                rows.append({"name": name, "year": None, "summary": f"({error.remedy})", "source": ""})
        return rows
    if kind == "laws":
        from isoloss.laws import LAWS

        rows = []
        for name in LAWS.names():
            form = LAWS.get(name)
            rows.append({"name": name, "summary": form.summary, "formula": form.formula, "source": form.source})
        return rows
    if kind == "resources":
        from isoloss.runs import RESOURCES

        return [{"name": n, "unit": u, "summary": s} for n, (u, s) in RESOURCES.items()]
    if kind == "engines":
        return _engines()
    if kind == "studies":
        return _studies()
    if kind == "evidence":
        from isoloss.evidence.claims import evidence_rows

        return evidence_rows()
    kinds = ("algorithms", "choices", "tasks", "laws", "resources", "studies", "engines", "evidence")
    raise UnknownNameError("list", "kind", kind, kinds)


def _choices(algorithm: str) -> list[dict[str, Any]]:
    """Name, type, default and constraint of each choice; a default is as a study file or JSON would write it."""
    from pydantic_core import to_jsonable_python

    from isoloss.algorithms import algorithms

    if not algorithm:
        raise IsolossError("list choices", "names no algorithm", "such as isoloss list choices vision/cnn")
    rows = []
    for name, field in algorithms.get(algorithm, "list choices").Choices.model_fields.items():
        bounds = [
            f"{sign} {getattr(bound, key)}"
            for bound in field.metadata
            for key, sign in _BOUNDS.items()
            if getattr(bound, key, None) is not None
        ]
        needed = ["must be given"] if field.is_required() else []
        default = None if needed else to_jsonable_python(field.get_default(call_default_factory=True), fallback=str)
        constraint = ", ".join(needed + bounds)
        rows.append({"name": name, "type": _type(field.annotation), "default": default, "constraint": constraint})
    return rows


def _type(annotation: Any) -> str:
    """A type in short: ``int | none``, ``"pre" | "post"``, ``tuple[float, float]``."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " | ".join(map(json.dumps, parts))
    if origin in (Union, UnionType):
        return " | ".join(map(_type, parts))
    if parts:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(map(_type, parts))}]"
    return "none" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _engines() -> list[dict[str, Any]]:
    from isoloss.execution.engines import engines

    rows = []
    for name in engines.names():
        try:
            cls = engines.get(name)
        except MissingError as error:
            rows.append({"name": name, "summary": f"({error.remedy})", "options": ""})
            continue
        options = ", ".join(f"{key} ({field.description})" for key, field in cls.Options.model_fields.items())
        rows.append({"name": name, "summary": cls.summary, "options": options or "none"})
    return rows


def _studies() -> list[dict[str, Any]]:
    rows = []
    for path in sorted(Path("studies").rglob("*.toml")) if Path("studies").is_dir() else []:
        try:
            study, _ = read_study(path)
            rows.append({"name": str(path), "summary": study.question})
        except StudyError as error:
            rows.append({"name": str(path), "summary": f"broken: {error}"})
    return rows


def versions() -> str:
    """One line for bug reports."""
    from isoloss import __version__

    return f"isoloss {__version__}, Python {platform.python_version()}, {sys.platform}"

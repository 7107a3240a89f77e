"""What can be named on the command line, and the versions line for bug reports."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from isoloss.errors import MissingError, StudyError, UnknownNameError
from isoloss.study import read_study


def known(kind: str) -> list[dict[str, Any]]:
    """What there is of `kind` (algorithms, tasks, laws, resources, studies, engines, evidence), as rows for a table."""
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
    kinds = ("algorithms", "tasks", "laws", "resources", "studies", "engines", "evidence")
    raise UnknownNameError("list", "kind", kind, kinds)


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

"""Engines by name: those that come with isoloss and entry points of other packages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from isoloss.errors import StudyError
from isoloss.execution.engine import Asked, RunEngine
from isoloss.registry import Registry

#: name -> module that registers it
BUILTIN = {
    "local": "isoloss.execution.local",
    "launched": "isoloss.execution.launched",
    "ray": "isoloss.execution.ray",
    "slurm": "isoloss.execution.slurm",
}

engines: Registry[RunEngine] = Registry("engine", BUILTIN, "isoloss.engines")

E = TypeVar("E", bound=type[Any])


def engine(name: str) -> Callable[[E], E]:
    """Class decorator: files a `RunEngine` under `name`, so that ``isoloss run --engine NAME`` finds it."""

    def file(cls: E) -> E:
        engines.file(name, cls)
        return cls

    return file


def open_engine(
    name: str,
    *,
    workers: int | None = None,
    device: str = "auto",
    options: Mapping[str, str] | None = None,
    folder: Path = Path("reports"),
) -> RunEngine:
    """The engine called `name`, not started; `options` are texts, each of the form that its `Options` wants.

    Raises `UnknownNameError`, `MissingError` or `StudyError` in one line.
    """
    cls = engines.get(name, "--engine")
    known = cls.Options.model_fields
    try:
        read = cls.Options.model_validate(dict(options or {}))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] != "extra_forbidden":
            said = str(fault["msg"]).removeprefix("Value error, ")
            what = said[:1].lower() + said[1:]
            raise StudyError(f"--engine-option {key}={str(fault.get('input'))[:60]}", what) from None
        near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
        raise StudyError("--engine-option", f"engine '{name}' has no option '{key[:60]}'", remedy) from None
    return cls.open(Asked(workers, device, read, folder))

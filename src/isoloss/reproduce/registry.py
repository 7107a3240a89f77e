"""The reproductions by name: each is one module of this package with a function ``reproduce(folder)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from isoloss.errors import UnknownNameError
from isoloss.reproduce.table import Reproduction


@dataclass(frozen=True)
class Entry:
    """A reproduction that can be named, and the public tables (see `isoloss fetch --list`) that it reads."""

    name: str
    tables: tuple[str, ...]

    @property
    def run(self) -> Callable[[Path], Reproduction]:
        """The function that makes it from the folder of its table."""
        found: Callable[[Path], Reproduction] = import_module(f"isoloss.reproduce.{self.name}").reproduce
        return found


REPRODUCTIONS: dict[str, Entry] = {
    name: Entry(name, tables)
    for name, tables in {
        "besiroglu": ("besiroglu",),
        "clark": ("clark",),
        "marin": ("marin",),
        "gundlach": ("gundlach", "gundlach-2026"),
        "openai": ("openai-efficiency",),
        "porian": ("porian",),
        "llama": ("open-athena",),
        "gemstones": ("gemstones",),
        "speedrun": ("speedrun",),
        "misfitting": ("misfitting",),
    }.items()
}


def find_reproduction(name: str) -> Entry:
    """The reproduction called `name`; raises UnknownNameError with the nearest names."""
    if name not in REPRODUCTIONS:
        raise UnknownNameError("reproduce", "table", name, REPRODUCTIONS)
    return REPRODUCTIONS[name]

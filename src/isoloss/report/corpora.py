"""Corpora on the terminal: what there is, and what was built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class BuildProgress:
    """Context: a progress bar over the steps of a build; nothing where the console is no terminal."""

    def __init__(self, console: Console) -> None:
        columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> BuildProgress:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def update(self, what: str, done: int, total: int) -> None:
        """Say what is being done, and how many steps of `total` are behind."""
        self._progress.update(self._task, description=escape(what), completed=done, total=total)


def print_corpora(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A table of corpora, and the command that builds the missing ones."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "training text", "state", "what it is"):
        table.add_column(column, justify="right" if column == "training text" else "left", no_wrap=column == "task")
    for row in rows:
        size = decimal(row["train_bytes"]) if "train_bytes" in row else "–"
        state = row["state"] if "train_bytes" in row else f"build it: {row['command']}"
        table.add_row(row["task"], size, state, escape(row["summary"]))
    console.print(table)


def print_built(manifest: Mapping[str, Any], console: Console) -> None:
    """What a build gave: packages, sizes, digest, file."""
    table = Table(box=None, pad_edge=False)
    table.add_column("package")
    table.add_column("version")
    table.add_column("text", justify="right")
    for package in manifest["packages"]:
        table.add_row(package["package"], package["version"], decimal(package["text_bytes"]))
    console.print(table)
    sizes = ", ".join(f"{decimal(manifest[f'{s}_bytes'])} {s}" for s in ("train", "validation", "test"))
    console.print(f"\nlanguage/{manifest['corpus']}: {sizes}; digest {manifest['digest'][:16]}")
    console.print(f"File: [bold]{escape(manifest['path'])}[/]", soft_wrap=True)
    if manifest["note"]:
        console.print(f"[yellow]Note:[/] {escape(manifest['note'])}", soft_wrap=True)

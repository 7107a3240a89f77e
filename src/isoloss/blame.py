"""Where in the code of whoever can mend it a failure began."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def blamed(error: BaseException, plugins: Iterable[Path], module: str = "") -> str:
    """`error` in a line: type, message, and `line_of` it; else the innermost line of this package; else of all.

    A plug-in's mistake is most often met deep inside torch, whose line tells its author nothing. `module`: that of the
    algorithm that ran; its plug-in is named too where no line of it led there (it only built the network).
    """
    frames, plugins = _frames(error), list(plugins)
    ours = [f"isoloss/{path.relative_to(_PACKAGE)}:{line}" for path, line in frames if path.is_relative_to(_PACKAGE)]
    last = [f"{path.name}:{line}" for path, line in frames]
    file = getattr(sys.modules.get(module), "__file__", None)
    builder = f"built in {Path(file).name}, met at " if file and Path(file).resolve() in _resolved(plugins) else ""
    place = line_of(error, plugins)
    if not place and not isinstance(error, SyntaxError):  # the message on bad syntax names file and line itself
        place = builder + next(iter(ours or last), "")
    return " ".join(f"{type(error).__name__}: {error}{f' ({place})' if place else ''}".split())


def line_of(error: BaseException, plugins: Iterable[Path]) -> str:
    """``file.py:LINE`` of the innermost line of one of the `plugins` that led to `error`; empty where none did."""
    own = _resolved(plugins)
    return next((f"{path.name}:{line}" for path, line in _frames(error) if path in own), "")


def _resolved(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def _frames(error: BaseException) -> list[tuple[Path, int | None]]:
    """File and line of every frame, the innermost first."""
    return [(Path(f.filename).resolve(), f.lineno) for f in traceback.extract_tb(error.__traceback__)][::-1]

"""The state of a git checkout, so that a record says which code was measured."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


def checkout(path: Path) -> dict[str, Any] | None:
    """``commit`` and ``dirty`` (tracked files differ from it) of the checkout that `path` is tracked in; None where it
    is in none, or git is absent.

    A file that merely lies below a checkout, as an environment's packages often do, is no part of it.
    """
    folder = path if path.is_dir() else path.parent
    if _git(folder, "ls-files", "--error-unmatch", path.name if path.is_file() else ".") in (None, ""):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), "--no-optional-locks", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

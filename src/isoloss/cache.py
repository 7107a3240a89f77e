"""The folder of what can be made again, and files in it that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isoloss.errors import StudyError


def cache_folder() -> Path:
    """``ISOLOSS_CACHE`` where set, else the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("ISOLOSS_CACHE") or user_cache_dir("isoloss"))


def write_whole(path: Path, chunks: Iterable[Any]) -> None:
    """Write `chunks` beside `path` and rename: two workers that start together never read half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(dir=path.parent, delete=False)  # noqa: SIM115 (renamed after it is closed)
        try:
            with file:
                for chunk in chunks:
                    file.write(chunk)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    except OSError as error:
        raise StudyError(path, f"the cache can't be written ({error.strerror})", "set ISOLOSS_CACHE") from error

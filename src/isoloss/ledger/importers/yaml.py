"""YAML files of trackers, read with PyYAML where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isoloss.errors import MissingError, TableError


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `MissingError` without PyYAML, `TableError` for a file that is no mapping."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingError(
            path, "PyYAML, which reads it, is not installed", "pip install 'isoloss[trackers]'"
        ) from None
    try:
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())[:120]
        raise TableError(path, f"can't be read as YAML: {said}", "mend it or move that run away") from None
    except RecursionError:
        raise TableError(path, "is nested too deeply", "mend it or move that run away") from None
    if not isinstance(whole, dict):
        raise TableError(path, "holds no mapping", "mend it or move that run away")
    return whole

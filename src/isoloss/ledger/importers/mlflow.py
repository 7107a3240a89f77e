"""MLflow's file store (`mlruns`): a folder a run with `meta.yaml`, `params/`, `metrics/` and `tags/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from isoloss.errors import TableError
from isoloss.ledger.importers.jsonlines import frame_of
from isoloss.ledger.importers.yaml import load_yaml

_STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


def read(path: Path) -> pl.DataFrame:
    """One row a run: run_id, experiment, status, `params.*`, `metrics.*` (last value logged) and the run's name.

    Deleted runs are left out. A table exported from `mlflow.search_runs` is plain CSV and is read as such. Raises
    `TableError` naming the metric file that can't be read.
    """
    runs = []
    for meta_path in sorted(path.rglob("meta.yaml")):
        folder = meta_path.parent
        if not (folder / "metrics").is_dir() and not (folder / "params").is_dir():
            continue  # an experiment, not a run
        meta = load_yaml(meta_path)
        if meta.get("lifecycle_stage") == "deleted":
            continue
        status = meta.get("status")
        runs.append({
            "run_id": str(meta.get("run_id", folder.name)),
            "run_name": meta.get("run_name"),
            "experiment": _experiment(folder.parent),
            "status": _STATUS.get(status, str(status)) if isinstance(status, int) else status,
            "params": {name: _text(file).strip() for name, file in _files(folder / "params")},
            "metrics": {name: _last(file) for name, file in _files(folder / "metrics")},
        })  # fmt: skip
    if not runs:
        raise TableError(path, "holds no MLflow run", "name the folder 'mlruns'")
    return frame_of(runs)


def _files(folder: Path) -> list[tuple[str, Path]]:
    if not folder.is_dir():
        return []
    return [(f.relative_to(folder).as_posix(), f) for f in sorted(folder.rglob("*")) if f.is_file()]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
        raise TableError(file, f"can't be read ({said})", "mend it or move that run away") from None


def _last(file: Path) -> float:
    """The value at the highest step; a line is ``timestamp value step``."""
    best: tuple[int, int] | None = None
    value = float("nan")
    for number, line in enumerate(_text(file).splitlines(), 1):
        words = line.split()
        try:
            at = (int(words[2]) if len(words) > 2 else 0, int(words[0]))
            if best is None or at >= best:
                best, value = at, float(words[1])
        except (IndexError, ValueError):
            raise TableError(
                file, f"line {number} is no metric ({line[:40]!r})", "mend it or move that run away"
            ) from None
    return value


def _experiment(folder: Path) -> Any:
    meta = folder / "meta.yaml"
    return load_yaml(meta).get("name") if meta.exists() else None

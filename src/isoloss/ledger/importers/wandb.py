"""Weights & Biases run folders: `files/wandb-summary.json` beside `files/config.yaml`, or the log `run-ID.wandb`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from isoloss.errors import TableError
from isoloss.ledger.importers.jsonlines import frame_of
from isoloss.ledger.importers.wandb_log import read_log
from isoloss.ledger.importers.yaml import load_yaml

_FOLDER = re.compile(r"^(?:offline-)?run-\d{8}_\d{6}-(?P<id>.+)$")


def read(path: Path) -> pl.DataFrame:
    """One row a run folder below `path`: run_id, `config.*` and `summary.*`, nested keys flattened with dots.

    The tables that W&B exports from its pages or its API are plain CSV or JSON and are read as such. A run folder does
    not say whether its run finished; its summary holds the last values that were logged. Where there is no summary
    (newer versions, offline), W&B's own log is read, which does say so. Raises `TableError` for a summary or log that
    can't be read.
    """
    if path.is_file():
        return frame_of([_plain(read_log(path))])
    runs = []
    for log in sorted(path.rglob("run-*.wandb")):
        if log.parent.name != "latest-run" and not (log.parent / "files" / "wandb-summary.json").exists():
            runs.append(_plain(read_log(log)))
    for summary in sorted(path.rglob("wandb-summary.json")):
        files = summary.parent
        folder = files.parent if files.name == "files" else files
        if folder.name == "latest-run":  # a link to one of the others
            continue
        named = _FOLDER.match(folder.name)
        runs.append({
            "run_id": named["id"] if named else folder.name,
            "config": _config(files / "config.yaml"),
            "summary": _summary(summary),
        })  # fmt: skip
    if not runs:
        raise TableError(
            path, "holds no W&B run", "name the folder 'wandb' that a run wrote, or one of its run folders"
        )
    return frame_of(runs)


def _summary(path: Path) -> dict[str, Any]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(path, f"can't be read as JSON: {str(error)[:100]}", "mend it or move that run away") from None
    if not isinstance(whole, dict):
        raise TableError(path, "is no JSON object", "mend it or move that run away")
    return _plain({k: v for k, v in whole.items() if k != "_wandb"})


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON can't hold, which W&B writes as text, as numbers."""
    odd = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}
    return {
        k: _plain(v) if isinstance(v, dict) else odd.get(v, v) if isinstance(v, str) else v for k, v in value.items()
    }


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    whole = load_yaml(path)
    return {
        key: inner["value"] if isinstance(inner, dict) and "value" in inner else inner
        for key, inner in whole.items()
        if key not in ("_wandb", "wandb_version")
    }

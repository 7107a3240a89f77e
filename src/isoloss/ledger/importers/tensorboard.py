"""TensorBoard event files, read with TensorBoard's own reader: a run a folder, a column a scalar tag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from isoloss.errors import MissingError, TableError
from isoloss.ledger.importers.jsonlines import frame_of

_EVENTS = "events.out.tfevents*"


def read(path: Path, points: str = "end") -> pl.DataFrame:
    """One row a run (folder with event files): arm, run, the last step, hyper-parameters and each scalar's last value.

    `arm` is the folder that holds the run's folder (the run's own where runs lie directly in `path`); hyper-parameters
    come as ``hparams.NAME`` where the run logged them. With `points` = ``all``, one row a logged step. Raises
    `MissingError` without TensorBoard and `TableError` where there is no scalar.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ModuleNotFoundError:
        raise MissingError(
            path, "TensorBoard, which reads it, is not installed", "pip install 'isoloss[trackers]'"
        ) from None
    root = path.parent if path.is_file() else path
    folders = sorted({f.parent for f in root.rglob(_EVENTS)}) if path.is_dir() else [root]
    rows: list[dict[str, Any]] = []
    for folder in folders:
        events = EventAccumulator(str(path if path.is_file() else folder), {"scalars": 0, "tensors": 0}).Reload()
        table = _scalars(events)
        hparams = _hparams(events)
        if not table and not hparams:
            continue
        relative = folder.relative_to(root)
        arm = relative.parent.as_posix() if len(relative.parts) > 1 else relative.as_posix()
        named = {"arm": root.resolve().name if arm == "." else arm, "run": relative.as_posix(), "hparams": hparams}
        steps = sorted({s for values in table.values() for s in values})
        if points == "all":
            rows += [named | {"step": s} | {t: v[s] for t, v in table.items() if s in v} for s in steps]
        else:
            rows.append(named | {"step": steps[-1] if steps else None} | {t: v[max(v)] for t, v in table.items()})
    if not rows:
        raise TableError(path, "its event files hold no scalar", "log qualities with add_scalar")
    return frame_of(_merge_hparam_folders(rows) if points == "end" else rows)


def _scalars(events: Any) -> dict[str, dict[int, float]]:
    tags = events.Tags()
    table = {tag: {e.step: float(e.value) for e in events.Scalars(tag)} for tag in tags["scalars"]}
    for tag in tags["tensors"]:  # TensorFlow 2 writes scalars as tensors
        try:
            from tensorboard.util import tensor_util

            read = {e.step: tensor_util.make_ndarray(e.tensor_proto) for e in events.Tensors(tag)}
        except (TypeError, ValueError):
            continue
        if all(v.size == 1 and v.dtype.kind in "fiu" for v in read.values()):
            table.setdefault(tag, {s: float(v.reshape(())) for s, v in read.items()})
    return table


def _hparams(events: Any) -> dict[str, Any]:
    """What `add_hparams` wrote: a start record of the hparams plug-in in the summary metadata."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = events.summary_metadata.get("_hparams_/session_start_info")
    if content is None:
        return {}
    data = plugin_data_pb2.HParamsPluginData.FromString(content.plugin_data.content)
    found = data.session_start_info.hparams
    return {k: getattr(v, v.WhichOneof("kind")) for k, v in found.items() if v.WhichOneof("kind")}


def _merge_hparam_folders(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`add_hparams` writes a sub-folder of its own: fold it into the run whose folder holds it."""
    by_run = {row["run"]: row for row in rows}
    merged = []
    for row in rows:
        parent = by_run.get(str(Path(row["run"]).parent.as_posix()))
        if row["hparams"] and parent is not None and parent is not row:
            parent["hparams"] = row["hparams"]
            parent.update({k: v for k, v in row.items() if k not in parent})
        else:
            merged.append(row)
    return merged

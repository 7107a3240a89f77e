"""TensorBoard: an event file a run, in ``DIR/STUDY/RUN_ID``, with the choices as its hyper-parameters."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from isoloss.errors import MissingError
from isoloss.sinks import sinks
from isoloss.sinks.base import Record, Sink


class TensorBoard(Sink):
    """``tensorboard:DIR``. A run's file appears whole or not at all, so what is there is never written again."""

    name = "tensorboard"

    def __init__(self, target: str) -> None:
        """Raises `ValueError` without a folder, `MissingError` without TensorBoard."""
        if not target:
            raise ValueError("names no folder; write --to tensorboard:DIR")
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ModuleNotFoundError:
            raise MissingError("--to tensorboard", "TensorBoard is not installed", "pip install tensorboard") from None
        self._root = self._folder = Path(target)
        self._event, self._writer = Event, RecordWriter

    def open(self, study: str) -> None:
        """Make the study's folder."""
        self._folder = self._root / study
        self._folder.mkdir(parents=True, exist_ok=True)

    def run(self, record: Record) -> bool:
        """Write the run's file, unless it is there with the same status."""
        folder = self._folder / record.run_id
        path = folder / f"events.out.tfevents.0.isoloss.{record.outcome.status}"
        if path.exists():
            return False
        folder.mkdir(exist_ok=True)
        whole = folder / ".partial"  # TensorBoard reads only what has its own name
        with whole.open("wb") as file:
            write = self._writer(file).write
            for event in self._events(record):
                write(event.SerializeToString())
        for old in folder.glob("events.out.tfevents*"):
            old.unlink()
        os.replace(whole, path)
        return True

    def close(self) -> None:
        """Nothing is pending: each run's file is whole."""

    def _events(self, record: Record) -> list[Any]:
        now = time.time()
        events = [self._event(wall_time=now, file_version="brain.Event:2"), self._settings(record, now)]
        for step, values in (*record.points(), (record.last_step, record.results())):
            event = self._event(wall_time=now, step=step)
            for tag, value in values.items():
                event.summary.value.add(tag=tag, simple_value=value)
            events.append(event)
        return events

    def _settings(self, record: Record, now: float) -> Any:
        # as the writers of TensorFlow and PyTorch do it: TensorBoard's own function for it needs TensorFlow
        from tensorboard.plugins.hparams import metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

        start = SessionStartInfo(start_time_secs=now)
        for key, value in record.settings().items():
            if isinstance(value, bool):
                start.hparams[key].bool_value = value
            elif isinstance(value, (int, float)):
                start.hparams[key].number_value = value
            else:
                start.hparams[key].string_value = value
        event = self._event(wall_time=now)
        value = event.summary.value.add(tag=metadata.SESSION_START_INFO_TAG)
        value.metadata.CopyFrom(metadata.create_summary_metadata(HParamsPluginData(session_start_info=start)))
        value.tensor.CopyFrom(metadata.NULL_TENSOR)
        return event


sinks.file("tensorboard", TensorBoard)

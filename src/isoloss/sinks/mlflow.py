"""MLflow: a run each in the experiment named as the study. MLflow gives ids of its own; ours is a tag."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from isoloss.errors import MissingError
from isoloss.sinks import sinks
from isoloss.sinks.base import Record, Sink

#: The tag that holds the run id, and the one that says that all of the run is there.
RUN_ID, WHOLE = "isoloss.run_id", "isoloss.sent"
#: Metrics and parameters that MLflow takes in one call.
METRICS, PARAMETERS = 1000, 100
#: MLflow's words for how a run ended.
STATUS = {"failed": "FAILED", "dropped": "KILLED"}

T = TypeVar("T")


class MLflow(Sink):
    """``mlflow:URI`` (``sqlite:///mlflow.db``, ``http://host:5000``); without one, ``MLFLOW_TRACKING_URI``.

    Two senders at the same instant can double a run, since MLflow has no ids of ours to refuse it by.
    """

    name = "mlflow"

    def __init__(self, target: str) -> None:
        """Raises `MissingError` without MLflow."""
        try:
            from mlflow import entities, exceptions
            from mlflow.tracking import MlflowClient
        except ModuleNotFoundError:
            raise MissingError("--to mlflow", "MLflow is not installed", "pip install 'isoloss[mlflow]'") from None
        self._entities: Any = entities
        self._error: Any = exceptions.MlflowException
        self._connect, self._target = MlflowClient, target
        self._client: Any = None
        self._experiment = ""

    def open(self, study: str) -> None:
        """Connect, and find or make the experiment."""
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a new SQLite store tells of each of its tables
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        self._client = self._connect(self._target or None)
        found = self._client.get_experiment_by_name(study)
        if found is None:
            try:
                self._experiment = self._client.create_experiment(study)
                return
            except self._error:  # somebody else was quicker
                found = self._client.get_experiment_by_name(study)
                if found is None:
                    raise
        self._experiment = found.experiment_id

    def run(self, record: Record) -> bool:
        """Write the run, unless one with its tag is there, whole and with the same status."""
        for old in self._client.search_runs([self._experiment], f"tags.`{RUN_ID}` = '{record.run_id}'"):
            if old.data.tags.get(WHOLE) == record.outcome.status:
                return False
            self._client.delete_run(old.info.run_id)
        now = int(time.time() * 1000)
        tags = {RUN_ID: record.run_id, "isoloss.study": record.study}
        name = f"{record.arms} {record.rung:.3g} {record.run_id[:6]}"
        its = self._client.create_run(self._experiment, start_time=now, tags=tags, run_name=name).info.run_id
        params = [self._entities.Param(k, str(v)) for k, v in record.settings().items()]
        for some in _in_parts(params, PARAMETERS):
            self._client.log_batch(its, params=some)
        points = (*record.points(), (record.last_step, record.results()))
        metrics = [self._entities.Metric(k, v, now, step) for step, values in points for k, v in values.items()]
        for few in _in_parts(metrics, METRICS):
            self._client.log_batch(its, metrics=few)
        if record.outcome.error:
            self._client.set_tag(its, "isoloss.error", record.outcome.error)
        self._client.set_terminated(its, STATUS.get(record.outcome.status, "FINISHED"))
        self._client.set_tag(its, WHOLE, record.outcome.status)
        return True

    def close(self) -> None:
        """Nothing is pending: each call was answered."""


def _in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))


sinks.file("mlflow", MLflow)

"""Weights & Biases, online or (``WANDB_MODE=offline``) as folders for `wandb sync`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from isoloss.errors import MissingError, TableError
from isoloss.ledger.importers.wandb_log import read_log
from isoloss.sinks import sinks
from isoloss.sinks.base import Record, Sink

#: Seconds that W&B may take to begin a run.
PATIENCE = 60.0


class WeightsAndBiases(Sink):
    """``wandb:PROJECT`` or ``wandb:ENTITY/PROJECT``. Run ids are W&B's too, arms job types, studies groups."""

    name = "wandb"

    def __init__(self, target: str) -> None:
        """Raises `ValueError` without a project, `MissingError` without W&B."""
        entity, _, project = target.rpartition("/")
        if not project or "/" in entity:
            raise ValueError("names no project; write --to wandb:PROJECT or --to wandb:ENTITY/PROJECT")
        try:
            import wandb
        except ModuleNotFoundError:
            raise MissingError("--to wandb", "W&B is not installed", "pip install 'isoloss[wandb]'") from None
        self._wandb: Any = wandb
        self._entity, self._project, self._study = entity or None, project, ""
        self._mode = os.environ.get("WANDB_MODE") or "online"
        self._folder = Path(os.environ.get("WANDB_DIR") or ".")

    def open(self, study: str) -> None:
        """Runs of this study become one group."""
        self._study = study

    def run(self, record: Record) -> bool:
        """Write the run, unless W&B (offline: this folder) holds it with the same status."""
        if self._mode == "offline" and not self._make_room(record):
            return False
        settings = self._wandb.Settings(silent=True, console="off", init_timeout=PATIENCE, x_disable_stats=True)
        run = self._wandb.init(
            dir=str(self._folder),
            mode=self._mode,
            entity=self._entity,
            project=self._project,
            group=self._study,
            job_type=record.arms,
            id=record.run_id,
            name=f"{record.arms} {record.rung:.3g} {record.run_id[:6]}",
            config=record.settings(),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )
        held = bool(run.resumed) and run.summary.get("status") == record.outcome.status
        if not held:
            for step, values in record.points():
                run.log(values, step=step)
            run.summary.update(record.results() | {"status": record.outcome.status})
            if record.outcome.error:
                run.summary["error"] = record.outcome.error
        run.finish(exit_code=int(record.failed and not held))
        return not held

    def _make_room(self, record: Record) -> bool:
        """Whether the run is to be written; what an attempt that was cut short or had failed left is removed."""
        for log in self._folder.glob(f"wandb/offline-run-*-{record.run_id}*/run-{record.run_id}.wandb"):
            try:
                held = read_log(log)
                if held["state"] != "crashed" and held["summary"].get("status") == record.outcome.status:
                    return False
            except TableError:
                pass
            shutil.rmtree(log.parent, ignore_errors=True)
        return True

    def close(self) -> None:
        """Wait for W&B's own process, which may still be writing runs that it has called finished."""
        self._wandb.teardown()


sinks.file("wandb", WeightsAndBiases)

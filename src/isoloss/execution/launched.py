"""The engine of a launcher: one job at a time on all the processes that torchrun, srun or Ray Train has started.

The first process drives the study; the others `follow`. A run is trained by all of them together where it has as many
devices, and by the first alone where it has one.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist

from isoloss.execution.engine import Asked, Ended, EngineOptions, Job
from isoloss.execution.engines import engine
from isoloss.execution.worker import carry_out, check_device, forget_checkpoint
from isoloss.registry import load_plugin
from isoloss.runs import RunSpec
from isoloss.training.distributed.launch import join

#: A process may wait this long for the next job: the first one may be training by itself, or fitting laws.
BETWEEN_JOBS = datetime.timedelta(days=7)


@engine("launched")
class LaunchedEngine:
    """Tells the other processes what to do, and does it with them. Raises `StudyError` outside of a launcher."""

    summary = "all processes that torchrun, srun or Ray Train has started, together on one run at a time"
    slots = 1

    class Options(EngineOptions):
        """None: the launcher has them."""

    @classmethod
    def open(cls, asked: Asked) -> LaunchedEngine:
        """The engine in the first process; each other one follows it here, and ends when it does."""
        check_device(asked.device)
        if not is_first():
            follow()
            raise SystemExit(0)
        return cls()

    def __init__(self) -> None:
        self._channel = _channel()
        self._stopped = False
        self._jobs: list[Job] = []

    def start(self, plugins: Sequence[Path]) -> None:
        """Let every process load the plug-ins."""
        self._tell(tuple(plugins))

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)

    def collect(self, timeout: float) -> list[list[Ended]]:
        """Carry out the next job; waits out `timeout` where there is none."""
        if not self._jobs:
            time.sleep(timeout)
            return []
        job = self._jobs.pop(0)
        if _shared(job):
            self._tell(job)
        outcomes, environment = carry_out(job)
        environment = {**environment, "processes": dist.get_world_size()}
        return [[Ended(s, o, environment) for s, o in zip(job.specs, outcomes, strict=True)]]

    def recorded(self, spec: RunSpec) -> None:
        """Remove the run's checkpoint."""
        forget_checkpoint(spec.run_id)

    def notices(self) -> list[str]:
        """Nothing."""
        return []

    def stop(self) -> None:
        """Let the other processes end; a second time nothing is left to do."""
        if not self._stopped:
            self._stopped = True
            self._tell(None)

    def _tell(self, what: Any) -> None:
        dist.broadcast_object_list([what], src=0, group=self._channel)


def is_first() -> bool:
    """Join the launcher's processes; whether this one is the first of them. Raises `StudyError` as `join` does."""
    return join().rank == 0


def follow() -> None:
    """What every process but the first does until that one stops."""
    channel = _channel()
    while True:
        told: list[Any] = [None]
        dist.broadcast_object_list(told, src=0, group=channel)
        match told[0]:
            case None:
                return
            case Job() as job:
                carry_out(job)
            case plugins:
                for path in plugins:
                    load_plugin(path)


def _shared(job: Job) -> bool:
    return any(spec.choices.get("devices", 1) != 1 for spec in job.specs)


def _channel() -> Any:
    return dist.new_group(timeout=BETWEEN_JOBS, backend="gloo")

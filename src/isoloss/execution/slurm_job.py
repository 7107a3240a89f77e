"""What a Slurm job does: carry out one job from its folder, and go on later where it is told to stop."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoloss.execution.wire import pack_result, unpack_job
from isoloss.execution.worker import carry_out, told_by, use_one_thread
from isoloss.registry import load_plugin
from isoloss.runs import Stopped

RESULT, STOPPED = "result.json", "stopped"


@dataclass(frozen=True)
class SlurmJob:
    """Called by submitit on the node; `state` is the job's folder.

    SIGUSR2 (its time is nearly over, or it is pre-empted): once the run has left its checkpoint, submitit puts the job
    back into the queue. SIGTERM and SIGINT (cancelled, or pre-empted): the checkpoint is left and the job ends; the
    driver submits it again where it did not cancel it.
    """

    state: str
    plugins: tuple[str, ...]
    device: str

    def __call__(self) -> None:
        """Write the job's result into its folder."""
        folder = Path(self.state)
        use_one_thread()
        os.environ["ISOLOSS_DEVICE"] = self.device
        for path in self.plugins:
            load_plugin(Path(path))
        job = unpack_job((folder / "job.json").read_text())
        requeue: Any = signal.getsignal(signal.SIGUSR2)
        with told_by(signal.SIGUSR2, signal.SIGTERM, signal.SIGINT) as told:
            try:
                outcomes, environment = carry_out(job)
            except (Stopped, KeyboardInterrupt):
                if signal.SIGUSR2 in told and callable(requeue):
                    requeue(signal.SIGUSR2, None)
                write(folder / STOPPED, "")
                os._exit(128 + signal.SIGTERM)
        write(folder / RESULT, pack_result(job, outcomes, environment))

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue: the same job, which goes on from its checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)

"""The local engine: persistent worker processes on this machine, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoloss.execution.engine import Ended, Job
from isoloss.execution.worker import THREAD_VARIABLES, carry_out, context, prepare
from isoloss.runs import Outcome, RunSpec

#: Seconds that workers have to end a step and write a checkpoint when they are told to stop.
GRACE = 30.0

Future_ = Future[tuple[list[Outcome], dict[str, Any]]]


class LocalEngine:
    """`workers` processes started fresh (spawn), so that a run's arithmetic never depends on the driver's state.

    Two one-thread processes beat one two-thread process by 1.3 to 2.5 times at these model sizes, and one thread a
    process makes a run the same bits whatever runs beside it. `device`: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(self, workers: int, device: str = "auto") -> None:
        self.slots, self.device = workers, device
        self._plugins: tuple[Path, ...] = ()
        self._pool: ProcessPoolExecutor | None = None
        self._running: dict[Future_, Job] = {}

    def start(self, plugins: Sequence[Path]) -> None:
        """Begin starting workers, unless they were; returns at once. Raises `StudyError` as `context` does."""
        if self._pool is not None:
            return
        context()
        self._plugins = tuple(plugins)
        for variable in THREAD_VARIABLES:  # read when a worker's libraries load
            os.environ[variable] = "1"
        os.environ["ISOLOSS_DEVICE"] = self.device
        self._pool = ProcessPoolExecutor(
            self.slots,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=prepare,
            initargs=(os.getpid(), self._plugins),
        )
        for _ in range(self.slots):
            self._pool.submit(os.getpid)  # the pool starts a process only when there is something to do

    def submit(self, job: Job) -> None:
        """Queue a job for the next free worker."""
        assert self._pool is not None, "start() first"
        try:
            future = self._pool.submit(carry_out, job)
        except BrokenProcessPool:
            self._restart()
            future = self._pool.submit(carry_out, job)
        self._running[future] = job

    def collect(self, timeout: float) -> list[list[Ended]]:
        """Runs that ended; those of a worker that died come back as lost, and the pool is started anew."""
        if not self._running:
            time.sleep(timeout)
            return []
        done, _ = wait(self._running, timeout=timeout, return_when=FIRST_COMPLETED)
        ended: list[list[Ended]] = []
        broken = False
        for future in done:
            job = self._running.pop(future)
            try:
                outcomes, environment = future.result()
                ended.append([Ended(s, o, environment) for s, o in zip(job.specs, outcomes, strict=True)])
            except BrokenProcessPool:
                broken = True
                ended.append(_lost(job))
        if broken:
            ended += [_lost(job) for job in self._running.values()]
            self._running.clear()
            self._restart()
        return ended

    def recorded(self, spec: RunSpec) -> None:
        """Remove the run's checkpoint, and what an attempt that was killed left of one."""
        path = context().checkpoint(spec.run_id)
        if path is None:
            return
        for file in path.parent.glob(f"{spec.run_id}.*"):
            with suppress(OSError):
                file.unlink()

    def stop(self) -> None:
        """Tell the workers to stop; kill those that are still there `GRACE` seconds later."""
        if self._pool is None:
            return
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        for process in processes:
            process.kill()
            process.join(5)
        self._pool, self._running = None, {}

    def _restart(self) -> None:
        self.stop()
        self.start(self._plugins)


def _lost(job: Job) -> list[Ended]:
    outcome = Outcome("failed", {}, {}, {}, error="its worker process died (killed, or out of memory)")
    return [Ended(spec, outcome, {}, lost=True) for spec in job.specs]

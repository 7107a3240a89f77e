"""The local engine: persistent worker processes on this machine, one thread each."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from isoloss.execution.engine import GRACE, Asked, Ended, EngineOptions, Job, lost
from isoloss.execution.engines import engine
from isoloss.execution.packing import free_memory, gigabytes, resident
from isoloss.execution.worker import THREAD_VARIABLES, check_device, context, forget_checkpoint, prepare, work
from isoloss.processes import pool_of_one
from isoloss.runs import Outcome, RunSpec

Future_ = Future[tuple[list[Outcome], dict[str, Any]]]


class _Worker:
    """One process, started fresh (spawn), and the job that it has."""

    def __init__(self, number: int, device: str, plugins: tuple[Path, ...]) -> None:
        self.job: Job | None = None
        self._pool = pool_of_one(prepare, os.getpid(), plugins, device, number)
        (self.process,) = getattr(self._pool, "_processes").values()  # noqa: B009 - no public name for it

    def begin(self, job: Job) -> Future_:
        """Start a job. Raises `BrokenProcessPool` for a process that died while idle."""
        self.job = job
        return self._pool.submit(work, job)

    def held(self) -> float:
        """Bytes that the process has now."""
        return resident(self.process.pid or 0)

    def owed(self) -> float:
        """Bytes that its job is expected to take beyond those."""
        need = self.job.peak_bytes if self.job else None
        return 0.0 if need is None else max(0.0, need - self.held())

    def tell(self) -> None:
        """Tell the process to end after its step."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.process.terminate()


@engine("local")
class LocalEngine:
    """Worker processes that do not share anything, so that a run's arithmetic never depends on its neighbours.

    Two one-thread processes beat one two-thread process by 1.3 to 2.5 times at these model sizes, and one thread a
    process makes a run the same bits whatever runs beside it. Of several GPUs, worker i takes GPU i mod n. A job that
    is known to need more memory than is free waits, unless nothing runs. One that dies costs only the run it had.
    """

    summary = "worker processes on this machine, one thread each"

    class Options(EngineOptions):
        """What can be set."""

        per_gpu: int | None = Field(None, ge=1, description="workers a GPU, where --workers is left out")
        memory_gb: float | None = Field(None, gt=0, description="memory of all workers together; else what is free")

    @classmethod
    def open(cls, asked: Asked) -> LocalEngine:
        """As many workers as asked for; else `per_gpu` a GPU; else one a core."""
        check_device(asked.device)
        workers = asked.workers
        if workers is None and asked.options.per_gpu is not None:
            import torch

            workers = asked.options.per_gpu * (torch.cuda.device_count() if asked.device != "cpu" else 0)
        return cls(workers or os.cpu_count() or 1, asked.device, asked.options.memory_gb)

    def __init__(self, workers: int, device: str = "auto", memory_gb: float | None = None) -> None:
        self._count, self._device = workers, device
        self._limit = None if memory_gb is None else 1e9 * memory_gb
        self._plugins: tuple[Path, ...] = ()
        self._workers: list[_Worker | None] = []
        self._waiting: deque[Job] = deque()
        self._ended: deque[list[Ended]] = deque()
        self._notices: list[str] = []
        self._holding = False
        self._stopping = False
        self._changed = threading.Condition()

    @property
    def slots(self) -> int:
        """One a worker."""
        return self._count

    def start(self, plugins: Sequence[Path]) -> None:
        """Begin starting workers, unless they were; returns at once. Raises `StudyError` as `context` does."""
        if self._workers:
            return
        context()
        self._plugins, self._stopping = tuple(plugins), False
        for variable in THREAD_VARIABLES:  # read when a worker's libraries load
            os.environ[variable] = "1"
        self._ended.clear()
        for number in range(self._count):
            self._workers.append(self._new(number))

    def submit(self, job: Job) -> None:
        """Queue a job for the next free worker that it fits in memory beside the others."""
        assert self._workers, "start() first"
        with self._changed:
            self._waiting.append(job)
            self._dispatch()

    def collect(self, timeout: float) -> list[list[Ended]]:
        """Runs that ended; those of a worker that died come back as lost, and another takes its place."""
        with self._changed:
            self._replace()
            self._dispatch()
            if not self._ended:
                self._changed.wait(timeout)
            ended = list(self._ended)
            self._ended.clear()
        return ended

    def recorded(self, spec: RunSpec) -> None:
        """Remove the run's checkpoint, and what an attempt that was killed left of one."""
        forget_checkpoint(spec.run_id)

    def notices(self) -> list[str]:
        """Whether a job waits for memory."""
        with self._changed:
            said, self._notices = self._notices, []
        return said

    def stop(self) -> None:
        """Tell the workers to stop; kill those that are still there `GRACE` seconds later."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.tell()
        deadline = time.monotonic() + GRACE
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        for worker in workers:
            worker.process.kill()
            worker.process.join(5)
        self._workers = []
        self._ended.clear()

    def _new(self, number: int) -> _Worker:
        return _Worker(number, self._device, self._plugins)

    def _replace(self) -> None:
        for number, worker in enumerate(self._workers):
            if worker is None:
                self._workers[number] = self._new(number)

    def _dispatch(self) -> None:
        # called under the lock, by the driver's thread and by those that bring results
        while self._waiting and not self._stopping:
            idle = [worker for worker in self._workers if worker is not None and worker.job is None]
            if not idle:
                return
            job = self._waiting[0]
            worker = idle[0] if job.peak_bytes is None else max(idle, key=_Worker.held)
            if not self._fits(job, worker):
                return
            self._waiting.popleft()
            try:
                future = worker.begin(job)
            except BrokenProcessPool:
                self._gone(worker, job)
                continue
            future.add_done_callback(partial(self._back, worker))

    def _fits(self, job: Job, worker: _Worker) -> bool:
        more = 0.0 if job.peak_bytes is None else job.peak_bytes - worker.held()
        busy = [w for w in self._workers if w is not None and w.job is not None]
        if more > 0 and busy:
            free = free_memory()
            if self._limit is not None:
                rest = self._limit - sum(w.held() for w in self._workers if w is not None)
                free = rest if free is None else min(free, rest)
            if free is not None and more > free - sum(w.owed() for w in busy):
                if not self._holding:
                    need, left = gigabytes(job.peak_bytes or 0), gigabytes(max(0.0, free))
                    self._notices.append(
                        f"{job.specs[0].algorithm}: a run needs about {need} of memory and {left} is free; it waits"
                    )
                self._holding = True
                return False
        self._holding = False
        return True

    def _back(self, worker: _Worker, future: Future_) -> None:
        with self._changed:
            job = worker.job
            if job is None or (self._stopping and future.cancelled()):
                return
            try:
                outcomes, environment = future.result()
            except BrokenProcessPool:
                self._gone(worker, job)
            else:
                worker.job = None
                self._ended.append([Ended(s, o, environment) for s, o in zip(job.specs, outcomes, strict=True)])
                self._dispatch()
            self._changed.notify_all()

    def _gone(self, worker: _Worker, job: Job) -> None:
        worker.job = None
        self._ended.append(lost(job))
        with suppress(ValueError):  # it was replaced
            self._workers[self._workers.index(worker)] = None

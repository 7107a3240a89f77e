"""What a worker process does: carry out one run and say on what it ran."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from isoloss.blame import blamed
from isoloss.cache import cache_folder
from isoloss.errors import StudyError
from isoloss.execution.checkout import checkout
from isoloss.execution.engine import Job
from isoloss.execution.signals import heed, leave
from isoloss.machine import process_peak, processor, restart_process_peak
from isoloss.runs import Amount, Context, Outcome, Stop, Stopped
from isoloss.tasks.base import Task

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

PEAK = "process_peak_bytes"

#: How this process, once it is a worker, is told to end.
_stop = Stop()


def prepare(driver: int, plugins: Sequence[Path], device: str, number: int) -> None:
    """Set a fresh worker process up: one thread, told to stop by SIGTERM alone, gone when the driver is.

    `driver` is the driver's process id; of several GPUs, worker `number` takes its own by turns.
    """
    heed(_stop)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    threading.Thread(target=_leave_with, args=(driver,), daemon=True).start()
    use_one_thread()
    os.environ["ISOLOSS_DEVICE"] = by_turns(device, number)
    from isoloss.registry import load_plugin

    for path in plugins:
        load_plugin(path)


def check_device(device: str) -> None:
    """Raise `MissingError` for a device that was asked for by name and is not on this machine."""
    if device not in ("auto", "cpu"):
        from isoloss.training.placement import choose_device

        choose_device(device)


def by_turns(device: str, number: int) -> str:
    """The device of worker `number`: where ``auto`` or ``cuda`` leaves a choice among n GPUs, GPU `number` mod n."""
    if device not in ("auto", "cuda"):
        return device
    try:
        import torch
    except ModuleNotFoundError:
        return device
    seen = torch.cuda.device_count()
    return f"cuda:{number % seen}" if seen > 1 else device


def work(job: Job) -> tuple[list[Outcome], dict[str, Any]]:
    """`carry_out` in a worker of the local engine: one that was told to stop, and did, leaves."""
    try:
        return carry_out(job)
    except Stopped:
        leave()


@contextmanager
def told_by(*numbers: int) -> Iterator[list[int]]:
    """Within it, each signal of `numbers` tells the run in hand to stop; one that does not heed it is interrupted
    (raises `KeyboardInterrupt`). Gives the signals that came. For the main thread of a worker that others own."""
    told: list[int] = []

    def handle(number: int, frame: Any) -> None:
        told.append(number)
        _stop.told = True
        if not _stop.heeded:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.told = _stop.heeded = False


def _leave_with(driver: int) -> None:
    # where there is no death signal, and where the driver died before it was asked for
    while os.getppid() == driver:
        time.sleep(1)
    os._exit(1)


def use_one_thread() -> None:
    """Hold torch to one thread in this process: beside another busy process two threads are many times slower."""
    try:
        import torch

        torch.set_num_threads(1)
    except ModuleNotFoundError:
        pass  # an algorithm need not use torch; one that does says so itself


def carry_out(job: Job) -> tuple[list[Outcome], dict[str, Any]]:
    """Train the runs of `job`; an exception becomes a ``failed`` outcome with the line to blame as the error. Raises
    `Stopped` where the runs were told to stop, and did."""
    from isoloss.algorithms import algorithms
    from isoloss.registry import plugin_files
    from isoloss.tasks import tasks
    from isoloss.training.faults import is_out_of_memory, out_of_memory_line

    restart_process_peak()
    try:
        first = job.specs[0]
        task_class = tasks.get(first.task)
        task = _task(task_class, json.dumps(dict(first.task_options), sort_keys=True))
        contexts = [replace(context(), reference=curve) for curve in job.references]
        outcomes = algorithms.get(first.algorithm)().run_together(task, job.specs, contexts)
    except Exception as error:
        module = algorithms.get(first.algorithm).__module__
        said = out_of_memory_line(error) if is_out_of_memory(error) else blamed(error, plugin_files(), module)
        outcomes = [Outcome("failed", {}, {}, {}, error=said[:500])] * len(job.specs)
    return [_with_peak(outcome) for outcome in outcomes], environment()


def _with_peak(outcome: Outcome) -> Outcome:
    # what the training loop says itself is kept
    peak = process_peak()
    if peak is None or PEAK in outcome.resources or outcome.status == "failed":
        return outcome
    return replace(outcome, resources={**outcome.resources, PEAK: Amount(float(peak), "measured")})


@cache
def _task(task_class: type[Task], options: str) -> Task:
    # a task with the same options is loaded once a process
    return task_class(task_class.Options(**json.loads(options)))


def context() -> Context:
    """What a run on this machine is told: where the cache is, how often a checkpoint is due, on which device it trains,
    and when to stop.

    By ``ISOLOSS_CACHE``, ``ISOLOSS_CHECKPOINT_SECONDS`` and ``ISOLOSS_DEVICE`` (left out: a GPU where there is one).
    Raises `StudyError` for a time that is no number of seconds.
    """
    asked = os.environ.get("ISOLOSS_CHECKPOINT_SECONDS") or "60"
    try:
        seconds = float(asked)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise StudyError(
            "ISOLOSS_CHECKPOINT_SECONDS", f"'{asked[:40]}' is no number of seconds", "leave it unset for 60"
        )
    device = os.environ.get("ISOLOSS_DEVICE") or "auto"
    return Context(device=device, cache=cache_folder(), stop=_stop, checkpoint_seconds=seconds)


def forget_checkpoint(run_id: str) -> None:
    """Remove what a run left on this machine to go on from, and what an attempt that was killed left of it."""
    path = context().checkpoint(run_id)
    if path is None:
        return
    with suppress(OSError), os.scandir(path.parent) as files:
        for file in files:
            if file.name.startswith(f"{run_id}."):
                with suppress(OSError):
                    os.unlink(file)


def environment() -> dict[str, Any]:
    """Packages and machine that a run's arithmetic may depend on, and the rates that its utilisation is of.

    ``matmul_rates``: type of number / threads -> FLOP/s, of those that a run here asked for.
    """
    from isoloss.training.rate import known_rates

    return {**_surroundings(), "matmul_rates": known_rates()}


@cache
def _surroundings() -> dict[str, Any]:
    packages = {}
    for name in ("isoloss", "torch", "numpy", "scipy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "packages": packages,
        "git": {"isoloss": checkout(Path(__file__))},
    }

"""The processes that train together: those of a launcher (torchrun, Slurm's srun, Ray Train), or started here.

`together` runs a function on every device. Where a launcher's process group was joined (see `join`), that is each of
its processes; otherwise this process is device 0 and starts the others, one thread each, which stay for the next run
and end with this process, whatever ends it.
"""

from __future__ import annotations

import atexit
import datetime
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from isoloss.errors import StudyError
from isoloss.processes import alone
from isoloss.registry import load_plugin, plugin_files
from isoloss.runs import Context
from isoloss.training.distributed.group import Group

#: Seconds that a device waits for the others in one collective before it gives the run up: the first may be evaluating.
#: One that died is noticed at once.
PATIENCE = 1800
#: Seconds that a process may take to start: it loads torch, with others on the same cores.
START = 120
#: Launchers' variables for rank and number of processes, first found first: torchrun and Ray Train, then Slurm.
_VARIABLES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def launched() -> tuple[int, int] | None:
    """Rank and number of processes as a launcher's environment has them; None without one."""
    for rank, size in _VARIABLES:
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return None


def join() -> Group:
    """Join the launcher's process group: over NCCL where there are GPUs, gloo otherwise; one thread on a CPU.

    Raises `StudyError` outside of a launcher, or where it does not say at which address to meet.
    """
    place = launched()
    if place is None:
        remedy = "start this with torchrun, srun or Ray Train"
        raise StudyError("launcher", "neither RANK and WORLD_SIZE nor Slurm's variables are set", remedy)
    missing = [v for v in ("MASTER_ADDR", "MASTER_PORT") if v not in os.environ]
    if missing:
        remedy = "export the first node's name (scontrol show hostnames) and a free port"
        raise StudyError(missing[0], "is not set, so the processes can't find each other", remedy)
    if not dist.is_initialized():
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))
        else:
            torch.set_num_threads(1)
        timeout = datetime.timedelta(seconds=PATIENCE)
        rank, size = place
        dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=size, timeout=timeout)
    return Group()


def together(devices: int, context: Context, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(group, context, *arguments)`` on each of `devices` devices; what it returns on this one.

    A function that fails on any of them ends them all and raises `RuntimeError` with what was said there; `StudyError`
    where a launcher has started another number of processes.
    """
    own = _crew()
    if dist.is_initialized() and not own.members:
        if dist.get_world_size() != devices:
            what = f"{devices} are asked for, but the launcher started {dist.get_world_size()} processes"
            raise StudyError("devices", what, "start as many as the run has devices")
        return function(Group(), context, *arguments)
    return own.run(devices, context, function, arguments)


@cache
def _crew() -> Crew:
    # one a process, as torch.distributed's default group is
    return Crew()


class Crew:
    """The processes that this one has started, in a group with it."""

    def __init__(self) -> None:
        self.members: list[tuple[Any, Connection]] = []
        self.folder: Path | None = None

    def run(self, devices: int, context: Context, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """See `together`."""
        if len(self.members) + 1 != devices:
            self.end()
            self._start(devices)
        try:
            for _, line in self.members:
                line.send((plugin_files(), function, (_quiet(context), *arguments)))
            found = function(Group(), context, *arguments)
            said = [line.recv() for _, line in self.members]
        except BaseException as error:
            said = [_last_words(rank, line) for rank, (_, line) in enumerate(self.members, 1)]
            self.end()
            first = next((s for s in said if s), "")
            # a collective that failed here because another device is gone says less than that device
            if first and isinstance(error, (RuntimeError, OSError, EOFError)):
                raise RuntimeError(first) from error
            raise
        if any(said):
            self.end()
            raise RuntimeError(next(s for s in said if s))
        return found

    def _start(self, devices: int) -> None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        self.folder = Path(tempfile.mkdtemp(prefix="isoloss-"))
        context = multiprocessing.get_context("spawn")
        for rank in range(1, devices):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(rank, devices, self.folder / "meet", there), daemon=True)
            with alone():
                process.start()
            there.close()
            self.members.append((process, here))
        atexit.register(self.end)
        for rank, (_, line) in enumerate(self.members, 1):
            try:
                there_yet = line.poll(START) and line.recv()
            except (EOFError, OSError):
                there_yet = False
            if not there_yet:
                self.end()
                raise RuntimeError(f"device {rank} did not start: it died, or took longer than {START} s")
        _meet(0, devices, self.folder / "meet")

    def end(self) -> None:
        """End the processes that were started, and leave the group."""
        for process, line in self.members:
            line.close()
            process.kill()
        for process, _ in self.members:
            process.join(5)
        if self.members and dist.is_initialized():
            dist.destroy_process_group()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.members, self.folder = [], None
        atexit.unregister(self.end)


def _quiet(context: Context) -> Context:
    """What a device other than the first is told: all but whom to tell, and when to stop."""
    return Context(context.device, cache=context.cache, reference=context.reference)


def _last_words(rank: int, line: Connection) -> str:
    """What a device says of why it stopped; nothing where it waits for this one."""
    try:
        return str(line.recv()) if line.poll(2) else ""
    except (EOFError, OSError):
        return f"device {rank} died (killed, or out of memory)"


def _meet(rank: int, devices: int, file: Path) -> None:
    timeout = datetime.timedelta(seconds=PATIENCE)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=devices, timeout=timeout)


def _serve(rank: int, devices: int, file: Path, line: Connection) -> None:
    """What a started process does: what it is told, until the one that started it is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    line.send(True)
    _meet(rank, devices, file)
    while True:
        try:
            plugins, function, arguments = line.recv()
        except (EOFError, OSError):
            return
        try:
            for path in plugins:
                load_plugin(path)
            function(Group(), *arguments)
            line.send("")
        except Exception as error:
            line.send(f"on device {rank}: {type(error).__name__}: {error}")
            return


def _leave_with_parent() -> None:
    # even from the middle of a collective that will never end
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

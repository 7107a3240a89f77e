"""How fast this machine multiplies matrices: what a run's utilisation is measured against."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

BUDGET_SECONDS = 0.05
KEPT_SECONDS = 86_400.0
#: Sides of the square products tried: on a processor, and on a device, which needs larger ones to be busy.
SIDES = {"cpu": (512, 1024), "cuda": (4096, 8192)}

_rates: dict[str, float] = {}


def matmul_rate(dtype: str, threads: int, device: str = "cpu", cache: Path | None = None) -> float:
    """FLOP/s of the fastest of a few square products of `dtype` with `threads` threads, about 50 ms of trying.

    Measured once a process; with a folder `cache`, once a day for a machine, version of PyTorch, `dtype` and `threads`.
    Another busy process lowers it: it is the rate of the machine as the runs of that day find it.
    """
    kind = device.partition(":")[0]
    name = f"{dtype}/{kind}" if kind != "cpu" else dtype
    key = f"{name}/{threads}"
    if key not in _rates:
        path = None if cache is None else cache / "rates" / f"{_machine(key)}.json"
        found = _kept(path)
        if found is None:
            found = _measured(dtype, threads, device)
            _keep(path, found)
        _rates[key] = found
    return _rates[key]


def known_rates() -> dict[str, float]:
    """What this process has measured or read so far: ``dtype/threads`` -> FLOP/s."""
    return dict(sorted(_rates.items()))


def _measured(dtype: str, threads: int, device: str) -> float:
    import torch

    kind = getattr(torch, dtype)
    cuda = device.startswith("cuda")
    wait = torch.cuda.synchronize if cuda else _nothing
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    best, began = 0.0, time.perf_counter()
    try:
        for side in SIDES["cuda" if cuda else "cpu"]:
            # filled, not drawn: a run's random numbers stay as they are
            a = torch.full((side, side), 0.5, dtype=kind, device=device)
            torch.mm(a, a)  # first calls choose a kernel
            wait()
            for _ in range(5):
                start = time.perf_counter()
                torch.mm(a, a)
                wait()
                best = max(best, 2 * side**3 / (time.perf_counter() - start))
                if time.perf_counter() - began > BUDGET_SECONDS:
                    return best
    finally:
        torch.set_num_threads(before)
    return best


def _nothing() -> None:
    """A processor is done when a call returns."""


@functools.cache
def _machine(key: str) -> str:
    import torch

    about: list[Any] = [key, platform.node(), platform.processor(), platform.machine(), torch.__version__]
    about += [torch.backends.cpu.get_cpu_capability(), os.cpu_count()]
    if "cuda" in key:
        about.append(torch.cuda.get_device_name())
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _kept(path: Path | None) -> float | None:
    if path is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(path.read_text())
        if 0 <= time.time() - held["measured"] < KEPT_SECONDS and held["rate"] > 0:
            return float(held["rate"])
    return None


def _keep(path: Path | None, rate: float) -> None:
    if path is None:
        return
    with suppress(OSError):  # a cache: without it the next process measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"rate": rate, "measured": time.time()}))
        os.replace(part, path)

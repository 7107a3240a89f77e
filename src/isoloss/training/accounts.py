"""The resource vector of a run trained by gradient: what was counted, and what belongs to the machine."""

from __future__ import annotations

from pathlib import Path

import torch

from isoloss.machine import process_peak, restart_process_peak
from isoloss.runs import Amount
from isoloss.training.energy import EnergyMeter, modelled_joules
from isoloss.training.flops import PeriodicMeter, Work
from isoloss.training.rate import matmul_rate


def counted(meter: PeriodicMeter, steps: int, examples: float, parameters: int) -> dict[str, Amount]:
    """What `steps` steps on `examples` took by the meter, and beside it what 6ND says; nothing here depends on the
    machine. ``modelled_joules`` is left out where a type of number has no price."""
    work = meter.work(steps)
    joules = modelled_joules(work.flops, work.moved)
    return {
        "train_flops": Amount(float(work.total), "counted"),
        "six_nd_flops": Amount(6.0 * parameters * examples, "analytic"),
        "peak_memory_bytes": Amount(float(meter.peak_bytes), "counted"),
        "activation_bytes": Amount(float(meter.peak_bytes - meter.held_bytes), "counted"),
        "bytes_moved": Amount(float(work.moved), "counted"),
        **({} if joules is None else {"modelled_joules": Amount(joules, "modelled")}),
    }


class MachineMeter:
    """What a run takes of its machine, from when this is made: energy, memory, and how well it is used.

    `device` is where the parameters live. `look` is for a long run to call now and then.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = str(device)
        self.energy = EnergyMeter(self.device)
        self.look = self.energy.look
        restart_process_peak()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def facts(
        self, spent: Work, compute_seconds: float, threads: int, cache: Path | None, *, whole: bool = True
    ) -> dict[str, Amount]:
        r"""``joules`` of the whole package or GPU where readable, ``process_peak_bytes``, and ``utilisation``
        :math:`= F / (t R)`: FLOPs computed since then (`spent`) over seconds of computing and over the rate of the
        machine's own matrix product with as many `threads`, in the type of number that most FLOPs are in. Energy is
        left out where the run was not trained as a `whole` since then. On a GPU ``peak_memory_bytes`` is what its
        allocator measured."""
        found = {}
        joules = self.energy.joules()
        if joules and whole:
            found["joules"] = Amount(joules, "measured")
        peak = process_peak()
        if peak:
            found["process_peak_bytes"] = Amount(float(peak), "measured")
        if self.device.startswith("cuda"):
            found["peak_memory_bytes"] = Amount(float(torch.cuda.max_memory_allocated(self.device)), "measured")
        floats = {name: n for name, n in spent.flops.items() if name.startswith(("float", "bfloat"))}
        if floats and spent.total and compute_seconds > 0:
            rate = matmul_rate(max(floats, key=floats.__getitem__), threads, self.device, cache)
            found["utilisation"] = Amount(spent.total / compute_seconds / rate, "measured")
        return found

"""Energy of a run: measured where the machine says it, modelled from operators and memory everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoloss.evidence.claims import constants

POWERCAP = Path("/sys/class/powercap")
#: Counters of energy wrap around after an hour or less under load: a longer gap between two looks proves nothing.
LONGEST_GAP = 600.0
#: Types of numbers by the entry of `evidence/constants.toml` that prices an operation on them.
_PRICED_AS = {
    "float32": "float32", "complex64": "float32", "float16": "float16", "bfloat16": "float16",
    "int8": "int8", "uint8": "int8", "bool": "int8", "int16": "int32", "int32": "int32", "int64": "int32",
}  # fmt: skip


def modelled_joules(flops: Mapping[str, int], moved: float) -> float | None:
    r"""Energy by an explicit model of operators and memory, in joules.

    .. math:: E = \sum_t F_t\, e_t + B\, e_{DRAM}

    with :math:`F_t` FLOPs on numbers of type t (`flops`, by PyTorch's name of it), :math:`e_t` the mean of an addition
    and a multiplication, :math:`B` the bytes that operators read and write (`moved`), each taken to come from and go to
    DRAM at its lower price. Constants for 45 nm (Horowitz 2014), ``[energy]`` of `evidence/constants.toml`. It has no
    instructions, caches, leakage or idle parts in it: good for ratios of two algorithms, not for a bill. None where a
    type has no price there (float64).

    >>> modelled_joules({"float32": 10**12}, 0.0)
    2.3
    """
    if any(kind not in _PRICED_AS for kind in flops):
        return None
    each = {name: (_picojoules(f"{name}_add") + _picojoules(f"{name}_multiply")) / 2 for name in _PRICED_AS.values()}
    operators = sum(n * each[_PRICED_AS[kind]] for kind, n in flops.items())
    return 1e-12 * (operators + moved * _picojoules("dram_64_bits") / 8)


def _picojoules(entry: str) -> float:
    return constants()[f"energy.{entry}"].value


class EnergyMeter:
    """Energy of what trains since this was made: all processor packages whole (RAPL), or the whole GPU (NVML).

    Whatever else runs there is in it. `look` is to be called now and then, at least every ten minutes, since counters
    wrap around.
    """

    def __init__(self, device: str = "cpu", powercap: Path = POWERCAP) -> None:
        self._counters = _gpu(device) if device.startswith("cuda") else _packages(powercap)
        self._last = [counter.read() for counter in self._counters]
        self._joules: float | None = 0.0 if self._counters else None
        self._looked = time.monotonic()

    def look(self) -> None:
        """Add what the counters went on by since the last look."""
        if self._joules is None:
            return
        now = time.monotonic()
        found = [counter.read() for counter in self._counters]
        for counter, last, here in zip(self._counters, self._last, found, strict=True):
            if last is None or here is None or now - self._looked > LONGEST_GAP:
                self._joules = None
                return
            self._joules += (here - last if here >= last else here - last + counter.wraps_at) * counter.joules
        self._last, self._looked = found, now

    def joules(self) -> float | None:
        """Energy up to now; None where it can't be read (no counter, no permission, or not looked at for too long)."""
        self.look()
        return self._joules


class _Package:
    """A processor package's counter, in microjoules."""

    joules = 1e-6

    def __init__(self, folder: Path) -> None:
        self.path = folder / "energy_uj"
        self.wraps_at = int((folder / "max_energy_range_uj").read_text()) + 1

    def read(self) -> int | None:
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            return None


def _packages(powercap: Path) -> list[Any]:
    found: list[Any] = []
    # intel-rapl:0, :1 are packages (AMD's too); deeper names are parts of them
    for folder in sorted(powercap.glob("intel-rapl:*")):
        with suppress(OSError, ValueError):
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                package = _Package(folder)
                if package.read() is not None:
                    found.append(package)
    return found


class _Board:
    """A GPU's counter, in millijoules since its driver was loaded."""

    joules, wraps_at = 1e-3, 0

    def __init__(self, library: Any, index: int) -> None:
        self.library, self.handle = library, library.nvmlDeviceGetHandleByIndex(index)

    def read(self) -> int | None:
        try:
            return int(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except self.library.NVMLError:
            return None


def _gpu(device: str) -> list[Any]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        board = _Board(pynvml, int(device.partition(":")[2] or 0))
    except (pynvml.NVMLError, ValueError):
        return []
    return [board] if board.read() is not None else []

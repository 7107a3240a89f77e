"""What this machine is."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def processor() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def restart_process_peak() -> None:
    """Let the process's measured peak begin anew (Linux; elsewhere it goes on from the start of the process)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def process_peak() -> int | None:
    """Most resident memory of this process in bytes, interpreter and libraries included; None where nobody says.

    On Linux the kernel's mark of this process's own memory: `getrusage` begins with that of whoever started it.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used

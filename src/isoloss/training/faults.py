"""Faults of a run's surroundings, told from faults of its code."""

from __future__ import annotations

import re

_SIGNS = ("out of memory", "can't allocate memory", "unable to allocate", "bad_alloc", "cannot allocate memory")
_UNITS = {"": 1, "b": 1, "bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_ASKED = re.compile(r"(?:tried to allocate|unable to allocate|more than)\s+([\d.]+)\s*([kmgt]ib|bytes|b)?\b", re.I)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the processor or an accelerator.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(sign in str(error).lower() for sign in _SIGNS)


def out_of_memory_line(error: BaseException) -> str:
    """One line for `error`: how much was asked for, where it says so, and what to do.

    >>> out_of_memory_line(RuntimeError("can't allocate memory: you tried to allocate 4000000000 bytes."))
    'out of memory: 3.7 GiB more were asked for; use fewer --workers, a smaller batch, or a lower top rung'
    """
    found = _ASKED.search(str(error))
    amount = float(found[1].rstrip(".")) * _UNITS[(found[2] or "").lower()] if found else 0.0
    asked = f"{amount / 2**30:.1f} GiB more were asked for" if amount else "none was left"
    return f"out of memory: {asked}; use fewer --workers, a smaller batch, or a lower top rung"

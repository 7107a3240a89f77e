"""Processes that are started fresh and need nothing of the script that asked for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

MAIN = "__main__"


@contextmanager
def alone() -> Iterator[None]:
    """Processes that `multiprocessing` spawns in here do not import the main module again.

    A script that calls `isoloss.run` without ``if __name__ == "__main__"`` would begin anew in each of them, and none
    would ever get to work.
    """
    main = sys.modules[MAIN]
    sys.modules[MAIN] = ModuleType(MAIN)
    try:
        yield
    finally:
        sys.modules[MAIN] = main

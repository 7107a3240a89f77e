"""Processes that are started fresh and need nothing of the script that asked for them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any

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


def pool_of_one(initializer: Callable[..., Any], *arguments: Any) -> ProcessPoolExecutor:
    """One process, started fresh (spawn) and at once, that begins with ``initializer(*arguments)``."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer, arguments)
    with alone():
        pool.submit(os.getpid)  # the pool starts a process only when there is something to do
    return pool

"""Signals. The driver told to stop (Ctrl-C or SIGTERM) ends its workers and gives its claims back; told again, it goes
at once. A worker told to stop (SIGTERM) lets the run in hand leave a checkpoint, then goes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from isoloss.runs import Stop


class Terminated(KeyboardInterrupt):
    """SIGTERM, as Ctrl-C's exception: whatever cleans up after the one cleans up after the other."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it, the first SIGINT or SIGTERM raises `KeyboardInterrupt` or `Terminated`; a second one ends the process
    on the spot, and its workers with it. For a main thread."""

    def handle(number: int, frame: Any) -> None:
        # the system's own way to end: a second signal may reach another thread, and this one would not look up from
        # what it waits for
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heed(stop: Stop) -> None:
    """Make this worker process deaf to Ctrl-C, which is for the driver, and end it on SIGTERM: at once, unless a run
    heeds `stop` and will end by itself after its step."""

    def handle(number: int, frame: Any) -> None:
        stop.told = True
        if not stop.heeded:
            leave()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, handle)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back afterwards, for a library that sets its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def leave() -> NoReturn:
    """End this worker process."""
    os._exit(128 + signal.SIGTERM)

"""Sending runs to trackers while a study goes on: a thread a sink, whose fault is said once and harms nothing else."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from isoloss.errors import IsolossError
from isoloss.sinks.base import Record, Sink

#: Seconds without a run taken after which closing gives a sink up.
PATIENCE = 120.0
#: Seconds between looks at what a sink has taken.
LOOK = 0.2
#: Runs read from the ledger at a time.
BATCH = 64

Read = Callable[[Sequence[str]], Iterable[Record]]


@dataclass
class Stream:
    """Sends runs of one study to one sink, from a thread of its own.

    `read` gives the records of run ids; `said` is told of a fault, once. Counts: `given` to it, `written` by the sink,
    `held` by it before; `error` is the fault, empty while there is none.
    """

    sink: Sink
    study: str
    read: Read
    said: Callable[[str], None]
    given: int = 0
    written: int = 0
    held: int = 0
    error: str = ""
    _ids: queue.Queue[str | None] = field(default_factory=queue.Queue)
    _known: set[str] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self._work, name=f"to-{self.sink.name}", daemon=True).start()

    def put(self, run_id: str) -> None:
        """Send a run, unless it was put before."""
        if run_id not in self._known:
            self._known.add(run_id)
            self.given += 1
            self._ids.put(run_id)

    @property
    def left(self) -> int:
        """Runs that the sink has not taken."""
        return self.given - self.written - self.held

    def close(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Wait until all is sent, or the sink has taken nothing for `PATIENCE` seconds; `progress(done, all)`."""
        self._ids.put(None)
        before, since = -1, time.monotonic()
        while not self._ended.wait(LOOK):
            if progress is not None:
                progress(self.given - self.left, self.given)
            if self.left != before:
                before, since = self.left, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                self._fault(f"took no run for {PATIENCE:.0f} s")
                return

    def _work(self) -> None:
        try:
            self.sink.open(self.study)
            last = False
            while not last:
                ids, last = self._next()
                for record in self.read(ids):
                    if self.sink.run(record):
                        self.written += 1
                    else:
                        self.held += 1
            self.sink.close()
        except (Exception, SystemExit) as error:
            self._fault(_line(error))
        finally:
            self._ended.set()

    def _next(self) -> tuple[list[str], bool]:
        """What waits, at least one run id unless it was the end; whether it was."""
        found = [self._ids.get()]
        while found[-1] is not None and len(found) < BATCH and not self._ids.empty():
            found.append(self._ids.get())
        return [i for i in found if i is not None], found[-1] is None

    def _fault(self, line: str) -> None:
        if not self.error:
            self.error = line
            self.said(f"{self.sink.name}: {line}; the study goes on, `isoloss send` sends what is missing")


class Streaming:
    """An observer of the driver that puts each run that ended into `streams`, and passes all on to `observer`."""

    def __init__(self, observer: Any, streams: Sequence[Stream]) -> None:
        self._observer, self._streams = observer, streams

    def __getattr__(self, name: str) -> Any:
        return getattr(self._observer, name)

    def ended(self, ended: Any, price: float) -> None:
        """A run came back, and is in the ledger."""
        for stream in self._streams:
            stream.put(ended.spec.run_id)
        self._observer.ended(ended, price)


def _line(error: BaseException) -> str:
    """A fault in one line, without the user and password of a URL in it."""
    text = str(error) if isinstance(error, IsolossError) else f"{type(error).__name__}: {error}"
    return re.sub(r"//[^/@\s]*@", "//", " ".join(text.split()))[:300]

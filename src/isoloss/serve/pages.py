"""Which pages are made, when: those that somebody asked for, again once what they show has changed."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from isoloss.serve.build import Built, Source, build_atlas, build_origin, build_report
from isoloss.serve.snapshot import Snapshot

#: Seconds after a page was last asked for during which it is kept up to date.
WANTED = 600.0
#: A page rests for so many times the seconds that making it took before it is made again.
PATIENCE = 1.0
ATLAS, ORIGIN = "atlas", "origin"


@dataclass
class Page:
    """One page: what it was made of, when it was asked for, and how long making it took."""

    built: Built | None = None
    version: str = ""
    asked: float = -WANTED
    finished: float = -1e9
    seconds: float = 0.0


@dataclass
class Pages:
    """The pages of a ledger by key: a study's id, ``atlas`` or ``origin``. One is made at a time, in `worker`."""

    source: Source
    start: Callable[[], Executor]
    clock: Callable[[], float] = time.monotonic
    _pages: dict[str, Page] = field(default_factory=dict)
    _worker: Executor | None = None

    def ask(self, key: str) -> Page:
        """A page as it is now; asking is what keeps it up to date."""
        page = self._pages.setdefault(key, Page())
        page.asked = self.clock()
        return page

    def versions(self) -> dict[str, str]:
        """key -> version of what was made of it."""
        return {key: page.version for key, page in self._pages.items() if page.built is not None}

    async def work(self, now: Callable[[], Snapshot]) -> None:
        """Make what is due, for ever."""
        try:
            while True:
                due = self._due(now())
                if due is None:
                    await asyncio.sleep(0.2)
                else:
                    await self._make(*due)
        finally:
            self.close()

    def close(self) -> None:
        """End the worker, whatever it is at."""
        if self._worker is not None:
            for process in multiprocessing.active_children():
                process.terminate()
            self._worker.shutdown(wait=True, cancel_futures=True)
            self._worker = None

    def _due(self, seen: Snapshot) -> tuple[str, str, tuple[Any, ...]] | None:
        """The page that was wanted most lately and is out of date: its key, its new version, and how to make it."""
        moment = self.clock()
        wanted = sorted(
            (k for k, p in self._pages.items() if moment - p.asked < WANTED), key=lambda k: -self._pages[k].asked
        )
        if ATLAS in wanted:  # the atlas shows every study, so every study's card is wanted
            wanted += [s for s in seen.studies if s not in wanted]
        for key in wanted:
            version = self._version(key, seen)
            page = self._pages.setdefault(key, Page())
            rested = moment - page.finished >= PATIENCE * page.seconds
            if version is not None and version != page.version and rested:
                return key, version, self._job(key, seen)
        return None

    def _version(self, key: str, seen: Snapshot) -> str | None:
        if key == ORIGIN:
            return "1"
        if key == ATLAS:
            cards = sorted(
                (s, p.version) for s, p in self._pages.items() if s in seen.studies and p.built and p.built.card
            )
            return repr(cards)
        return seen.studies[key].version if key in seen.studies else None

    def _job(self, key: str, seen: Snapshot) -> tuple[Any, ...]:
        if key == ORIGIN:
            return build_origin, self.source
        if key == ATLAS:
            held = {s: p.built.card for s, p in self._pages.items() if s in seen.studies and p.built and p.built.card}
            return build_atlas, self.source, held
        return build_report, self.source, seen.studies[key]

    async def _make(self, key: str, version: str, job: tuple[Any, ...]) -> None:
        self._worker = self._worker or self.start()
        began = self.clock()
        try:
            future: Future[Built] = self._worker.submit(*job)
            built = await asyncio.wrap_future(future)
        except BrokenProcessPool:  # killed, perhaps for memory: the next page gets a new worker
            self.close()
            built = Built(None, "", "the process that makes pages was ended; it is tried again")
        page = self._pages[key]
        page.built, page.version = built, version
        page.finished, page.seconds = self.clock(), self.clock() - began

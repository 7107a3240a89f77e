"""Runs targets on all cores: each input drawn from (seed, target, number), a limit of seconds and of memory for each.

An input may return, or raise `IsolossError` in one printable line. Anything else is a fault and is kept for replay:
another exception, a warning, a hang, a worker that dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from isoloss.errors import IsolossError

SECONDS = 5.0
MEMORY = 3 << 30
_BATCH = 200
_LONGEST_LINE = 1000


class Hang(BaseException):
    """An input that took longer than its limit."""


@dataclass(frozen=True)
class Fault:
    """What went wrong with input `number` of `target`."""

    target: str
    number: int
    said: str
    trace: str


@dataclass
class Tally:
    """What became of a target's inputs, and the seconds that they took of one core."""

    returned: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.returned + self.refused + len(self.faults)


def fuzz(
    inputs: int, seed: int, names: Sequence[str], workers: int, seconds: float = SECONDS, told: Any = lambda done: None
) -> dict[str, Tally]:
    """Tally of each target in `names` over `inputs` inputs in all, by the targets' shares; `told` gets the count."""
    from fuzz.targets import TARGETS

    whole = sum(TARGETS[n].share for n in names)
    tallies = {n: Tally() for n in names}
    batches = list(_interleaved({n: max(1, round(inputs * TARGETS[n].share / whole)) for n in names}))
    batches.reverse()
    pool = [_Worker(seed, seconds) for _ in range(workers)]
    try:
        while batches or any(w.busy for w in pool):
            for at, worker in enumerate(pool):
                if not worker.busy and batches:
                    worker.give(batches.pop())
                for name, kind, spent, what in worker.heard():
                    tally = tallies[name]
                    tally.returned += kind == "returned"
                    tally.refused += kind == "refused"
                    tally.seconds += spent
                    if what is not None:
                        tally.faults.append(what)
                fault = worker.look()
                if fault is not None:  # the worker is gone: another one goes on behind the input that killed it
                    tallies[fault.target].faults.append(fault)
                    rest = worker.rest()
                    worker.end()
                    pool[at] = _Worker(seed, seconds)
                    if rest[1] < rest[2]:
                        batches.append(rest)
            told(sum(t.inputs for t in tallies.values()))
            time.sleep(0.02)
    except KeyboardInterrupt:  # what is done so far counts
        pass
    finally:
        for worker in pool:
            worker.end()
    return tallies


def _interleaved(counts: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """Batches (target, from, to) of all targets side by side, so that an early stop leaves the shares as they were."""
    done = dict.fromkeys(counts, 0)
    while any(done[n] < counts[n] for n in counts):
        name = min(counts, key=lambda n: done[n] / counts[n])
        to = min(done[name] + _BATCH, counts[name])
        yield name, done[name], to
        done[name] = to


class _Worker:
    """One process that works through batches, and where it is."""

    def __init__(self, seed: int, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._seconds = seconds
        self._pipe, there = context.Pipe()
        self._at = context.Array("d", 2, lock=False)  # number of the input, when it began
        self._process = context.Process(target=_work, args=(there, self._at, seed, seconds), daemon=True)
        self._process.start()
        there.close()
        self._batch: tuple[str, int, int] | None = None
        self._gone = False

    @property
    def busy(self) -> bool:
        return self._batch is not None

    def give(self, batch: tuple[str, int, int]) -> None:
        self._batch = batch
        self._at[0], self._at[1] = batch[1], 0.0
        self._pipe.send(batch)

    def heard(self) -> Iterator[tuple[str, str, float, Fault | None]]:
        try:
            while not self._gone and self._pipe.poll():
                said = self._pipe.recv()
                if said is None:
                    self._batch = None
                else:
                    yield from said
        except (EOFError, OSError):
            self._gone = True

    def look(self) -> Fault | None:
        """A fault where the process died, or hangs in code that no signal interrupts."""
        if self._batch is None:
            return None
        number, began = int(self._at[0]), self._at[1]
        if self._gone:
            self._process.join()
            if not began:
                raise RuntimeError("a worker can't start: its error is above")
            said = f"the process died ({self._process.exitcode})"
        elif began and time.monotonic() - began > 3 * self._seconds + 2:
            said = f"hangs beyond {self._seconds:g} s and can't be interrupted"
        else:
            return None
        return Fault(self._batch[0], number, said, "")

    def rest(self) -> tuple[str, int, int]:
        assert self._batch is not None
        return self._batch[0], int(self._at[0]) + 1, self._batch[2]

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _work(pipe: Any, at: Any, seed: int, seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    from fuzz.targets import TARGETS, load_readers

    with (
        tempfile.TemporaryDirectory(dir=_memory_disk()) as scratch,
        contextlib.chdir(scratch),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        load_readers(Path(scratch))
        while True:
            try:
                name, first, last = pipe.recv()
            except EOFError:
                return
            said = []
            for number in range(first, last):
                at[0], at[1] = number, time.monotonic()
                began = time.perf_counter()
                kind, fault = attempt(TARGETS[name], seed, number, Path(scratch), seconds)
                said.append((name, kind, time.perf_counter() - began, fault))
                if len(said) >= 50:
                    pipe.send(said)
                    said = []
            pipe.send(said)
            pipe.send(None)


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def attempt(target: Any, seed: int, number: int, scratch: Path, seconds: float) -> tuple[str, Fault | None]:
    """Make the input in an empty folder of `scratch` and read it: ``returned``, ``refused`` or ``fault``, and it."""
    folder = scratch / "in"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        given = target.make(Random(f"{seed}:{target.name}:{number}"), folder)
    except Exception as error:
        return "fault", Fault(target.name, number, f"could not be made: {error!r}", traceback.format_exc())
    signal.signal(signal.SIGALRM, _hangs)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        target.read(given)
        return "returned", None
    except IsolossError as error:
        line = str(error)
        wrong = _unfit(line)
        return ("refused", None) if not wrong else ("fault", Fault(target.name, number, f"{wrong}: {line[:200]!r}", ""))
    except Hang:
        said = f"hangs: more than {seconds:g} s"
        return "fault", Fault(target.name, number, said, traceback.format_exc())
    except BaseException as error:
        said = f"{type(error).__name__}: {str(error)[:200]}"
        return "fault", Fault(target.name, number, said, traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _unfit(line: str) -> str:
    """What makes a message unfit for a terminal's one line; empty where nothing does."""
    if not line.isprintable():
        return "the message holds control characters"
    return f"the message has {len(line)} characters" if len(line) > _LONGEST_LINE else ""


def _hangs(*_: Any) -> None:
    raise Hang

"""Keeping a run, so that it goes on where it was when its process ended: killed, told to stop, or with its machine.

A run that trains for longer than a minute leaves a checkpoint (see `isoloss.training.checkpoint`) every minute: copied
in memory between two steps, written by a thread, the older one replaced when the new one is whole. It is removed by
whoever records the run. The time that checkpoints take is held under half a percent: where copying and writing one
take longer than that share of a minute, they come less often.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from isoloss.runs import Context, RunSpec, Stopped
from isoloss.training import checkpoint
from isoloss.training.faults import is_out_of_memory
from isoloss.training.trunk import Trunk

if TYPE_CHECKING:
    from isoloss.training.flops import PeriodicMeter
    from isoloss.training.gradient import Trainee

#: Of the time between two checkpoints, at most this share goes to copying and writing one.
SHARE = 0.005
#: Losses are held one by one up to so many, then joined: a tensor each would be half a gigabyte in a million steps.
_JOINED = 1024


class Keeper:
    """What one run goes on from, and leaves behind. `notes`: what could not be read or written, a line each;
    `seconds`: what earlier attempts at the run took; `borrowed`: how many of its steps another run of its trunk did."""

    def __init__(self, trainee: Trainee, spec: RunSpec, context: Context) -> None:
        self.notes: list[str] = []
        self.seconds, self.borrowed = 0.0, 0
        self._trainee, self._context = trainee, context
        self._path = context.checkpoint(spec.run_id)
        if self._path is not None and not checkpoint.keepable(trainee.optimizer):
            self._path = None
        self._trunk: Trunk | None = None
        if self._path is not None:
            self._key = checkpoint.key_of(spec.to_dict(), trainee.model)
            if trainee.stem is not None and context.cache is not None:
                key = checkpoint.key_of(spec.trunk() or {}, trainee.model)
                self._trunk = Trunk(trainee.stem, key, context.cache)
        self._losses: list[torch.Tensor] = []
        self._recent: list[torch.Tensor] = []
        self._writer = checkpoint.Writer()
        self._began = self._last = time.monotonic()
        self._copying = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._context.stop.heeded = False
        self._writer.wait()
        if self._trunk is not None:
            self._trunk.release()

    def resume(self, meter: PeriodicMeter) -> torch.Tensor:
        """Put model, optimiser, generators and `meter` where the newest usable checkpoint left them; the losses of the
        steps up to there, none where training starts at the first."""
        self._context.stop.heeded = True
        held = None if self._path is None else self._read()
        if held is not None:
            self.seconds, self.borrowed = held["own"]["seconds"], held["own"]["borrowed"]
        if self._trunk is not None:
            model, done = self._trainee.model, 0 if held is None else held["step"]
            further = self._trunk.newest(done, model, self.notes, self._check)
            if further is not None:
                held, self.borrowed = further, further["step"]
        if held is not None:
            self._losses = [checkpoint.restore(self._trainee, held, meter)]
        self._began = self._last = time.monotonic()
        return self._losses[0] if held is not None else torch.empty(0)

    def passed(self, step: int, loss: torch.Tensor, meter: PeriodicMeter) -> None:
        """Told after every step that was trained. Raises `Stopped` where the run was told to end."""
        if self._path is not None:
            self._recent.append(loss)
            if len(self._recent) == _JOINED:
                self._join()
            if self._trunk is not None:
                self._trunk.passed(step, lambda key: self._snapshot(meter, key), self._writer)
            if self._due() and not self._writer.busy:
                self._keep(meter)
        if self._context.stop.told:
            self._leave(meter)

    def trained(self, meter: PeriodicMeter) -> None:
        """Told after the last step: what took long to train need not be trained again where its evaluation is cut off
        or its result can't be recorded."""
        if self.seconds + time.monotonic() - self._began >= self._context.checkpoint_seconds:
            self._keep(meter)
        self._context.stop.heeded = False
        if self._context.stop.told:
            self._leave(meter)

    def ended(self) -> None:
        """Told after evaluation: all is written, `notes` is complete."""
        self._writer.wait()
        self._note_fault()

    def _due(self) -> bool:
        period = self._context.checkpoint_seconds
        if period:  # 0 is for tests: as often as can be
            period = max(period, (self._copying + self._writer.seconds) / SHARE)
        return time.monotonic() - self._last >= period

    def _keep(self, meter: PeriodicMeter) -> None:
        if self._path is None:
            return
        self._last = time.monotonic()
        held = self._snapshot(meter, self._key)
        if held is not None:
            self._note_fault()
            self._writer.put(self._path, held)

    def _leave(self, meter: PeriodicMeter) -> None:
        self._keep(meter)
        self._writer.wait()
        raise Stopped

    def _check(self) -> None:
        if self._context.stop.told:
            raise Stopped

    def _snapshot(self, meter: PeriodicMeter, key: str) -> dict[str, Any] | None:
        if not meter.ready:
            return None
        began = time.monotonic()
        self._join()
        own = {"seconds": self.seconds + began - self._began, "borrowed": self.borrowed}
        try:
            held = checkpoint.snapshot(self._trainee, key, self._losses, meter, own)
        except (TypeError, MemoryError, RuntimeError) as error:
            if not isinstance(error, TypeError) and not is_out_of_memory(error):
                raise
            self._note("no checkpoint", "no memory for a copy" if is_out_of_memory(error) else str(error))
            return None
        self._copying = time.monotonic() - began
        return held

    def _join(self) -> None:
        if self._recent:
            self._losses.append(torch.stack(self._recent))
            self._recent = []

    def _read(self) -> dict[str, Any] | None:
        assert self._path is not None
        try:
            return checkpoint.read(self._path, self._key, self._trainee.model)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            self._note(str(self._path), f"the checkpoint {said}; training started anew")
            return None

    def _note_fault(self) -> None:
        error = self._writer.fault()
        if error is not None:
            self._note("no checkpoint", f"{error.strerror or error} in {self._context.cache}; training went on")

    def _note(self, where: str, what: str) -> None:
        note = f"{where}: {what}"
        if note not in self.notes:
            self.notes.append(note)

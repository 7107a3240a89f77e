"""Counting what training costs by watching every operator that runs: FLOPs, bytes moved, bytes of live tensors.

What an operator costs stands in `isoloss.training.formulas` and `isoloss.training.memory`. Steps of one run have one
shape, so the first few are watched and stand for the rest; nothing is watched after them.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from isoloss.training.formulas import flops_of, pointwise
from isoloss.training.memory import LiveTensors, bytes_moved, tensors

#: Operators that were named in a warning: once a process.
_named: set[str] = set()


class FlopCounter(TorchDispatchMode):
    """Context manager; after it, `total` is the FLOPs of everything that ran inside and `by_operator` the parts.

    An operator that `formulas` has no rule for counts as pointwise, stands in `unknown`, and is named in a warning once
    a process. A tensor of a class of its own (one that is spread over devices) is counted by what it runs here.

    >>> with FlopCounter() as counter:
    ...     _ = torch.ones(4, 8) @ torch.ones(8, 2)
    >>> counter.total
    128
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_operator: Counter[str] = Counter()
        self.by_dtype: Counter[str] = Counter()
        self.unknown: set[str] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would wrap the counter for its compiler, which takes a second to import and is not used here
        return False

    @property
    def total(self) -> int:
        """FLOPs counted so far."""
        return sum(self.by_operator.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and add what it costs."""
        if any(kind not in (torch.Tensor, torch.nn.Parameter) for kind in types):
            return NotImplemented
        options = kwargs or {}
        out = func(*args, **options)
        flops = flops_of(func, args, options, out)
        name = str(getattr(func, "_overloadpacket", func))
        if flops is None:
            flops = pointwise(args, out)
            self.unknown.add(name)
            if name not in _named:
                _named.add(name)
                warnings.warn(f"{name} has no FLOP formula: counted as pointwise", RuntimeWarning, stacklevel=2)
        if flops:
            self.by_operator[name] += int(flops)
            made = next(tensors((out, args)), None)
            if made is not None:
                self.by_dtype[str(made.dtype).removeprefix("torch.")] += int(flops)
        return out


@dataclass(frozen=True)
class Work:
    """What one step, or several, took: FLOPs by the type of number that came out, and bytes moved."""

    flops: Mapping[str, int]
    moved: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(dict(Counter(self.flops) + Counter(other.flops)), self.moved + other.moved)

    def __sub__(self, other: Work) -> Work:
        return Work(dict(Counter(self.flops) - Counter(other.flops)), self.moved - other.moved)

    def __mul__(self, times: int) -> Work:
        return Work({name: times * n for name, n in self.flops.items()}, times * self.moved)

    @property
    def total(self) -> int:
        """FLOPs of every type."""
        return sum(self.flops.values())


class PeriodicMeter:
    """What a run takes whose work repeats every `period` steps after the first, from its first 1 + `period` steps.

    The first step is apart since it may set things up (SOAP's first eigenbasis). Exact where the work does repeat.
    `peak_bytes`: most bytes of live tensors at a time in those steps (see `isoloss.training.memory.LiveTensors`);
    `held_bytes`: what is left of them between steps, parameters and optimiser state; `seconds`: how long they took,
    watched.

    >>> meter = PeriodicMeter(period=2)
    >>> for size in (1, 2, 3, 2, 3, 2):
    ...     with meter.step():
    ...         _ = torch.ones(size) + 1
    >>> meter.counted, meter.total(6)
    ([1, 2, 3], 13)
    """

    def __init__(self, period: int) -> None:
        self.period = period
        self.steps: list[Work] = []
        self.seconds = 0.0
        self.peak_bytes = self.held_bytes = 0
        self._live: LiveTensors | None = LiveTensors()

    @property
    def counted(self) -> list[int]:
        """FLOPs of each step watched."""
        return [work.total for work in self.steps]

    @property
    def ready(self) -> bool:
        """Whether every step that is needed was watched."""
        return len(self.steps) > self.period

    def step(self) -> AbstractContextManager[Any]:
        """Put around a step: watches it while steps are still needed, else does nothing."""
        if self.ready or self._live is None:
            return nullcontext()
        return _Watched(self, self._live)

    def work(self, steps: int) -> Work:
        """What the first `steps` steps (at least 1) took."""
        periods, rest = divmod(steps - 1, self.period)
        total = self.steps[0]
        for place, one in enumerate(self.steps[1:]):
            total = total + one * (periods + (place < rest))
        return total

    def total(self, steps: int) -> int:
        """FLOPs of the first `steps` steps (at least 1), all done."""
        return self.work(steps).total

    def state(self) -> dict[str, Any]:
        """What was counted, in plain values."""
        return {
            "peak": self.peak_bytes,
            "held": self.held_bytes,
            "steps": [{"flops": dict(w.flops), "moved": w.moved} for w in self.steps],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what a meter of an equal run counted. Raises `KeyError` or `TypeError` for anything else."""
        self.steps = [Work(dict(w["flops"]), w["moved"]) for w in state["steps"]]
        self.peak_bytes, self.held_bytes = state["peak"], state["held"]

    def add(self, work: Work, seconds: float) -> None:
        """A step was watched."""
        self.steps.append(work)
        self.seconds += seconds
        if self._live is not None:
            self.peak_bytes, self.held_bytes = self._live.peak, self._live.bytes
            if self.ready:
                self._live.forget()
                self._live = None


#: Around operators of these, the memory of a tensor is given back and taken again while the tensor itself lives on.
RESIZING = frozenset({"c10d", "fsdp"})


class _Watched(FlopCounter):
    """A counter that also adds up bytes, and leaves everything with its meter."""

    def __init__(self, meter: PeriodicMeter, live: LiveTensors) -> None:
        super().__init__()
        self.meter, self.live, self.moved = meter, live, 0

    def __enter__(self) -> Self:
        # tensors in cycles of references live until the collector comes by: let it come before each step and not within
        self.collecting = gc.isenabled()
        gc.disable()
        gc.collect(1)
        self.started = time.perf_counter()
        return super().__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, add what it costs, look at what it used and made."""
        if func.namespace in RESIZING:
            self.live.look_again()
        self.live.see((args, kwargs or {}), outside=True)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if out is not NotImplemented:
            self.live.see(out)
            self.moved += bytes_moved(func, args, kwargs or {}, out)
        return out

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        if self.collecting:
            gc.enable()
        self.meter.add(Work(dict(self.by_dtype), self.moved), time.perf_counter() - self.started)

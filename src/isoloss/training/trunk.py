"""Trunks: runs of one warm-up, stable, decay schedule that share their stable phase (Haegele et al. 2024, 2405.18392).

A branch is a run like any other, one deterministic function of its spec, charged from the first step to its last. But
runs that differ in nothing but their length do the same arithmetic until the first of them decays, so a branch goes on
from the newest checkpoint of its trunk, bit for bit, and leaves checkpoints for others: at its branch step, and on the
way at ratios of sqrt(2), since longer runs are trained first. What was really computed here is recorded as
``spent_flops``. Checkpoints are a cache: without them (or with the folder deleted) results are the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from isoloss.runs import RunSpec
    from isoloss.training.flops import PeriodicMeter
    from isoloss.training.gradient import Trainee

DECAY = 0.2
FIRST_CHECKPOINT = 64
PATIENCE = 0.5
FORMAT = 2
#: What a file that is no whole checkpoint may raise while it is read.
_UNREADABLE = (
    OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError,
)  # fmt: skip


@dataclass(frozen=True)
class Stem:
    """What makes a run a branch: its trunk's warm-up in steps, and what a model carries from step to step besides its
    parameters and buffers (`state` reads it, `restore` puts it back; tensors in tuples, lists or dicts)."""

    warmup: int
    steps: int
    state: Callable[[], Any] = lambda: None
    restore: Callable[[Any], None] = lambda state: None

    @property
    def branch(self) -> int:
        """The last step of the stable phase; the decay takes the last fifth of the run."""
        return branch_step(self.steps)

    def rate(self, step: int) -> float:
        r"""Multiplier of the learning rate at `step` (from 1): :math:`\min(1, s / w)` up to the branch step, the same
        for every length of run; then :math:`1 - \sqrt{x}` to zero.

        >>> [round(Stem(10, 100).rate(s), 3) for s in (5, 10, 80, 85, 100)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
        """
        if step <= self.branch:
            return min(1.0, step / self.warmup)
        return 1 - math.sqrt((step - self.branch) / (self.steps - self.branch))


def branch_step(steps: int) -> int:
    """The step after which a run of `steps` leaves its trunk.

    >>> branch_step(100)
    80
    """
    return steps - max(1, round(DECAY * steps))


def checkpoint_steps(branch: int) -> list[int]:
    """The steps up to `branch` after which its trunk is kept.

    >>> checkpoint_steps(200)
    [64, 91, 128, 181, 200]
    """
    count = int(2 * math.log2(max(branch, FIRST_CHECKPOINT) / FIRST_CHECKPOINT)) + 1
    spaced = {round(FIRST_CHECKPOINT * 2 ** (i / 2)) for i in range(count)}
    return sorted({s for s in spaced if s < branch} | {branch})


class _Keeper(Protocol):
    """An optimiser whose state can be kept."""

    param_groups: list[dict[str, Any]]

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Trunk:
    """The stable phase of one run: what is there of it already, and what it leaves behind.

    `cache` is the folder that checkpoints are kept in, None for none. One process at a time trains a trunk; another
    one waits until the checkpoint that it needs is there, or the trunk is free. An optimiser without ``state_dict``, or
    with a state that is not tensors and numbers, is trained from the start.
    """

    def __init__(self, trainee: Trainee, spec: RunSpec, cache: Path | None) -> None:
        assert trainee.stem is not None
        self.stem, self.trainee = trainee.stem, trainee
        self.key = json.dumps({"trunk": spec.trunk(), "arithmetic": _arithmetic()}, sort_keys=True)
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:20]
        self.folder = None if cache is None else cache / "trunks" / digest
        self.losses: list[torch.Tensor] = []
        self._keep_at = set(checkpoint_steps(self.stem.branch))
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()

    def resume(self, meter: PeriodicMeter) -> list[torch.Tensor]:
        """Put model, optimiser, generator and `meter` where the newest usable checkpoint left them; the losses of the
        steps up to there, none where training starts at the first."""
        if self.folder is None or not _resumable(self.trainee.optimizer):
            return []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            while not self._path(self.stem.branch).exists():
                with suppress(Timeout):
                    lock.acquire(timeout=PATIENCE)
                    self._lock = lock
                    break
        except OSError:  # the cache can't be written: train without it
            self.folder = None
            return []
        for step in sorted((s for s in self._steps() if s <= self.stem.branch), reverse=True):
            held = self._read(step)
            if held is not None:
                self._restore(held, meter)
                break
        if len(self.losses) == self.stem.branch:
            self._release()
        return list(self.losses)

    def passed(self, step: int, loss: torch.Tensor, meter: PeriodicMeter) -> None:
        """Told after every step that was trained."""
        if step > self.stem.branch:
            return
        self.losses.append(loss)
        if step in self._keep_at and self._lock is not None and meter.ready:
            with suppress(OSError):  # a full disk costs others time, never this run
                self._write(step, meter)
        if step == self.stem.branch:
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _path(self, step: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{step:09d}.pt"

    def _steps(self) -> list[int]:
        assert self.folder is not None
        return [int(p.stem) for p in self.folder.glob("*.pt") if p.stem.isdigit()]

    def _write(self, step: int, meter: PeriodicMeter) -> None:
        optimizer = _state(self.trainee.optimizer)
        carried = self.stem.state()
        if self.folder is None or not (_plain(optimizer) and _plain(carried)):
            return
        held = {
            "format": FORMAT, "key": self.key, "step": step, "losses": torch.stack(self.losses).cpu(),
            "meter": meter.state(), "model": _tensors(self.trainee.model), "optimizer": optimizer,
            "carried": carried, "generator": torch.get_rng_state(),
        }  # fmt: skip
        # written whole or not at all; one name, since only the holder of the lock writes
        part = self.folder / "part"
        try:
            torch.save(held, part)
            os.replace(part, self._path(step))
        except RuntimeError as error:  # how torch says that the disk is full
            part.unlink(missing_ok=True)
            raise OSError(str(error)) from error

    def _read(self, step: int) -> dict[str, Any] | None:
        """The checkpoint at `step` where it is whole, of this trunk, and fits the model; None otherwise.

        Only tensors and plain values are read, never code.
        """
        try:
            held = torch.load(self._path(step), weights_only=True, map_location="cpu")
            named = (held["format"], held["key"], held["step"], len(held["losses"]))
            fits = {n: t.shape for n, t in held["model"].items()} == {
                n: t.shape for n, t in _tensors(self.trainee.model).items()
            }
        except _UNREADABLE:
            return None
        return held if named == (FORMAT, self.key, step, step) and fits else None

    def _restore(self, held: Mapping[str, Any], meter: PeriodicMeter) -> None:
        own = _tensors(self.trainee.model)
        with torch.no_grad():
            for name, tensor in held["model"].items():
                own[name].copy_(tensor)
        _restore(self.trainee.optimizer, held["optimizer"])
        self.stem.restore(held["carried"])
        torch.set_rng_state(held["generator"])
        meter.restore(held["meter"])
        self.losses = list(held["losses"].unbind())


def _arithmetic() -> dict[str, str]:
    """What else the bits of a step depend on: a checkpoint is used only where all of it is the same."""
    return {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}


def _tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _resumable(optimizer: Any) -> bool:
    parts = getattr(optimizer, "parts", (optimizer,))
    return all(hasattr(p, "state_dict") and hasattr(p, "load_state_dict") for p in parts)


def _state(optimizer: Any) -> list[dict[str, Any]]:
    """The state of every part; of groups all but parameters and rate, which the schedule sets anew."""
    found = []
    for part in getattr(optimizer, "parts", (optimizer,)):
        state = part.state_dict()
        groups = [{k: v for k, v in g.items() if k not in ("params", "lr")} for g in state.get("param_groups", ())]
        found.append({**state, "param_groups": groups})
    return found


def _restore(optimizer: Any, states: list[dict[str, Any]]) -> None:
    for part, state in zip(getattr(optimizer, "parts", (optimizer,)), states, strict=True):
        groups, rest = part.param_groups, {k: v for k, v in state.items() if k != "param_groups"}
        if isinstance(part, torch.optim.Optimizer):
            rest["param_groups"] = part.state_dict()["param_groups"]
        part.load_state_dict(rest)
        # the loop holds on to the groups, so they are the same objects as before
        part.param_groups = groups
        for group, kept in zip(groups, state["param_groups"], strict=False):
            group.update(kept)


def _plain(value: Any) -> bool:
    """Whether `value` is tensors and plain values all the way down, which can be read back without running code."""
    if isinstance(value, dict):
        return all(isinstance(k, (str, int)) and _plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str)) or type(value) in (torch.Tensor,)

"""Trunks: runs of one warm-up, stable, decay schedule that share their stable phase (Haegele et al. 2024, 2405.18392).

A branch is a run like any other, one deterministic function of its spec, charged from the first step to its last. But
runs that differ in nothing but their length do the same arithmetic until the first of them decays, so a branch goes on
from the newest checkpoint of its trunk, bit for bit, and leaves checkpoints for others: at its branch step, and on the
way at ratios of sqrt(2), since longer runs are trained first. What was really computed here is recorded as
``spent_flops``. Checkpoints are a cache: without them (or with the folder deleted) results are the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from isoloss.training import checkpoint

if TYPE_CHECKING:
    import torch

    from isoloss.training.checkpoint import Writer

DECAY = 0.2
FIRST_CHECKPOINT = 64
PATIENCE = 0.5


@dataclass(frozen=True)
class Stem:
    """What makes a run a branch: its trunk's warm-up in steps, and its own length."""

    warmup: int
    steps: int

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


class Trunk:
    """The stable phase of one run: what is there of it already, and what it leaves behind in the folder `cache`.

    `key`: what its checkpoints are of (`checkpoint.key_of`). One process at a time trains a trunk; another one waits
    until the checkpoint that it needs is there, or the trunk is free.
    """

    def __init__(self, stem: Stem, key: str, cache: Path) -> None:
        self.stem, self.key = stem, key
        digest = hashlib.sha256(f"{checkpoint.FORMAT}{key}".encode()).hexdigest()[:20]
        self.folder = cache / "trunks" / digest
        self._keep_at = set(checkpoint_steps(stem.branch))
        self._lock: FileLock | None = None

    def newest(
        self, beyond: int, model: torch.nn.Module, notes: list[str], check: Callable[[], None]
    ) -> dict[str, Any] | None:
        """The newest usable checkpoint after step `beyond`, None where there is none, and the right to train on.

        `notes` is told of those that can't be used; `check` is called while another process is waited for.
        """
        if beyond >= self.stem.branch:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            while not self._path(self.stem.branch).exists():
                check()
                with suppress(Timeout):
                    lock.acquire(timeout=PATIENCE)
                    self._lock = lock
                    break
            steps = [int(p.stem) for p in self.folder.glob("*.pt") if p.stem.isdigit()]
        except OSError:  # the cache can't be written: train without it
            return None
        for step in sorted((s for s in steps if beyond < s <= self.stem.branch), reverse=True):
            try:
                held = checkpoint.read(self._path(step), self.key, model)
                if held["step"] != step:
                    raise ValueError("is of another step")
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                notes.append(f"{self._path(step)}: {error}; it was passed over")
                continue
            if step == self.stem.branch:
                self.release()
            return held
        return None

    def passed(self, step: int, snapshot: Callable[[str], dict[str, Any] | None], writer: Writer) -> None:
        """Told after every step that was trained; `snapshot(key)` is the state after it."""
        if self._lock is None:
            return
        if step in self._keep_at and (held := snapshot(self.key)) is not None:
            writer.put(self._path(step), held)
        if step >= self.stem.branch:
            writer.wait()  # those who wait for the lock look for this checkpoint
            self.release()

    def release(self) -> None:
        """Let another process train."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:09d}.pt"

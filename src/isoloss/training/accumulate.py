"""The gradient of one batch, made whole, piece by piece, or by several threads at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from isoloss.errors import StudyError

if TYPE_CHECKING:
    from isoloss.runs import RunSpec
    from isoloss.training.gradient import Trainee


def split_rows(batch: Any, parts: int) -> list[Any]:
    """`batch`, a tensor or a tuple of tensors with rows first, in `parts` equal batches. Raises `StudyError` where rows
    do not divide.

    >>> [len(x) for x in split_rows(torch.zeros(6, 2), 3)]
    [2, 2, 2]
    """
    if parts == 1:
        return [batch]
    if isinstance(batch, torch.Tensor):
        if len(batch) % parts:
            raise StudyError("numerics.shards", f"{len(batch)} rows do not divide into {parts}", "choose a divisor")
        return list(batch.chunk(parts))
    return list(zip(*(split_rows(each, parts) for each in batch), strict=True))


def backward(trainee: Trainee, batch: Any) -> torch.Tensor:
    """Leave the gradient of the batch's mean loss in the parameters, and return that loss: ``trainee.pieces`` parts one
    after the other, so that memory is that of one part."""
    if trainee.pieces == 1:
        loss = trainee.loss(batch)
        loss.backward()
        return loss.detach()
    total = None
    for piece in split_rows(batch, trainee.pieces):
        loss = trainee.loss(piece) / trainee.pieces
        loss.backward()
        total = loss.detach() if total is None else total + loss.detach()
    assert total is not None
    return total


class Shards:
    """Data parallel in one process: each thread has a copy of the model on the same parameter memory and makes the
    gradient of its rows, with one thread of arithmetic; the mean is taken in a fixed order.

    The same bits whatever the machine has to do beside it and however many cores it has, since shards and not threads
    decide what is added to what. Beside another busy process it keeps its pace, where several threads inside one
    product wait for each other at every product. `trainees`: the run's own first, then copies built alike.
    """

    def __init__(self, trainees: Sequence[Trainee]) -> None:
        self.trainees = list(trainees)
        self._parameters = [[p for p in t.model.parameters() if p.requires_grad] for t in trainees]
        for others in self._parameters[1:]:
            for own, other in zip(self._parameters[0], others, strict=True):
                other.data = own.data
        self._pool = ThreadPoolExecutor(len(self.trainees) - 1)
        self._checked = False
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __call__(self, batch: Any) -> torch.Tensor:
        """As `backward`, by all shards."""
        parts = split_rows(batch, len(self.trainees))
        if not self._checked:
            losses = self._first(parts)
        elif _get_current_dispatch_mode() is not None:  # being counted, which only this thread is
            losses = [backward(t, part) for t, part in zip(self.trainees, parts, strict=True)]
        else:
            work = zip(self.trainees[1:], parts[1:], strict=True)
            others = [self._pool.submit(_alone, trainee, part) for trainee, part in work]
            losses = [backward(self.trainees[0], parts[0]), *(other.result() for other in others)]
        self._add()
        return torch.stack(losses).mean()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        torch.set_num_threads(self._threads)

    def _first(self, parts: Sequence[Any]) -> list[torch.Tensor]:
        """The first step, one shard after the other: what the shards would disagree about shows."""
        generator = torch.get_rng_state()
        buffers = [b.clone() for b in self.trainees[0].model.buffers()]
        losses = [backward(t, part) for t, part in zip(self.trainees, parts, strict=True)]
        if not torch.equal(generator, torch.get_rng_state()):
            raise StudyError("numerics.shards", "the model draws random numbers in a step (dropout)", "use 1")
        kept = zip(buffers, self.trainees[0].model.buffers(), strict=True)
        if not all(torch.equal(old, new) for old, new in kept):
            raise StudyError("numerics.shards", "the model keeps statistics of its batches in buffers", "use 1")
        self._checked = True
        return losses

    def _add(self) -> None:
        """The mean of all shards' gradients, in the first one's parameters."""
        own, *rest = ([p.grad for p in each if p.grad is not None] for each in self._parameters)
        for others, gradients in zip(self._parameters[1:], rest, strict=True):
            torch._foreach_add_(own, gradients)
            for p in others:
                p.grad = None
        torch._foreach_mul_(own, 1 / len(self.trainees))


def _alone(trainee: Trainee, batch: Any) -> torch.Tensor:
    torch.set_num_threads(1)  # of this thread
    return backward(trainee, batch)


def by_shards(trainee: Trainee, spec: RunSpec, device: torch.device, again: Callable[[], Trainee]) -> Shards | None:
    """The shards that ``spec.numerics`` asks for, the copies of `trainee` by `again`; None where one is asked for. What
    the shards carry from step to step becomes the trainee's. Raises `StudyError` elsewhere than on a CPU."""
    count = spec.numerics.get("shards", 1)
    if count == 1:
        return None
    if device.type != "cpu":
        raise StudyError("numerics.shards", f"threads that share a model are for a CPU, not {device}", "use 1")
    generator = torch.get_rng_state()
    everyone = [trainee, *(again() for _ in range(count - 1))]
    torch.set_rng_state(generator)
    parts = [(t.carried, t.restore) for t in everyone]

    def restore(carried: Any) -> None:
        for (_, put), value in zip(parts, carried, strict=True):
            put(value)

    trainee.carried, trainee.restore = lambda: [read() for read, _ in parts], restore
    return Shards(everyone)

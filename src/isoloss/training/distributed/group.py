"""The devices that train together, what they send each other, and how many bytes that is.

Bytes are counted per device, as the ring algorithms send them (Patarasuk & Yuan 2009; Thakur et al. 2005): of a tensor
of n bytes on D devices, a reduce-scatter and an all-gather each send ``(D - 1) / D * n``, an all-reduce, which is one
after the other, twice that. What a backend really sends for small tensors may differ; the count does not depend on it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


def ring_bytes(operation: str, whole: int, devices: int) -> float:
    """Bytes that each device sends: `whole` is the size of the full tensor, reduced or gathered.

    >>> ring_bytes("all_reduce", 1000, 2), ring_bytes("all_gather", 1000, 4)
    (1000.0, 750.0)
    """
    return (2 if operation == "all_reduce" else 1) * (devices - 1) / devices * whole


@contextmanager
def let_go(*tensors: torch.Tensor) -> Iterator[None]:
    """Around a collective that is waited for: gloo's thread may hold its tensors for some microseconds longer, in which
    their memory would be counted as in use; this waits until it does not (a second at most). On a GPU, where the
    allocator measures memory, nothing is waited for."""
    if tensors[0].device.type != "cpu":
        yield
        return

    def holders() -> list[int]:
        return [torch._C._storage_Use_Count(t.untyped_storage()._cdata) for t in tensors]

    before, patience = holders(), time.monotonic() + 1
    yield
    while any(now > then for now, then in zip(holders(), before, strict=True)) and time.monotonic() < patience:
        time.sleep(0)


class Group:
    """The process group as this device sees it: `rank` among `size`; tensors lie on `device`.

    Collectives are counted in `sent` (operation -> bytes) until `counting` is set to False: what evaluation and
    record-keeping send is not training.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        on_gpu = dist.get_backend() == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self.sent: defaultdict[str, float] = defaultdict(float)
        self.counting = True

    @property
    def bytes_sent(self) -> float:
        """Bytes that this device has sent."""
        return sum(self.sent.values())

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """All-reduce: the sum over devices, in place."""
        self.count("all_reduce", tensor)
        with let_go(tensor):
            dist.all_reduce(tensor)
        return tensor

    def scatter_sum(self, whole: torch.Tensor) -> torch.Tensor:
        """Reduce-scatter: this device's part, 1/D of the first axis, of the sum over devices."""
        self.count("reduce_scatter", whole)
        part = whole.new_empty(len(whole) // self.size, *whole.shape[1:])
        with let_go(part, whole):
            dist.reduce_scatter_single(part, whole)
        return part

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        """All-gather: every device's equally long `part`, one after the other along the first axis."""
        whole = part.new_empty(len(part) * self.size, *part.shape[1:])
        self.count("all_gather", whole)
        part = part.contiguous()
        with let_go(whole, part):
            dist.all_gather_single(whole, part)
        return whole

    def count(self, operation: str, whole: torch.Tensor) -> None:
        """Add what a collective of the full tensor `whole` sends."""
        if self.counting:
            self.sent[operation] += ring_bytes(operation, whole.numel() * whole.element_size(), self.size)

    def recorded_mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a scalar over devices, for the record: not counted, since no training depends on it."""
        mean = value.detach() / self.size
        with let_go(mean):
            dist.all_reduce(mean)
        return mean

    def recorded_sum(self, value: float) -> float:
        """The sum of a number over devices, for the record."""
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total)

    def recorded_max(self, value: float) -> float:
        """The largest of a number over devices, for the record."""
        largest = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return float(largest)

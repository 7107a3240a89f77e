"""Memory of a training step: bytes of live tensors, and bytes that operators read and write."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator
from typing import Any

import torch

from isoloss.training.formulas import Arguments, Options, is_view

aten = torch.ops.aten


def _packets(*names: str) -> frozenset[Any]:
    return frozenset(getattr(aten, n) for n in names if hasattr(aten, n))


#: They reserve memory without touching it.
_UNTOUCHED = _packets("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
#: They overwrite their first argument without reading it.
_OVERWRITING = _packets("copy_", "fill_", "zero_", "uniform_", "normal_", "bernoulli_", "exponential_", "random_")
#: Of their first argument they read as much as they give.
_SELECTING = _packets("embedding", "index", "index_select", "gather", "take", "_unsafe_index")


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in `value`: itself, or inside lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))


def size(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's distinct elements: one that is expanded counts what it is expanded from."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def bytes_moved(operator: Any, args: Arguments, options: Options, out: Any) -> int:
    """Bytes that one call reads and writes, each argument and each result once; 0 for a view of its input.

    An upper bound of what passes between processor and memory: nothing is taken to stay in a cache, and a kernel's
    own scratch memory is not seen.

    >>> a, b = torch.ones(4, 8), torch.ones(8, 2)
    >>> bytes_moved(aten.mm.default, (a, b), {}, a @ b) == 4 * (32 + 16 + 8)
    True
    """
    packet = getattr(operator, "_overloadpacket", operator)
    schema = getattr(operator, "_schema", None)
    if packet in _UNTOUCHED or is_view(operator) or getattr(operator, "namespace", "aten") == "profiler":
        return 0
    named = dict(zip((a.name for a in schema.arguments), args, strict=False)) | dict(options) if schema else {}
    changed = [named.get(a.name) for a in schema.arguments if a.alias_info is not None] if schema else []
    read = list(tensors((args, dict(options))))
    given = list(tensors(out))
    if not changed and given and read and given[0].untyped_storage()._cdata == read[0].untyped_storage()._cdata:
        return 0  # a view that its schema does not call one
    if packet in _OVERWRITING:
        return sum(map(size, read[1:])) + size(read[0])
    written = sum(map(size, tensors(changed) if changed else given))
    if packet in _SELECTING:
        return 2 * written + sum(map(size, read[1:]))
    return sum(map(size, read)) + written


class LiveTensors:
    """Bytes of all tensors that an onlooker has seen and that still live, now and at most.

    A tensor counts from the operator that makes it until its memory is given back: parameters, gradients, optimiser
    state, and whatever is saved for the backward pass. Views share their memory. One made out of sight (a parameter, a
    batch) counts from its first use, with the elements that are used. A single number without axes does not count, so
    that it is all one who keeps a loss. What a kernel takes and gives back within one call is not seen.

    >>> live = LiveTensors()
    >>> x = torch.ones(100)
    >>> live.see([x, x[:50]])
    >>> live.bytes
    400
    >>> del x
    >>> live.bytes, live.peak
    (0, 400)
    """

    def __init__(self) -> None:
        self.bytes = self.peak = 0
        self._held: dict[int, tuple[int, int, weakref.ref[Any]]] = {}

    def see(self, made: Any, *, outside: bool = False) -> None:
        """Count the tensors in `made` that are new; `outside`: they were made out of sight."""
        for tensor in tensors(made):
            if tensor.dim() == 0:
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._held:
                whole = storage.nbytes()
                amount = size(tensor) if outside else whole
                self._held[key] = amount, whole, weakref.ref(storage, functools.partial(self._gone, key))
                self.bytes += amount
        self.peak = max(self.peak, self.bytes)

    def look_again(self) -> None:
        """Notice memory that was given back or taken without the tensor: what sharding does between collectives."""
        for key, (amount, whole, ref) in list(self._held.items()):
            storage = ref()
            now = whole if storage is None else storage.nbytes()
            if now != whole:
                self._held[key] = now, now, ref
                self.bytes += now - amount
        self.peak = max(self.peak, self.bytes)

    def forget(self) -> None:
        """Stop watching; `peak` stays."""
        self._held.clear()
        self.bytes = 0

    def _gone(self, key: int, _: Any) -> None:
        amount, *_ = self._held.pop(key, (0,))
        self.bytes -= amount

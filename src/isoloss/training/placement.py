"""Where a run's tensors live: built on the CPU, so that a seed gives the same start everywhere, then moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from isoloss.errors import MissingError

if TYPE_CHECKING:
    from isoloss.training.gradient import Trainee


def choose_device(asked: str = "auto") -> torch.device:
    """The device named by `asked`: ``cpu``, ``cuda``, ``cuda:N``; ``auto`` is a GPU where there is one.

    Raises `MissingError` where torch does not know or see it.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise MissingError("--device", f"'{asked}' is no device", "use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise MissingError("--device", f"'{asked}' is not there: torch sees {seen} GPUs", "use auto or cpu")
    return device


def moved(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it on `device`; from pinned memory it goes there while the CPU works on."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: moved(v, device) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(v, device) for v in value)
    return value


def _pinned(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.pin_memory()
    return type(value)(_pinned(v) for v in value) if isinstance(value, (list, tuple)) else value


def prefetched(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    """The same batches on `device`, each sent before the one in front of it is used."""

    ahead: list[Any] = []
    for batch in batches:
        ahead.append(moved(_pinned(batch) if device.type == "cuda" else batch, device))
        if len(ahead) > 1:
            yield ahead.pop(0)
    yield from ahead


def place(trainee: Trainee, device: torch.device) -> None:
    """Move model, optimiser state, batches and evaluation of a freshly built `trainee` to `device`; on the CPU, where
    they were built, nothing is done."""
    if device.type == "cpu":
        return
    model = trainee.model
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # the optimiser keeps the same parameters
    try:
        model.to(device)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)
    for part in getattr(trainee.optimizer, "parts", (trainee.optimizer,)):
        for name in getattr(part, "held", ()):
            setattr(part, name, moved(getattr(part, name), device))
        if isinstance(part, torch.optim.Optimizer):
            for state in part.state.values():
                state.update(moved(state, device))
    trainee.batches = prefetched(trainee.batches, device)
    trainee.evaluate = _with_inputs_on(device, model, trainee.evaluate)


def _with_inputs_on(
    device: torch.device, model: torch.nn.Module, evaluate: Callable[[str], float]
) -> Callable[[str], float]:
    def placed(split: str) -> float:
        hook = model.register_forward_pre_hook(lambda module, inputs: moved(inputs, device))
        try:
            return evaluate(split)
        finally:
            hook.remove()

    return placed

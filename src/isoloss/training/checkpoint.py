"""Checkpoints of a run in training: what is in one, how it is written, and when it may be used.

A checkpoint holds everything that the next step depends on: model, optimiser, what the model carries from step to step,
the generators, the meter's counts, and every loss so far, from which the curve is made again. The data position is the
step: batches are a deterministic generator, and drawing them again costs 2 to 30 microseconds a step. A file is the
pickled tensors, then their SHA-256; it is read as tensors and plain values only, never as code, and used only where
torch, processor, threads and precision are the same, since then the run goes on bit for bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isoloss import __version__
from isoloss.machine import processor

if TYPE_CHECKING:
    from isoloss.training.flops import PeriodicMeter
    from isoloss.training.gradient import Trainee

FORMAT = 3
DIGEST_BYTES = 32
_HELD = frozenset({"format", "key", "step", "losses", "meter", "model", "optimizer", "carried", "generators", "own"})


def key_of(identity: Mapping[str, Any], model: torch.nn.Module) -> str:
    """What a checkpoint is of, as JSON: `identity` (of the run or its trunk), and all else that its bits depend on."""
    device = _device(model)
    arithmetic = {
        "isoloss": f"{__version__} {_code()}",
        "torch": torch.__version__,
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "precision": str(torch.get_default_dtype()).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
    return json.dumps({"identity": identity, "arithmetic": arithmetic}, sort_keys=True)


@cache
def _code() -> str:
    """Digest of whatever here makes a run's bits, so that a change of it is never met by an older checkpoint."""
    found = hashlib.sha256()
    package = Path(__file__).parent.parent
    for folder in ("algorithms", "tasks", "training"):
        for path in sorted((package / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:8]


def keepable(optimizer: Any) -> bool:
    """Whether the state of `optimizer` can be kept: it has ``state_dict`` and ``load_state_dict``, and the state is
    tensors and plain values."""
    parts = getattr(optimizer, "parts", (optimizer,))
    has = all(hasattr(p, "state_dict") and hasattr(p, "load_state_dict") for p in parts)
    return has and _plain(_state(optimizer))


def snapshot(
    trainee: Trainee, key: str, losses: Sequence[torch.Tensor], meter: PeriodicMeter, own: Mapping[str, float]
) -> dict[str, Any]:
    """A copy in memory of `trainee` after the step of the last of `losses` (a sequence of 1-D tensors).

    `own`: plain numbers to find again. Raises `TypeError` where what the model carries, or the optimiser's state, is
    more than tensors and plain values.
    """
    optimizer, carried = _state(trainee.optimizer), trainee.carried()
    if not (_plain(optimizer) and _plain(carried)):
        raise TypeError("the state of the optimiser or model is more than tensors and plain values")
    device = _device(trainee.model)
    held = {
        "format": FORMAT, "key": key, "step": sum(map(len, losses)), "losses": torch.cat(list(losses)),
        "meter": meter.state(), "model": tensors(trainee.model), "optimizer": optimizer, "carried": carried,
        "generators": _generators(device), "own": dict(own),
    }  # fmt: skip
    copied: dict[str, Any] = _mapped(held, lambda t: t.detach().to("cpu", copy=True))
    return copied


def restore(trainee: Trainee, held: Mapping[str, Any], meter: PeriodicMeter) -> torch.Tensor:
    """Put everything where `held` has it; the losses of the steps up to there, 1-D."""
    device, own = _device(trainee.model), tensors(trainee.model)
    with torch.no_grad():
        for name, tensor in held["model"].items():
            own[name].copy_(tensor)
    _restore(trainee.optimizer, held["optimizer"])
    trainee.restore(_mapped(held["carried"], lambda t: t.to(device)))
    torch.set_rng_state(held["generators"]["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(held["generators"]["cuda"], device)
    meter.restore(held["meter"])
    losses: torch.Tensor = held["losses"].to(device)
    return losses


def write(path: Path, held: Mapping[str, Any]) -> None:
    """Write `held` to `path`, whole or not at all: beside it, to the disk, then renamed over an older one.

    Raises `OSError` where it can't be written; the older one is then still there.
    """
    # the process is in the name: two ledgers may train one run at once
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            hashed = _Hashed(file)
            torch.save(dict(held), hashed)  # type: ignore[arg-type]
            file.write(hashed.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # the latter is torch's word for a write that failed
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise
        raise OSError(str(error).splitlines()[0]) from error


def read(path: Path, key: str, model: torch.nn.Module) -> dict[str, Any]:
    """The checkpoint at `path`. Raises `ValueError` that says why it can't be used: damaged, of another run, made by
    another version or on another machine; `OSError` where there is none."""
    whole = path.read_bytes()
    body = memoryview(whole)[:-DIGEST_BYTES]
    if len(whole) <= DIGEST_BYTES or hashlib.sha256(body).digest() != whole[-DIGEST_BYTES:]:
        raise ValueError("is damaged")
    try:
        held = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a stranger's pickle provokes
        raise ValueError("is no checkpoint: it holds more than tensors and plain values") from error
    if not isinstance(held, dict) or set(held) != _HELD or held["format"] != FORMAT:
        raise ValueError("has another format")
    if held["key"] != key:
        raise ValueError(_difference(str(held["key"]), key))
    shapes = {name: tensor.shape for name, tensor in held["model"].items()}
    if shapes != {n: t.shape for n, t in tensors(model).items()} or len(held["losses"]) != held["step"]:
        raise ValueError("does not fit the model")
    found: dict[str, Any] = held
    return found


class Writer:
    """Writes checkpoints from a thread of its own, one at a time. `seconds`: processor time that the last one took;
    `error`: what kept one from being written, until it is taken."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a file is being written."""
        return self._thread is not None and self._thread.is_alive()

    def put(self, path: Path, held: Mapping[str, Any]) -> None:
        """Write `held` to `path`, after the one before it."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(path, held), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._thread is not None:
            self._thread.join()

    def fault(self) -> OSError | None:
        """What kept a file from being written since the last call."""
        error, self._error = self._error, None
        return error

    def _write(self, path: Path, held: Mapping[str, Any]) -> None:
        began = time.thread_time()
        try:
            write(path, held)
        except OSError as error:
            self._error = error
        self.seconds = time.thread_time() - began


class _Hashed:
    """A file for `torch.save` that hashes what passes."""

    def __init__(self, file: Any) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self._hash.update(data)
        written: int = self._file.write(data)
        return written

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> bytes:
        return self._hash.digest()


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _device(model: torch.nn.Module) -> torch.device:
    return next((t.device for t in model.parameters()), torch.device("cpu"))


def _generators(device: torch.device) -> dict[str, torch.Tensor]:
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def _difference(there: str, here: str) -> str:
    try:
        old, new = (json.loads(text) for text in (there, here))
        if old["identity"] != new["identity"]:
            return "is of another run"
        own, now = old["arithmetic"], new["arithmetic"]
        changed = [f"{k} {own.get(k)} (here {v})" for k, v in now.items() if own.get(k) != v]
        return f"was made elsewhere: {', '.join(changed)}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is of another run"


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


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with `change` made to every tensor in it."""
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, change) for v in value)
    return change(value) if isinstance(value, torch.Tensor) else value

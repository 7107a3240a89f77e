"""A loss through PyTorch's compiler, with artefacts kept from run to run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from isoloss.errors import MissingError

COMPILERS = ("g++", "clang++", "c++")


def compiled(loss: Callable[[Any], torch.Tensor], cache: Path | None, device: torch.device) -> Callable[[Any], Any]:
    """`loss` compiled, except where it is being counted: FLOPs are those of the operators as written.

    `cache` is the folder of what may be kept. Results differ from uncompiled ones by rounding. Raises `MissingError`
    where there is no C++ compiler, which it needs on a CPU.
    """
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX") or "g++", *COMPILERS))):
        raise MissingError("numerics.compiled", "needs a C++ compiler, and there is none", "install g++")
    if cache is not None:  # read when the compiler is first used
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    fast = torch.compile(loss, dynamic=False)

    def either(batch: Any) -> torch.Tensor:
        return loss(batch) if _get_current_dispatch_mode() is not None else fast(batch)

    return either

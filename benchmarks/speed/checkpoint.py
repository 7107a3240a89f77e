"""What checkpoints cost the training loop, on a 10-million-parameter language model and one thread.

    python benchmarks/speed/checkpoint.py

Blocks of steps with and without a checkpoint that is copied before them and written beside them, in turn; the median
difference in processor time (of all threads, so that other jobs on the machine blur it less), over the minute that
lies between two checkpoints, is the cost: an upper bound, since the thread that writes may have a core of its own. The
bar is 1%. Beside it: the difference in wall time, a step's bookkeeping, reading a checkpoint, and replaying the data.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from isoloss.algorithms import algorithms
from isoloss.runs import Context, RunSpec
from isoloss.tasks import tasks
from isoloss.training import checkpoint
from isoloss.training.flops import PeriodicMeter
from isoloss.training.keeper import Keeper

BAR = 0.01
REPEATS = 9
STEPS = 4  # a block, longer than writing takes
CHOICES = {"width": 256, "depth": 12, "steps": 100_000, "context": 256, "batch_tokens": 512}


def main() -> dict[str, float]:
    """Print the figures; returns them, seconds and shares."""
    torch.set_num_threads(1)
    task, algorithm = tasks.get("language/sotu")(), algorithms.get("language/transformer-modern")()
    task.prepare()
    trainee = algorithm.build(task, algorithm.Choices(**CHOICES), 1)
    parameters = [p for p in trainee.model.parameters() if p.requires_grad]
    meter, writer, losses = PeriodicMeter(1), checkpoint.Writer(), []

    def step() -> torch.Tensor:
        loss = trainee.loss(next(trainee.batches))
        loss.backward()
        trainee.optimizer.step()
        for p in parameters:
            p.grad = None
        return loss.detach()

    while not meter.ready:
        with meter.step():
            losses.append(step())
    for _ in range(STEPS):
        losses.append(step())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pt"
        found: dict[str, list[float]] = {"copy": [], "processor": []}
        taken: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for _, kind in itertools.product(range(REPEATS), ("without", "with")):
            began, used = time.perf_counter(), time.process_time()
            if kind == "with":
                writer.put(path, checkpoint.snapshot(trainee, "", [torch.stack(losses)], meter, {}))
                found["copy"].append(time.perf_counter() - began)
            losses += [step() for _ in range(STEPS)]
            wall = time.perf_counter() - began
            writer.wait()
            taken[kind].append((wall, time.process_time() - used))
            if kind == "with":
                found["processor"].append(writer.seconds)
        began = time.perf_counter()
        checkpoint.read(path, "", trainee.model)
        reading, size = time.perf_counter() - began, path.stat().st_size
        bookkeeping = _bookkeeping(trainee, meter, losses[-1], Path(folder))
    began = time.perf_counter()
    for _ in range(5000):
        next(trainee.batches)
    replay = (time.perf_counter() - began) / 5000

    median = {kind: statistics.median(values) for kind, values in found.items()}
    blocks = list(zip(taken["with"], taken["without"], strict=True))
    slower, used = (statistics.median(a[i] - b[i] for a, b in blocks) for i in (0, 1))
    a_step = statistics.median(block[1] for block in taken["without"]) / STEPS
    minute = Context().checkpoint_seconds
    share = used / minute + bookkeeping / a_step
    millions = sum(p.numel() for p in parameters) / 1e6
    print(f"model                {millions:7.1f} million parameters, {a_step:.3f} s a step on one thread")
    print(f"checkpoint           {size / 1e6:7.1f} MB, one a {minute:.0f} s")
    print(f"copied in the loop   {median['copy']:7.3f} s")
    print(f"written beside it    {median['processor']:7.3f} s of processor time")
    print(f"both, as measured    {used:7.3f} s of processor time a checkpoint, {slower:.3f} s of wall time")
    print(f"bookkeeping          {bookkeeping * 1e6:7.1f} us a step")
    print(f"read back            {reading:7.3f} s, data replayed at {replay * 1e6:.1f} us a step")
    print(
        f"cost                 {share:7.2%} of the loop, {'within' if share <= BAR else 'ABOVE'} the bar of {BAR:.0%}"
    )
    return {"share": share, "copy": median["copy"], "bookkeeping": bookkeeping, "replay": replay}


def _bookkeeping(trainee: Any, meter: PeriodicMeter, loss: torch.Tensor, folder: Path, steps: int = 20_000) -> float:
    """Seconds that a step's look at the clock and at the request to stop take, where no checkpoint is due."""
    spec = RunSpec("", 1, "", 1, {}, "", 1.0, None, CHOICES, 1, ())
    with Keeper(trainee, spec, Context(cache=folder)) as keeper:
        keeper.resume(meter)
        began = time.perf_counter()
        for step in range(1, steps + 1):
            keeper.passed(step, loss, meter)
        return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()

"""One large run: tokens a second beside nanoGPT's own training step, and the share of the matmul rate it reaches.

    python benchmarks/speed/single.py [--nanogpt PATH] [--repeats 7] [--batch 12]

(a) The shape of nanoGPT's shakespeare-char (6 layers of width 384, 6 heads, context 256, 65 tokens), without dropout,
    as its README advises for a CPU; both cores, the same batch and precision, steps of all ways in turn, medians.
    nanoGPT's step is its train.py's: clipping, AdamW, ``set_to_none``, float32 and no autocast on a CPU. ``model.py``
    comes from --nanogpt (a folder or the file) or from its public origin, by commit and SHA-256; it is not kept.
(b) The same step of ours at widths 512 and 768, 4 layers, against the rate of one product in the same arithmetic.

Bars: 1.1x nanoGPT in float32, 1.5x its CPU default with bfloat16, 60% of the product rate.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import statistics
import sys
import time
import types
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from isoloss.algorithms import algorithms
from isoloss.runs import RunSpec
from isoloss.training.accumulate import backward, by_shards
from isoloss.training.flops import FlopCounter
from isoloss.training.gradient import Trainee
from isoloss.training.precision import product_rates, products, within
from isoloss.training.step import scale_down

Batch = tuple[torch.Tensor, torch.Tensor]
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
COMMIT = "3adf61e154c3fe3fca428ad6bc3818b27a3b8291"
SHA256 = "7c01703240dbec5d554527dc666e35b3df8391d0b117fddc07afcf325a21d11c"
ORIGIN = f"https://raw.githubusercontent.com/karpathy/nanoGPT/{COMMIT}/model.py"
CONTEXT, VOCABULARY, HEAD = 256, 65, 64
#: GPT-2's parts among ours
GPT2 = {"feed_forward": "gelu", "norm": "layer", "positions": "learned", "head_width": HEAD}
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, onednn": {"matmul": "onednn"},
    "float32, onednn, 2 shards": {"matmul": "onednn", "shards": 2},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16, 2 shards": {"dtype": "bfloat16", "shards": 2},
}


def nanogpt(given: Path | None) -> ModuleType:
    """nanoGPT's ``model.py``. Raises `OSError` where it can't be had or is another one."""
    if given is None:
        with urllib.request.urlopen(ORIGIN, timeout=30) as answer:
            source = answer.read()
    else:
        source = (given / "model.py" if given.is_dir() else given).read_bytes()
    if hashlib.sha256(source).hexdigest() != SHA256:
        raise OSError(f"model.py is not that of commit {COMMIT[:12]}")
    module = types.ModuleType("nanogpt_model")
    sys.modules[module.__name__] = module  # its dataclass looks its module up
    exec(compile(source, "nanogpt_model.py", "exec"), module.__dict__)
    return module


def their_step(module: ModuleType, batch: Batch) -> Callable[[], None]:
    """A step as train.py makes it."""
    with contextlib.redirect_stdout(io.StringIO()):
        model = module.GPT(module.GPTConfig(CONTEXT, VOCABULARY, 6, 6, 384, 0.0, False))
        optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")

    def step() -> None:
        _, loss = model(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class Tokens:
    """What `build` asks of a task: random tokens, since what a step takes does not depend on them."""

    def vocabulary(self, tokenizer: str) -> int:
        return VOCABULARY

    def unique_examples(self, drawn: float, tokenizer: str) -> float:
        return drawn

    def batches(self, rows: int, window: int, seed: int, tokenizer: str) -> Iterator[Batch]:
        while True:
            yield tokens(rows)


def tokens(rows: int) -> Batch:
    text_bt = torch.randint(VOCABULARY, (rows, CONTEXT + 1))
    return text_bt[:, :-1].contiguous(), text_bt[:, 1:].contiguous()


def our_step(batch: Batch, numerics: Mapping[str, Any], width: int = 384, depth: int = 6) -> Callable[[], None]:
    """A step as the loop makes it."""
    cls = algorithms.get("language/transformer-modern")
    size = {"width": width, "depth": depth, "context": CONTEXT, "batch_tokens": batch[0].numel()}
    choices = cls.Choices(steps=1, lr=1e-3, **size, **GPT2)

    def build() -> Trainee:
        torch.manual_seed(1)
        trainee = cls().build(Tokens(), choices, 1)
        trainee.loss = within(products(numerics), trainee.loss)
        return trainee

    trainee = build()
    parameters = list(trainee.model.parameters())
    spec = RunSpec("", 1, "", 1, {}, "", 1, None, {}, 1, (), numerics)
    shards = by_shards(trainee, spec, torch.device("cpu"), build)

    def step() -> None:
        torch.set_num_threads(THREADS if shards is None else 1)
        backward(trainee, batch) if shards is None else shards(batch)
        scale_down([p.grad for p in parameters if p.grad is not None], 1.0)
        trainee.optimizer.step()
        for p in parameters:
            p.grad = None
        torch.set_num_threads(THREADS)

    return step


def interleaved(ways: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, all of them in turn; the first two rounds warm up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[2:]) for name, seconds in taken.items()}


def said(value: float, bar: float) -> str:
    return f"{value:.2f} (bar {bar:g}: {'met' if value >= bar else 'MISSED'})"


def beside_nanogpt(module: ModuleType, rows: int, repeats: int) -> None:
    """Part (a)."""
    batch = tokens(rows)
    theirs = their_step(module, batch)
    seconds = interleaved({"nanoGPT": theirs, **{n: our_step(batch, w) for n, w in WAYS.items()}}, repeats)
    print(f"GPT-2 style, 6 layers of 384, context {CONTEXT}, batch {rows}, {THREADS} threads, medians of {repeats}")
    print(f"{'':28}{'ms':>8}{'tokens/s':>10}{'x nanoGPT':>11}")
    for name, each in seconds.items():
        print(f"{name:28}{1e3 * each:8.0f}{rows * CONTEXT / each:10.0f}{seconds['nanoGPT'] / each:11.2f}")
    fastest = {d: min(s for n, s in seconds.items() if n.startswith(d)) for d in ("float32", "bfloat16")}
    print(f"float32 over nanoGPT's float32: {said(seconds['nanoGPT'] / fastest['float32'], 1.1)}")
    print(f"bfloat16 over nanoGPT's CPU default: {said(seconds['nanoGPT'] / fastest['bfloat16'], 1.5)}")


def share_of_rate(repeats: int) -> None:
    """Part (b): counted FLOPs a second over the rate of one product in the same arithmetic."""
    print(f"\n{'width':>5} {'arithmetic':<18}{'GFLOP':>7}{'ms':>8}{'GFLOP/s':>9}{'product':>9}{'floor ms':>10}  share")
    for width, rows in ((512, 8), (768, 4)):
        batch, arithmetic = tokens(rows), {n: w for n, w in WAYS.items() if "shards" not in n}
        ways = {n: our_step(batch, w, width, 4) for n, w in arithmetic.items()}
        with FlopCounter() as counter:
            next(iter(ways.values()))()
        product_rates.cache_clear()
        before = product_rates(width, rows * CONTEXT, THREADS)
        seconds = interleaved(ways, repeats)
        product_rates.cache_clear()
        after = product_rates(width, rows * CONTEXT, THREADS)
        for name, each in seconds.items():
            key = name.rpartition(" ")[2]
            rate = max(before[key], after[key])  # the faster: a machine that was busy meanwhile must not flatter
            reached, floor = counter.total / each, counter.total / rate
            print(
                f"{width:5} {name:<18}{counter.total / 1e9:7.0f}{1e3 * each:8.0f}{reached / 1e9:9.0f}{rate / 1e9:9.0f}"
                f"{1e3 * floor:10.0f}  {said(reached / rate, 0.6)}"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--nanogpt", type=Path, help="folder of nanoGPT, or its model.py; left out: fetched")
    told.add_argument("--repeats", type=int, default=7)
    told.add_argument("--batch", type=int, default=12, help="windows a step (nanoGPT's advice for a CPU: 12)")
    given = told.parse_args(arguments)
    torch.set_num_threads(THREADS)
    try:
        beside_nanogpt(nanogpt(given.nanogpt), given.batch, given.repeats)
    except OSError as error:
        print(f"nanoGPT: not measured ({error})")
    share_of_rate(given.repeats)


if __name__ == "__main__":
    main()

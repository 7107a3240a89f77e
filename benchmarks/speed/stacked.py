"""Run-steps per second of 16 runs of one small shape on two cores: ours against a plain PyTorch loop.

    python benchmarks/speed/stacked.py [--seconds 4] [--repeats 5] [--only mlp]

Three ways, interleaved, medians of their rates:

- *plain*: one process with two threads, one run at a time: module, loss, ``backward``, ``clip_grad_norm_``,
  ``torch.optim.AdamW``, ``zero_grad``, as PyTorch's tutorials have it;
- *unstacked*: two processes of one thread, the trainer's own loop, a run at a time;
- *ours*: two processes of one thread, what the planner chooses with ``numerics.compiled``: compiled stacks of as many
  lanes as fit (`isoloss.training.gradient.STACK_FLOPS`); for language models from width 64 bfloat16 products too,
  where this CPU has fast ones (`isoloss.training.precision.slow_bfloat16`).

Compiling is not in the rates; its seconds are printed. The models: a perceptron 64-64-64-10 on batches of 64; a
convolutional network of 8 and 16 channels on 28 x 28 images, batches of 32; the modern Transformer of
widths 28 (1 layer), 64 (2) and 128 (4), 512 tokens a step in windows of 64.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from typing import Any

RUNS = 16
MODELS = {"mlp": 12.0, "cnn": 3.0, "lm28": None, "lm64": 2.5, "lm128": 2.5}  # and their bars
WAYS = {"plain": (1, 2), "unstacked": (2, 1), "ours": (2, 1)}  # processes, threads of each


def perceptron() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def convolutional() -> Any:
    from torch import nn

    first = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(16 * 49, 10))


def build(model: str, seed: int, way: str) -> tuple[Any, float]:
    """A trainee, its data drawn beforehand, and the FLOPs of a step."""
    import torch
    from torch.nn.functional import cross_entropy

    from isoloss.algorithms import Rung, algorithms
    from isoloss.tasks import tasks
    from isoloss.training.gradient import Trainee
    from isoloss.training.optimizers.adam import FusedAdam
    from isoloss.training.precision import products, slow_bfloat16, within

    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    if "@" in model:  # an algorithm of the language laboratory at a budget
        name, budget = model.split("@")
        algorithm, task = algorithms.get(name)(), tasks.get("language/sotu")()
        choices = algorithm.resolve(task, Rung("train_flops", float(budget)), algorithm.Choices())
        return algorithm.build(task, choices, seed), float(budget) / choices.steps
    if model.startswith("lm"):
        algorithm, task = algorithms.get("language/transformer-modern")(), tasks.get("language/sotu")()
        width = int(model[2:])
        choices = algorithm.Choices(
            width=width, depth=max(width // 32, 1), context=64, batch_tokens=512, steps=10**9, schedule="constant"
        )
        trainee = algorithm.build(task, choices, seed)
        if way == "ours" and width >= 64 and slow_bfloat16() is None:
            trainee.loss = within(products({"dtype": "bfloat16"}), trainee.loss)
        return trainee, algorithm.train_flops(task, choices) / choices.steps
    net = perceptron() if model == "mlp" else convolutional()
    shape = (64, 64) if model == "mlp" else (32, 1, 28, 28)
    # as many batches as an epoch of a small data set
    held = [(torch.randn(shape, generator=draws), torch.randint(10, shape[:1], generator=draws)) for _ in range(16)]

    def forever() -> Any:
        while True:
            yield from held

    return Trainee(
        model=net,
        optimizer=FusedAdam(net.parameters(), 1e-3),
        batches=forever(),
        loss=lambda batch: cross_entropy(net(batch[0]), batch[1]),
        evaluate=lambda split: 0.0,
        schedule=lambda share: 1.0,
        steps=10**9,
        examples_per_step=shape[0],
    ), 6.0 * shape[0] * sum(p.numel() for p in net.parameters())


class Plain:
    """As the tutorials have it."""

    def __init__(self, trainees: list[Any]) -> None:
        import torch

        self.trainees = trainees
        self.optimizers = [torch.optim.AdamW(t.model.parameters(), lr=1e-3) for t in trainees]

    def round(self) -> int:
        import torch

        for trainee, optimizer in zip(self.trainees, self.optimizers, strict=True):
            loss = trainee.loss(next(trainee.batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainee.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return len(self.trainees)


class Stacked:
    """The trainer's loop and, where `compiled`, its graph, a round of steps at a time."""

    def __init__(self, trainees: list[Any], compiled: bool, lanes: int, key: str) -> None:
        from isoloss.runs import Context
        from isoloss.training.graph import Lanes, StepGraph
        from isoloss.training.loop import Member

        self.members = []
        for trainee in trainees:
            member = Member(trainee, (), Context(), alone=False)
            member.send(None)
            while not member.step.meter.ready:
                member.advance()
            self.members.append(member)
        groups = [self.members[i : i + lanes] for i in range(0, len(trainees), lanes)] if compiled else []
        self.groups = [(g, StepGraph(Lanes([m.trainee for m in g]), key)) for g in groups]

    def round(self) -> int:
        from isoloss.training.stack import advance

        if not self.groups:
            for member in self.members:
                member.advance()
        for group, graph in self.groups:
            advance(graph, group, range(len(group)))
        return len(self.members)


def work(pipe: Any, model: str, way: str, share: int, first: int) -> None:
    """A process: told seconds, says how many run-steps it took in how many."""
    import torch

    from isoloss.training.gradient import STACK_FLOPS

    torch.set_num_threads(WAYS[way][1])
    built = [build(model, seed, way) for seed in range(first, first + share)]
    trainees, flops = [t for t, _ in built], built[0][1]
    lanes = 1 if model == "cnn" else min(max(int(STACK_FLOPS / flops), 1), share)
    start = time.perf_counter()
    runner = Plain(trainees) if way == "plain" else Stacked(trainees, way == "ours", lanes, model)
    for _ in range(4):
        runner.round()
    pipe.send((time.perf_counter() - start, lanes, flops))
    while (seconds := pipe.recv()) is not None:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            done += runner.round()
        pipe.send((done, time.perf_counter() - start))


def measure(
    model: str, seconds: float, repeats: int, ways: tuple[str, ...] = tuple(WAYS), runs: int = RUNS
) -> dict[str, Any]:
    """Medians of run-steps a second by way; of the last way, the lanes of a stack, what set-up took, a step's FLOPs."""
    spawn = multiprocessing.get_context("spawn")
    crews: dict[str, list[Any]] = {}
    ready: dict[str, Any] = {}
    for way in ways:
        processes, crew = WAYS[way][0], []
        share = runs // processes
        for n in range(processes):
            here, there = spawn.Pipe()
            spawn.Process(target=work, args=(there, model, way, share, 1 + n * share), daemon=True).start()
            crew.append(here)
        ready[way] = max(pipe.recv() for pipe in crew)
        crews[way] = crew
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, crew in crews.items():
            for pipe in crew:
                pipe.send(seconds)
            rates[way].append(sum(done / taken for done, taken in (pipe.recv() for pipe in crew)))
    for pipe in (p for crew in crews.values() for p in crew):
        pipe.send(None)
    setup, lanes, flops = ready[ways[-1]]
    medians = {way: statistics.median(r) for way, r in rates.items()}
    return {"rates": medians, "lanes": lanes, "setup": setup, "flops": flops}


def main(seconds: float = 4.0, repeats: int = 5, only: str | None = None) -> None:
    print(f"{RUNS} runs of one shape, two cores; run-steps per second, medians of {repeats} interleaved spells")
    print("model      plain  unstacked       ours  lanes   ours/plain (bar)  ours/unstacked  set-up")
    for model, bar in MODELS.items():
        if only not in (None, model):
            continue
        found = measure(model, seconds, repeats)
        rate = found["rates"]
        ratio, other = rate["ours"] / rate["plain"], rate["ours"] / rate["unstacked"]
        said = "" if bar is None or ratio >= bar else "  BELOW"
        print(
            f"{model:8s}{rate['plain']:8.0f}{rate['unstacked']:11.0f}{rate['ours']:11.0f}{found['lanes']:7d}"
            f"{ratio:10.2f} ({'-' if bar is None else f'{bar:g}'}){said:7s}{other:12.2f}{found['setup']:10.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--seconds", type=float, default=4.0)
    told.add_argument("--repeats", type=int, default=5)
    told.add_argument("--only", choices=tuple(MODELS))
    main(**vars(told.parse_args()))

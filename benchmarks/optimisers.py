"""Milliseconds of one optimiser step on the small matrices of this laboratory, beside AdamW's and PyTorch's own Muon.

    python benchmarks/optimisers.py [--repeats 200]

Each row is a model's worth of parameters: hidden matrices of d x d, 4d x d and d x 4d in turn, and as many parameters
again outside them. Medians of interleaved steps, one thread. The last column is PyTorch's Muon (bfloat16, matrix by
matrix) over ours (float32, all matrices of one shape at once).
"""

from __future__ import annotations

import argparse
import statistics
import time
from types import SimpleNamespace

import torch

from isoloss.training.optimizers import optimizers

NAMES = ("sgd", "adam", "adamw", "schedule-free", "muon", "soap", "shampoo")
SIZES = ((16, 6), (16, 24), (64, 6), (64, 24), (128, 6))


def matrices(width: int, count: int) -> list[torch.nn.Parameter]:
    shapes = [(width, width), (4 * width, width), (width, 4 * width)]
    return [torch.nn.Parameter(torch.randn(shapes[i % 3])) for i in range(count)]


def torch_muon(hidden: list[torch.nn.Parameter], others: list[torch.nn.Parameter]) -> list[object]:
    muon = torch.optim.Muon(hidden, lr=1e-3, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(others, lr=1e-3, fused=True)]


def main() -> None:
    told = argparse.ArgumentParser()
    told.add_argument("--repeats", type=int, default=200)
    repeats = told.parse_args().repeats
    torch.set_num_threads(1)
    choices = SimpleNamespace(betas=(0.9, 0.99), weight_decay=0.01, momentum=0.95, schedule="constant")
    print("  d matrices" + "".join(f"{n:>15}" for n in (*NAMES, "torch Muon", "torch / ours")))
    for width, count in SIZES:
        every: dict[str, tuple[list[torch.nn.Parameter], list[object]]] = {}
        for name in (*NAMES, "torch"):
            hidden = matrices(width, count)
            others = [torch.nn.Parameter(torch.randn(sum(p.numel() for p in hidden)))]
            if name == "torch":
                every[name] = hidden + others, torch_muon(hidden, others)
            else:
                every[name] = hidden + others, [optimizers.get(name).build(hidden, others, 1e-3, 1e-3, choices)]
                if hasattr(every[name][1][0], "train"):
                    every[name][1][0].train()
        taken: dict[str, list[float]] = {name: [] for name in every}
        for step in range(repeats + 10):
            for name, (parameters, parts) in every.items():
                for p in parameters:
                    p.grad = torch.randn_like(p)
                start = time.perf_counter()
                for part in parts:
                    part.step()
                if step >= 10:
                    taken[name].append(time.perf_counter() - start)
        # the mean over ten steps, since SOAP and Shampoo refresh every tenth; the median over those
        tens = {n: [statistics.fmean(t[i : i + 10]) for i in range(0, len(t), 10)] for n, t in taken.items()}
        cost = {n: 1e3 * statistics.median(t) for n, t in tens.items()}
        shown = "".join(f"{cost[n]:15.3f}" for n in (*NAMES, "torch"))
        print(f"{width:3d} {count:8d}{shown}{cost['torch'] / cost['muon']:15.2f}", flush=True)


if __name__ == "__main__":
    main()

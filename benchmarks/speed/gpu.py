"""The bars of a GPU: stacked small runs, a 124 M GPT-2, the LSTM beside cuDNN.

    python benchmarks/speed/gpu.py        (or: make bench-gpu)

Without a GPU it says that nothing was measured. With one: 64 runs of a 2 M-parameter Transformer trained as one vmapped
step against one at a time (bar 10x); model-FLOPs utilisation of a 124 M GPT-2 in compiled bfloat16 against the measured
rate of one product (bar 45%); a step of the LSTM language model against its bare cuDNN layer and head (bar 2x).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from isoloss.algorithms import algorithms
from isoloss.training.flops import FlopCounter
from isoloss.training.optimizers.adam import FusedAdam

Step = Callable[[], object]


def interleaved(ways: Mapping[str, Step], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each way, all in turn, the device idle before and after; the first three rounds warm up."""
    wait: Step = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 3):
        for name, way in ways.items():
            wait()
            start = time.perf_counter()
            way()
            wait()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[3:]) for name, seconds in taken.items()}


def language_model(name: str, vocabulary: int, device: torch.device, **choices: object) -> torch.nn.Module:
    cls = algorithms.get(f"language/{name}")
    return cls().model(vocabulary, cls.Choices(steps=1, **choices)).to(device)


def gpt2(vocabulary: int, device: torch.device, width: int, depth: int, context: int) -> torch.nn.Module:
    parts = {"feed_forward": "gelu", "norm": "layer", "positions": "learned", "head_width": 64}
    return language_model("transformer-modern", vocabulary, device, width=width, depth=depth, context=context, **parts)


def text(vocabulary: int, rows: int, context: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(vocabulary, (rows, context + 1), device=device)
    return tokens[:, :-1], tokens[:, 1:]


def trained(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Step:
    """A step: loss, gradient, AdamW in one kernel."""
    optimizer = FusedAdam(model.parameters(), 1e-3)

    def step() -> None:
        loss().backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)

    return step


def stacked(device: torch.device, runs: int = 64, width: int = 192, depth: int = 4, repeats: int = 10) -> float:
    """Run-steps a second of `runs` models in one vmapped step, over those of one model at a time."""
    x, y = text(256, 8, 128, device)
    models = [gpt2(256, device, width, depth, 128) for _ in range(runs)]
    values, buffers = torch.func.stack_module_state(models)
    one = models[0]

    def loss(parameters: dict[str, torch.Tensor], held: dict[str, torch.Tensor]) -> torch.Tensor:
        logits, _ = torch.func.functional_call(one, (parameters, held), (x,))
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    every = torch.func.vmap(torch.func.grad(loss), randomness="different")
    leaves = [v.detach().requires_grad_() for v in values.values()]
    optimizer = FusedAdam(leaves, 1e-3)

    def together() -> None:
        gradients = every(dict(zip(values, leaves, strict=True)), buffers)
        for leaf, gradient in zip(leaves, gradients.values(), strict=True):
            leaf.grad = gradient
        optimizer.step()

    alone = trained(one, lambda: F.cross_entropy(one(x)[0].flatten(0, 1), y.flatten()))
    seconds = interleaved({"together": together, "alone": alone}, repeats, device)
    return runs * seconds["alone"] / seconds["together"]


def product_rate(device: torch.device, size: int = 8192) -> float:
    """FLOP/s of one bfloat16 product of `size` cubed."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / interleaved({"product": lambda: a @ b}, 10, device)["product"]


def utilisation(
    device: torch.device, width: int = 768, depth: int = 12, context: int = 1024, vocabulary: int = 50304, rows: int = 8
) -> tuple[float, float]:
    """Counted FLOPs a second of a GPT-2 step in compiled bfloat16, and the rate of one product."""
    model = gpt2(vocabulary, device, width, depth, context)
    batch = text(vocabulary, rows, context, device)

    def loss() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return model.loss(*batch)[0]

    with FlopCounter() as counter:
        trained(model, loss)()
    seconds = interleaved({"step": trained(model, torch.compile(loss))}, 10, device)["step"]
    return counter.total / seconds, product_rate(device, 8192 if device.type == "cuda" else 512)


def beside_cudnn(device: torch.device, width: int = 512, rows: int = 64, context: int = 256) -> float:
    """Seconds of a step of our LSTM language model over those of the bare layer between a table and a product."""
    x, y = text(256, rows, context, device)
    ours = language_model("lstm", 256, device, width=width, depth=1, context=context)
    bare = torch.nn.ModuleList([torch.nn.LSTM(width, width, batch_first=True), torch.nn.Embedding(256, width)])
    bare = bare.to(device)
    layer, table = bare

    def plain() -> torch.Tensor:
        return F.cross_entropy(F.linear(layer(table(x))[0], table.weight).flatten(0, 1), y.flatten())

    ways = {"ours": trained(ours, lambda: ours.loss(x, y)[0]), "cudnn": trained(bare, plain)}
    seconds = interleaved(ways, 10, device)
    return seconds["ours"] / seconds["cudnn"]


def main(arguments: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    if not torch.cuda.is_available():
        print("GPU bars: not measured: no GPU")
        return
    device = torch.device("cuda")
    print(torch.cuda.get_device_name(device))
    torch.set_float32_matmul_precision("high")
    ratio = stacked(device)
    print(f"64 stacked runs over one at a time: {ratio:.1f} (bar 10: {'met' if ratio >= 10 else 'MISSED'})")
    reached, rate = utilisation(device)
    share = reached / rate
    print(
        f"GPT-2 124 M in bfloat16: {reached / 1e12:.0f} TFLOP/s of {rate / 1e12:.0f}: {share:.0%} "
        f"(bar 45%: {'met' if share >= 0.45 else 'MISSED'})"
    )
    ratio = beside_cudnn(device)
    print(f"LSTM step over bare cuDNN: {ratio:.2f} (bar 2: {'met' if ratio <= 2 else 'MISSED'})")


if __name__ == "__main__":
    main()

"""One training on several devices: the losses of one device, what is sent counted, no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from isoloss.algorithms import Rung, algorithms
from isoloss.errors import IsolossError
from isoloss.execution.timing import smoke_run
from isoloss.runs import Context
from isoloss.tasks import tasks
from isoloss.training.accumulate import backward
from isoloss.training.distributed import compressions, strategies
from isoloss.training.distributed.group import ring_bytes
from isoloss.training.distributed.launch import together

NAME = "systems/transformer"
SHAPE = {"width": 32, "depth": 4, "steps": 24, "batch_tokens": 512}
PARAMETERS = 52416
#: Everything that must give the losses of one device.
EXACT = {
    "checkpointing": {"devices": 1, "checkpointing": "sqrt"},
    "checkpointing of layers": {"devices": 1, "checkpointing": "layer"},
    "accumulation": {"devices": 1, "micro_batch": 128},
    "data": {"strategy": "data"},
    "data on four": {"strategy": "data", "devices": 4},
    "zero-1": {"strategy": "zero-1"},
    "fully-sharded": {"strategy": "fully-sharded"},
    "fully-sharded, checkpointing": {"strategy": "fully-sharded", "checkpointing": "sqrt"},
    "tensor": {"strategy": "tensor"},
    "tensor, checkpointing, accumulation": {"strategy": "tensor", "checkpointing": "sqrt", "micro_batch": 256},
}

pytestmark = pytest.mark.usefixtures("one_thread")


def ran(**changes):
    _, outcome, formula = smoke_run(NAME, ("validation",), {**SHAPE, **changes}, 1e9)
    assert outcome.status == "finished", outcome.error
    return outcome, formula


@pytest.fixture(scope="module")
def alone():
    return ran(devices=1)[0]


@pytest.mark.parametrize("name", EXACT)
def test_exact_methods_have_the_losses_of_one_device_at_the_price_they_state(name, alone):
    outcome, formula = ran(**EXACT[name])
    assert outcome.curve["step"] == alone.curve["step"]
    assert outcome.curve["train_loss"] == pytest.approx(alone.curve["train_loss"], rel=1e-5)
    assert outcome.qualities["validation"] == pytest.approx(alone.qualities["validation"], rel=1e-5)
    for same in ("examples", "steps", "parameters", "active_parameters"):
        assert outcome.resources[same] == alone.resources[same]
    assert outcome.resources["train_flops"].value == pytest.approx(formula, rel=0.01)


def test_what_each_strategy_sends_is_what_its_formula_says():
    """Of N numbers on two devices: an all-reduce sends N, and so do a reduce-scatter and an all-gather together."""
    n, steps = 4 * PARAMETERS, SHAPE["steps"]
    sent = {s: ran(strategy=s)[0].resources["bytes_communicated"] for s in ("data", "zero-1", "fully-sharded")}
    assert all(amount.how == "counted" for amount in sent.values())
    assert sent["data"].value == n * steps
    assert sent["zero-1"].value == pytest.approx(n * steps, rel=1e-3)  # and padding, and a norm
    # every block is gathered twice, the tables and the last norm once, and all gradients are scattered
    blocks = n - 4 * (59 * 32 + 32)
    assert sent["fully-sharded"].value == pytest.approx((n + blocks / 2) * steps, rel=0.02)
    every = ran(strategy="local", sync_every=8)[0].resources["bytes_communicated"].value
    assert every == n * steps / 8
    half = ran(compression="bfloat16")[0].resources["bytes_communicated"].value
    assert half == n * steps / 2


class _Spy(TorchDispatchMode):
    """Bytes of the tensors that are handed to each collective."""

    def __init__(self):
        super().__init__()
        self.handed = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func._overloadpacket)
        if name.startswith("c10d."):
            whole = args[1] if "scatter" in name else args[0]
            whole = whole[0] if isinstance(whole, (list, tuple)) else whole
            operation = "all_reduce" if "allreduce" in name else "reduce_scatter" if "scatter" in name else "all_gather"
            self.handed[operation] += ring_bytes(operation, whole.numel() * whole.element_size(), 2)
        return func(*args, **(kwargs or {}))


def _spied(group, context, choices):
    """Three steps of a strategy, what was counted and what was handed over, without what is only recorded."""
    own = algorithms.get(NAME)()
    kind = tasks.get("language/sotu")
    task = kind(kind.Options())
    choices = own.resolve(task, Rung("train_flops", 1e9), own.Choices(**choices))
    torch.manual_seed(1)
    trainee = own.whole.build(task, choices, 1)
    exchange = compressions.get(choices.compression)(group, choices)

    def build(matrices, others):
        from isoloss.training.optimizers import optimizers

        return optimizers.get("adamw").build(matrices, others, 0.01, 0.01, choices)

    mine = strategies.get(choices.strategy)(group, exchange, choices).divide(trainee, build)
    group.recorded_mean = lambda value: value.detach()
    with _Spy() as spy:
        for _ in range(3):
            backward(mine, next(mine.batches))
            mine.optimizer.step()
            for p in mine.model.parameters():
                p.grad = None
    return dict(group.sent), dict(spy.handed)


@pytest.mark.parametrize(
    "choices",
    [
        {"strategy": "data"},
        {"strategy": "zero-1"},
        {"strategy": "fully-sharded", "checkpointing": "sqrt"},
        {"strategy": "tensor", "micro_batch": 256},
        {"strategy": "local", "sync_every": 2},
        {"compression": "top-k"},
        {"compression": "power-sgd"},
        {"compression": "bfloat16"},
    ],
    ids=lambda c: "-".join(str(v) for v in c.values()),
)
def test_the_bytes_counted_are_those_handed_to_the_collectives(choices):
    sent, handed = together(2, Context(), _spied, {**SHAPE, **choices})
    assert sent and sent == handed


def test_local_steps_of_length_one_with_a_plain_outer_step_average_parameters():
    """Averaging parameters after a step of SGD is averaging gradients: the update is linear in them."""
    sgd = {"optimizer": "sgd", "lr": 0.3, "weight_decay": 0.0, "clip": 1e9}
    averaged = ran(strategy="local", sync_every=1, outer_lr=1.0, outer_momentum=0.0, **sgd)[0]
    assert averaged.curve["train_loss"] == pytest.approx(ran(**sgd)[0].curve["train_loss"], rel=1e-5)


def _compressed(group, context, name, rounds):
    """Sums over rounds of what devices gave and of what came back, of matrices that differ between devices."""
    choices = algorithms.get(NAME).Choices(compression=name, strategy="data")
    exchange = compressions.get(name)(group, choices)
    generator = torch.Generator().manual_seed(group.rank)
    fixed = [torch.randn(40, 30, generator=generator), torch.randn(17, generator=generator)]
    given, back = [torch.zeros(40, 30), torch.zeros(17)], [torch.zeros(40, 30), torch.zeros(17)]
    for _ in range(rounds):
        tensors = [t.clone() for t in fixed]
        exchange.average(tensors)
        for total, t in zip(back, tensors, strict=True):
            total += t
        for total, t in zip(given, fixed, strict=True):
            total += group.sum_(t.clone()) / group.size
    return given, back


@pytest.mark.parametrize("name", ["top-k", "power-sgd"])
def test_what_a_compression_leaves_out_comes_later(name):
    """With error feedback the mean of what comes back tends to that of what was given."""
    errors = []
    for rounds in (20, 400):
        given, back = together(2, Context(), _compressed, name, rounds)
        errors.append(sum(float((g - b).norm()) for g, b in zip(given, back, strict=True)) / rounds)
    assert errors[1] < 0.2 * errors[0] or errors[1] < 1e-3


def test_a_device_that_fails_is_named_and_the_next_run_starts_anew():
    with pytest.raises(RuntimeError, match="on device 1: ValueError: no"):
        together(2, Context(), _fails_on_one)
    assert together(2, Context(), _sum_of_ranks) == 1.0


def test_a_device_that_is_killed_is_named():
    with pytest.raises(RuntimeError, match="device 1 died"):
        together(2, Context(), _dies_on_one)
    assert together(2, Context(), _sum_of_ranks) == 1.0


def _dies_on_one(group, context):
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return group.sum_(torch.ones(()))


def _fails_on_one(group, context):
    if group.rank == 1:
        raise ValueError("no")
    return group.sum_(torch.ones(()))


def _sum_of_ranks(group, context):
    return float(group.sum_(torch.tensor(float(group.rank))))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_devices_die_with_the_process_that_started_them(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from isoloss.runs import Context\n"
        "from isoloss.training.distributed.launch import together\n"
        "from tests.test_distributed import _pids\n"
        "if __name__ == '__main__':\n"
        "    print(*together(2, Context(), _pids), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([sys.executable, script], **pipes) as parent:
        pids = [int(p) for p in parent.stdout.readline().split()]
        assert len(pids) == 2 and parent.pid in pids
        parent.send_signal(signal.SIGKILL)
    child = Path(f"/proc/{next(p for p in pids if p != parent.pid)}")
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().split(")")[1].split()[0]:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("device 1 outlived its parent")


def _pids(group, context):
    mine = torch.zeros(group.size, dtype=torch.float64)
    mine[group.rank] = os.getpid()
    return [int(p) for p in group.sum_(mine)]


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"batch_tokens": 192}, "can't be split over 2 devices"),
        ({"strategy": "tensor", "width": 48}, "3 heads can't be divided by 2"),
        ({"strategy": "tensor", "qk_norm": True}, "nothing that strategy 'tensor' can divide"),
        ({"strategy": "zero-1", "optimizer": "muon"}, "updates whole matrices"),
        ({"strategy": "zero"}, "unknown strategy 'zero'; did you mean zero-1"),
    ],
)
def test_what_can_not_be_divided_is_refused_before_any_run(choices, said):
    own, kind = algorithms.get(NAME)(), tasks.get("language/sotu")
    with pytest.raises(IsolossError, match=said):
        own.resolve(kind(kind.Options()), Rung("train_flops", 1e9), own.Choices(**{**SHAPE, **choices}))


@pytest.mark.parametrize(
    "choices", [{"outer_lr": 1.0}, {"devices": 1, "strategy": "local"}, {"keep": 0.1}, {"rank": 4}]
)
def test_a_choice_that_would_do_nothing_is_refused(choices):
    with pytest.raises(ValueError, match="does nothing with"):
        algorithms.get(NAME).Choices(**choices)


def test_the_rung_decides_the_depth_where_width_and_steps_are_given():
    own, kind = algorithms.get(NAME)(), tasks.get("language/sotu")
    task, settings = kind(kind.Options()), {"width": 16, "steps": 20, "devices": 1}
    for depth in (1, 4, 23, 64):
        budget = own.train_flops(task, own.Choices(**settings, depth=depth))
        found = own.resolve(task, Rung("train_flops", budget), own.Choices(**settings))
        assert found.depth == depth
        # the same model whatever is done to its activations
        again = own.resolve(task, Rung("train_flops", budget), own.Choices(**settings, checkpointing="sqrt"))
        assert again.depth == depth

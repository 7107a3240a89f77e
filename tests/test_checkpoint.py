"""A run that was stopped or killed goes on where it was and ends the same, to the last bit; faults cost time alone."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import math
import resource
import signal
import time

import pytest

torch = pytest.importorskip("torch")

from isoloss.algorithms import Rung, algorithms  # noqa: E402
from isoloss.execution.engine import Job  # noqa: E402
from isoloss.execution.timing import smoke_run  # noqa: E402
from isoloss.execution.worker import carry_out as carry_out_in_worker  # noqa: E402
from isoloss.runs import MACHINE_RESOURCES, Context, RunSpec, Stop, Stopped  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training import checkpoint, loop  # noqa: E402
from isoloss.training.faults import is_out_of_memory, out_of_memory_line  # noqa: E402
from isoloss.training.gradient import GradientAlgorithm, Trainee  # noqa: E402
from isoloss.training.keeper import Keeper  # noqa: E402
from isoloss.training.optimizers import optimizers  # noqa: E402
from isoloss.training.optimizers.adam import FusedAdam  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class StopAfter(Stop):
    """Tells a run to end when it has looked so often."""

    def __init__(self, looks):
        self.left, self.heeded = looks, False

    @property
    def told(self):
        self.left -= self.heeded
        return self.left < 0


def language(steps=60, algorithm="language/transformer-modern", seed=3, **choices):
    task, cls = tasks.get("language/sotu")(), algorithms.get(algorithm)
    asked = {"width": 8, "depth": 1, "steps": steps, "context": 16, "batch_tokens": 64} | choices
    resolved = cls().resolve(task, Rung("train_flops", 1e8 * steps), cls.Choices(**asked))
    return RunSpec(
        algorithm, cls.card.version, "language/sotu", tasks.get("language/sotu").card.version, {}, "train_flops",
        1e8 * steps, None, resolved.model_dump(mode="json"), seed, ("validation",),
    )  # fmt: skip


def carry_out(run, cache=None, looks=None, every=1e9):
    task = tasks.get(run.task)(tasks.get(run.task).Options(**run.task_options))
    stop = Stop() if looks is None else StopAfter(looks)
    return algorithms.get(run.algorithm)().run(task, run, Context(cache=cache, stop=stop, checkpoint_seconds=every))


def stopped_after(run, cache, looks):
    with pytest.raises(Stopped):
        carry_out(run, cache, looks)
    return cache / "checkpoints" / f"{run.run_id}.pt"


def same(a, b):
    assert (a.status, a.qualities, a.curve) == (b.status, b.qualities, b.curve)
    charged = [{k: v for k, v in o.resources.items() if k not in MACHINE_RESOURCES} for o in (a, b)]
    assert charged[0] == charged[1]


@pytest.mark.parametrize("name", [n for n in algorithms.names() if issubclass(algorithms.get(n), GradientAlgorithm)])
def test_every_algorithm_goes_on_where_it_was_stopped(tmp_path, name):
    run, straight, _ = smoke_run(name, ("validation",))
    steps = int(straight.resources["steps"].value)
    path = stopped_after(run, tmp_path, steps // 2)
    assert torch.load(path, weights_only=True)["step"] == steps // 2 + 1
    resumed = carry_out(run, tmp_path)
    same(resumed, straight)
    assert resumed.notes == ()


@pytest.mark.parametrize("optimizer", optimizers.names())
def test_every_optimiser_goes_on_where_it_was_stopped(tmp_path, optimizer):
    run = language(optimizer=optimizer, schedule="constant", dropout=0.1)
    straight = carry_out(run)
    for looks in (2, 20, 30):  # again and again; while FLOPs are still counted, nothing is kept
        stopped_after(run, tmp_path, looks)
    same(carry_out(run, tmp_path), straight)


@pytest.mark.parametrize(
    ("algorithm", "choices"),
    [
        ("language/lstm", {"dropout": 0.1}),
        ("language/transformer-modern", {"experts": 4, "experts_balance": "bias"}),
        ("language/transformer-modern", {"mixer": "gated-delta"}),
        ("language/transformer-modern", {"schedule": "wsd", "trunk_warmup": 10}),
    ],
)
def test_states_buffers_noise_and_trunks_go_on(tmp_path, algorithm, choices):
    run = language(100, algorithm, **choices)
    straight = carry_out(run)
    stopped_after(run, tmp_path, 30)
    stopped_after(run, tmp_path, 60)  # a trunk's decay begins at step 80
    same(carry_out(run, tmp_path), straight)


@pytest.mark.parametrize("numerics", [{"shards": 2}, {"dtype": "bfloat16"}, {"matmul": "onednn"}])
def test_whatever_the_arithmetic_it_goes_on(tmp_path, numerics):
    run = language(40, "language/lstm")
    run = dataclasses.replace(run, numerics={**run.numerics, **numerics})
    straight = carry_out(run)
    stopped_after(run, tmp_path, 20)
    same(carry_out(run, tmp_path), straight)


def test_checkpoints_on_the_way_change_nothing(tmp_path):
    run = language()
    same(carry_out(run, tmp_path, every=0), carry_out(run))
    path = tmp_path / "checkpoints" / f"{run.run_id}.pt"
    assert torch.load(path, weights_only=True)["step"] == 60  # the last, since its evaluation might be cut off
    same(carry_out(run, tmp_path), carry_out(run))


def test_time_and_work_of_earlier_attempts_are_in_the_record(tmp_path):
    run = language(100, schedule="wsd", trunk_warmup=10)
    path = stopped_after(run, tmp_path, 60)
    held = checkpoint.read(path, torch.load(path, weights_only=True)["key"], model_of(run))
    held["own"]["seconds"] = 1000.0
    checkpoint.write(path, held)
    resumed = carry_out(run, tmp_path)
    assert 1000 < resumed.resources["seconds"].value < 1100 and resumed.seconds["compute"] > 1000
    assert resumed.resources["spent_flops"] == resumed.resources["train_flops"]  # this run did all of it itself


def model_of(run):
    task = tasks.get(run.task)()
    algorithm = algorithms.get(run.algorithm)()
    return algorithm.build(task, algorithm.Choices(**run.choices), run.seed).model


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


class Payload:
    """Pickled, it makes the reader run a command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (type(self.marker).touch, (self.marker,))


def hostile(whole: bytes, marker) -> bytes:
    buffer = io.BytesIO()
    torch.save({"step": Payload(marker)}, buffer)
    return sealed(buffer.getvalue())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda whole, _: whole[: len(whole) // 2], "is damaged"),
        (lambda whole, _: b"", "is damaged"),
        (lambda whole, _: bytes(b ^ (i == len(whole) // 2) for i, b in enumerate(whole)), "is damaged"),
        (lambda whole, _: sealed(b"cos\nsystem\n(S'touch hostile'\ntR."), "holds more than tensors and plain values"),
        (hostile, "holds more than tensors and plain values"),
        (lambda whole, _: edited(whole, format=0), "has another format"),
        (lambda whole, _: edited(whole, key='{"identity": 1}'), "is of another run"),
        (lambda whole, _: edited(whole, model={}), "does not fit the model"),
    ],
)
def test_a_checkpoint_that_is_not_whole_or_not_ours_is_named_and_training_starts_anew(tmp_path, spoil, said):
    run, marker = language(), tmp_path / "ran"
    path = stopped_after(run, tmp_path, 30)
    path.write_bytes(spoil(path.read_bytes(), marker))
    outcome = carry_out(run, tmp_path)
    assert not marker.exists()
    same(outcome, carry_out(run))
    (note,) = outcome.notes
    assert said in note and str(path) in note and note.endswith("training started anew") and "\n" not in note


def edited(whole: bytes, **changes) -> bytes:
    held = torch.load(io.BytesIO(whole), weights_only=True) | changes
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return sealed(buffer.getvalue())


def test_every_flipped_bit_is_seen(tmp_path):
    run = language(steps=20)
    path = stopped_after(run, tmp_path, 10)
    whole, key, model = path.read_bytes(), torch.load(path, weights_only=True)["key"], model_of(run)
    assert checkpoint.read(path, key, model)["step"] == 11
    for place in range(0, len(whole), max(len(whole) // 300, 1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="is damaged"):
            checkpoint.read(path, key, model)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("torch", "1.0"),
        ("isoloss", "0.1.0 other code"),
        ("processor", "another one"),
        ("instructions", "DEFAULT"),
        ("threads", 7),
    ],
)
def test_another_machine_or_version_starts_anew_and_says_so(tmp_path, fact, value):
    run = language()
    path = stopped_after(run, tmp_path, 30)
    key = json.loads(torch.load(path, weights_only=True)["key"])
    here = key["arithmetic"][fact]
    key["arithmetic"][fact] = value
    path.write_bytes(edited(path.read_bytes(), key=json.dumps(key, sort_keys=True)))
    outcome = carry_out(run, tmp_path)
    assert f"was made elsewhere: {fact} {value} (here {here})" in outcome.notes[0]
    same(outcome, carry_out(run))


def test_a_full_disk_is_named_once_and_the_run_goes_on(tmp_path):
    run = language()
    path = stopped_after(run, tmp_path, 30)
    older = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(older) // 2, limit[1]))
        outcome = carry_out(run, tmp_path, every=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    same(outcome, carry_out(run))
    (note,) = outcome.notes
    assert note.startswith("no checkpoint: File too large") and str(tmp_path) in note
    assert path.read_bytes() == older, "an older checkpoint stays until a newer one is whole"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "half a file is not left lying about"


def test_a_cache_that_is_no_folder_costs_time_alone(tmp_path):
    run = language()
    (tmp_path / "checkpoints").write_text("in the way")
    outcome = carry_out(run, tmp_path, every=0)
    same(outcome, carry_out(run))
    assert outcome.notes


def test_a_state_that_is_more_than_tensors_is_named(tmp_path, monkeypatch):
    run = language()
    monkeypatch.setattr(checkpoint, "_plain", lambda value: value == [] or isinstance(value, list))
    outcome = carry_out(run, tmp_path, every=0)
    assert outcome.notes == (
        "no checkpoint: the state of the optimiser or model is more than tensors and plain values",
    )


def test_checkpoints_come_less_often_where_they_take_long(tmp_path):
    run = language()
    task, algorithm = tasks.get(run.task)(), algorithms.get(run.algorithm)()
    trainee = algorithm.build(task, algorithm.Choices(**run.choices), run.seed)
    keeper = Keeper(trainee, run, Context(cache=tmp_path, checkpoint_seconds=60))
    keeper._copying, keeper._last = 0.2, time.monotonic() - 70
    assert keeper._due()
    keeper._copying = 1.0  # a second in 200 is half a percent
    assert not keeper._due()
    keeper._last -= 140
    assert keeper._due()


# -- loops that break -----------------------------------------------------------------------------------------------


class Broken(torch.nn.Module):
    """A parameter that a chosen fault meets at a chosen step."""

    def __init__(self, fault, at):
        super().__init__()
        self.weight, self.steps, self.fault, self.at = torch.nn.Parameter(torch.ones(3, 3)), 0, fault, at

    def loss(self):
        self.steps += 1
        found = (self.weight**2).sum()
        return self.fault(self.weight, found) if self.steps == self.at else found


def broken(fault, at, steps=2000, clip=1.0, optimizer=None):
    model = Broken(fault, at)
    return model, Trainee(
        model=model,
        optimizer=optimizer or FusedAdam(model.parameters(), 1e-3),
        batches=itertools.repeat(None),
        loss=lambda _: model.loss(),
        evaluate=lambda split: 1.0,
        schedule=lambda progress: 1.0,
        steps=steps,
        examples_per_step=1,
        clip=clip,
    )


def nan_loss(weight, loss):
    return loss * math.nan


def infinite_loss(weight, loss):
    return loss / 0


def nan_gradient(weight, loss):
    loss.register_hook(lambda g: g * math.nan)
    return loss


def svd_of_nan(weight, loss):
    with torch.no_grad():
        weight.fill_(math.nan)
    return torch.linalg.svdvals(weight).sum()


def one_silent_entry(weight, loss):
    """No later loss sees it: as a row of an embedding that no later batch reads."""
    with torch.no_grad():
        weight.data = torch.full_like(weight, math.inf)
    return loss


@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("fault", [nan_loss, infinite_loss, nan_gradient, svd_of_nan])
@pytest.mark.parametrize("at", [1, 1100, 1990])
def test_no_number_anywhere_ends_as_diverged_and_soon(fault, at, clip):
    marks = loop.log_steps(2000)
    assert at == 1 or not set(marks) & set(range(at, at + 5)), "between two marks of the curve"
    _, trainee = broken(fault, at, clip=clip)
    outcome = loop.Member(trainee, ("validation",), Context()).train()
    assert outcome.status == "diverged" and not outcome.qualities and not outcome.error
    assert outcome.resources["steps"].value == outcome.curve["step"][-1] <= at + loop.CHECK_EVERY
    assert not math.isfinite(outcome.curve["train_loss"][-1])


@pytest.mark.parametrize("fault", [nan_gradient, one_silent_entry])
def test_weights_that_are_no_numbers_after_the_last_step_are_never_evaluated(fault):
    _, trainee = broken(fault, 2000)
    trainee.evaluate = lambda split: pytest.fail("evaluated")
    assert loop.Member(trainee, ("validation",), Context()).train().status == "diverged"


def test_a_fault_of_code_is_no_divergence():
    _, trainee = broken(lambda weight, loss: weight @ torch.ones(5, 5), 3)
    with pytest.raises(RuntimeError, match="shape"):
        loop.Member(trainee, (), Context()).train()


def test_memory_that_runs_out_is_said_with_its_amount(tmp_path, monkeypatch):
    run = language()

    def too_much(self, *shape):
        return torch.empty(2**55, dtype=torch.uint8)

    monkeypatch.setattr("isoloss.tasks.text.task.TextTask.batches", too_much)
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path))
    (outcome,), _ = carry_out_in_worker(Job((run,), (None,)))
    assert outcome.status == "failed"
    assert outcome.error.startswith("out of memory: 33554432.0 GiB more were asked for; use fewer --workers")


@pytest.mark.parametrize(
    ("error", "amount"),
    [
        (MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"), "7.5 GiB more"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total"), "0.0 GiB more"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes. Error"),
            "3.7",
        ),
        (MemoryError(), "none was left"),
        (RuntimeError("std::bad_alloc"), "none was left"),
    ],
)
def test_every_way_of_running_out_of_memory_is_known(error, amount):
    assert is_out_of_memory(error) and amount in out_of_memory_line(error)
    assert not is_out_of_memory(ValueError("out of memory"))

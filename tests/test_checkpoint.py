"""A run that was stopped or killed goes on where it was and ends the same, to the last bit; faults cost time alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from isoloss.algorithms import Rung, algorithms  # noqa: E402
from isoloss.execution.timing import smoke_run  # noqa: E402
from isoloss.runs import MACHINE_RESOURCES, Context, RunSpec, Stop, Stopped  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training.optimizers import optimizers  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.mark.parametrize("name", algorithms.names())
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


def test_checkpoints_on_the_way_change_nothing(tmp_path):
    run = language()
    same(carry_out(run, tmp_path, every=0), carry_out(run))
    path = tmp_path / "checkpoints" / f"{run.run_id}.pt"
    assert torch.load(path, weights_only=True)["step"] == 60  # the last, since its evaluation might be cut off
    same(carry_out(run, tmp_path), carry_out(run))

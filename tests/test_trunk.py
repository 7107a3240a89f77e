"""Branches of a trunk: the same run to the last bit, however much of it somebody else has trained."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from isoloss.algorithms import Rung, algorithms  # noqa: E402
from isoloss.errors import StudyError  # noqa: E402
from isoloss.runs import MACHINE_RESOURCES, Context, RunSpec  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training.optimizers import optimizers  # noqa: E402
from isoloss.training.trunk import Stem, branch_step, checkpoint_steps  # noqa: E402

WARMUP = 20


def spec(algorithm="language/transformer-modern", steps=120, seed=3, **choices):
    """A branch of `steps` steps with everything resolved, as planning would make it."""
    task, cls = tasks.get("language/sotu")(), algorithms.get(algorithm)
    asked = {"schedule": "wsd", "trunk_warmup": WARMUP, "width": 8, "depth": 1, "steps": steps, "context": 16} | choices
    resolved = cls().resolve(task, Rung("train_flops", 1e8 * steps), cls.Choices(batch_tokens=64, **asked))
    return RunSpec(
        algorithm, cls.card.version, "language/sotu", tasks.get("language/sotu").card.version, {}, "train_flops",
        1e8 * steps, None, resolved.model_dump(mode="json"), seed, ("validation",),
    )  # fmt: skip


def carry_out(run, cache=None):
    torch.set_num_threads(1)
    task = tasks.get(run.task)()
    return algorithms.get(run.algorithm)().run(task, run, Context(cache=cache))


def same(a, b):
    """Equal in everything but what it cost here."""
    assert (a.status, a.qualities, a.curve) == (b.status, b.qualities, b.curve)
    charged = [{k: v for k, v in o.resources.items() if k not in MACHINE_RESOURCES} for o in (a, b)]
    assert charged[0] == charged[1]


def spent(outcome):
    return outcome.resources["spent_flops"].value / outcome.resources["train_flops"].value


@pytest.mark.parametrize("optimizer", [o for o in optimizers.names() if o != "schedule-free"])
def test_a_branch_of_a_trained_trunk_is_the_same_run(tmp_path, optimizer):
    short, long = (spec(steps=n, optimizer=optimizer, dropout=0.1) for n in (120, 300))
    assert short.trunk_id == long.trunk_id and short.run_id != long.run_id
    straight = {run.run_id: carry_out(run) for run in (short, long)}
    assert all(spent(o) == 1 for o in straight.values())
    first, second = carry_out(long, tmp_path), carry_out(short, tmp_path)  # longest first, as runs are claimed
    same(first, straight[long.run_id])
    same(second, straight[short.run_id])
    assert spent(first) == 1
    if list(tmp_path.glob("trunks/*/*.pt")):
        # the checkpoint at step 91 serves the branch at 96
        assert spent(second) == pytest.approx(1 - 91 / 120, abs=0.05)
        again = carry_out(replace(long, evaluate=("validation", "test")), tmp_path)
        assert again.qualities["validation"] == first.qualities["validation"]
        assert spent(again) == pytest.approx(0.2, abs=0.01)
    else:
        assert optimizer == "shampoo", "the only one whose state is not tensors and numbers"


@pytest.mark.parametrize(
    ("algorithm", "choices"),
    [
        ("language/lstm", {"dropout": 0.1}),
        ("language/transformer-modern", {"experts": 4, "experts_balance": "bias"}),
        ("language/transformer-modern", {"mixer": "gated-delta"}),
        ("language/transformer-retro", {"optimizer": "adam"}),
    ],
)
def test_states_buffers_and_noise_go_on_where_they_were(tmp_path, algorithm, choices):
    short, long = (spec(algorithm, n, **choices) for n in (100, 250))
    carry_out(long, tmp_path)
    resumed = carry_out(short, tmp_path)
    assert spent(resumed) < 0.5
    same(resumed, carry_out(short))


def test_other_seeds_choices_and_code_have_other_trunks():
    base = spec()
    others = [spec(seed=4), spec(lr=0.02), spec(trunk_warmup=21), replace(base, code="edited")]
    others += [replace(base, algorithm_version=99), replace(base, task_options={"evaluation_bytes": 4096})]
    assert len({r.trunk_id for r in (base, *others)}) == len(others) + 1
    assert spec("language/lstm").trunk_id != base.trunk_id
    plain = replace(base, choices={k: v for k, v in base.choices.items() if k != "trunk_warmup"})
    assert plain.trunk_id is None


def test_a_damaged_or_foreign_checkpoint_is_passed_over(tmp_path):
    short, long = spec(steps=120), spec(steps=300)
    carry_out(long, tmp_path)
    files = sorted(tmp_path.glob("trunks/*/*.pt"))
    assert [int(f.stem) for f in files] == checkpoint_steps(240)
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: len(whole) // 2])
    cut = carry_out(short, tmp_path)
    assert spent(cut) == pytest.approx(1 - 64 / 120, abs=0.05)
    (files[0].parent / f"{branch_step(120):09d}.pt").unlink()
    files[1].write_bytes(files[2].read_bytes())  # another step under this name
    files[0].write_bytes(b"cos\nsystem\n(S'false'\ntR.")  # a pickle that would run a command
    unusable = carry_out(short, tmp_path)
    assert spent(unusable) == 1
    same(cut, carry_out(short))
    same(unusable, cut)


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path):
    (tmp_path / "trunks").write_text("in the way")
    same(carry_out(spec(), tmp_path), carry_out(spec()))


def _work(run, cache, results):
    results.put((run.run_id, carry_out(run, Path(cache))))


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(tmp_path):
    run = spec(steps=2000)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_work, args=(run, str(tmp_path), results))
    process.start()
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("trunks/*/000000181.pt")) and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed = carry_out(run, tmp_path)  # the dead process's lock is free again
    assert spent(resumed) < 1
    same(resumed, carry_out(run))


def test_two_at_once_do_not_train_the_same_stretch_twice(tmp_path):
    runs = [spec(steps=n) for n in (700, 900)]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_work, args=(run, str(tmp_path), results)) for run in runs]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=300) for _ in processes)
    for process in processes:
        process.join()
    for run in runs:
        same(found[run.run_id], carry_out(run))
    assert min(spent(o) for o in found.values()) < 0.6


def test_a_warm_up_that_does_not_fit_or_another_schedule_is_refused():
    with pytest.raises(StudyError, match=r"trunk_warmup: 97 steps of warm-up do not fit before the decay at step 96"):
        spec(trunk_warmup=97)
    with pytest.raises(StudyError, match="goes with schedule 'wsd', not 'cosine'"):
        spec(schedule="cosine")


@given(st.integers(20, 5000), st.integers(20, 5000), st.integers(1, 50))
def test_the_stable_phase_does_not_depend_on_the_length(a, b, warmup):
    one, other = Stem(warmup, a), Stem(warmup, b)
    common = min(one.branch, other.branch)
    for step in {1, warmup, common // 2 + 1, common}:
        if step <= common:
            assert one.rate(step) == other.rate(step)
    assert 1 <= one.branch < a and one.rate(a) == 0
    decay = [one.rate(s) for s in range(one.branch, a + 1)]
    assert decay == sorted(decay, reverse=True) or one.branch < warmup


@given(st.integers(1, 10**6))
def test_checkpoints_are_few_and_never_far_behind(branch):
    steps = checkpoint_steps(branch)
    assert steps[-1] == branch and len(steps) <= 2 * math.log2(max(branch, 64)) + 2
    for wanted in (branch // 2, branch // 3):
        if wanted >= 64:
            assert max(s for s in steps if s <= wanted) >= wanted / 1.45

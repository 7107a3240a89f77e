"""Cross-entropy in chunks: the same loss, gradients and FLOPs, and a fraction of the memory."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from isoloss.algorithms import Rung, algorithms  # noqa: E402
from isoloss.algorithms.language import loss as module  # noqa: E402
from isoloss.algorithms.language.loss import token_loss  # noqa: E402
from isoloss.runs import Context, RunSpec  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training.flops import FlopCounter  # noqa: E402
from isoloss.training.precision import BFloat16Products  # noqa: E402


def leaves(tokens=60, width=24, vocabulary=500):
    generator = torch.Generator().manual_seed(1)
    shapes = ((3, tokens // 3, width), (vocabulary, width), (vocabulary,))
    made = [torch.randn(*s, generator=generator).mul_(0.5).requires_grad_() for s in shapes]
    return made, torch.randint(vocabulary, (3, tokens // 3), generator=generator)


def capped(x, table):
    return 5 * torch.tanh(F.linear(x, table) / 5)


@pytest.mark.parametrize("logits,parameters", [(F.linear, 2), (F.linear, 1), (capped, 1)])
@pytest.mark.parametrize("rows", [7, 20, 1000])
def test_loss_and_gradients_are_those_of_all_logits_at_once(logits, parameters, rows):
    found = []
    for chunk in (None, rows):
        (x, *rest), target = leaves()
        used = rest[:parameters]
        value = token_loss(logits, x, target, *used, rows=chunk)
        (3 * value).backward()
        found.append([value.detach(), x.grad, *(p.grad for p in used)])
    for plain, chunked in zip(*found, strict=True):
        assert (plain - chunked).abs().max() <= 1e-6 * plain.abs().max().clamp(min=1)


def test_under_bfloat16_products_its_products_are_bfloat16_too():
    losses = []
    for rows in (None, 10):
        (x, table, _), target = leaves()
        with BFloat16Products():
            loss = token_loss(F.linear, x, target, table, rows=rows)
        loss.backward()
        losses.append((loss.item(), table.grad))
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert (losses[0][1] - losses[1][1]).abs().max() < 1e-2 * losses[0][1].abs().max()


def test_it_costs_the_same_flops():
    totals = []
    for rows in (None, 20):
        (x, table, bias), target = leaves(width=128)
        with FlopCounter() as counter:
            token_loss(F.linear, x, target, table, bias, rows=rows).backward()
        totals.append(counter.total)
    # a chunk's gradients are added to those before it: an element of the table for each chunk
    assert totals[1] == pytest.approx(totals[0], rel=0.02)


def test_logits_of_all_tokens_never_exist():
    (x, table, _), target = leaves(tokens=600, vocabulary=1000)
    largest = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            largest.append(
                max((t.numel() for t in torch.utils._pytree.tree_leaves(out) if hasattr(t, "numel")), default=0)
            )
            return out

    with Watch():
        token_loss(F.linear, x, target, table, rows=20).backward()
    assert max(largest) <= max(20 * 1000, table.numel())


@pytest.mark.parametrize(
    "algorithm,choices",
    [("language/lstm", {}), ("language/transformer-modern", {"prediction": 2}), ("language/transformer-retro", {})],
)
def test_a_run_in_chunks_is_the_same_run_at_the_price_it_states(algorithm, choices, monkeypatch):
    task, cls = tasks.get("language/sotu")(), algorithms.get(algorithm)
    asked = {"width": 32, "depth": 1, "steps": 20, "context": 16, "batch_tokens": 128} | choices
    resolved = cls().resolve(task, Rung("train_flops", 1e9), cls.Choices(**asked))
    run = RunSpec(
        algorithm, 1, "language/sotu", 1, {}, "train_flops", 1e9, None, resolved.model_dump(mode="json"), 3,
        ("validation",),
    )  # fmt: skip
    plain = cls().run(task, run, Context())
    monkeypatch.setattr(module, "LARGE_VOCABULARY", 1)
    monkeypatch.setattr(module, "FEWEST_ROWS", 32)
    monkeypatch.setattr(module, "LOGITS", 1)
    chunked = cls().run(task, run, Context())
    assert chunked.curve["train_loss"] == pytest.approx(plain.curve["train_loss"], rel=1e-4)
    formula = cls().train_flops(task, resolved)
    assert chunked.resources["train_flops"].value == pytest.approx(formula, rel=0.02)

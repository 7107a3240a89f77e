"""Optimisers: they descend, cost what their formulas say, are what they are called, and repeat to the bit."""

from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from isoloss.errors import MissingError, StudyError, UnknownNameError
from isoloss.registry import Registry
from isoloss.runs import Context
from isoloss.training.flops import FlopCounter, PeriodicMeter
from isoloss.training.gradient import Trainee
from isoloss.training.loop import Member
from isoloss.training.optimizers import BUILTIN, optimizers
from isoloss.training.optimizers.muon import ADAMW_RMS, orthogonalise
from isoloss.training.schedules import schedules

NAMES = sorted(BUILTIN)
EVERY = pytest.mark.parametrize("name", NAMES)
#: rows, columns, how many: square and both kinds of rectangle, alone and together
SHAPES = {
    "square": [(16, 16, 4)],
    "tall and wide": [(64, 16, 1), (16, 64, 2)],
    "mixed": [(6, 6, 2), (24, 6, 1), (6, 24, 1)],
    "longer than a block": [(520, 8, 1)],
}

pytestmark = pytest.mark.usefixtures("one_thread")


def choices(**changes: Any) -> SimpleNamespace:
    given = {"betas": (0.9, 0.99), "weight_decay": 0.01, "momentum": 0.9, "schedule": "constant"}
    return SimpleNamespace(**given | changes)


def parameters(shapes: list[tuple[int, ...]], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def start(optimizer: Any) -> Any:
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def feed(ps: list[nn.Parameter], generator: torch.Generator) -> None:
    for p in ps:
        p.grad = torch.randn(p.shape, generator=generator)


class Regression:
    """A linear map with a bias and a gain, learnt from noiseless examples: loss 0 can be reached."""

    def __init__(self, name: str, lr: float, steps: int, schedule: Any, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        truth_io = torch.randn(6, 8, generator=generator)
        self.model = nn.Linear(6, 8)
        with torch.no_grad():
            self.model.weight.copy_(0.1 * torch.randn(8, 6, generator=generator))
            self.model.bias.fill_(1.0)

        def batches():
            while True:
                x_bi = torch.randn(32, 6, generator=generator)
                yield x_bi, x_bi @ truth_io

        part = optimizers.get(name)
        self.optimizer = part.build([self.model.weight], [self.model.bias], lr, lr, choices(weight_decay=0.0))
        self.losses: list[float] = []
        self.trainee = Trainee(
            model=self.model,
            optimizer=self.optimizer,
            batches=batches(),
            loss=self.loss,
            evaluate=lambda split: self.distance(truth_io),
            schedule=schedule,
            steps=steps,
            examples_per_step=32,
        )

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (self.model(batch[0]) - batch[1]).square().mean()

    def distance(self, truth_io: torch.Tensor) -> float:
        error = (self.model.weight.T - truth_io).square().sum() + self.model.bias.square().sum()
        return float(error / truth_io.square().sum())


@EVERY
def test_a_regression_is_solved(name):
    schedule = schedules.get("constant" if name == "schedule-free" else "linear-to-zero")
    found = Member(Regression(name, 0.05, 600, schedule).trainee, ("all",), Context()).train()
    assert found.status == "finished"
    assert found.qualities["all"] < 1e-2  # of the distance that zero weights have


@EVERY
def test_the_same_seed_gives_the_same_bits(name):
    runs = [
        Member(Regression(name, 0.05, 40, schedules.get("constant"), 3).trainee, ("all",), Context()).train()
        for _ in "ab"
    ]
    assert runs[0].qualities == runs[1].qualities
    assert runs[0].curve == runs[1].curve
    assert runs[0].resources["train_flops"] == runs[1].resources["train_flops"]


@EVERY
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_the_formula_agrees_with_the_counter(name, decay, shapes):
    part, given = optimizers.get(name), choices(weight_decay=decay)
    matrices = parameters([(r, c) for r, c, count in shapes for _ in range(count)])
    others = parameters([(50, 16), (16,)])
    optimizer = start(part.build(matrices, others, 0.01, 0.02, given))
    assert getattr(optimizer, "period", 1) == part.period
    meter, generator = PeriodicMeter(part.period), torch.Generator().manual_seed(0)
    for _ in range(1 + part.period):
        feed([*matrices, *others], generator)
        with meter.step():
            optimizer.step()
    counted = sum(meter.counted[1:]) / part.period
    assert part.flops(shapes, 50 * 16 + 16, given) == pytest.approx(counted, rel=0.02)


@EVERY
def test_what_the_loop_counts_is_what_all_steps_cost(name):
    """The loop watches 1 + period steps and repeats them; here every step is watched."""
    steps = 27  # for a period of ten: two and a bit
    schedule = schedules.get("constant")
    reported = Member(Regression(name, 0.05, steps, schedule).trainee, (), Context()).train()
    watched = Regression(name, 0.05, steps, schedule).trainee
    watched.loss, loss, costs = None, watched.loss, []  # type: ignore[assignment]
    start(watched.optimizer)
    for _ in range(steps):
        batch = next(watched.batches)
        with FlopCounter() as counter:
            loss(batch).backward()
            grads = [p.grad for p in watched.model.parameters() if p.grad is not None]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
            torch._foreach_mul_(grads, (1.0 / (norm + 1e-6)).clamp_(max=1.0))
            watched.optimizer.step()
            for p in watched.model.parameters():
                p.grad = None
        costs.append(counter.total)
    assert reported.resources["train_flops"].value == sum(costs)
    assert reported.curve["train_flops"] == [sum(costs[: int(s)]) for s in reported.curve["step"]]


@pytest.mark.parametrize("rates", [(0.02, 0.02), (0.02, 0.05)])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_plain_ones_are_pytorchs_to_the_bit(name, rates):
    shapes = [(8, 4), (4, 8), (5,)]
    ours, theirs = parameters(shapes), parameters(shapes)
    given = choices(weight_decay=0.1)
    mine = optimizers.get(name).build(ours[:2], ours[2:], *rates, given)
    groups = [{"params": theirs[:2], "lr": rates[0]}, {"params": theirs[2:], "lr": rates[1]}]
    if name == "sgd":
        reference: Any = torch.optim.SGD(groups, momentum=0.9, weight_decay=0.1, foreach=True)
    else:
        decay = 0.1 if name == "adamw" else 0.0
        reference = torch.optim.AdamW(groups, betas=given.betas, weight_decay=decay, fused=True)
    generator = torch.Generator().manual_seed(1)
    for step in range(20):
        feed(ours, generator)
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad.clone()  # type: ignore[union-attr]
        for group in [*mine.param_groups, *reference.param_groups]:
            group["lr"] *= 0.9**step
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_muon_is_pytorchs_in_float32(monkeypatch):
    """PyTorch's iterates in bfloat16; with that cast taken out, the two agree to rounding."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
    shapes = [(8, 8), (8, 8), (24, 8), (8, 24), (8, 24)]
    ours, theirs = parameters(shapes), parameters(shapes)
    given = choices(weight_decay=0.1, momentum=0.95)
    mine = optimizers.get("muon").build(ours, [], 0.02, 0.02, given)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    generator = torch.Generator().manual_seed(1)
    for step in range(10):
        feed(ours, generator)
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad.clone()  # type: ignore[union-attr]
        for group in [*mine.param_groups, *reference.param_groups]:
            group["lr"] = 0.02 * 0.9**step
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16), (12, 48)])
def test_orthogonalising_keeps_the_directions_and_evens_out_the_sizes(shape):
    generator = torch.Generator().manual_seed(0)
    rank = min(shape)
    u_rk, _ = torch.linalg.qr(torch.randn(shape[0], rank, generator=generator))
    v_ck, _ = torch.linalg.qr(torch.randn(shape[1], rank, generator=generator))
    sizes_k = torch.logspace(0, -1.5, rank)
    x_rc = u_rk * sizes_k @ v_ck.T
    seen_kk = u_rk.T @ orthogonalise(x_rc[None])[0] @ v_ck
    assert (seen_kk.diagonal() > 0.65).all() and (seen_kk.diagonal() < 1.25).all()
    assert (seen_kk - seen_kk.diagonal().diag()).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (16, 64)])
def test_a_muon_update_is_as_large_as_adams(shape):
    """Liu et al. 2025, s2.2: root mean square about 0.2 of the rate, whatever the shape."""
    (p,) = parameters([shape])
    before = p.detach().clone()
    optimizer = optimizers.get("muon").build([p], [], 1e-2, 1e-2, choices(weight_decay=0.0))
    feed([p], torch.Generator().manual_seed(1))
    optimizer.step()
    moved = p.detach() - before
    assert float(moved.square().mean().sqrt()) == pytest.approx(1e-2 * ADAMW_RMS, rel=0.2)


@pytest.mark.parametrize("name", ["muon", "soap"])
def test_matrix_methods_turn_with_their_gradients(name):
    """Gradients U G V' move the weights by U dW V'. Adam's steps, taken entry by entry, do not turn.

    Square: SOAP's first basis comes from one gradient, and that of a wide one leaves part of it open.
    """
    generator = torch.Generator().manual_seed(0)
    u_rr, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    v_cc, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    gradients = torch.randn(25, 6, 6, generator=generator)

    def moved(name: str, turned: bool) -> torch.Tensor:
        p = nn.Parameter(torch.zeros(6, 6))
        optimizer = optimizers.get(name).build([p], [], 1e-2, 1e-2, choices(weight_decay=0.0))
        for g_rc in gradients:
            p.grad = u_rr @ g_rc @ v_cc.T if turned else g_rc.clone()
            optimizer.step()
        return u_rr.T @ p.detach() @ v_cc if turned else p.detach()

    torch.testing.assert_close(moved(name, True), moved(name, False), rtol=0.02, atol=1e-4)
    assert not torch.allclose(moved("adamw", True), moved("adamw", False), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (12, 12)])
def test_shampoo_evens_out_a_constant_gradient(shape):
    """With G always the same, L^-1/4 G R^-1/4 has equal singular values, also where the matrix is small."""
    generator = torch.Generator().manual_seed(0)
    u_nn, _ = torch.linalg.qr(torch.randn(shape, generator=generator))
    v_nn, _ = torch.linalg.qr(torch.randn(shape, generator=generator))
    g_nn = u_nn * torch.linspace(1, 10, shape[0]) @ v_nn.T
    p = nn.Parameter(torch.zeros(shape))
    optimizer = optimizers.get("shampoo").build([p], [], 1e-2, 1e-2, choices(weight_decay=0.0, betas=(0.9, 0.9)))
    for _ in range(200):
        before = p.detach().clone()
        p.grad = g_nn.clone()
        optimizer.step()
    sizes = torch.linalg.svdvals(p.detach() - before)
    assert float(sizes.max() / sizes.min()) < 1.05


@pytest.mark.parametrize("name", ["muon", "soap", "shampoo"])
def test_a_dead_unit_does_no_harm(name):
    """A row without gradient makes the statistics singular."""
    (p,) = parameters([(4, 6)])
    optimizer = optimizers.get(name).build([p], [], 1e-3, 1e-3, choices())
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        feed([p], generator)
        p.grad[0] = 0  # type: ignore[index]
        optimizer.step()
    assert p.isfinite().all()


def test_schedule_free_is_evaluated_at_the_mean_of_its_steps():
    """At a constant rate the mean weighs all steps alike (Defazio et al. 2024, equation 5); training goes on at y."""
    run = Regression("schedule-free", 0.05, 30, lambda progress: 1.0)
    weight, z = run.model.weight, []
    loss = run.trainee.loss

    def watched(batch: Any) -> torch.Tensor:
        if run.optimizer.state[weight]:  # type: ignore[attr-defined]
            z.append(run.optimizer.state[weight]["z"].clone())  # type: ignore[attr-defined]
        return loss(batch)

    run.trainee.loss = watched
    at_evaluation = []
    run.trainee.evaluate = lambda split: at_evaluation.append(weight.detach().clone()) or 1.0  # type: ignore[func-returns-value]
    Member(run.trainee, ("all",), Context()).train()
    z.append(run.optimizer.state[weight]["z"])  # type: ignore[attr-defined]
    mean = torch.stack(z).mean(0)
    torch.testing.assert_close(at_evaluation[0], mean, rtol=1e-4, atol=1e-5)
    run.optimizer.train()  # type: ignore[attr-defined]
    torch.testing.assert_close(weight.detach(), 0.1 * z[-1] + 0.9 * mean, rtol=1e-4, atol=1e-5)


def test_schedule_free_refuses_another_schedule_in_one_line():
    part = optimizers.get("schedule-free")
    with pytest.raises(StudyError, match=r"schedule: 'cosine' .*set schedule to 'constant'") as caught:
        part.check(choices(schedule="cosine"))
    assert "\n" not in str(caught.value)
    with pytest.raises(StudyError):
        part.build(*[parameters([(2, 2)])] * 2, 0.1, 0.1, choices(schedule="cosine"))


@EVERY
def test_no_matrices_or_nothing_else_is_fine(name):
    for matrices, others in (([(4, 4)], []), ([], [(4,)])):
        a, b = parameters(matrices), parameters(others)
        optimizer = start(optimizers.get(name).build(a, b, 0.1, 0.1, choices()))
        before = [p.detach().clone() for p in [*a, *b]]
        for step in range(2):  # SOAP's first step moves nothing
            feed([*a, *b], torch.Generator().manual_seed(step))
            optimizer.step()
        assert all(p.isfinite().all() and not torch.equal(p, q) for p, q in zip([*a, *b], before, strict=True))


@EVERY
def test_every_group_has_its_own_rate(name):
    """A rate of zero holds its part still, so the two rates reach the parts that they are meant for."""
    a, b = parameters([(4, 4)]), parameters([(4,)])
    before = a[0].detach().clone(), b[0].detach().clone()
    optimizer = start(optimizers.get(name).build(a, b, 0.1, 0.0, choices()))
    for step in range(2):
        feed([*a, *b], torch.Generator().manual_seed(step))
        optimizer.step()
    assert not torch.equal(a[0], before[0])
    assert torch.equal(b[0], before[1])
    assert math.isclose(sum(group["lr"] for group in optimizer.param_groups), 0.1)


@EVERY
def test_every_optimizer_says_where_it_is_from(name):
    card = optimizers.get(name).card
    assert card.name == name and card.summary and card.source and 1950 <= card.year <= 2026


def test_names_load_nothing_and_prices_load_no_package():
    code = (
        "import sys; from isoloss.training.optimizers import optimizers; optimizers.names();"
        "assert 'torch' not in sys.modules; [optimizers.get(n).flops([(4, 4, 1)], 4, C) for C in [type('C', (),"
        "dict(weight_decay=0.1, schedule='constant'))] for n in optimizers.names()];"
        "assert not {'pytorch_optimizer', 'schedulefree'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "package"), [("soap", "pytorch_optimizer"), ("schedule-free", "schedulefree")])
def test_a_missing_package_is_named_with_its_remedy(name, package, monkeypatch):
    monkeypatch.setattr("isoloss.training.optimizers.base.find_spec", lambda package: None)
    monkeypatch.delitem(sys.modules, BUILTIN[name], raising=False)
    with pytest.raises(MissingError, match=rf"'{package}'.*pip install"):
        Registry("optimizer", BUILTIN, "isoloss.optimizers").get(name)


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean muon"):
        optimizers.get("moun")

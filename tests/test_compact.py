"""Small networks: masks, rules that change them, rounding, bytes, budgets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.algorithms.vision import masks as of
from isoloss.algorithms.vision.compact import fitting, perceptron_cost, rounded
from isoloss.algorithms.vision.pruned import EARLY
from isoloss.errors import MissingError, StudyError
from isoloss.runs import Context, RunSpec, StepRule
from isoloss.tasks.vision.fashion_mnist import FashionMnist

SHAPES = [(300, 196), (100, 300), (10, 100)]
SPARSE = ("sparse-random", "sparse-set", "sparse-rigl", "pruned-one-shot", "pruned-iterative")
DENSE = ("compact-dense", "compact-distilled")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clothes() -> FashionMnist:
    task = FashionMnist()
    try:
        task.prepare()
    except MissingError as error:
        pytest.skip(str(error))
    return task


def resolved(name: str, budget: float = 5000, steps: int = 40, **choices):
    algorithm = algorithms.get(f"vision/{name}")()
    rung = Rung("active_parameters", budget, StepRule("constant", steps))
    return algorithm, algorithm.resolve(FashionMnist(), rung, algorithm.Choices(labels=500, **choices))


def stepped(name: str, task: FashionMnist, steps: int = 40, **choices):
    """Trains, and yields the trainee after every step."""
    from isoloss.training.flops import PeriodicMeter
    from isoloss.training.step import Step

    algorithm, chosen = resolved(name, steps=steps, **choices)
    torch.manual_seed(1)
    trainee = algorithm.build(task, chosen, seed=1)
    step = Step(trainee, PeriodicMeter(1))
    for done in range(1, steps + 1):
        rate = trainee.schedule(done / steps)
        trainee.optimizer.param_groups[0]["lr"] = chosen.lr * rate
        step(next(trainee.batches))
        yield done, trainee


def nonzero(trainee) -> int:
    return int(sum((p != 0).sum() for p in trainee.model.parameters()))


def masks(trainee) -> list[torch.Tensor]:
    return [m.clone() for m in trainee.optimizer.masks]


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("kept", [700, 9000, 40_000, 89_000])
def test_random_masks_keep_what_they_are_told_and_small_layers_densest(kept):
    counts = of.erdos_renyi(SHAPES, kept)
    assert sum(counts) == kept
    shares = [c / (o * i) for c, (o, i) in zip(counts, SHAPES, strict=True)]
    assert max(shares) <= 1 and shares[0] <= shares[1] <= shares[2]
    drawn = of.at_random(SHAPES, counts, torch.Generator().manual_seed(1))
    assert [int(m.sum()) for m in drawn] == counts and all(set(m.unique().tolist()) <= {0.0, 1.0} for m in drawn)


def test_the_largest_weights_of_all_layers_are_kept():
    torch.manual_seed(0)
    weights = [torch.randn(7, 5), 3 * torch.randn(4, 7)]
    found = of.largest(weights, 20)
    kept = torch.cat([w[m > 0].abs() for w, m in zip(weights, found, strict=True)])
    gone = torch.cat([w[m == 0].abs() for w, m in zip(weights, found, strict=True)])
    assert len(kept) == 20 and kept.min() >= gone.max()


def test_an_exchange_drops_the_smallest_and_takes_the_most_wanted():
    torch.manual_seed(0)
    weight, merit = torch.randn(10, 10), torch.rand(10, 10)
    mask = of.at_random([(10, 10)], [40], torch.Generator().manual_seed(2))[0]
    after = of.exchanged(mask, weight * mask, merit, 0.25)
    assert after.sum() == 40
    stayed, came = (mask > 0) & (after > 0), (mask == 0) & (after > 0)
    assert stayed.sum() >= 30 and came.sum() <= 10
    dropped = (mask > 0) & (after == 0)
    assert weight[dropped].abs().max() <= weight[stayed].abs().median()
    assert merit[came].min() >= merit[(mask == 0) & (after == 0)].max()
    assert torch.equal(of.exchanged(torch.ones(3, 3), weight[:3, :3], merit[:3, :3], 0.5), torch.ones(3, 3))


def test_masks_are_not_stored_for_free():
    sparse, dense = of.stored_bytes(SHAPES, 1_000, 410), of.stored_bytes(SHAPES, 40_000, 410)
    assert sparse == 4 * 1_410 + 2 * 1_000 + 4 * 410  # columns of each row
    assert dense == 4 * 40_410 + 89_800 / 8  # a bit for each place


# ---------------------------------------------------------------- rounding


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rounded_weights_have_few_values_a_row_and_a_gradient_as_if_unrounded(bits):
    torch.manual_seed(0)
    weight = torch.randn(6, 400, requires_grad=True)
    found = rounded(weight, bits)
    assert all(len(row.unique()) <= 2**bits - 1 for row in (found.detach() * 1e4).round())
    step = weight.detach().abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert ((found - weight).abs() <= step / 2 + 1e-6).all()
    (found * torch.arange(400.0)).sum().backward()
    assert torch.equal(weight.grad, torch.arange(400.0).expand(6, 400))


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("name", SPARSE)
def test_it_ends_with_the_rungs_number_of_parameters(name, clothes):
    *_, (_, trainee) = stepped(name, clothes)
    assert sum(int(m.sum()) for m in trainee.optimizer.masks) + 410 == 5000
    assert 0.85 * 5000 < nonzero(trainee) <= 5000  # dead units have no gradient, so their biases stay as drawn
    algorithm, choices = resolved(name)
    sizes = algorithm.sizes(clothes, choices)
    assert sizes["active_parameters"] == 5000 and sizes["inference_flops"] < 784 + 400 + 2 * 5000
    assert sizes["stored_bytes"] >= 4 * 5000


def test_random_masks_stay_and_exchanged_ones_move_until_three_quarters(clothes):
    for name, moves in (("sparse-random", False), ("sparse-set", True), ("sparse-rigl", True)):
        seen = {done: masks(trainee) for done, trainee in stepped(name, clothes)}
        same = [all(map(torch.equal, seen[d], seen[d + 1])) for d in range(1, 40)]
        assert all(same) != moves and all(same[31:])
        assert all(sum(int(m.sum()) for m in held) + 410 == 5000 for held in seen.values())


def test_a_one_shot_prune_keeps_the_largest_weights_of_halfway(clothes):
    for done, trainee in stepped("pruned-one-shot", clothes):
        if done == 20:
            before = [w.detach().clone() for w in trainee.optimizer.weights]
            assert nonzero(trainee) > 80_000
        if done == 21:
            expected = of.largest(before, 5000 - 410)
            assert all(map(torch.equal, expected, trainee.optimizer.masks))
            break


def test_tickets_return_to_an_early_step_after_each_prune(clothes):
    counts = set()
    early = None
    for done, trainee in stepped("pruned-iterative", clothes, steps=80, prunings=3):
        counts.add(sum(int(m.sum()) for m in trainee.optimizer.masks))
        if done == round(EARLY * 20):
            early = [w.detach().clone() for w in trainee.optimizer.weights]
        if done == 20:
            grown = [w.detach().clone() for w in trainee.optimizer.weights]
        if done == 21:  # one small step after the return
            for weight, mask, then, last in zip(
                trainee.optimizer.weights, trainee.optimizer.masks, early, grown, strict=True
            ):
                held = mask > 0
                now = weight.detach()[held]
                assert (now - then[held]).abs().mean() < 0.5 * (now - last[held]).abs().mean()
    share = (4590 / 89_800) ** (1 / 3)
    assert counts == {89_800, round(89_800 * share), round(89_800 * share**2), 4590}


def test_a_killed_run_could_go_on_masks_and_all(clothes):
    """What a checkpoint holds of the optimiser brings another to the same next step."""
    runs = [stepped("sparse-set", clothes), stepped("sparse-set", clothes)]
    for _ in range(5):
        _, first = next(runs[0])
    _, second = next(runs[1])
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert all(map(torch.equal, masks(first), masks(second))) and int(second.optimizer.taken[0]) == 5


def test_a_taught_network_is_stored_and_priced_without_its_teacher(clothes):
    prices = []
    for name in DENSE:
        algorithm, choices = resolved(name)
        prices.append({k: algorithm.sizes(clothes, choices)[k] for k in ("inference_flops", "stored_bytes",
                       "active_parameters", "non_embedding_parameters")})  # fmt: skip
    assert prices[0] == prices[1]


def test_bits_divide_bytes_and_nothing_else(clothes):
    whole, eight, four = (
        resolved("compact-dense", bits=b)[0].sizes(clothes, resolved("compact-dense", bits=b)[1]) for b in (32, 8, 4)
    )
    assert 3.5 < whole["stored_bytes"] / eight["stored_bytes"] < 4
    assert 6 < whole["stored_bytes"] / four["stored_bytes"] < 8
    assert whole["inference_flops"] == eight["inference_flops"] == four["inference_flops"]


@pytest.mark.parametrize("budget", [2200, 9000, 30_000, 90_210])
def test_a_dense_network_fills_its_budget(budget):
    used = perceptron_cost(28, fitting(28, 10, budget), 10).parameters
    assert 0.9 * budget < used <= budget


@pytest.mark.parametrize("name", ["compact-dense", "compact-distilled", "sparse-set", "pruned-iterative"])
def test_formulas_agree_with_the_counter(name, clothes):
    algorithm, choices = resolved(name, steps=40)
    spec = RunSpec(f"vision/{name}", 1, "vision/fashion-mnist", 1, {}, "active_parameters", 5000,
                   StepRule("constant", 40), choices.model_dump(), 1, ())  # fmt: skip
    counted = algorithm.run(clothes, spec, Context()).resources["train_flops"].value
    assert algorithm.train_flops(clothes, choices) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize(
    ("name", "rung", "choices", "field"),
    [
        ("compact-dense", Rung("labels", 100, StepRule("constant", 5)), {}, "resource"),
        ("compact-dense", Rung("active_parameters", 5000), {}, "step_rule"),
        ("compact-dense", Rung("active_parameters", 100, StepRule("constant", 5)), {}, "rungs"),
        ("sparse-random", Rung("active_parameters", 500, StepRule("constant", 5)), {}, "rungs"),
        ("sparse-random", Rung("active_parameters", 100_000, StepRule("constant", 5)), {}, "rungs"),
        ("sparse-random", Rung("active_parameters", 5000, StepRule("constant", 5)), {"nonzeros": 4000}, "nonzeros"),
        ("compact-dense", Rung("active_parameters", 5000, StepRule("constant", 5)), {"labels": 60_000}, "labels"),
    ],
)
def test_an_impossible_rung_is_refused_by_field(name, rung, choices, field):
    algorithm = algorithms.get(f"vision/{name}")()
    with pytest.raises(StudyError, match=field):
        algorithm.resolve(FashionMnist(), rung, algorithm.Choices(**choices))


def test_equal_seeds_mean_equal_order_in_every_arm(clothes):
    orders = []
    for name in (*DENSE, *SPARSE):
        algorithm, choices = resolved(name, steps=3)
        orders.append(np.stack([y.numpy() for _, y in algorithm.build(clothes, choices, seed=4).batches]))
    assert all(np.array_equal(orders[0], other) for other in orders[1:])

"""Steerable networks: representations, kernels and layers against identities, digits at any angle, prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.algorithms.geometry import steerable_kernels as kernels
from isoloss.algorithms.geometry.group_cnn import GroupConv2d
from isoloss.algorithms.geometry.plane_cnn import PlaneCNN
from isoloss.algorithms.geometry.plane_groups import P4
from isoloss.algorithms.geometry.point_groups import SO2, PointGroup, direct_sum, harmonic, regular, trivial
from isoloss.algorithms.geometry.steerable_layers import Gate, SteerableConv2d, gated_harmonics, harmonics
from isoloss.errors import StudyError
from isoloss.runs import Context, RunSpec, StepRule
from isoloss.tasks.rotated_mnist import TURNS, RotatedMnist, turned
from isoloss.training.flops import FlopCounter

C4, C8, D4, D8 = PointGroup(4), PointGroup(8), PointGroup(4, True), PointGroup(8, True)
GROUPS = pytest.mark.parametrize("group", [C4, C8, D4, D8], ids=lambda g: g.name)
#: The arms of the study: algorithm and choices.
ARMS = {
    "plain": ("geometry/plane-cnn", {"width": 8}),
    "averaged": ("geometry/plane-cnn", {"width": 4, "augmented": True, "averaged": 3}),
    "C4": ("geometry/steerable-regular", {"width": 3, "group": "C4"}),
    "C8": ("geometry/steerable-regular", {"width": 2, "group": "C8"}),
    "D4": ("geometry/steerable-regular", {"width": 2, "group": "D4"}),
    "D8|C8": ("geometry/steerable-regular", {"width": 1, "group": "D8", "deep_group": "C8"}),
    "SO2": ("geometry/steerable-harmonic", {"width": 2, "highest": 3}),
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def digits() -> RotatedMnist:
    task = RotatedMnist()
    task.prepare()
    return task


def resolved(arm: str, labels: int = 64, steps: int = 4, **more):
    name, choices = ARMS[arm]
    algorithm = algorithms.get(name)()
    rung = Rung("labels", labels, StepRule("constant", steps))
    return algorithm, algorithm.resolve(RotatedMnist(), rung, algorithm.Choices(**{**choices, **more}))


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """`model` with normalisation statistics and scales of real size: fresh ones would hide a mistake."""
    torch.manual_seed(3)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(16, 1, 28, 28))
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def drawn(arm: str, **more) -> torch.nn.Module:
    algorithm, choices = resolved(arm, **more)
    torch.manual_seed(1)
    return lively(algorithm.model(RotatedMnist(), choices))


# ---------------------------------------------------------------- groups and representations


def representations(group: PointGroup):
    found = [trivial(group), regular(group), *(harmonic(group, m) for m in (1, 2, 3))]
    return [*found, direct_sum(*found[2:])]


@GROUPS
def test_a_representation_turns_products_into_products(group):
    g = range(group.order)
    assert sorted(group.product(a, b) for a in g for b in g) == sorted(list(g) * group.order)
    for rho in representations(group):
        for a in g:
            assert np.allclose(rho.matrices[a] @ rho.matrices[a].T, np.eye(rho.size))
            for b in g:
                assert np.allclose(rho.matrices[a] @ rho.matrices[b], rho.matrices[group.product(a, b)])


def test_a_restricted_representation_is_one_of_the_subgroup_and_others_are_refused():
    halves = regular(D8).restricted(C8)
    for a in range(8):
        for b in range(8):
            assert np.array_equal(halves.matrices[a] @ halves.matrices[b], halves.matrices[C8.product(a, b)])
    # the regular representation of D8 holds that of C8 twice: equal characters
    traces = np.trace(halves.matrices, axis1=1, axis2=2)
    assert np.array_equal(traces, 2 * np.trace(regular(C8).matrices, axis1=1, axis2=2))
    assert regular(D8).restricted(D4).group == D4
    with pytest.raises(ValueError, match="no subgroup"):
        regular(C4).restricted(C8)


# ---------------------------------------------------------------- kernels


def pairs(group: PointGroup):
    rho = regular(group)
    return [(trivial(group), rho), (rho, rho), (harmonic(group, 1), rho), (rho, harmonic(group, 2))]


@GROUPS
def test_kernels_obey_the_constraint_at_any_point(group):
    """k(g x) = rho_out(g) k(x) rho_in(g)^-1, at points that are no pixels."""
    x, y = np.random.default_rng(0).normal(size=(2, 7)) * 1.5
    for source, target in pairs(group):
        before = kernels.kernels_at(source, target, 5, x, y)
        for g in range(group.order):
            angle, mirrored = group.element(g)
            flipped = -y if mirrored else y
            moved = np.cos(angle) * x - np.sin(angle) * flipped, np.sin(angle) * x + np.cos(angle) * flipped
            after = kernels.kernels_at(source, target, 5, *moved)
            expected = np.einsum("ab,nbcp,dc->nadp", target.matrices[g], before, source.matrices[g])
            assert np.allclose(after, expected, atol=1e-9)


def test_kernels_of_all_rotations_obey_it_at_angles_off_the_sampled_ones():
    """SO2 stands for the whole circle: the constraint holds at 0.7 rad, which is no multiple of 2 pi / 32."""
    p, q, theta = 2, 3, 0.7
    psi = {
        m: np.array([[np.cos(m * theta), -np.sin(m * theta)], [np.sin(m * theta), np.cos(m * theta)]]) for m in (p, q)
    }
    x, y = np.random.default_rng(1).normal(size=(2, 9))
    before = kernels.kernels_at(harmonic(SO2, p), harmonic(SO2, q), 7, x, y)
    c, s = np.cos(theta), np.sin(theta)
    after = kernels.kernels_at(harmonic(SO2, p), harmonic(SO2, q), 7, c * x - s * y, s * x + c * y)
    assert np.allclose(after, np.einsum("ab,nbcp,dc->nadp", psi[q], before, psi[p]), atol=1e-9)


def test_the_frequencies_of_a_kernel_between_harmonics_are_their_difference_and_sum():
    """The closed solution for SO(2): Weiler & Cesa 2019, table 8 (two kernels a frequency, one a scalar side)."""
    for p in range(4):
        for q in range(4):
            found = {m: len(kernels.fixed_tensors(harmonic(SO2, p), harmonic(SO2, q), m)) for m in range(8)}
            expected = dict.fromkeys(range(8), 0)
            for m in {abs(p - q), p + q}:
                expected[m] = 1 if p == q == m == 0 else 2
            assert found == expected


def test_a_kernel_from_scalars_to_vectors_is_the_closed_one():
    """psi_0 -> psi_1: R(r) (cos(phi + b), sin(phi + b)) and nothing else."""
    found = kernels.fixed_tensors(harmonic(SO2, 0), harmonic(SO2, 1), 1)[:, :, 0]  # n, components, (cos, sin)
    closed = np.stack([np.eye(2), [[0.0, -1.0], [1.0, 0.0]]]).reshape(2, 4) / np.sqrt(2)
    projection = found.reshape(2, 4).T @ found.reshape(2, 4)
    assert np.allclose(projection, closed.T @ closed)


@GROUPS
def test_the_number_of_kernels_by_characters_is_that_of_the_basis(group):
    for source, target in pairs(group):
        basis = kernels.sampled(source, target, 4)
        assert len(basis) == kernels.count(source, target, 4)
        flat = basis.reshape(len(basis), -1)
        assert np.linalg.matrix_rank(flat, tol=1e-3) == len(basis)


def test_regular_kernels_of_quarter_turns_are_those_of_the_group_convolution(digits):
    """C4: every steerable kernel lies in the span of p4's exact ones, made by moving pixels."""
    rho = regular(C4)
    # a steerable field lists g = 0..3 as p4 does: channels of output and input, counter-clockwise
    steerable = kernels.sampled(rho, rho, 5)
    layer = GroupConv2d(P4, 1, 1, 5, inputs=4)
    free = torch.eye(100).view(100, 1, 1, 4, 5, 5)
    exact = []
    for one in free:
        layer.weight.data.copy_(one)
        exact.append(layer.expanded().detach().view(4, 4, 5, 5).numpy())
    exact = np.stack(exact).reshape(100, -1)
    flat = steerable.reshape(len(steerable), -1)
    inside = flat @ np.linalg.pinv(exact) @ exact
    assert np.allclose(inside, flat, atol=1e-5)


# ---------------------------------------------------------------- layers and networks


def quarter(rho, fields: int, x_bchw: torch.Tensor) -> torch.Tensor:
    """A map of `fields` fields after a quarter turn of the image."""
    k = rho.group.rotations // 4
    matrix = torch.from_numpy(rho.matrices[k]).float()
    b, _, h, w = x_bchw.shape
    mixed = torch.einsum("ab,nfbhw->nfahw", matrix, torch.rot90(x_bchw, 1, (2, 3)).view(b, fields, rho.size, h, w))
    return mixed.reshape(b, -1, h, w)


@pytest.mark.parametrize("arm", ["C4", "C8", "D4", "D8|C8", "SO2"])
def test_maps_of_a_quarter_turned_image_are_the_maps_turned(arm):
    model = drawn(arm)
    algorithm, choices = resolved(arm)
    second = algorithm.convolutions(choices)[1]
    rho = second.target if arm != "SO2" else harmonics(3)
    maps = model[:6] if arm != "SO2" else model[:4]
    x = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        plain, after = maps(x), maps(torch.rot90(x, 1, (2, 3)))
        assert plain.shape[2:] == (5, 5) and plain.std() > 0.02
        assert torch.allclose(after, quarter(rho, second.out, plain), atol=1e-4)
        assert torch.allclose(model(torch.rot90(x, 1, (2, 3))), model(x), atol=1e-4)


@pytest.mark.parametrize("arm", ["D4"])
def test_logits_of_a_mirrored_image_are_equal_where_the_group_has_mirrors(arm):
    x = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        for mirrored in (x.flip(2), x.flip(3)):
            assert torch.allclose(drawn(arm)(mirrored), drawn(arm)(x), atol=1e-4)
            assert not torch.allclose(drawn("C4")(mirrored), drawn("C4")(x), atol=1e-2)
            assert not torch.allclose(drawn("D8|C8")(mirrored), drawn("D8|C8")(x), atol=1e-2)


def test_a_gate_commutes_with_any_rotation_and_scales_pairs_to_one():
    torch.manual_seed(0)
    gate, source, target = Gate(2, 3), gated_harmonics(3), harmonics(3)
    x = torch.randn(4, 2 * source.size, 9, 9) * torch.rand(2 * source.size).view(1, -1, 1, 1)
    theta = 0.7  # no multiple of 2 pi / 32

    def rotate(rho_size: int, gates: int, h: torch.Tensor) -> torch.Tensor:
        parts = [torch.eye(gates + 1)]
        for m in (1, 2, 3):
            c, s = np.cos(m * theta), np.sin(m * theta)
            parts.append(torch.tensor([[c, -s], [s, c]], dtype=torch.float32))
        matrix = torch.block_diag(*parts)
        return torch.einsum("ab,nfbhw->nfahw", matrix, h.view(4, 2, rho_size, 9, 9)).reshape(h.shape)

    out = gate(x)
    assert torch.allclose(gate(rotate(source.size, 3, x)), rotate(target.size, 0, out), atol=1e-5)
    gates = gate.scalars(x.view(4, 2, 10, 9, 9)[:, :, :4].reshape(4, 8, 9, 9)).view(4, 2, 4, 9, 9)[:, :, :3].sigmoid()
    bare = out.view(4, 2, 7, 9, 9)[:, :, 1:].view(4, 2, 3, 2, 9, 9) / gates.unsqueeze(3)
    assert torch.allclose((bare**2).mean((0, 3, 4, 5)), torch.ones(2, 3), atol=5e-3)


def smooth(n: int) -> torch.Tensor:
    """Blobs: images that a turn between pixels hardly changes."""
    torch.manual_seed(5)
    x = torch.nn.functional.pad(torch.rand(n, 1, 4, 4), (2, 2, 2, 2))
    return torch.nn.functional.interpolate(x, size=28, mode="bicubic", align_corners=False).clamp(0, 1)


def test_the_first_map_turns_with_the_image_by_an_eighth_too():
    """No grid has this symmetry: the inner map agrees to a tenth, where without the permutation it is a third off."""
    x, eighth, first = smooth(16), torch.full((16,), np.pi / 4), drawn("C8")[:1]
    with torch.no_grad():
        still, after = first(x), first(turned(x, eighth))
    matrix = torch.from_numpy(regular(C8).matrices[1]).float()
    permuted = torch.einsum("ab,nfbhw->nfahw", matrix, still.view(16, -1, 8, 14, 14)).reshape(still.shape)
    inner = (..., slice(4, 10), slice(4, 10))

    def apart(maps: torch.Tensor) -> float:
        offset = maps.min()  # turned() is for images, 0 and up
        moved = turned((maps - offset) / 10, eighth) * 10 + offset
        return float((moved[inner] - after[inner]).norm() / after[inner].norm())

    assert apart(permuted) < 0.1 and apart(still) > 0.3


def test_more_rotations_mean_less_change_between_quarter_turns():
    """Logits of untrained networks under 45 degrees."""
    x = smooth(16)

    def change(arm: str) -> float:
        model = drawn(arm)
        with torch.no_grad():
            still, after = model(x), model(turned(x, torch.full((16,), np.pi / 4)))
        return float((after - still).norm() / (still - still.mean(0)).norm())

    assert max(change("C8"), change("SO2")) < 0.7 * min(change("plain"), change("C4"))


def test_a_kernel_from_unit_weights_keeps_the_size_of_its_input():
    torch.manual_seed(0)
    layer = SteerableConv2d(regular(C8), regular(C8), 8, 8, 6)
    assert 0.7 < layer(torch.randn(8, 64, 12, 12)).std() < 1.4


# ---------------------------------------------------------------- digits at any angle


def test_a_quarter_turn_is_exact_and_turns_add_up(digits):
    x = torch.from_numpy(digits.stored("train")[0][:4].astype(np.float32) / 255).unsqueeze(1)
    assert torch.allclose(turned(x, torch.full((4,), np.pi / 2)), torch.rot90(x, 1, (2, 3)), atol=1e-4)
    twice = turned(turned(smooth(4), torch.full((4,), 0.4)), torch.full((4,), 0.3))
    assert (twice - turned(smooth(4), torch.full((4,), 0.7))).abs().mean() < 0.01


def test_subsets_are_nested_turned_by_fixed_angles_and_paired(digits):
    images, labels = digits.subset(500, seed=7)
    small, few = digits.subset(60, seed=7)
    assert np.array_equal(small, images[:60]) and np.array_equal(few, labels[:60])
    assert sorted(labels[:10]) == list(range(10))
    upright, angles, again = digits.posed(500, seed=7)
    assert np.array_equal(again, labels) and not np.allclose(upright[:20], images[:20], atol=0.1)
    assert angles.min() < 0.2 and angles.max() > 6.0 and np.histogram(angles, 4)[0].min() > 80
    known = {i.tobytes() for i in digits.subset(3000, seed=1)[0]}
    assert all(i.tobytes() in known for i in images[:50])


def test_test_images_are_measured_at_two_fixed_angles(digits):
    images, labels = digits.evaluation("test")
    assert len(images) == TURNS * 1000 and np.array_equal(labels[:1000], labels[1000:])
    assert not np.allclose(images[:1000], images[1000:], atol=0.1)
    assert np.array_equal(images, digits.evaluation("test")[0])
    assert images.min() == 0 and images.max() <= 1


def test_equal_seeds_mean_equal_data_order_and_only_augmentation_turns_further(digits):
    batches = {}
    for arm, more in (("plain", {}), ("C8", {}), ("plain+", {"augmented": True})):
        algorithm, choices = resolved(arm.rstrip("+"), labels=50, steps=4, **more)
        generator = torch.Generator().manual_seed(5)
        batches[arm] = list(algorithm.batches(digits, choices, 5, generator))
    for (x, y), (x8, y8), (xa, ya) in zip(*batches.values(), strict=True):
        assert torch.equal(y, y8) and torch.equal(y, ya) and torch.equal(x, x8)
        assert not torch.allclose(x, xa, atol=0.1)


# ---------------------------------------------------------------- price and refusals


@pytest.mark.parametrize("arm", ARMS)
def test_prices_agree_with_the_counter(arm, digits):
    algorithm, choices = resolved(arm, labels=64, steps=3)
    name = algorithm.card.name
    spec = RunSpec(name, 1, "geometry/rotated-mnist", 1, {}, "labels", 64, StepRule("constant", 3),
                   choices.model_dump(), 1, ())  # fmt: skip
    resources = algorithm.run(digits, spec, Context()).resources
    assert algorithm.train_flops(digits, choices) == pytest.approx(resources["train_flops"].value, rel=0.01)
    cost = algorithm.cost(digits, choices)
    assert cost.parameters == resources["parameters"].value == cost.active
    if arm == "averaged":
        return
    model = algorithm.model(digits, choices).eval()
    with torch.no_grad(), FlopCounter() as counter:
        model(torch.rand(256, 1, 28, 28))
    made = algorithm.expansion(choices) / 2  # kernels are made once for all images
    assert cost.forward == pytest.approx((counter.total - made) / 256, rel=0.02)


def test_averaging_costs_a_pass_for_each_turn():
    for arm, times in (("plain", 1), ("averaged", 3)):
        algorithm, choices = resolved(arm)
        once = algorithm.cost(RotatedMnist(), choices.model_copy(update={"averaged": 1}))
        cost = algorithm.cost(RotatedMnist(), choices)
        assert cost.forward == times * once.forward and cost.training == once.training


def test_averaging_means_the_mean_probability_over_turns_when_evaluated_only():
    torch.manual_seed(0)
    network = lively(PlaneCNN(4, averaged=4))
    x = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        found = network(x).softmax(1)
        network.averaged = 1
        each = torch.stack([network(torch.rot90(x, k, (2, 3))).softmax(1) for k in range(4)])
    assert torch.allclose(found, each.mean(0), atol=1e-4)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"group": "C0"}, "no group"),
        ({"group": "E8"}, "no group"),
        ({"group": "C4", "deep_group": "C8"}, "no subgroup"),
        ({"group": "C8", "deep_group": "D4"}, "no subgroup"),
    ],
)
def test_a_group_that_is_none_is_refused(choices, said):
    with pytest.raises(ValueError, match=said):
        algorithms.get("geometry/steerable-regular").Choices(**choices)


def test_a_ladder_over_compute_is_refused():
    algorithm = algorithms.get("geometry/plane-cnn")()
    with pytest.raises(StudyError, match="labels"):
        algorithm.resolve(RotatedMnist(), Rung("train_flops", 1e9), algorithm.Choices())


def test_a_study_whose_innovation_and_settings_clash_is_refused_by_arm(tmp_path):
    """Both are right alone; the comparison looks at them before any run does."""
    from isoloss.verbs.studies import plan

    path = Path(__file__).parents[1] / "studies" / "vision" / "steerable.toml"
    text = path.read_text(encoding="utf-8").replace("{ width = 2,", '{ width = 2, deep_group = "C3",')
    (tmp_path / "clash.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=r"arms.D8-C8.*C3 is no subgroup of D8"):
        plan(tmp_path / "clash.toml", ledger=str(tmp_path / "l.sqlite"))

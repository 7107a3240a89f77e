"""Transfer to new classes: halves that never mix, and what each way of adapting leaves as it was."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.errors import MissingError, StudyError
from isoloss.execution.timing import smoke_run
from isoloss.runs import Context, RunSpec, StepRule
from isoloss.tasks import tasks
from isoloss.tasks.vision.new_classes import SIZES, NewClasses
from isoloss.training.loop import Member

RULE = StepRule("constant", 20)
SMALL = {"width": 4, "lr": 1e-2, "source": 200, "pretrain_steps": 20}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def task() -> NewClasses:
    made = NewClasses()
    made.prepare()
    return made


def resolved(task, **choices):
    algorithm = algorithms.get("vision/fine-tuned")()
    return algorithm, algorithm.resolve(task, Rung("labels", 50, RULE), algorithm.Choices(**SMALL, **choices))


def trained(task, context, **choices):
    algorithm, chosen = resolved(task, **choices)
    spec = RunSpec(
        "vision/fine-tuned", 1, "vision/new-classes", 1, {}, "labels", 50, RULE, chosen.model_dump(), 1, ("test",)
    )
    return algorithm.run(task, spec, context)


@pytest.mark.parametrize("data", SIZES)
def test_source_and_target_have_other_classes_and_share_no_image(data):
    made = NewClasses(NewClasses.Options(data=data))
    try:
        made.prepare()
    except MissingError as error:
        pytest.skip(str(error))
    whole = 0
    for half in (made, made.source):
        for split, size in half.sizes.items():
            images, labels = half.stored(split)
            assert len(images) == len(labels) == size and set(labels) == set(range(5))
            whole += size
    assert whole == sum(made.whole.sizes.values())
    source = {i.tobytes() for i in made.source.stored("train")[0]}
    assert not source & {i.tobytes() for split in SIZES[data][1] for i in made.stored(split)[0]}


@pytest.mark.parametrize("adapt", ["all", "lora", "head"])
def test_only_what_is_adapted_changes(task, adapt):
    algorithm, choices = resolved(task, adapt=adapt)
    torch.manual_seed(1)
    trainee = algorithm.supervised.build(task, choices, 1)
    before = {name: value.clone() for name, value in trainee.model.state_dict().items()}
    Member(trainee, (), Context()).train()
    changed = {name for name, value in trainee.model.state_dict().items() if not torch.equal(value, before[name])}
    kernels = {f"encoder.conv{i}.weight" for i in (1, 2, 3)}
    if adapt == "all":
        assert changed == set(before)
    elif adapt == "head":
        assert changed == {"head.weight", "head.bias"}
    else:
        assert not changed & kernels and {"up.0", "up.1", "down.0", "down.1", "head.weight"} <= changed


def test_low_rank_begins_as_the_network_that_it_adapts(task):
    algorithm, choices = resolved(task, adapt="lora")
    model = algorithm.supervised.build(task, choices, 1).model.eval()
    x_b1hw = torch.rand(3, 1, task.pixels, task.pixels)
    plain = model.head(model.encoder(x_b1hw))
    assert torch.allclose(model(x_b1hw), plain, atol=1e-6)
    with torch.no_grad():
        model.up[1].add_(1.0)
    assert not torch.allclose(model(x_b1hw), plain, atol=1e-3)


def test_a_pre_training_that_is_found_is_charged_all_the_same(task, tmp_path):
    alone = trained(task, Context())
    first = trained(task, Context(cache=tmp_path))
    found = trained(task, Context(cache=tmp_path), adapt="head")
    again = trained(task, Context(cache=tmp_path))
    assert alone.qualities == first.qualities == again.qualities and alone.curve == again.curve
    charged = [o.resources["train_flops"].value for o in (alone, first, again)]
    assert charged[0] == charged[1] == charged[2] == first.resources["spent_flops"].value
    assert again.resources["spent_flops"].value < 0.6 * charged[0]
    # the head's run shares the pre-training and trains less
    assert found.resources["spent_flops"].value < again.resources["spent_flops"].value
    assert found.resources["parameters"].value < 0.2 * again.resources["parameters"].value
    assert alone.resources["labels"].value == 50 and alone.resources["unique_examples"].value == 250


def test_golden_losses_guard_the_version(task):
    """Five steps of the contract run: see test_geometry.py."""
    card = algorithms.get("vision/fine-tuned").card
    losses = smoke_run("vision/fine-tuned", changes={"steps": 5})[1].curve["train_loss"]
    golden = {1: [1.75965, 1.33782, 0.97577, 0.84466, 0.84468]}
    assert card.version in golden, f"new version: record {card.version}: {losses}"
    assert losses == pytest.approx(golden[card.version], rel=1e-3)


def test_equal_seeds_see_the_same_labels_from_scratch_and_after_pre_training(task):
    algorithm, choices = resolved(task)
    scratch = algorithms.get("vision/cnn")()
    plain = scratch.resolve(task, Rung("labels", 50, RULE), scratch.Choices(width=4))
    pairs = zip(
        islice(algorithm.supervised.build(task, choices, 3).batches, 5),
        islice(scratch.build(task, plain, 3).batches, 5),
        strict=True,
    )
    assert all(torch.equal(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


def test_what_can_not_be_pre_trained_is_refused_by_field(task):
    algorithm = algorithms.get("vision/fine-tuned")()
    with pytest.raises(StudyError, match=r"source.*the source has 579"):
        algorithm.resolve(task, Rung("labels", 50, RULE), algorithm.Choices(source=5000))
    with pytest.raises(StudyError, match=r"ladder\.resource.*use 'labels'"):
        algorithm.resolve(task, Rung("train_flops", 1e9), algorithm.Choices())
    with pytest.raises(StudyError, match=r"task\.name.*vision/new-classes"):
        algorithm.resolve(tasks.get("vision/digits")(), Rung("labels", 50, RULE), algorithm.Choices())

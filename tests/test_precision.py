"""How a run is carried out (dtype, library, compiler, pieces, shards, device) changes its rounding and nothing else."""

from __future__ import annotations

import dataclasses
import math
import shutil

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from isoloss.algorithms import Rung, algorithms  # noqa: E402
from isoloss.errors import IsolossError, StudyError  # noqa: E402
from isoloss.runs import Context, RunSpec  # noqa: E402
from isoloss.study import Numerics, Study  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training import graph, placement, precision  # noqa: E402
from isoloss.training.flops import FlopCounter  # noqa: E402

MODERN, RETRO, LSTM = "language/transformer-modern", "language/transformer-retro", "language/lstm"

pytestmark = pytest.mark.usefixtures("one_thread")


def spec(algorithm=MODERN, numerics=None, **choices):
    task, cls = tasks.get("language/sotu")(), algorithms.get(algorithm)
    asked = {"width": 32, "depth": 1, "steps": 40, "context": 16, "batch_tokens": 128} | choices
    resolved = cls().resolve(task, Rung("train_flops", 1e9), cls.Choices(**asked))
    return RunSpec(
        algorithm, cls.card.version, "language/sotu", task.card.version, {}, "train_flops", 1e9, None,
        resolved.model_dump(mode="json"), 3, ("validation",), Numerics(**(numerics or {})).of_runs(),
    )  # fmt: skip


def carry_out(run, **surroundings):
    return algorithms.get(run.algorithm)().run(tasks.get(run.task)(), run, Context(**surroundings))


def flops(outcome):
    return outcome.resources["train_flops"].value


@pytest.mark.parametrize("algorithm", [MODERN, RETRO, LSTM])
def test_bfloat16_counts_the_same_flops_and_learns_the_same(algorithm):
    plain, half = carry_out(spec(algorithm)), carry_out(spec(algorithm, {"dtype": "bfloat16"}))
    # a processor without bfloat16 runs an LSTM of it step by step, and element-wise work is counted as it is done
    apart = 5e-3 if algorithm == LSTM and precision.slow_bfloat16() else 0.0
    assert half.status == "finished" and flops(half) == pytest.approx(flops(plain), rel=apart)
    assert half.curve["train_loss"] != plain.curve["train_loss"]
    assert half.qualities["validation"] == pytest.approx(plain.qualities["validation"], rel=0.02)


@pytest.mark.parametrize("algorithm", [MODERN, RETRO, LSTM])
def test_onednn_is_float32_in_another_order(algorithm):
    plain, other = carry_out(spec(algorithm)), carry_out(spec(algorithm, {"matmul": "onednn"}))
    assert flops(other) == pytest.approx(flops(plain), rel=2e-3)  # a bias may be added in the product or after it
    assert other.curve["train_loss"] == pytest.approx(plain.curve["train_loss"], rel=1e-4)


@pytest.mark.parametrize("rows,into,out", [(48, 40, 24), (48, 24, 40), (7, 3, 5)])
@pytest.mark.parametrize("context,tolerance", [(precision.BFloat16Products, 1e-2), (precision.OneDNNProducts, 1e-6)])
def test_a_product_and_its_gradients_are_as_exact_as_stated(rows, into, out, context, tolerance):
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(*s, generator=generator, requires_grad=True) for s in ((2, rows, into), (out, into), (out,))]
    exact = [v.detach().double().requires_grad_() for v in leaves]
    weights = torch.randn(2, rows, out, generator=generator)
    with context():
        found = F.linear(*leaves)
    assert found.dtype == torch.float32
    (found * weights).sum().backward()
    (F.linear(*exact) * weights.double()).sum().backward()
    for a, b in zip([found, *(v.grad for v in leaves)], [F.linear(*exact), *(v.grad for v in exact)], strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().max() < tolerance * b.abs().max()


def test_only_products_are_rounded():
    x = torch.randn(4, 8)
    with precision.BFloat16Products():
        assert torch.equal(x + x, 2 * x) and torch.equal(x.softmax(-1), torch.softmax(x, -1))
        assert not torch.equal(x @ x.mT, torch.mm(x.double(), x.mT.double()).float())
        assert torch.arange(4) @ torch.arange(4) == 14  # whole numbers stay whole
    product = x @ x.mT
    with precision.BFloat16Products(), FlopCounter() as counter:
        x @ x.mT
    with FlopCounter() as plain:
        x @ x.mT
    assert counter.total == plain.total and torch.equal(product, x @ x.mT)


def test_a_processor_without_fast_bfloat16_is_said_and_trains_all_the_same(monkeypatch):
    monkeypatch.setattr(precision, "product_rates", lambda: {"float32": 2e11, "bfloat16": 1e11})
    outcome = carry_out(spec(numerics={"dtype": "bfloat16"}, steps=3))
    assert outcome.status == "finished"
    assert any("0.50 times" in note for note in outcome.notes)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("algorithm,dtype", [(MODERN, "float32"), (RETRO, "bfloat16")])
@pytest.mark.slow
def test_compiled_is_the_same_run_to_rounding(algorithm, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "product_rates", lambda: {"float32": 2e11, "bfloat16": 1e11})
    plain = carry_out(spec(algorithm, {"dtype": dtype}))
    fast = carry_out(spec(algorithm, {"dtype": dtype, "compiled": True}), cache=tmp_path)
    assert fast.status == "finished" and flops(fast) == flops(plain)
    tolerance = 1e-4 if dtype == "float32" else 1e-2
    assert fast.curve["train_loss"] == pytest.approx(plain.curve["train_loss"], rel=tolerance)
    assert fast.curve["train_loss"] != plain.curve["train_loss"]
    assert fast.notes == plain.notes and len(fast.notes) == (dtype == "bfloat16"), "slow products are said of both"


def test_without_a_compiler_the_error_says_so(monkeypatch):
    monkeypatch.setattr(graph.shutil, "which", lambda name: None)
    with pytest.raises(IsolossError, match=r"needs a C\+\+ compiler.*install g\+\+"):
        carry_out(spec(numerics={"compiled": True}))


@pytest.mark.parametrize("algorithm", [MODERN, LSTM])
@pytest.mark.parametrize("pieces", [2, 4])
def test_a_batch_in_pieces_is_the_same_batch(algorithm, pieces):
    whole, parts = carry_out(spec(algorithm)), carry_out(spec(algorithm, micro_batch=128 // pieces))
    assert parts.curve["train_loss"] == pytest.approx(whole.curve["train_loss"], rel=1e-4)
    run = spec(algorithm, micro_batch=128 // pieces)
    cls = algorithms.get(algorithm)
    formula = cls().train_flops(tasks.get("language/sotu")(), cls.Choices(**run.choices))
    assert flops(parts) == pytest.approx(formula, rel=0.01)


@pytest.mark.parametrize("micro", [48, 8])
def test_pieces_that_do_not_fit_are_refused(micro):
    with pytest.raises(StudyError, match="micro_batch"):
        spec(micro_batch=micro)


@pytest.mark.parametrize("algorithm", [MODERN, LSTM])
def test_shards_are_the_same_batch_and_always_the_same_bits(algorithm):
    whole, run = carry_out(spec(algorithm)), spec(algorithm, {"shards": 2})
    first, again = carry_out(run), carry_out(run)
    assert first.curve["train_loss"] == pytest.approx(whole.curve["train_loss"], rel=1e-4)
    assert first.curve == again.curve and first.qualities == again.qualities
    assert flops(first) == pytest.approx(flops(whole), rel=0.02)


@pytest.mark.parametrize(
    "choices,shards,said",
    [({}, 3, "8 rows"), ({"dropout": 0.1}, 2, "dropout"), ({"experts": 2, "experts_balance": "bias"}, 2, "buffers")],
)
def test_shards_that_would_not_be_the_same_run_are_refused(choices, shards, said):
    with pytest.raises(StudyError, match=rf"numerics.shards.*{said}"):
        carry_out(spec(numerics={"shards": shards}, **choices))


def test_every_tensor_of_a_step_lives_where_the_run_does():
    # "meta" has shapes and no numbers; an operator that meets a tensor of the CPU beside one of it raises
    cls = algorithms.get(MODERN)
    run = spec(optimizer="sgd")
    trainee = cls().build(tasks.get("language/sotu")(), cls.Choices(**run.choices), 1)
    placement.place(trainee, torch.device("meta"))
    batch = next(trainee.batches)
    assert {t.device.type for t in batch} == {"meta"}
    trainee.loss(batch).backward()
    trainee.optimizer.step()
    for p in [*trainee.model.parameters(), *trainee.model.buffers()]:
        assert p.device.type == "meta"
    held = [t for name in trainee.optimizer.held for t in getattr(trainee.optimizer, name)]
    assert held and {t.device.type for t in held} == {"meta"}
    seen = []
    trainee.model.register_forward_hook(lambda module, inputs, out: seen.append(out[0].device.type))
    with pytest.raises((NotImplementedError, RuntimeError)):  # a quality is a number, and meta has none
        trainee.evaluate("validation")
    assert seen == ["meta"]


def test_prefetching_keeps_the_order_and_the_end():
    batches = [(torch.tensor([i]), torch.tensor([-i])) for i in range(5)]
    sent = list(placement.prefetched(iter(batches), torch.device("cpu")))
    assert [int(x) for x, _ in sent] == [0, 1, 2, 3, 4] and int(sent[4][1]) == -4


def test_the_device_is_named_or_refused():
    assert placement.choose_device("cpu").type == "cpu"
    assert placement.choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "abacus"):
        with pytest.raises(IsolossError, match="--device"):
            placement.choose_device(name)


def test_a_study_names_the_device_or_is_refused_before_it_runs(tmp_path, monkeypatch):
    from isoloss.execution.worker import context
    from isoloss.verbs.studies import run

    monkeypatch.setenv("ISOLOSS_DEVICE", "cpu")
    assert context().device == "cpu"
    monkeypatch.delenv("ISOLOSS_DEVICE")
    assert context().device == "auto"
    with pytest.raises(IsolossError, match="--device: 'cuda:99' is not there"):
        run("studies/quickstart.toml", device="cuda:99", ledger=str(tmp_path / "l.sqlite"), out=tmp_path)


def study(**more):
    arm = {"algorithm": MODERN}
    arms = {"a": arm, "b": arm | {"seed_block": 1}}
    for name in arms:
        arms[name] = arms[name] | more.pop(name, {})
    return Study.model_validate({
        "name": "s", "question": "?", "task": {"name": "language/sotu"},
        "ladder": {"resource": "train_flops", "rungs": [1e9, 2e9]}, "arms": arms,
        "comparisons": [{"baseline": "a", "candidate": "b"}], **more,
    })  # fmt: skip


def test_numerics_of_an_arm_stand_on_the_study_s_and_unset_ones_change_no_identity():
    assert study().study_id == study(numerics={}).study_id
    default = {"dtype": "float32", "compiled": False, "stack": 1}
    assert study().numerics_of("a") == default == RunSpec("a", 1, "t", 1, {}, "r", 1, None, {}, 1, ()).numerics
    both = study(numerics={"dtype": "bfloat16"}, b={"numerics": {"shards": 2}}, a={"numerics": {"dtype": "float32"}})
    again = Study.model_validate_json(both.model_dump_json())
    for one in (both, again):
        assert one.numerics_of("a") == default
        assert one.numerics_of("b") == default | {"dtype": "bfloat16", "shards": 2}
    assert spec().run_id != spec(numerics={"dtype": "bfloat16"}).run_id
    assert "matmul" not in spec().to_dict()["numerics"]


@pytest.mark.parametrize(
    "numerics,said",
    [
        ({"dtype": "float16"}, "slower"),
        ({"dtype": "bfloat16", "matmul": "onednn"}, "float32"),
        ({"shards": 0}, "greater than or equal to 1"),
        ({"speed": 2}, "Extra inputs"),
    ],
)
def test_numerics_that_make_no_sense_are_refused(numerics, said):
    with pytest.raises(ValueError, match=said):
        study(numerics=numerics)


def test_other_numerics_than_a_cpu_has_are_refused():
    with pytest.raises(StudyError, match="onednn"):
        precision.products({"matmul": "onednn"}, "cuda")
    with pytest.raises(StudyError, match="float16"):
        precision.products({"dtype": "float16"})


def test_a_run_with_shards_goes_on_after_its_checkpoint(tmp_path):
    run = spec(LSTM, {"shards": 2}, schedule="wsd", trunk_warmup=5)
    shorter = dataclasses.replace(run, choices={**run.choices, "steps": 40})
    straight = carry_out(shorter)
    carry_out(dataclasses.replace(run, choices={**run.choices, "steps": 200}), cache=tmp_path)
    resumed = carry_out(shorter, cache=tmp_path)
    assert resumed.curve == straight.curve and math.isfinite(resumed.qualities["validation"])

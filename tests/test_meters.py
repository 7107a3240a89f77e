"""Meters: what FLOPs, bytes, memory, energy and rates are said to be is what they are."""

from __future__ import annotations

import json
import math
import warnings

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from isoloss.algorithms import Rung, algorithms  # noqa: E402
from isoloss.evidence.claims import constants  # noqa: E402
from isoloss.machine import process_peak  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training import energy, flops, rate  # noqa: E402
from isoloss.training.energy import EnergyMeter, modelled_joules  # noqa: E402
from isoloss.training.flops import FlopCounter, PeriodicMeter, Work  # noqa: E402
from isoloss.training.formulas import CELL_FLOPS, flops_of  # noqa: E402
from isoloss.training.memory import LiveTensors  # noqa: E402
from isoloss.training.rate import known_rates, matmul_rate  # noqa: E402

aten = torch.ops.aten
FLOAT = 4


def counted(run):
    with FlopCounter() as counter:
        run()
    return counter.total


def watched(*steps):
    meter = PeriodicMeter(len(steps) - 1)
    for step in steps:
        with meter.step():
            step()
    return meter


# -- FLOPs of what PyTorch's counter misses ------------------------------------------------------------------------


def cell_flops(module, mode, tokens, inputs):
    """Products with every weight and the pointwise work of a cell, forward."""
    products = 2 * sum(p.numel() for n, p in module.named_parameters() if n.startswith("weight"))
    return tokens * (products + CELL_FLOPS[mode] * module.hidden_size * module.num_layers)


@pytest.mark.parametrize(("kind", "mode"), [(torch.nn.LSTM, 2), (torch.nn.GRU, 3), (torch.nn.RNN, 1)])
def test_a_recurrent_kernel_counts_its_cell_however_it_is_run(kind, mode):
    torch.manual_seed(0)
    module, x_tbi = kind(48, 64, num_layers=2), torch.randn(12, 5, 48)
    wanted = cell_flops(module, mode, 12 * 5, 48)
    with torch.no_grad():
        assert counted(lambda: module(x_tbi)) == pytest.approx(wanted, rel=0.02)
    weights = list(module.parameters())
    shape = (mode, 64, 0, 2, False, 0.0, True, False, [], None)
    args = (x_tbi, weights, 4, None, x_tbi, None, *shape)
    assert flops_of(aten._cudnn_rnn.default, args, {}, None) == wanted
    names = [a.name for a in aten._cudnn_rnn.default._schema.arguments]
    assert len(args) == len(names) and names[6:10] == ["mode", "hidden_size", "proj_size", "num_layers"]
    backward = aten._cudnn_rnn_backward.default
    names = [a.name for a in backward._schema.arguments]
    assert names[10:14] == ["mode", "hidden_size", "proj_size", "num_layers"] and names[17] == "bidirectional"
    args = (x_tbi, weights, 4, None, x_tbi, None, x_tbi, None, None, None, *shape, x_tbi, [True] * 4)
    assert flops_of(backward, args, {}, None) == 2 * wanted


@pytest.mark.parametrize("kernel", ["efficient_attention", "flash_attention", "cudnn_attention"])
def test_attention_counts_the_same_on_every_machine(kernel):
    q = torch.randn(2, 3, 16, 8, requires_grad=True)

    def here():
        F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()

    with FlopCounter() as counter:
        here()
    name = "aten._scaled_dot_product_flash_attention_for_cpu"
    there = getattr(aten, f"_scaled_dot_product_{kernel}").default, (q, q, q)
    assert flops_of(*there, {}, None) == counter.by_operator[name]
    there = getattr(aten, f"_scaled_dot_product_{kernel}_backward").default, (q, q, q, q)
    assert flops_of(*there, {}, None) == counter.by_operator[f"{name}_backward"]


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.1)])
def test_a_fused_optimiser_costs_what_its_separate_operators_do(momentum, decay):
    p, g, v = ([torch.randn(7, 5)] for _ in range(3))

    def fused():
        torch._fused_sgd_(
            p, g, v if momentum else [], weight_decay=decay, momentum=momentum, lr=0.1, dampening=0.0, nesterov=False,
            maximize=False, is_first_step=False,
        )  # fmt: skip

    def separate():
        if decay:
            torch._foreach_add_(g, p, alpha=decay)
        if momentum:
            torch._foreach_mul_(v, momentum)
            torch._foreach_add_(v, g)
        torch._foreach_add_(p, v, alpha=-0.1)

    assert counted(fused) == counted(separate)


def test_grouped_products_cost_what_their_groups_do():
    x, w = torch.randn(24, 8).bfloat16(), torch.randn(3, 8, 16).bfloat16()
    ends = torch.tensor([8, 16, 24], dtype=torch.int32)
    separate = counted(lambda: [x[8 * i : 8 * i + 8] @ w[i] for i in range(3)])
    assert counted(lambda: F.grouped_mm(x, w, offs=ends)) == separate == 2 * 24 * 8 * 16
    by_columns = (w.new_empty(3, 4, 8), w.new_empty(8, 30))
    assert flops_of(aten._grouped_mm.default, by_columns, {}, None) == 2 * 4 * 8 * 30


def test_a_fourier_transform_costs_n_log_n_and_half_where_one_side_is_real():
    z = torch.randn(10, 256, dtype=torch.complex64)
    assert counted(lambda: torch.fft.fft(z)) == 10 * 5 * 256 * 8
    assert counted(lambda: torch.fft.rfft(z.real.contiguous())) == 10 * 5 * 256 * 8 // 2
    assert counted(lambda: torch.fft.irfft(z[:, :129].contiguous(), n=256)) == 10 * 5 * 256 * 8 // 2


def test_dropout_costs_the_same_as_one_operator_and_as_two():
    x = torch.randn(100)
    assert counted(lambda: torch.native_dropout(x, 0.5, True)) == 200
    assert counted(lambda: F.dropout(x, 0.5)) == 200


def test_an_operator_without_a_formula_counts_as_pointwise_and_is_named_once():
    x = torch.randn(4, 6)
    flops._named.discard("aten._pdist_forward")
    with FlopCounter() as counter, pytest.warns(RuntimeWarning, match=r"_pdist_forward has no FLOP formula"):
        F.pdist(x)
    assert counter.unknown == {"aten._pdist_forward"} and counter.by_operator["aten._pdist_forward"] == 6
    with warnings.catch_warnings(), FlopCounter() as again:
        warnings.simplefilter("error")
        F.pdist(x)
    assert again.total == counter.total
    flops._named.discard("aten._pdist_forward")


def test_flops_are_told_apart_by_the_type_of_number():
    a = torch.ones(8, 8)
    with FlopCounter() as counter:
        _ = a @ a
        _ = a.bfloat16() @ a.bfloat16()
        _ = a @ a
    assert counter.by_dtype == {"float32": 2 * 2 * 8**3, "bfloat16": 2 * 8**3}


# -- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [50, 3])
def test_peak_memory_of_a_linear_layer_is_what_a_hand_counts(batch):
    inputs, outputs = 30, 70
    weight, x = torch.randn(outputs, inputs, requires_grad=True), torch.randn(batch, inputs)

    def step():
        F.linear(x, weight).relu().sum().backward()
        weight.grad = None

    # weight and input stand all along; beside them first the layer's output and what ReLU keeps of it, then that and
    # its gradient, then the gradient and the weight's
    one = batch * outputs
    wanted = weight.numel() + x.numel() + max(2 * one, one + weight.numel())
    assert watched(step, step).peak_bytes == pytest.approx(FLOAT * wanted, abs=FLOAT * 2)


def language_model(width, depth, batch_tokens, context=64):
    task, cls = tasks.get("language/sotu")(), algorithms.get("language/transformer-modern")
    asked = cls.Choices(width=width, depth=depth, steps=4, batch_tokens=batch_tokens, context=context)
    choices = cls().resolve(task, Rung("train_flops", 1e10), asked)
    return task, cls().build(task, choices, 1)


@pytest.mark.parametrize(("width", "depth", "tokens"), [(64, 4, 512), (32, 2, 2048), (96, 6, 256)])
def test_peak_memory_of_a_transformer_is_states_and_saved_activations(width, depth, tokens):
    task, trainee = language_model(width, depth, tokens)

    def step():
        trainee.loss(next(trainee.batches)).backward()
        trainee.optimizer.step()
        for p in trainee.model.parameters():
            p.grad = None

    parameters = sum(p.numel() for p in trainee.model.parameters())
    vocabulary, hidden = task.vocabulary("bytes"), 4 * round(2 * width / 3)
    # a layer saves, per token: the stream before either half (2 d), both norms before and after their gains (4 d),
    # queries, keys and values (3 d, one piece of memory), the turned queries and keys (2 d), attention's output (d),
    # the hidden layer before and after its gate, the gate's own output, the product (4 h)
    layer = 12 * width + 4 * hidden
    # around them: the scaled embedding is the first stream; the last norm (3 d); and when the way back begins the log
    # probabilities, their gradient and the logits'
    around = 3 * width + 3 * vocabulary
    wanted = 3 * parameters + tokens * (depth * layer + around)
    assert watched(step, step).peak_bytes == pytest.approx(FLOAT * wanted, rel=0.04)


def test_recomputed_activations_are_not_held():
    from torch.utils.checkpoint import checkpoint

    layers = [torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(16)]
    x = torch.randn(1024, 64)

    def step(recompute):
        h = x
        for group in range(4):
            part = torch.nn.Sequential(*layers[4 * group : 4 * group + 4])
            h = checkpoint(part, h, use_reentrant=False) if recompute else part(h)
        h.sum().backward()

    plain, recomputed = (watched(lambda r=r: step(r), lambda r=r: step(r)) for r in (False, True))
    one = FLOAT * x.numel()
    assert plain.peak_bytes > 16 * one
    assert recomputed.peak_bytes < 13 * one
    assert recomputed.total(1) > 1.2 * plain.total(1), "the second forward pass counts"


def test_watching_ends_with_the_steps_that_are_needed_and_holds_nothing():
    live = LiveTensors()
    x = torch.ones(1000)
    live.see((x, {"again": [x[:10]]}))
    assert live.bytes == 4000
    live.forget()
    del x
    assert (live.bytes, live.peak) == (0, 4000)
    meter = watched(lambda: torch.ones(5) + 1, lambda: torch.ones(5) + 1)
    before = meter.peak_bytes
    with meter.step():
        torch.ones(10**6)
    assert meter.ready and meter.peak_bytes == before and len(meter.counted) == 2


def test_a_meter_goes_on_from_what_an_equal_one_counted():
    meter = watched(lambda: torch.ones(5) + 1, lambda: torch.ones(6) + 1)
    other = PeriodicMeter(1)
    other.restore(json.loads(json.dumps(meter.state())))
    assert other.ready and other.peak_bytes == meter.peak_bytes
    assert other.work(9) == meter.work(9) == meter.work(3) + (meter.work(9) - meter.work(3))


def test_the_process_says_how_much_it_holds():
    before = process_peak()
    if before is None:
        pytest.skip("no getrusage here")
    held = torch.ones(3 * 10**7)
    assert process_peak() >= held.numel() * FLOAT
    assert before > 2**20


# -- bytes moved ----------------------------------------------------------------------------------------------------


def moved(run):
    return watched(run, run).work(1).moved


def test_bytes_moved_are_inputs_and_outputs_and_views_are_free():
    a, b = torch.randn(40, 60), torch.randn(60, 20)
    assert moved(lambda: a @ b) == FLOAT * (40 * 60 + 60 * 20 + 40 * 20)
    assert moved(lambda: a.t().reshape(40, 60).view(-1).unsqueeze(0)) == FLOAT * 2 * a.numel()  # reshape copies
    assert moved(lambda: a.view(-1).unsqueeze(0).expand(7, -1, -1)) == 0
    assert moved(lambda: a.add_(1)) == FLOAT * 2 * a.numel()
    assert moved(lambda: a.zero_()) == FLOAT * a.numel()
    assert moved(lambda: torch.empty(100)) == 0
    row = torch.randn(60)
    assert moved(lambda: a * row.expand(40, 60)) == FLOAT * (2 * a.numel() + row.numel())
    table, tokens = torch.randn(5000, 8), torch.tensor([1, 2, 3])
    assert moved(lambda: F.embedding(tokens, table)) == 2 * FLOAT * 3 * 8 + 8 * 3  # the rows that are looked up
    assert moved(lambda: torch._foreach_mul_([a, b], 2.0)) == FLOAT * 2 * (a.numel() + b.numel())


# -- energy ---------------------------------------------------------------------------------------------------------


def counter(folder, name, value, wraps=10**6):
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (("name", name), ("energy_uj", value), ("max_energy_range_uj", wraps - 1)):
        (folder / file).write_text(f"{text}\n")


def test_energy_is_every_package_and_survives_a_counter_that_wraps(tmp_path):
    counter(tmp_path / "intel-rapl:0", "package-0", 900_000)
    counter(tmp_path / "intel-rapl:1", "package-1", 0)
    counter(tmp_path / "intel-rapl:0:0", "core", 0)  # a part of a package
    counter(tmp_path / "intel-rapl:2", "psys", 0)
    meter = EnergyMeter(powercap=tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("300000\n")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("999999\n")
    assert meter.joules() == pytest.approx(0.2 + 0.3)


def test_energy_that_cannot_be_read_is_not_made_up(tmp_path, monkeypatch):
    assert EnergyMeter(powercap=tmp_path / "none").joules() is None
    counter(tmp_path / "intel-rapl:0", "package-0", 5)
    meter = EnergyMeter(powercap=tmp_path)
    monkeypatch.setattr(energy.time, "monotonic", lambda: 1e9)  # not looked at for years: it may have wrapped
    assert meter.joules() is None
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("refused")
    assert EnergyMeter(powercap=tmp_path).joules() is None


def test_modelled_energy_is_the_published_price_of_each_operation():
    price = {n: constants()[f"energy.{n}"].value for n in ("float32_add", "float32_multiply", "dram_64_bits")}
    each = (price["float32_add"] + price["float32_multiply"]) / 2
    assert modelled_joules({"float32": 10**9}, 8e9) == pytest.approx(1e-3 * (each + price["dram_64_bits"]))
    assert modelled_joules({"bfloat16": 10**9}, 0.0) < modelled_joules({"float32": 10**9}, 0.0)
    assert modelled_joules({"float64": 1}, 0.0) is None


# -- the machine's rate ---------------------------------------------------------------------------------------------


def test_the_matmul_rate_is_measured_once_and_kept_for_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(rate, "_rates", {})
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    found = matmul_rate("float32", 1, cache=tmp_path)
    assert 1e8 < found < 1e14 and known_rates() == {"float32/1": found}
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    (file,) = (tmp_path / "rates").glob("*.json")
    file.write_text(json.dumps({"rate": 123.0, "measured": json.loads(file.read_text())["measured"]}))
    assert matmul_rate("float32", 1, cache=tmp_path) == found, "this process has its own"
    monkeypatch.setattr(rate, "_rates", {})
    assert matmul_rate("float32", 1, cache=tmp_path) == 123.0
    for stale in (json.dumps({"rate": 123.0, "measured": 0.0}), "{", json.dumps({"rate": math.inf}), "[]"):
        file.write_text(stale)
        monkeypatch.setattr(rate, "_rates", {})
        assert matmul_rate("float32", 1, cache=tmp_path) != 123.0
    monkeypatch.setattr(rate, "_rates", {})
    (tmp_path / "flat").write_text("in the way")
    assert matmul_rate("float32", 1, cache=tmp_path / "flat") > 1e8


def test_work_adds_up():
    one = Work({"float32": 5, "bfloat16": 1}, 10)
    assert (one * 3 - one).flops == (one + one).flops and (one * 2).total == 12 and (one * 3 - one).moved == 20


def test_a_process_is_not_charged_with_the_memory_of_whoever_started_it():
    import subprocess
    import sys

    held = bytearray(1 << 30)
    asked = [sys.executable, "-c", "from isoloss.machine import process_peak; print(process_peak())"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert int(said) < len(held) / 4

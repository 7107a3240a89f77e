"""Runs trained together are the runs trained alone, to rounding, and each keeps its own record."""

import dataclasses
import math
from itertools import count

import pytest

torch = pytest.importorskip("torch")

from isoloss import api  # noqa: E402
from isoloss.algorithms import algorithms  # noqa: E402
from isoloss.execution.timing import smoke_run  # noqa: E402
from isoloss.planning.plan import PlannedRun  # noqa: E402
from isoloss.planning.stacks import stacks  # noqa: E402
from isoloss.runs import Context, Stop, Stopped  # noqa: E402
from isoloss.tasks import tasks  # noqa: E402
from isoloss.training import graph  # noqa: E402
from isoloss.training import stack as stacking  # noqa: E402
from isoloss.training.dropping import DropRule  # noqa: E402
from isoloss.training.gradient import Trainee  # noqa: E402
from isoloss.training.keeper import Keeper  # noqa: E402
from isoloss.training.loop import Member  # noqa: E402
from isoloss.training.optimizers.adam import FusedAdam  # noqa: E402
from isoloss.training.optimizers.sgd import MomentumSGD  # noqa: E402
from isoloss.training.stack import train_stack  # noqa: E402
from tests.conftest import TURNED_STUDY  # noqa: E402

COMPILED = {"dtype": "float32", "compiled": True, "stack": 1}

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(torch.nn.Module):
    """A perceptron with a normalisation, whose moving averages are buffers."""

    def __init__(self):
        super().__init__()
        self.last, self.norm, self.first = torch.nn.Linear(16, 3), torch.nn.BatchNorm1d(16), torch.nn.Linear(8, 16)

    def forward(self, x):
        return self.last(self.norm(self.first(x)).relu())


def trainee(seed, lr, steps, optimizer=FusedAdam, spoilt=False):
    torch.manual_seed(seed)
    net, truth = Net(), torch.randn(8, 3)
    own = torch.Generator().manual_seed(seed)

    def batches():
        for n in count():
            x = torch.randn(32, 8, generator=own)
            yield x * (math.nan if spoilt and n == 20 else 1.0), (x @ truth).argmax(1)

    def error(split):
        x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
        return float((net(x).argmax(1) != (x @ truth).argmax(1)).float().mean()) + 1e-3

    parts = list(net.parameters())[::-1]  # not the model's own order
    return Trainee(
        model=net,
        optimizer=optimizer(parts, lr) if optimizer is FusedAdam else optimizer(parts, lr, 0.9, 0.01),
        batches=batches(),
        loss=lambda batch: torch.nn.functional.cross_entropy(net(batch[0]), batch[1]),
        evaluate=error,
        schedule=lambda share: 1 - share,
        steps=steps,
        examples_per_step=32,
        clip=0.5,
    )


RUNS = [
    {"seed": 1, "lr": 0.01, "steps": 120},
    {"seed": 2, "lr": 0.003, "steps": 120},
    {"seed": 3, "lr": 0.01, "steps": 60},  # a shorter schedule
    {"seed": 4, "lr": 0.01, "steps": 120, "spoilt": True},  # diverges
    {"seed": 5, "lr": 0.05, "steps": 120, "optimizer": MomentumSGD},
]


def together(runs, key="net", rule=None):
    members = [Member(trainee(**run), ("test",), Context(), rule=rule, alone=False) for run in runs]
    return train_stack(members, key)


@pytest.fixture(scope="module")
def both():
    torch.set_num_threads(1)
    return together(RUNS), [Member(trainee(**run), ("test",), Context()).train() for run in RUNS]


def test_every_run_of_a_stack_is_the_run_alone_to_rounding(both):
    (stacked, why), alone = both
    assert why == ""
    for one, other in zip(stacked, alone, strict=True):
        assert one.status == other.status
        for name in ("step", "examples", "train_flops"):
            assert one.curve[name] == other.curve[name]
        finite = [x for x in other.curve["train_loss"] if math.isfinite(x)]
        assert one.curve["train_loss"][: len(finite)] == pytest.approx(finite, rel=1e-4)
        assert one.resources["train_flops"] == other.resources["train_flops"], "its FLOPs are its own"
        if other.status == "finished":
            assert one.qualities["test"] == pytest.approx(other.qualities["test"], abs=0.01)


def test_one_run_diverges_and_the_others_go_on(both):
    (stacked, _), _ = both
    assert [o.status for o in stacked] == ["finished", "finished", "finished", "diverged", "finished"]
    assert stacked[3].qualities == {} and stacked[3].curve["step"][-1] < 120
    assert stacked[2].curve["step"][-1] == 60 < stacked[0].curve["step"][-1] == 120


def test_a_run_that_is_far_behind_leaves_the_stack():
    curve = {"step": [1.0, 60.0], "train_loss": [1e-3, 1e-3]}
    from isoloss.runs import Drop

    (first, _), why = together([RUNS[2] | {"seed": 1}, RUNS[2]], rule=DropRule(Drop("r", 0.1), curve))
    assert why == "" and first.status == "dropped" and not first.qualities


def test_a_compiled_run_goes_on_where_it_was_stopped_with_a_graph_compiled_anew(tmp_path):
    def carry_out(until=None):
        one, stop = trainee(**RUNS[0]), Stop()
        context, batches = Context(cache=tmp_path, stop=stop), one.batches

        def watched():
            for n, batch in enumerate(batches, 1):
                stop.told = n == until
                yield batch

        one.batches = watched()
        with Keeper(one, spec().spec, context) as keeper:
            (outcome,), why = train_stack([Member(one, ("test",), context, keeper=keeper)], "net")
        assert why == "" and outcome.notes == ()
        return outcome, [v.clone() for v in one.model.state_dict().values()], keeper.seconds

    straight, ended, _ = carry_out()
    for until in (40, 70):
        with pytest.raises(Stopped):
            carry_out(until)
        graph._KEPT.clear()  # as in another process
    (path,) = (tmp_path / "checkpoints").glob("*.pt")
    assert torch.load(path, weights_only=True)["step"] == 70
    resumed, also, earlier = carry_out()
    assert earlier > 0, "it went on and did not start anew"
    assert (resumed.status, resumed.curve, resumed.qualities) == ("finished", straight.curve, straight.qualities)
    assert resumed.resources["train_flops"] == straight.resources["train_flops"]
    assert all(map(torch.equal, ended, also)), "moving averages too"


def test_what_cannot_be_one_computation_is_trained_as_written_and_said():
    def noisy(run):
        one = trainee(**run)
        quiet = one.loss
        one.loss = lambda batch: quiet((torch.nn.functional.dropout(batch[0], 0.1), batch[1]))
        return one

    (fast,), why = train_stack([Member(noisy(RUNS[2]), ("test",), Context())], "noisy")
    assert "random" in why
    assert fast.status == "finished" and fast.curve["step"][-1] == 60


def spec(lr=1e-2, seed=1, numerics=COMPILED):
    found, _, flops = smoke_run("geometry/cnn", ("validation",), {"steps": 30})
    changed = dataclasses.replace(found, numerics=numerics, seed=seed, choices={**found.choices, "lr": lr})
    return PlannedRun(changed, "a", changed.budget, "tune", flops)


def test_the_plan_puts_runs_that_differ_in_numbers_alone_in_one_stack():
    runs = [spec(lr, seed) for lr in (1e-3, 1e-2) for seed in range(1, 12)]
    wider = dataclasses.replace(runs[0].spec, choices={**runs[0].spec.choices, "width": 9})
    runs.append(dataclasses.replace(runs[0], spec=wider))
    found = stacks(runs)
    most = algorithms.get("geometry/cnn")().stack(
        algorithms.get("geometry/cnn").Choices(**wider.choices), COMPILED, 1.0
    )
    assert most is not None
    assert sorted(s.run_id for stack in found for s in stack) == sorted(r.spec.run_id for r in runs)
    assert all(len({s.choices["width"] for s in stack}) == 1 and len(stack) <= most[1] for stack in found)
    assert found == stacks(runs), "the same round has the same stacks"
    plain = [spec(lr, numerics={"dtype": "float32", "compiled": False, "stack": 1}) for lr in (1e-3, 1e-2)]
    assert [len(s) for s in stacks(plain)] == [1, 1]


def test_a_stack_that_does_not_fit_is_halved_and_says_so(monkeypatch):
    real, widths = stacking.train_stack, []

    def crowded(members, key):
        widths.append(len(members))
        if len(members) > 2:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return real(members, key)

    monkeypatch.setattr(stacking, "train_stack", crowded)
    specs = [spec(seed=s).spec for s in (1, 2, 3)]
    task_class = tasks.get(specs[0].task)
    task = task_class(task_class.Options(**specs[0].task_options))
    algorithm = algorithms.get("geometry/cnn")()
    outcomes = algorithm.run_together(task, specs, [Context()] * 3)
    assert widths == [3, 2, 1]
    assert [o.status for o in outcomes] == ["finished"] * 3
    assert all("stacks of 2" in o.notes[0] for o in outcomes)


STUDY = TURNED_STUDY.replace("RATES", "[1e-3, 1e-2]") + "[tuning]\nwiden = false\n[numerics]\ncompiled = true\n"


@pytest.mark.slow
def test_a_compiled_study_runs_resumes_and_agrees_with_the_plain_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOLOSS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "stacked.toml"
    path.write_text(STUDY)
    result, _ = api.run(path, workers=2, ledger=str(tmp_path / "a.sqlite"), out=tmp_path / "out")
    assert result.counts == {"finished": 16}
    again, _ = api.run(path, workers=2, ledger=str(tmp_path / "a.sqlite"), out=tmp_path / "out")
    assert again.runs == result.runs
    path.write_text(STUDY.replace("compiled = true", "compiled = false"))
    plain, _ = api.run(path, workers=2, ledger=str(tmp_path / "b.sqlite"), out=tmp_path / "out")
    key = ("arm", "purpose", "rung", "seed", "choices")
    ours, theirs = ({tuple(r[k] for k in key): r for r in found.runs} for found in (result, plain))
    assert ours.keys() == theirs.keys()
    for place, run in ours.items():
        assert run["train_flops"] == theirs[place]["train_flops"]
        assert run["validation"] == pytest.approx(theirs[place]["validation"], abs=0.03)

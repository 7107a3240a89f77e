"""The one gradient loop: forward, backward, clip, step; counts, times and records, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from isoloss.runs import Amount, Context, Outcome
from isoloss.training.accounts import MachineMeter, counted
from isoloss.training.accumulate import Shards
from isoloss.training.dropping import DropRule
from isoloss.training.flops import PeriodicMeter, Work
from isoloss.training.gradient import Trainee, tell
from isoloss.training.keeper import Keeper
from isoloss.training.step import Step, finite

CURVE_POINTS = 32
#: A loss that is no number is noticed after so many steps at most; looking makes a GPU wait, so not every step.
CHECK_EVERY = 64
#: Counters of energy are looked at this often.
LOOK_SECONDS = 300.0


def log_steps(steps: int, points: int = CURVE_POINTS) -> list[int]:
    """The steps after which the loss is recorded: about `points`, evenly spaced in log(step), the last included.

    >>> log_steps(5)
    [1, 2, 3, 4, 5]
    """
    spaced = {round(math.exp(i / max(points - 1, 1) * math.log(steps))) for i in range(points)}
    return sorted({s for s in spaced if s >= 1} | {steps})


def _spent(meter: PeriodicMeter, borrowed: int, done: int) -> Work:
    """Work of the steps after the `borrowed` ones."""
    return meter.work(done) - meter.work(min(borrowed, done)) if borrowed else meter.work(done)


def _watching(meter: PeriodicMeter, stepped: float, trained: int) -> float:
    """Seconds that watching the first steps cost: what they took beyond as many of the `trained` steps' others, all
    of them together `stepped` seconds. The first steps also warm kernels up, so it is an upper bound."""
    watched, others = len(meter.steps), trained - len(meter.steps)
    if not meter.seconds or others < 1:
        return 0.0
    return max(0.0, meter.seconds - watched * (stepped - meter.seconds) / others)


@dataclass(eq=False)
class Member:
    """A run in training, by itself or in a stack: `step` takes a step as PyTorch does it, `_life` is all the rest.

    It trains for ``trainee.steps`` steps and measures quality on each split of `evaluate`. FLOPs, bytes moved and live
    tensors are counted operator by operator over the first real step and the period of the optimiser that follows it,
    and repeated from there (all steps have one shape): see `PeriodicMeter`. An optimiser with ``train()`` and
    ``eval()`` is told before training and before evaluation. A loss, and in the end a parameter, that is not finite
    ends the run as ``diverged``, after `CHECK_EVERY` steps at most: it has no quality and counts as a miss; by `rule`
    it may end as ``dropped``. With a `keeper`, the run goes on where it, or its trunk, has been trained to already: the
    losses until there are read, not made again, and the rest is the same bit for bit. Raises `Stopped` where the keeper
    is told to. `shards` make the gradients where there are any; a run that is not trained `alone` has no energy of its
    own. ``batch`` is what the next step is taken on, ``outcome`` how the run ended.
    """

    trainee: Trainee
    evaluate: Sequence[str]
    context: Context
    setup_seconds: float = 0.0
    keeper: Keeper | None = None
    shards: Shards | None = None
    rule: DropRule | None = None
    alone: bool = True
    step: Step = field(init=False)
    batch: Any = field(init=False, default=None)
    outcome: Outcome | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.step = Step(self.trainee, PeriodicMeter(getattr(self.trainee.optimizer, "period", 1)), self.shards)
        self._run = self._life()

    def send(self, told: tuple[torch.Tensor, float] | None) -> None:
        """Tell the run the loss of its step and the seconds it took, nothing before the first; it asks for the next
        or ends."""
        try:
            self.batch = self._run.send(told)  # type: ignore[arg-type]
        except StopIteration as end:
            self.outcome = end.value

    def advance(self) -> None:
        """One step as PyTorch does it."""
        before = time.perf_counter()
        loss = self.step(self.batch)
        self.send((loss, time.perf_counter() - before))

    def finish(self) -> Outcome:
        """All steps that are left, as PyTorch does them."""
        while self.outcome is None:
            self.advance()
        return self.outcome

    def train(self) -> Outcome:
        """The whole run, step by step as PyTorch does it."""
        self.send(None)
        return self.finish()

    def _life(self) -> Generator[Any, tuple[torch.Tensor, float], Outcome]:
        """Yields batches, is sent (loss, seconds), and returns the outcome."""
        clock = time.perf_counter
        started = clock()
        trainee, context, keeper, meter = self.trainee, self.context, self.keeper, self.step.meter
        model, optimizer, steps = trainee.model, trainee.optimizer, trainee.steps
        threads = torch.get_num_threads() * (1 if self.shards is None else len(self.shards.trainees))
        parameters = [p for p in model.parameters() if p.requires_grad]
        groups = [(group, group["lr"]) for group in optimizer.param_groups]
        curve: dict[str, list[float]] = {"step": [], "examples": [], "train_flops": [], "train_loss": []}
        marks = iter(log_steps(steps))
        mark, last_mark = next(marks), 0
        total = torch.zeros((), device=parameters[0].device)
        data_seconds = own_seconds = stepped = 0.0
        status = "finished"
        machine = MachineMeter(parameters[0].device)
        look = started + LOOK_SECONDS
        model.train()
        tell(optimizer, "train")
        rate = (lambda step: trainee.schedule(step / steps)) if trainee.stem is None else trainee.stem.rate
        past = torch.empty(0) if keeper is None else keeper.resume(meter)

        resumed = clock()
        for step in range(1, steps + 1):
            before = clock()
            if before > look:
                machine.look()
                look = before + LOOK_SECONDS
            batch = next(trainee.batches)
            data_seconds += clock() - before
            if step <= len(past):
                loss = past[step - 1]
            else:
                multiplier = rate(step)
                for group, base in groups:
                    group["lr"] = base * multiplier
                own_seconds += clock() - resumed
                loss, spent_seconds = yield batch
                resumed = clock()
                stepped += spent_seconds
                if keeper is not None:
                    keeper.passed(step, loss, meter)
            total += loss
            if step == mark or (step % CHECK_EVERY == 0 and not math.isfinite(total)):
                mean = float(total) / (step - last_mark)
                curve["step"].append(step)
                curve["examples"].append(step * trainee.examples_per_step)
                curve["train_flops"].append(float(meter.total(step)))
                curve["train_loss"].append(mean)
                total.zero_()
                last_mark, mark = step, next(marks, 0)
                if context.progress is not None:
                    context.progress(step, steps)
                if not math.isfinite(mean):
                    status = "diverged"
                    break
                if self.rule is not None and self.rule.gives_up(step / steps, mean):
                    status = "dropped"
                    break

        if status == "finished" and not finite(parameters):
            status = "diverged"
        if keeper is not None:
            keeper.trained(meter)
        trained = clock()
        own_seconds += trained - resumed
        qualities: dict[str, float] = {}
        if status == "finished":
            model.eval()
            tell(optimizer, "eval")
            with torch.no_grad():
                qualities = {split: float(trainee.evaluate(split)) for split in self.evaluate}
            if not all(math.isfinite(q) for q in qualities.values()):
                status, qualities = "diverged", {}
        if keeper is not None:
            keeper.ended()
        ended = clock()
        earlier, borrowed = (0.0, 0) if keeper is None else (keeper.seconds, keeper.borrowed)
        done = int(curve["step"][-1])
        sizes, examples = trainee.sizes or {}, done * trainee.examples_per_step
        weights, spent = sum(p.numel() for p in parameters), _spent(meter, borrowed, done)
        watching = _watching(meter, stepped, done - len(past))
        recorded = own_seconds - data_seconds
        resources = {
            **counted(meter, done, examples, weights),
            "examples": Amount(float(examples), "counted"),
            "steps": Amount(float(done), "counted"),
            "parameters": Amount(float(weights), "counted"),
            **{name: Amount(float(value), "analytic") for name, value in sizes.items() if name != "parameters"},
            **({} if trainee.stem is None else {"spent_flops": Amount(float(spent.total), "counted")}),
            **machine.facts(
                _spent(meter, len(past), done),
                stepped - watching,
                threads,
                context.cache,
                whole=self.alone and not earlier,
            ),
            "seconds": Amount(earlier + self.setup_seconds + stepped + own_seconds + ended - trained, "measured"),
        }
        seconds = {
            "setup": self.setup_seconds,
            "compute": earlier + stepped - watching,
            "meter": watching,
            "data": data_seconds,
            "record": recorded,
            "evaluate": ended - trained,
        }
        notes = () if keeper is None else tuple(keeper.notes)
        return Outcome(status, qualities, curve, resources, seconds, notes=notes)  # type: ignore[arg-type]

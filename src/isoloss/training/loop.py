"""The one gradient loop: forward, backward, clip, step; counts, times and records, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

import torch

from isoloss.runs import Amount, Context, Outcome
from isoloss.training.accounts import MachineMeter, counted
from isoloss.training.accumulate import Shards, backward
from isoloss.training.dropping import DropRule
from isoloss.training.faults import is_out_of_memory
from isoloss.training.flops import PeriodicMeter, Work
from isoloss.training.gradient import Trainee
from isoloss.training.keeper import Keeper

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


def scale_down(gradients: list[torch.Tensor], largest: float) -> None:
    """Scale `gradients` together, in place, so that their joint Euclidean norm is at most `largest`.

    What `torch.nn.utils.clip_grad_norm_` computes, without its grouping by device: on models this small that
    bookkeeping is a tenth of a step.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp_(max=1.0))


def _nothing() -> None:
    """What an optimiser without modes does when told its mode."""


def finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether every number in `tensors` is finite."""
    found = list(tensors)
    if not found:
        return True
    largest = torch.stack(torch._foreach_norm(found, float("inf")))
    return bool(largest.isfinite().all())


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


def train(
    trainee: Trainee,
    evaluate: Sequence[str],
    context: Context,
    setup_seconds: float = 0.0,
    keeper: Keeper | None = None,
    shards: Shards | None = None,
    rule: DropRule | None = None,
) -> Outcome:
    """Train for ``trainee.steps`` steps and measure quality on each split of `evaluate`.

    FLOPs, bytes moved and live tensors are counted operator by operator over the first real step and the period of the
    optimiser that follows it, and repeated from there (all steps have one shape): see `PeriodicMeter`. An optimiser
    with ``train()`` and ``eval()`` is told before training and before evaluation. A loss, and in the end a parameter,
    that is not finite ends the run as ``diverged``, after `CHECK_EVERY` steps at most: it has no quality and counts as
    a miss. With a `keeper`, the run goes on where it, or its trunk, has been trained to already: the losses until there
    are read, not made again, and the rest is the same bit for bit. `shards` make the gradient where there are any. By
    `rule` the run may end as ``dropped``, without a quality. Raises `Stopped` where the keeper is told to.
    """
    clock = time.perf_counter
    started = clock()
    model, optimizer, steps = trainee.model, trainee.optimizer, trainee.steps
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [(group, group["lr"]) for group in optimizer.param_groups]
    curve: dict[str, list[float]] = {"step": [], "examples": [], "train_flops": [], "train_loss": []}
    marks = iter(log_steps(steps))
    mark, last_mark = next(marks), 0
    total = torch.zeros((), device=parameters[0].device)
    data_seconds = record_seconds = 0.0
    status, meter = "finished", PeriodicMeter(getattr(optimizer, "period", 1))
    machine = MachineMeter(parameters[0].device)
    look = started + LOOK_SECONDS
    model.train()
    getattr(optimizer, "train", _nothing)()
    rate = (lambda step: trainee.schedule(step / steps)) if trainee.stem is None else trainee.stem.rate
    past = torch.empty(0) if keeper is None else keeper.resume(meter)

    def one_step(batch: object) -> torch.Tensor:
        loss = backward(trainee, batch) if shards is None else shards(batch)
        if trainee.clip is not None:
            scale_down([p.grad for p in parameters if p.grad is not None], trainee.clip)
        optimizer.step()
        for p in parameters:
            p.grad = None
        return loss

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
            try:
                with meter.step():
                    loss = one_step(batch)
            except RuntimeError as error:
                # a decomposition, say, that is given no numbers: the loss was not finite, or a gradient
                gradients = [p.grad for p in parameters if p.grad is not None]
                if is_out_of_memory(error) or finite([*parameters, *gradients]):
                    raise
                loss = torch.full_like(total, math.nan)
            if keeper is not None:
                keeper.passed(step, loss, meter)
        total += loss
        if step == mark or (step % CHECK_EVERY == 0 and not math.isfinite(total)):
            before = clock()
            mean = float(total) / (step - last_mark)
            curve["step"].append(step)
            curve["examples"].append(step * trainee.examples_per_step)
            curve["train_flops"].append(float(meter.total(step)))
            curve["train_loss"].append(mean)
            total.zero_()
            last_mark, mark = step, next(marks, 0)
            if context.progress is not None:
                context.progress(step, steps)
            record_seconds += clock() - before
            if not math.isfinite(mean):
                status = "diverged"
                break
            if rule is not None and rule.gives_up(step / steps, mean):
                status = "dropped"
                break

    if status == "finished" and not finite(parameters):
        status = "diverged"
    if keeper is not None:
        keeper.trained(meter)
    trained = clock()
    qualities: dict[str, float] = {}
    if status == "finished":
        model.eval()
        getattr(optimizer, "eval", _nothing)()
        with torch.no_grad():
            qualities = {split: float(trainee.evaluate(split)) for split in evaluate}
        if not all(math.isfinite(q) for q in qualities.values()):
            status, qualities = "diverged", {}
    if keeper is not None:
        keeper.ended()
    ended = clock()
    earlier, borrowed = (0.0, 0) if keeper is None else (keeper.seconds, keeper.borrowed)
    done = int(curve["step"][-1])
    sizes, examples = trainee.sizes or {}, done * trainee.examples_per_step
    weights, spent = sum(p.numel() for p in parameters), _spent(meter, borrowed, done)
    stepped = trained - started - data_seconds - record_seconds
    watching = _watching(meter, stepped, done - len(past))
    threads = torch.get_num_threads() * (1 if shards is None else len(shards.trainees))
    resources = {
        **counted(meter, done, examples, weights),
        "examples": Amount(float(examples), "counted"),
        "steps": Amount(float(done), "counted"),
        "parameters": Amount(float(weights), "counted"),
        **{name: Amount(float(value), "analytic") for name, value in sizes.items() if name != "parameters"},
        **({} if trainee.stem is None else {"spent_flops": Amount(float(spent.total), "counted")}),
        **machine.facts(_spent(meter, len(past), done), stepped - watching, threads, context.cache, whole=not earlier),
        "seconds": Amount(earlier + setup_seconds + ended - started, "measured"),
    }
    seconds = {
        "setup": setup_seconds,
        "compute": earlier + stepped - watching,
        "meter": watching,
        "data": data_seconds,
        "record": record_seconds,
        "evaluate": ended - trained,
    }
    notes = () if keeper is None else tuple(keeper.notes)
    return Outcome(status, qualities, curve, resources, seconds, notes=notes)  # type: ignore[arg-type]

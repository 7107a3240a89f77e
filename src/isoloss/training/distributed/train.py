"""One training as one device of several sees it, and what all of them come to."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch

from isoloss.runs import Amount, Context, Outcome, RunSpec
from isoloss.training.distributed import compressions, strategies
from isoloss.training.distributed.base import Build
from isoloss.training.distributed.group import Group
from isoloss.training.dropping import DropRule
from isoloss.training.gradient import Trainee
from isoloss.training.loop import Member

#: Resources of one device, of which the run's is the largest; those in `ADDED` are summed over devices.
PER_DEVICE = frozenset({"peak_memory_bytes", "activation_bytes", "process_peak_bytes", "joules"})
ADDED = frozenset({"train_flops", "bytes_moved", "modelled_joules"})
#: Far above any run's seed, so that no device's random numbers are another run's.
_APART = 2**40


def train_device(
    group: Group, trainee: Trainee, build: Build, choices: Any, spec: RunSpec, context: Context
) -> Outcome:
    """Train this device's part of `trainee` and evaluate; device 0's outcome is that of the run.

    `ADDED` resources are sums over devices, `PER_DEVICE` ones and bytes sent those of the device with the most;
    losses and qualities are the whole run's. Every device must be called with the same arguments but the context.
    """
    started = time.perf_counter()
    exchange = compressions.get(choices.compression)(group, choices)
    strategy = strategies.get(choices.strategy)(group, exchange, choices)
    parameters = sum(p.numel() for p in trainee.model.parameters() if p.requires_grad)
    own = strategy.divide(trainee, build)
    torch.manual_seed(spec.seed + _APART * group.rank)  # dropout differs from device to device
    taking_part = group.rank == 0 or strategy.model_divided
    # every device sees the same loss, so all of them drop a run, or find that it diverges, at the same step
    rule, evaluate = DropRule(spec.drop, context.reference), spec.evaluate if taking_part else ()
    outcome = Member(own, evaluate, context, time.perf_counter() - started, rule=rule).train()
    group.counting = False
    return dataclasses.replace(outcome, **_of_all(outcome, group, parameters))


def _of_all(outcome: Outcome, group: Group, parameters: int) -> dict[str, Any]:
    resources = dict(outcome.resources)
    own_flops = resources["train_flops"].value
    for name in sorted((PER_DEVICE | ADDED) & resources.keys()):
        of_all = group.recorded_max if name in PER_DEVICE else group.recorded_sum
        resources[name] = Amount(of_all(resources[name].value), resources[name].how)
    resources["parameters"] = Amount(float(parameters), "counted")
    resources["bytes_communicated"] = Amount(group.recorded_max(group.bytes_sent), "counted")
    if "six_nd_flops" in resources:
        resources["six_nd_flops"] = Amount(6.0 * parameters * resources["examples"].value, "analytic")
    times = resources["train_flops"].value / own_flops
    return {
        "resources": resources,
        "curve": {**outcome.curve, "train_flops": [c * times for c in outcome.curve["train_flops"]]},
    }

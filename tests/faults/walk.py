"""A task and an algorithm of some 30 ms a run, exact to the last bit, that leaves checkpoints and says what it trains.

A plug-in file: loaded by every worker. ``FAULTS_LOG`` names the file that it says so in.
"""

import json
import os
import time

from pydantic import Field

from isoloss.algorithms import Algorithm, algorithm
from isoloss.runs import Amount, Outcome
from isoloss.tasks import Floor, Task, task

STEPS, PAUSE, KEEP = 10, 0.003, 3
MODULUS = 2**31 - 1


@task("faults/none", version=1, summary="nothing to learn", year=2026, source="these tests")
class Nothing(Task):
    quality, unit, floor = "loss", "", Floor("shared")
    trivial_quality = 9.0
    resources = ("train_flops",)

    def prepare(self):
        pass

    def facts(self):
        return {}


@algorithm("faults/walk", version=1, summary="a pseudo-random walk", year=2026, source="these tests")
class Walk(Algorithm):
    class Choices(Algorithm.Choices):
        lr: float = Field(0.1, gt=0)
        gain: float = 1.0

    def resolve(self, task, rung, choices):
        return choices

    def train_flops(self, task, choices):
        return 1e6

    def run(self, task, spec, context):
        say(f"start {spec.run_id}")
        path = context.checkpoint(spec.run_id)
        state, step = int(spec.run_id, 16) % MODULUS, 0
        if path.exists():
            state, step = json.loads(path.read_text())
        losses = []
        while step < STEPS:
            time.sleep(PAUSE)
            state, step = state * 48271 % MODULUS, step + 1
            losses.append(state / MODULUS)
            if step % KEEP == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                whole = path.with_name(f"{path.name}.{os.getpid()}")
                whole.write_text(json.dumps([state, step]))
                os.replace(whole, path)
        seed_noise = 0.01 * (state / MODULUS - 0.5)
        quality = (
            1.0 + 20 * (spec.budget * spec.choices["gain"]) ** -0.15 + 0.05 * abs(spec.choices["lr"] - 0.1) + seed_noise
        )
        amounts = {"train_flops": Amount(spec.budget, "counted")}
        curve = {"step": [float(STEPS)], "train_loss": [losses[-1] if losses else state / MODULUS]}
        say(f"end {spec.run_id}")
        return Outcome("finished", dict.fromkeys(spec.evaluate, quality), curve, amounts)


def say(line):
    file = os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)

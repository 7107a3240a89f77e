"""The run contract: what one training run is, how it is named, and what it must bring back.

``algorithm.run(task, spec, context) -> Outcome`` is the whole protocol. Everything trained by gradient shares
`isoloss.training.loop`; a solver, a verifier or a kernel baseline implements `run` itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

Status = Literal["finished", "diverged", "dropped", "failed"]
How = Literal["counted", "analytic", "modelled", "measured"]
Purpose = Literal["tune", "report"]

#: Every entry that a resource vector may have: unit and one-line meaning. Anything else is refused by name.
RESOURCES: dict[str, tuple[str, str]] = {
    "train_flops": ("FLOP", "training compute: forward, backward, normalisation, optimiser"),
    "spent_flops": ("FLOP", "training compute really done here: less where a run goes on from another one's trunk"),
    "six_nd_flops": ("FLOP", "6 x parameters x examples, the rule of thumb that is quoted elsewhere"),
    "tuning_flops": ("FLOP", "training compute spent on choosing this run's hyper-parameters"),
    "inference_flops": ("FLOP", "compute of one example's forward pass (one token for language)"),
    "examples": ("examples", "training examples drawn, repeats included (tokens for language)"),
    "unique_examples": ("examples", "distinct training examples available to the run"),
    "labels": ("labels", "distinct labelled examples"),
    "parameters": ("parameters", "all trained parameters"),
    "active_parameters": ("parameters", "parameters that one example touches"),
    "non_embedding_parameters": ("parameters", "parameters outside input embedding and tied head"),
    "stored_bytes": ("B", "bytes of the stored model"),
    "peak_memory_bytes": ("B", "most bytes at a time of parameters, gradients, optimiser state and activations"),
    "activation_bytes": ("B", "what the peak of a step adds to the memory held between steps, on the fullest device"),
    "process_peak_bytes": ("B", "most resident memory of the training process, libraries included"),
    "bytes_moved": ("B", "bytes that training's operators read and write, as if nothing were cached"),
    "bytes_communicated": ("B", "bytes that the busiest device sends to others"),
    "joules": ("J", "energy of the whole processor package or GPU while the run trained, as measured"),
    "modelled_joules": ("J", "energy by a model of operators and memory traffic, not measured"),
    "seconds": ("s", "wall time of the run on its machine"),
    "utilisation": ("share", "training FLOPs per second of computing, over the machine's measured matmul rate"),
    "steps": ("steps", "optimiser steps"),
}

#: Entries that belong to (run, machine) rather than to the run: never part of a reproducible table.
MACHINE_RESOURCES = frozenset({"seconds", "joules", "process_peak_bytes", "utilisation", "spent_flops"})


@dataclass(frozen=True)
class Amount:
    """One entry of a resource vector and how it was got."""

    value: float
    how: How


ResourceVector = Mapping[str, Amount]


@dataclass(frozen=True)
class StepRule:
    """How many optimiser steps a run takes when the ladder resource is not compute.

    ``constant``: `value` steps at every rung; ``epochs``: `value` passes over the rung's examples.
    """

    kind: Literal["constant", "epochs"]
    value: float


@dataclass(frozen=True)
class Drop:
    """When a tuning run is dropped: from a fifth of its steps on, once its training loss exceeds by the share `above`
    what the run `reference` (same arm, rung and seed) had at the same share of its steps. A dropped run is a trial that
    is not chosen."""

    reference: str
    above: float


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run's result, machine apart. Its hash is the run's identity.

    `resource`, `budget`: the ladder resource and this rung's amount of it; `choices`: all hyper-parameters,
    resolved (no defaults left to fill); `evaluate`: the splits whose quality is measured at the end (a tuning run
    never sees ``test``); `code`: digest of the file a plug-in algorithm or task came from, empty for built-ins;
    `numerics`: dtype and whatever else changes the arithmetic; its ``stack`` is 1 in every run and read by nobody, but
    left out it would change the id of every run on record; `drop`: when to give the run up.
    """

    algorithm: str
    algorithm_version: int
    task: str
    task_version: int
    task_options: Mapping[str, Any]
    resource: str
    budget: float
    step_rule: StepRule | None
    choices: Mapping[str, Any]
    seed: int
    evaluate: tuple[str, ...]
    numerics: Mapping[str, Any] = field(default_factory=lambda: {"dtype": "float32", "compiled": False, "stack": 1})
    code: str = ""
    drop: Drop | None = None

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON types, keys sorted, floats unrounded."""
        rule = None if self.step_rule is None else {"kind": self.step_rule.kind, "value": self.step_rule.value}
        dropping = {} if self.drop is None else {"drop": {"above": self.drop.above, "reference": self.drop.reference}}
        return dropping | {
            "algorithm": self.algorithm,
            "algorithm_version": self.algorithm_version,
            "budget": float(self.budget),
            "choices": dict(sorted(self.choices.items())),
            "code": self.code,
            "evaluate": list(self.evaluate),
            "numerics": dict(sorted(self.numerics.items())),
            "resource": self.resource,
            "seed": self.seed,
            "step_rule": rule,
            "task": self.task,
            "task_options": dict(sorted(self.task_options.items())),
            "task_version": self.task_version,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        """The inverse of `to_dict`."""
        rest = dict(data)
        rule = rest.pop("step_rule")
        rest["evaluate"] = tuple(rest["evaluate"])
        drop = rest.pop("drop", None)
        return cls(
            step_rule=None if rule is None else StepRule(**rule), drop=None if drop is None else Drop(**drop), **rest
        )

    @cached_property
    def run_id(self) -> str:
        """First 20 hex digits of SHA-256 over the canonical JSON of `to_dict`.

        >>> a = RunSpec("a", 1, "t", 1, {}, "train_flops", 1e9, None, {"lr": 0.1}, 1, ("validation",))
        >>> a.run_id == RunSpec.from_dict(a.to_dict()).run_id
        True
        """
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def trunk(self) -> dict[str, Any] | None:
        """What all branches of this run's trunk have in common: the spec without length, budget and splits; None for a
        run that is no branch (its choices have no ``trunk_warmup``)."""
        if self.choices.get("trunk_warmup") is None:
            return None
        whole = self.to_dict()
        choices = {k: v for k, v in whole["choices"].items() if k != "steps"}
        return {k: v for k, v in whole.items() if k not in ("budget", "evaluate")} | {"choices": choices}

    @property
    def trunk_id(self) -> str | None:
        """Names the trunk of a branch; branches of one trunk share their past, so they are resampled together."""
        trunk = self.trunk()
        if trunk is None:
            return None
        text = json.dumps(trunk, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Outcome:
    """What a run brings back.

    `qualities`: split -> quality in the task's own unit and direction (absent for a diverged run); `curve`:
    columns of equal length
    (``step``, ``examples``, ``train_flops``, ``train_loss``); `seconds`: phase -> wall seconds
    (``compute`` forward/backward/optimiser, ``data``, ``meter``, ``evaluate``, ``setup``, ...); `notes`: faults that
    it survived, a line each (a damaged checkpoint, a full disk).
    """

    status: Status
    qualities: Mapping[str, float]
    curve: Mapping[str, list[float]]
    resources: ResourceVector
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.resources) - set(RESOURCES)
        if unknown:
            raise ValueError(f"resources {sorted(unknown)} are not in isoloss.runs.RESOURCES")
        if self.status == "finished" and not all(math.isfinite(q) for q in self.qualities.values()):
            raise ValueError("a finished run has finite qualities; call it diverged")


class Stopped(BaseException):
    """A run was told to end and did, leaving a checkpoint. No `Exception`: it is no fault of the run."""


@dataclass
class Stop:
    """How a run is told to end: `told` by whoever runs it; `heeded` by the run, while it looks at `told` between steps
    and would raise `Stopped`. A run that does not look is ended with its process."""

    told: bool = False
    heeded: bool = False


@dataclass(frozen=True)
class Context:
    """What a run may know of its surroundings: where it can write, and nothing of the study.

    `progress(done, total)` is called now and then with steps; `device` is a torch device string; `cache` is a folder
    for what may be kept from one run to the next (None: nothing is), never needed for a result; `stop` says when to
    end early; `checkpoint_seconds` is how long a run trains before it leaves a checkpoint, and then another;
    `reference` is the curve that `RunSpec.drop` compares with, None where that run has none.
    """

    device: str = "cpu"
    progress: Any = None
    cache: Path | None = None
    stop: Stop = field(default_factory=Stop)
    checkpoint_seconds: float = 60.0
    reference: Mapping[str, list[float]] | None = None

    def checkpoint(self, run_id: str) -> Path | None:
        """Where the run `run_id` leaves its checkpoint."""
        return None if self.cache is None else self.cache / "checkpoints" / f"{run_id}.pt"


@dataclass(frozen=True)
class Card:
    """Where an algorithm or task comes from: shown by ``isoloss list`` and on the page, checked by the contract test.

    `claim`: what its source says it gains, with scale, in one sentence; `smoke`: task, budget and choices of a
    seconds-long run that the contract test trains.
    """

    name: str
    version: int
    summary: str
    year: int
    source: str
    claim: str = ""
    smoke: Mapping[str, Any] = field(default_factory=dict)

"""The task contract."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from isoloss.runs import Card


@dataclass(frozen=True)
class Floor:
    """The irreducible quality of a task.

    ``shared``: one unknown floor for every algorithm (a log-loss on one stream); ``free``: each algorithm may have
    its own (an error rate); ``known``: `value` (0 for an error against an exact solution).
    """

    kind: Literal["shared", "free", "known"]
    value: float | None = None


@dataclass(frozen=True)
class Expected:
    """What to plan by before anything is measured: `noise` is the SD between seeds of ln quality, `exponents` has
    ``-d ln quality / d ln resource`` by ladder resource, `source` says whose they are."""

    noise: float
    exponents: Mapping[str, float]
    source: str


class Options(BaseModel):
    """Base of a task's options and an algorithm's choices: typed, frozen, unknown keys refused by name."""

    # a default out of its own range is met when choices are made, not when a run reads its own back
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class Task(abc.ABC):
    """Data, splits and quality. Knows nothing of algorithms.

    Class attributes: `card`; `quality` and `unit` (what people see, e.g. "loss", "bits per byte"); `direction`
    (``lower`` or
    ``higher`` is better, as people see it); `floor`; `anytime` (whether a curve's mid-points are honest results);
    `noise_unit` (what is independent between seeds); `example` (what one example is called); `trivial_quality`
    (what a constant guess scores); `resources` (the ladder resources that make sense here); `expected` (noise and
    steepness that earlier studies had).
    """

    card: ClassVar[Card]
    quality: ClassVar[str]
    unit: ClassVar[str]
    direction: ClassVar[Literal["lower", "higher"]] = "lower"
    best: ClassVar[float] = 0.0
    floor: ClassVar[Floor]
    anytime: ClassVar[bool] = False
    noise_unit: ClassVar[str] = "seed"
    example: ClassVar[str] = "example"
    trivial_quality: ClassVar[float]
    resources: ClassVar[tuple[str, ...]] = ("train_flops",)
    expected: ClassVar[Expected | None] = None

    class Options(Options):
        """No options."""

    @property
    def resolution(self) -> float | None:
        """The least quality but 0 that the test split can show, 1/n for a share of errors among n; None where it is
        not a count. A run without error is counted as half of it."""
        return None

    @classmethod
    def loss(cls, quality: float) -> float:
        """Quality as the statistics see it, positive and lower better: itself, or its distance from `best`.

        A gain needs the logarithm of it, so a score that is better when higher needs a best possible value.
        """
        return quality if cls.direction == "lower" else cls.best - quality

    def __init__(self, options: Any = None) -> None:
        self.options = options if options is not None else self.Options()

    def pinned(self) -> Any:
        """The options with whatever outside the study decides the data filled in (the digest of a file, say).

        They become part of the identity of every run, so runs on data that have changed never mix.
        """
        return self.options

    @abc.abstractmethod
    def prepare(self) -> None:
        """Load (and, the first time, build and cache) the data; idempotent. Raises `MissingError` with the command
        that installs a missing dataset."""

    @abc.abstractmethod
    def facts(self) -> dict[str, Any]:
        """Counts for the page and checks: sizes of the splits, unique training examples, digest of the data."""

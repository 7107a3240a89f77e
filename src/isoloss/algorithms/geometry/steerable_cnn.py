r"""E(2)-steerable networks: every map is a stack of feature fields, every kernel obeys the constraint of rotations.

Three kinds of feature between the same three convolutions (`isoloss.algorithms.geometry.plane_classifier`):

* *regular* fields of :math:`C_n` or :math:`D_n`: |G| channels each, rectified channel by channel; the maximum over the
  channels of a field is invariant;
* *harmonic* fields of SO(2): the irreducible representations up to a frequency, gated; invariant are fields of
  frequency 0, which the last convolution makes;
* *restricted* ones: regular fields of a larger group below, read as fields of a subgroup from the third convolution on.

Source: Weiler & Cesa 2019 (arXiv 1911.08251), sections 2.3 to 2.8; harmonic features: Worrall et al. 2017 (arXiv
1612.04642).
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import re
from typing import Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from isoloss.algorithms import algorithm
from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.geometry.group_cnn import GroupNorm2d
from isoloss.algorithms.geometry.plane_classifier import (
    CLASSES,
    FIRST,
    SECOND,
    SMOKE,
    THIRD,
    PlaneClassifier,
    Stage,
)
from isoloss.algorithms.geometry.point_groups import SO2, PointGroup, Representation, regular, trivial
from isoloss.algorithms.geometry.steerable_kernels import count
from isoloss.algorithms.geometry.steerable_layers import (
    Gate,
    SteerableConv2d,
    gate_cost,
    gated_harmonics,
    harmonics,
)
from isoloss.algorithms.vision.cost import convolution, norm, pointwise


def group(name: str) -> PointGroup:
    """The group called C1, C4, C8, D4, ... Raises `ValueError` for any other name.

    >>> group("D8").order
    16
    """
    if not re.fullmatch(r"[CD][1-9][0-9]?", name):
        raise ValueError(f"'{name}' is no group: C or D and the number of rotations, as in C8")
    return PointGroup(int(name[1:]), mirrors=name[0] == "D")


@dataclasses.dataclass(frozen=True)
class Convolution:
    """`fields` of `source` to `out` of `target` at one stage of the layout."""

    source: Representation
    fields: int
    target: Representation
    out: int
    stage: Stage

    def layer(self) -> SteerableConv2d:
        """The layer itself."""
        stage = self.stage
        return SteerableConv2d(self.source, self.target, self.fields, self.out, stage.size, stage.stride, stage.padding)

    @property
    def channels(self) -> tuple[int, int]:
        """Channels in and out."""
        return self.fields * self.source.size, self.out * self.target.size

    @property
    def weights(self) -> int:
        """Free parameters."""
        return self.out * self.fields * count(self.source, self.target, self.stage.size)

    @property
    def places(self) -> int:
        """Pixels that come out."""
        return self.stage.pixels**2

    def cost(self) -> Cost:
        """Parameters, and FLOPs of an image: those of the ordinary convolution."""
        whole = convolution(*self.channels, self.stage.size, self.places, first=self.stage is FIRST)
        return dataclasses.replace(whole, parameters=self.weights, active=self.weights)

    def expansion(self) -> float:
        """Weights times basis, 2 FLOPs a pair forward and as many for the gradient of the weights."""
        return 4 * self.weights * self.source.size * self.target.size * self.stage.size**2


class SteerableClassifier(PlaneClassifier):
    """A steerable network of three convolutions, which subclasses give with all that stands between them."""

    @abc.abstractmethod
    def convolutions(self, choices: Any) -> tuple[Convolution, ...]:
        """One a stage."""

    def expansion(self, choices: Any) -> float:
        """That of all kernels."""
        return sum(c.expansion() for c in self.convolutions(choices))


@algorithm(
    "geometry/steerable-regular",
    version=1,
    summary="steerable network with regular features of a cyclic or dihedral group, restricted deeper by choice",
    year=2019,
    source="Weiler & Cesa 2019, arXiv 1911.08251",
    claim="rotated MNIST (12,000 images): error 2.9% (plain) to 0.68%, the lowest then (Weiler & Cesa 2019)",
    smoke=SMOKE | {"choices": {"width": 2, "group": "C4"}},
)
class SteerableRegular(SteerableClassifier):
    """Regular fields of `group`, from the third convolution on of its subgroup `deep_group`."""

    class Choices(PlaneClassifier.Choices):
        """`group` and `deep_group`: C or D and the number of rotations; without `deep_group`, `group` throughout."""

        width: int = Field(4, ge=1)
        group: str = "C8"
        deep_group: str | None = None

        @model_validator(mode="after")
        def _nested(self) -> SteerableRegular.Choices:
            if group(self.deep_group or self.group) not in group(self.group):
                raise ValueError(f"deep_group {self.deep_group} is no subgroup of {self.group}")
            return self

    def convolutions(self, choices: Choices) -> tuple[Convolution, ...]:
        """Image, `width` fields, `width` fields, and as many channels twice over in fields of the deeper group."""
        shallow, w = group(choices.group), choices.width
        deep = group(choices.deep_group or choices.group)
        field = _regular(shallow)
        return (
            Convolution(trivial(shallow), 1, field, w, FIRST),
            Convolution(field, w, field, w, SECOND),
            Convolution(field.restricted(deep), w, _regular(deep), 2 * w * shallow.order // deep.order, THIRD),
        )

    def model(self, task: Any, choices: Choices) -> nn.Module:
        """Convolution, norm over the field and ReLU three times, maximum over the field, linear."""
        layers: list[nn.Module] = []
        convolutions = self.convolutions(choices)
        for one in convolutions:
            layers += [one.layer(), GroupNorm2d(one.out), nn.ReLU()]
        last = convolutions[-1]
        return nn.Sequential(*layers, FieldMaximum(last.target.size), nn.Linear(last.out, CLASSES))

    def cost(self, task: Any, choices: Choices) -> Cost:
        """Layer by layer."""
        convolutions = self.convolutions(choices)
        last = convolutions[-1]
        cost = linear(last.out, CLASSES, bias=True) + work(last.channels[1], 0)
        for c in convolutions:
            elements = c.channels[1] * c.places
            cost += c.cost() + norm(c.out, c.target.size * c.places) + pointwise(elements)
        return cost


@algorithm(
    "geometry/steerable-harmonic",
    version=1,
    summary="steerable network with gated circular harmonics, equivariant to all rotations but for the grid",
    year=2016,
    source="Worrall et al. 2017, arXiv 1612.04642; Weiler & Cesa 2019, arXiv 1911.08251",
    claim="rotated MNIST (12,000 images): error 1.7% (harmonic networks, Worrall et al. 2017)",
    smoke=SMOKE | {"choices": {"width": 2, "highest": 2}},
)
class SteerableHarmonic(SteerableClassifier):
    """Fields of SO(2) with every frequency up to `highest`; 8 invariants a field at the end."""

    class Choices(PlaneClassifier.Choices):
        """`highest`: the highest frequency of a feature."""

        width: int = Field(4, ge=1)
        highest: int = Field(3, ge=1, le=6)

    def convolutions(self, choices: Choices) -> tuple[Convolution, ...]:
        """Image, gated fields twice, invariants."""
        w, bare, gated = choices.width, harmonics(choices.highest), gated_harmonics(choices.highest)
        return (
            Convolution(trivial(SO2), 1, gated, w, FIRST),
            Convolution(bare, w, gated, w, SECOND),
            Convolution(bare, w, trivial(SO2), 8 * w, THIRD),
        )

    def model(self, task: Any, choices: Choices) -> nn.Module:
        """Convolution and gate twice, convolution to invariants, norm, ReLU, linear."""
        w = choices.width
        first, second, third = (c.layer() for c in self.convolutions(choices))
        gates = (Gate(w, choices.highest) for _ in range(2))
        return nn.Sequential(
            first, next(gates), second, next(gates), third, nn.BatchNorm2d(8 * w), nn.ReLU(), nn.Flatten(),
            nn.Linear(8 * w, CLASSES),
        )  # fmt: skip

    def cost(self, task: Any, choices: Choices) -> Cost:
        """Layer by layer."""
        w, highest = choices.width, choices.highest
        cost = linear(8 * w, CLASSES, bias=True) + norm(8 * w) + pointwise(8 * w)
        for stage in (FIRST, SECOND):
            cost += gate_cost(w, highest, stage.pixels**2)
        return sum((c.cost() for c in self.convolutions(choices)), cost)


class FieldMaximum(nn.Module):
    """The maximum over each field's channels: ``(batch, fields * size, 1, 1)`` to ``(batch, fields)``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x_bc11: Tensor) -> Tensor:
        """The maxima."""
        return x_bc11.view(len(x_bc11), -1, self.size).amax(2)


@functools.cache
def _regular(of: PointGroup) -> Representation:
    return regular(of)

"""The contract of an optimiser, and two of them side by side."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from isoloss.runs import Card

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from isoloss.training.gradient import Optimizer


class OptimizerPart(abc.ABC):
    """A rule that turns gradients into updates. Stateless: `build` makes what holds the state of one run.

    `period`: after so many steps its work repeats (a preconditioner is refreshed); 1 where all steps cost the same.
    A built optimiser whose period is not 1 has it as an attribute too, for the loop to count FLOPs over.

    `choices` is the algorithm's own; read of it are ``betas``, ``weight_decay`` and ``momentum``.
    """

    card: ClassVar[Card]
    period: ClassVar[int] = 1

    @classmethod
    def check(cls, choices: Any) -> None:
        """Raise `StudyError` where this optimiser can't go with `choices`; an algorithm asks before any run."""
        del choices

    @classmethod
    @abc.abstractmethod
    def build(
        cls, matrices: list[Parameter], others: list[Parameter], lr: float, lr_others: float, choices: Any
    ) -> Optimizer:
        """An optimiser of `matrices` (2-D hidden weights) at the peak rate `lr` and of `others` (embeddings, head,
        vectors) at `lr_others`. Every parameter must have a gradient at every step."""

    @classmethod
    @abc.abstractmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        """FLOPs of one step by formula, the mean over a period, in the convention of `isoloss.training.formulas`.

        `matrices`: rows, columns and how many of them; `others`: all other parameters.
        """


def elements(matrices: Sequence[tuple[int, int, int]]) -> int:
    """Parameters in `matrices`.

    >>> elements([(4, 8, 3), (2, 2, 1)])
    100
    """
    return sum(rows * columns * count for rows, columns, count in matrices)


def needs(package: str) -> None:
    """Raise `ModuleNotFoundError` where `package` is not installed, without importing it: a plan shall fail, not a run,
    and a plan shall not wait for seconds of imports."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)


class OwnOptimizer:
    """An optimiser of this package: one parameter group, and the lists of tensors named in `held` as its state."""

    held: ClassVar[tuple[str, ...]]

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": lr}]

    def gradients(self) -> list[Tensor]:
        """What the parameters hold; each must hold one."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """The tensors themselves, by name of the list."""
        return {name: list(getattr(self, name)) for name in self.held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy tensors of an equal optimiser into this one's. Raises `ValueError` where they are not as many."""
        import torch

        with torch.no_grad():
            for name in self.held:
                for own, other in zip(getattr(self, name), state[name], strict=True):
                    own.copy_(other)


class ElementwiseOptimizer(OwnOptimizer):
    """One whose update of a number depends on nothing but that number's gradient and state: parameters that lie in one
    block of memory may be taken as one tensor, with the same bits and a fraction of the calls."""

    _block: list[list[Tensor]] | None = None

    def join(self, row: Tensor, slope: Tensor) -> None:
        """Step on the block: `row` (P,) is the memory of all parameters in order, `slope` (P,) that of their
        gradients."""
        import torch

        self._block = [[row], [slope]]
        for name in self.held:
            tensors = getattr(self, name)
            if tensors[0].dim() == 0 < self.parameters[0].dim():  # a count of steps, the same for all
                joined = tensors[0].clone()
                setattr(self, name, [joined] * len(tensors))
            else:
                joined = torch.cat([t.reshape(-1) for t in tensors])
                pieces = joined.split([t.numel() for t in tensors])
                setattr(self, name, [p.view(t.shape) for p, t in zip(pieces, tensors, strict=True)])
            self._block.append([joined])

    def leave(self) -> None:
        """Step on each parameter and its own gradient again."""
        if self._block is not None:
            self._block = None
            for name in self.held:
                setattr(self, name, [t.clone() for t in getattr(self, name)])

    def operands(self) -> list[list[Tensor]]:
        """Parameters, gradients and the lists named in `held`, each of one block or as they are."""
        if self._block is not None:
            return self._block
        return [self.parameters, self.gradients(), *(getattr(self, name) for name in self.held)]


class Joint:
    """Several optimisers of one model as one: `param_groups` are theirs in turn, a step is a step of each.

    `period`: after so many steps the work of all of them together repeats.
    """

    def __init__(self, *parts: Optimizer, period: int = 1) -> None:
        self.parts, self.period = parts, period
        self.param_groups: list[dict[str, Any]] = [group for part in parts for group in part.param_groups]

    def step(self) -> None:
        """One update of every part."""
        for part in self.parts:
            part.step()

    def train(self) -> None:
        """Tell the parts that have modes that training begins."""
        for part in self.parts:
            if hasattr(part, "train"):
                part.train()

    def eval(self) -> None:
        """Tell the parts that have modes that evaluation begins."""
        for part in self.parts:
            if hasattr(part, "eval"):
                part.eval()


class UniformPart(OptimizerPart):
    """One rule for all parameters. Subclasses give `of` and `price`."""

    @classmethod
    @abc.abstractmethod
    def of(cls, parameters: list[Parameter], lr: float, choices: Any) -> Optimizer:
        """The optimiser of `parameters` at the peak rate `lr`."""

    @classmethod
    @abc.abstractmethod
    def price(cls, choices: Any) -> float:
        """FLOPs of a step per parameter."""

    @classmethod
    def build(
        cls, matrices: list[Parameter], others: list[Parameter], lr: float, lr_others: float, choices: Any
    ) -> Optimizer:
        """One optimiser, two where the rates differ."""
        if lr == lr_others:
            return cls.of([*matrices, *others], lr, choices)
        return Joint(cls.of(matrices, lr, choices), cls.of(others, lr_others, choices))

    @classmethod
    def flops(cls, matrices: Sequence[tuple[int, int, int]], others: int, choices: Any) -> float:
        """`price` for every parameter."""
        return cls.price(choices) * (elements(matrices) + others)

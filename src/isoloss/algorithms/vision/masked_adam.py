"""AdamW on some of the weights: masked ones stay zero, and a rule may change the masks as training goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.optimizers.base import OwnOptimizer


class MaskedAdam(OwnOptimizer):
    """`FusedAdam` whose gradients are masked, 1 FLOP a masked weight on top of its own.

    `weights` are the masked ones among `parameters`, `masks` theirs. `rule(optimizer, step)` is called before each
    update, the steps before it counted, while the weights still hold whole gradients; it changes masks by `keep` and
    may `rewind`. `early` are the parameters as they were when `remember` was last called, at first as they began.
    What the `rule` draws comes from `generator`, whose state is kept: a run that goes on draws what it would have.
    """

    held = ("mean", "square", "steps", "masks", "early", "taken", "drawn")

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        weights: Sequence[torch.nn.Parameter],
        masks: Sequence[Tensor],
        rule: Callable[[MaskedAdam, int], None],
        generator: torch.Generator,
        lr: float,
        weight_decay: float,
    ) -> None:
        super().__init__(parameters, lr)
        self.inner = FusedAdam(parameters, lr, weight_decay=weight_decay)
        self.param_groups: list[dict[str, Any]] = self.inner.param_groups
        self.mean, self.square, self.steps = self.inner.mean, self.inner.square, self.inner.steps
        self.weights, self.masks, self.rule = list(weights), list(masks), rule
        self.early = [p.detach().clone() for p in parameters]
        self.taken = [torch.zeros(())]
        self.generator, self.drawn = generator, [generator.get_state()]
        self.keep(masks)

    @torch.no_grad()
    def keep(self, masks: Sequence[Tensor]) -> None:
        """Take over `masks`; weights outside are zero from here on, and new ones start at zero without a past."""
        places = {id(p): i for i, p in enumerate(self.parameters)}
        for held, mask, weight in zip(self.masks, masks, self.weights, strict=True):
            held.copy_(mask)
            place = places[id(weight)]
            for state in (weight, self.mean[place], self.square[place]):
                state.mul_(held)

    @torch.no_grad()
    def remember(self) -> None:
        """Let `early` be the parameters of now."""
        for early, p in zip(self.early, self.parameters, strict=True):
            early.copy_(p)

    @torch.no_grad()
    def rewind(self) -> None:
        """The parameters back to `early`, within the masks, and no past."""
        for p, early in zip(self.parameters, self.early, strict=True):
            p.copy_(early)
        for state in (self.mean, self.square, self.steps):
            torch._foreach_zero_(state)
        self.keep([m.clone() for m in self.masks])

    @torch.no_grad()
    def step(self) -> None:
        """The rule, the masks, the update."""
        self.generator.set_state(self.drawn[0])
        self.rule(self, int(self.taken[0]))
        self.drawn[0].copy_(self.generator.get_state())
        for weight, mask in zip(self.weights, self.masks, strict=True):
            assert weight.grad is not None
            weight.grad.mul_(mask)
        self.inner.step()
        self.taken[0] += 1

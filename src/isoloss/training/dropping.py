"""Giving up tuning trials that are far behind, by one rule for all arms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.runs import Drop

#: Share of the steps before which no run is given up: early losses say little of the end.
FIRST = 0.2


class DropRule:
    """Whether a run is to be given up, by its training loss beside that of a reference run.

    `reference` is that run's curve: at the same share of the steps (interpolated), a loss above it by more than
    ``drop.above`` times its size ends the run. Without a drop or a reference nothing does.
    """

    def __init__(self, drop: Drop | None, reference: Mapping[str, list[float]] | None) -> None:
        self.above = drop.above if drop is not None and reference and reference.get("step") else None
        if self.above is not None and reference is not None:
            steps = np.array(reference["step"])
            self._shares, self._losses = steps / steps[-1], np.array(reference["train_loss"])

    def gives_up(self, share: float, loss: float) -> bool:
        """Of a run whose mean training loss up to `share` of its steps, since it was last asked, is `loss`.

        >>> rule = DropRule(Drop("r", 0.05), {"step": [1, 10], "train_loss": [3.0, 2.0]})
        >>> [rule.gives_up(s, 2.4) for s in (0.1, 0.5, 0.9, 1.0)]
        [False, False, True, False]
        """
        if self.above is None or not FIRST <= share < 1:
            return False
        there = float(np.interp(share, self._shares, self._losses))
        return loss > there + self.above * abs(there)

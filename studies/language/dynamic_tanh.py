"""Dynamic tanh in place of a norm: an innovation of one's own in one file."""

import torch
from torch import nn

from isoloss.algorithms.cost import Cost
from isoloss.algorithms.innovation import innovation
from isoloss.algorithms.language.normalisation import Norm
from isoloss.algorithms.language.parts import norm

SOURCE = "Zhu et al. 2025 (arXiv 2503.10622)"


@norm("dynamic-tanh", version=1, summary="g tanh(a x) + b", year=2025, source=SOURCE)
class DynamicTanh(Norm):
    """``g tanh(a x) + b`` with a scalar a, learned, in place of dividing by a statistic of x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.5))
        self.gain, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    @classmethod
    def cost(cls, width: int) -> Cost:
        """Four pointwise operators forward, and about three for each backward."""
        return Cost(2 * width + 1, 2 * width + 1, 0.0, 4 * width, 14 * width)

    def forward(self, x_btd: torch.Tensor) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        return self.gain * torch.tanh(self.slope * x_btd) + self.bias


innovation(
    "dynamic-tanh", field="language", title="dynamic tanh over RMSNorm", year=2025, source=SOURCE,
    old={"norm": "rms"}, new={"norm": "dynamic-tanh"}, claim="as good as a norm, without its statistics",
)  # fmt: skip

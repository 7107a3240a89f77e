"""Linear recurrence: a mixer that keeps a matrix of associations in place of its whole past."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from isoloss.algorithms.cost import Cost, linear, work
from isoloss.algorithms.language.mixer import Flow, Mixer
from isoloss.algorithms.language.normalisation import RMSNorm
from isoloss.algorithms.language.parts import mixer
from isoloss.algorithms.language.sizing import Shape

MEMORY = (8.0, 256.0)  # tokens after which a head has forgotten all but 1/e, at the start: shortest, longest


@mixer("gated-delta", version=1, summary="gated delta rule", year=2024, source="Yang et al. 2024 (arXiv 2412.06464)")
class GatedDelta(Mixer):
    """Per head, ``S_t = a_t S_{t-1} (I - b_t k_t k_t') + b_t v_t k_t'`` and ``y_t = S_t q_t``, with |q| = |k| = 1.

    The strength b and the share a that is kept are functions of the input. A window is done at once: with
    ``g_t = a_1 ... a_t`` and ``R_ts = g_t / g_s`` for s <= t, the writes U solve the triangular system
    ``(I + diag(b) strict(R * K K')) U = diag(b) (V - diag(g) K S_0')``, and
    ``Y = (R * Q K') U + diag(g) Q S_0'`` (section 3.2 there). The state goes from window to window, as an LSTM's does.
    Without the short convolutions and the output gate of the source.
    """

    def __init__(self, shape: Shape, bias: bool, layer: int, choices: Any) -> None:
        super().__init__(shape, bias, layer, choices)
        width = shape.width
        self.layer, self.heads, self.head = layer, shape.heads, width // shape.heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.control = nn.Linear(width, 2 * self.heads, bias=False)
        self.norm = RMSNorm(self.head)
        self.out = nn.Linear(width, width, bias=bias)
        memory = torch.logspace(math.log10(MEMORY[0]), math.log10(MEMORY[1]), self.heads)
        self.forget = nn.Parameter(torch.log(torch.expm1(1 / memory)))  # softplus of it is 1 / memory

    @classmethod
    def cost(cls, shape: Shape, bias: bool, layer: int, choices: Any) -> Cost:
        """Products, the scores of a window against itself, a triangular solve, and reads and writes of the state."""
        width, heads = shape.width, shape.heads
        head, window = width // heads, choices.context
        found = linear(width, 3 * width, bias) + linear(width, width, bias)
        found += linear(width, 2 * heads, False, matrix=False) + Cost(heads, heads)
        one = RMSNorm.cost(head)
        found += Cost(one.parameters, one.active, 0, 5 * width, 10 * width)
        # K K', Q K' and the product with U; the solve costs half a product, forward and twice over backward
        found += work(6 * window * width + window * width, 12 * window * width + 3 * window * width)
        # K S_0', Q S_0' and the write of S; the state has no gradient, the write none either
        found += work(6 * head * width, 4 * head * width)
        # the table of shares: difference, exponent, and two to three products an entry
        found += work(5 * window * heads, 9 * window * heads)
        return found + work(16 * width + 12 * heads, 32 * width + 24 * heads)

    def forward(self, x_btd: torch.Tensor, flow: Flow) -> torch.Tensor:
        """(batch, time, width) -> the same."""
        b, t, d = x_btd.shape
        qkv_bnte = self.qkv(x_btd).view(b, t, 3 * self.heads, self.head).transpose(1, 2)
        qk, v = qkv_bnte.split((2 * self.heads, self.heads), 1)
        q, k = F.normalize(F.silu(qk), dim=-1).chunk(2, 1)
        strength, forget = self.control(x_btd).transpose(1, 2).chunk(2, 1)
        strength = torch.sigmoid(strength).unsqueeze(-1)
        log_share = -F.softplus(forget + self.forget[:, None]).cumsum(-1)
        state = flow.states.get(self.layer)
        if state is None:
            state = x_btd.new_zeros(b, self.heads, self.head, self.head)
        above = torch.ones(t, t, dtype=torch.bool, device=x_btd.device).triu(1)
        ratio = (log_share.unsqueeze(-1) - log_share.unsqueeze(-2)).masked_fill(above, -torch.inf).exp()
        share = log_share.exp().unsqueeze(-1)
        old = state.transpose(-1, -2)
        # the diagonal of this matrix is taken as one by the solver, what lies above it is not read
        system = strength * (k @ k.transpose(-1, -2)) * ratio
        writes = torch.linalg.solve_triangular(
            system, strength * (v - share * (k @ old)), upper=False, unitriangular=True
        )
        y = (q @ k.transpose(-1, -2) * ratio) @ writes + share * (q @ old)
        with torch.no_grad():
            kept = (log_share[..., -1:] - log_share).exp().unsqueeze(-1)
            flow.next_states[self.layer] = share[..., -1:, :] * state + (writes * kept).transpose(-1, -2) @ k
        return self.out(self.norm(y).transpose(1, 2).reshape(b, t, d))

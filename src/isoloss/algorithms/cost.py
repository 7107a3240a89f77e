"""What the parts of a network cost, by formula: parameters, and FLOPs of one token or image.

Conventions are those of `isoloss.training.formulas`: a multiply-accumulate is 2 FLOPs, a pointwise operator 1 per
element.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A hidden weight matrix as an optimiser of matrices sees it: rows, columns, how many of them.
Matrix = tuple[int, int, int]


@dataclass(frozen=True)
class Cost:
    """Counts of a part, and of a whole model as the sum of its parts.

    `parameters`: all trained ones; `active`: those that one token touches; `embedding`: those of tables that are looked
    up, a tied head among them; `forward`, `training`: FLOPs of one token forward, and forward plus backward;
    `matrices`: the hidden weight matrices among the parameters.
    """

    parameters: float = 0.0
    active: float = 0.0
    embedding: float = 0.0
    forward: float = 0.0
    training: float = 0.0
    matrices: tuple[Matrix, ...] = ()

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.active + other.active,
            self.embedding + other.embedding,
            self.forward + other.forward,
            self.training + other.training,
            self.matrices + other.matrices,
        )

    def __mul__(self, times: float) -> Cost:
        """`times` copies, all of them used by every token."""
        return Cost(
            self.parameters * times,
            self.active * times,
            self.embedding * times,
            self.forward * times,
            self.training * times,
            tuple((rows, columns, round(n * times)) for rows, columns, n in self.matrices),
        )

    @property
    def others(self) -> float:
        """Parameters outside the hidden matrices."""
        return self.parameters - sum(rows * columns * n for rows, columns, n in self.matrices)


def linear(into: int, out: int, bias: bool, *, matrix: bool = True) -> Cost:
    """A dense layer: 2 FLOPs a weight forward, 4 backward, and the bias's gradient is a sum over tokens.

    `matrix`: whether a matrix optimiser treats the weight (routers and gates are left to the other one).
    """
    weights, vector = into * out, out * bias
    matrices = ((out, into, 1),) if matrix else ()
    return Cost(weights + vector, weights + vector, 0.0, 2 * weights, 6 * weights + vector, matrices)


def work(forward: float, backward: float) -> Cost:
    """FLOPs of one token that touch no parameter."""
    return Cost(forward=forward, training=forward + backward)

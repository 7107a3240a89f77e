r"""Point groups of the plane and their real representations, for continuous kernels.

The cyclic group :math:`C_n` has the n rotations :math:`r^k` by :math:`2\pi k/n`, the dihedral :math:`D_n` each of them
also after the mirror m at the horizontal axis: elements :math:`r^k m^s`, numbered ``s n + k``, so that those of
:math:`C_n` come first. A representation :math:`\rho` gives each element an orthogonal matrix with
:math:`\rho(gh) = \rho(g)\rho(h)`: how the channels of one feature field change where the image moves.

:math:`SO(2)` needs no code of its own. What is averaged over it here are products of harmonics, and the
mean of :math:`e^{i\mu\theta}` over N equal angles is that over the circle, 0 for :math:`\mu \ne 0`, while
:math:`|\mu| < N`: `SO2` stands for it as :math:`C_{32}`, exact for frequencies that add up to less than 32.

Source: Weiler & Cesa 2019 (arXiv 1911.08251), section 2 and appendix F. The exact action on pixels of C4 and D4:
`isoloss.algorithms.geometry.plane_groups`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PointGroup:
    """`rotations` equal turns, with (`mirrors`) or without reflections.

    >>> PointGroup(4, mirrors=True).order, PointGroup(8).name
    (8, 'C8')
    """

    rotations: int
    mirrors: bool = False

    @property
    def name(self) -> str:
        """C4, D8, ..."""
        return f"{'D' if self.mirrors else 'C'}{self.rotations}"

    @property
    def order(self) -> int:
        """Number of elements |G|."""
        return self.rotations * (2 if self.mirrors else 1)

    def element(self, number: int) -> tuple[float, bool]:
        """The angle of the rotation, in radians, and whether a mirror comes before it."""
        mirrored, k = divmod(number, self.rotations)
        return 2 * np.pi * k / self.rotations, bool(mirrored)

    def product(self, g: int, h: int) -> int:
        """The number of ``g h`` (first h, then g): ``r^a m^s r^b m^t = r^(a + b or a - b) m^(s + t)``."""
        (s, a), (t, b) = divmod(g, self.rotations), divmod(h, self.rotations)
        return (s ^ t) * self.rotations + (a + (-b if s else b)) % self.rotations

    def __contains__(self, other: PointGroup) -> bool:
        return self.rotations % other.rotations == 0 and (self.mirrors or not other.mirrors)


#: Stands for all rotations: see the module's text.
SO2 = PointGroup(32)


@dataclass(frozen=True, eq=False)
class Representation:
    """`matrices` ``(|G|, d, d)``, one an element of `group`."""

    group: PointGroup
    matrices: Array

    @property
    def size(self) -> int:
        """Channels d of one field."""
        return self.matrices.shape[1]

    def restricted(self, subgroup: PointGroup) -> Representation:
        r"""The same channels under fewer motions: :math:`\mathrm{Res}^G_H \rho`. Deeper layers may so give up
        a symmetry that holds locally (a stroke and its mirror image) and not of the whole (a 2 is no mirrored 2)."""
        if subgroup not in self.group:
            raise ValueError(f"{subgroup.name} is no subgroup of {self.group.name}")
        step = self.group.rotations // subgroup.rotations
        kept = [step * k for k in range(subgroup.rotations)]
        if subgroup.mirrors:
            kept += [self.group.rotations + k for k in kept]
        return Representation(subgroup, self.matrices[kept])


def trivial(group: PointGroup) -> Representation:
    """One channel that stays as it is: images and logits."""
    return Representation(group, np.ones((group.order, 1, 1)))


def regular(group: PointGroup) -> Representation:
    r"""|G| channels that the group permutes: :math:`\rho(g) e_h = e_{gh}`. Nonlinearities act on each channel."""
    matrices = np.zeros((group.order,) * 3)
    for g in range(group.order):
        for h in range(group.order):
            matrices[g, group.product(g, h), h] = 1.0
    return Representation(group, matrices)


def harmonic(group: PointGroup, frequency: int) -> Representation:
    r"""The real irreducible representation :math:`\psi_m`, two channels for :math:`m > 0` and one for 0.

    .. math:: \psi_m(r_\theta) = \begin{pmatrix} \cos m\theta & -\sin m\theta \\ \sin m\theta & \cos m\theta
              \end{pmatrix}, \qquad \psi_m(\mathrm{mirror}) = \mathrm{diag}(1, -1).

    It is also how :math:`(\cos m\varphi, \sin m\varphi)` changes as a function on the circle.
    """
    if frequency == 0:
        return trivial(group)
    found = []
    for angle, mirrored in map(group.element, range(group.order)):
        c, s = np.cos(frequency * angle), np.sin(frequency * angle)
        found.append(np.array([[c, -s], [s, c]]) @ (np.diag([1.0, -1.0]) if mirrored else np.eye(2)))
    return Representation(group, np.stack(found))


def direct_sum(*parts: Representation) -> Representation:
    """Fields of several kinds side by side as one field."""
    group = parts[0].group
    return Representation(group, np.stack([block_diag(*(p.matrices[g] for p in parts)) for g in range(group.order)]))

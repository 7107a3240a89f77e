r"""Kernels that commute with rotations: the steerable basis between two feature fields.

A field f of representation :math:`\rho` moves as :math:`(g f)(x) = \rho(g) f(g^{-1} x)`. A convolution takes fields of
:math:`\rho_{in}` to fields of :math:`\rho_{out}`, :math:`k \star (g f) = g (k \star f)` for all g of G, if and only if

.. math:: k(g x) = \rho_{out}(g)\, k(x)\, \rho_{in}(g)^{-1}
          \qquad \text{for all } g \in G,\ x \in \mathbb{R}^2. \tag{1}

It ties values at equal distance from the origin only, so the radial part is free. In circular harmonics
:math:`Y_{m1} = \cos m\varphi,\ Y_{m2} = \sin m\varphi`,

.. math:: k(x) = \sum_{j, m, a} R_j(|x|)\, K^{jm}_a Y_{ma}(\varphi), \qquad
          Y_m(g^{-1} x) = \psi_m(g)^T Y_m(x),

and (1) says of each tensor :math:`K^{jm} \in \mathbb{R}^{d_{out} \times d_{in} \times d_m}` of coefficients that
:math:`\rho_{out} \otimes \rho_{in} \otimes \psi_m` leaves it alone. Such tensors are the image of the projection

.. math:: P_m = \frac{1}{|G|} \sum_g \rho_{out}(g) \otimes \rho_{in}(g) \otimes \psi_m(g), \tag{2}

of which `fixed_tensors` takes an orthonormal basis. For SO(2) and :math:`\psi_p \to \psi_q` that leaves the frequencies
:math:`m = |p - q|` and :math:`m = p + q`, two kernels each (half as many where p or q is 0); for regular
representations one kernel a harmonic, turned and permuted into |G| copies: group convolution.

`R_j` are Gaussians around rings of radius 0, 1, 2, ... pixels. A ring of radius r has harmonics up to :math:`2r` only:
its circumference is about :math:`2\pi r` pixels, so beyond :math:`\pi r` a harmonic is aliased.

Source: Weiler & Cesa 2019 (arXiv 1911.08251), equations 2 to 5 and appendix F; rings as in Weiler, Hamprecht & Storath
2018 (arXiv 1711.07289).
"""

from __future__ import annotations

import numpy as np

from isoloss.algorithms.geometry.point_groups import Array, Representation, harmonic

#: Width of a ring in pixels.
SIGMA = 0.6


def fixed_tensors(source: Representation, target: Representation, frequency: int) -> Array:
    """Orthonormal basis ``(count, d_out, d_in, d_m)`` of the coefficients that the group leaves alone.

    Taken by Gram and Schmidt from the columns of (2) in their order, so that it is the same on every machine (an
    eigenvector solver may turn a degenerate basis as it likes).
    """
    waves = harmonic(source.group, frequency)
    size = target.size * source.size * waves.size
    projection = np.einsum("gab,gcd,gef->acebdf", target.matrices, source.matrices, waves.matrices)
    projection = projection.reshape(size, size) / source.group.order
    found = np.zeros((round(np.trace(projection)), size))
    count = 0
    for column in projection.T:
        if count == len(found):
            break
        # twice: once loses digits where a column lies almost in the span
        for _ in range(2):
            column = column - found[:count].T @ (found[:count] @ column)
        length = np.linalg.norm(column)
        if length > 1e-4:
            found[count] = column / length
            count += 1
    return found.reshape(len(found), target.size, source.size, waves.size)


def rings(size: int) -> list[tuple[int, int]]:
    """Radius in pixels and highest frequency of each ring of a `size` x `size` window.

    >>> rings(6)
    [(0, 0), (1, 2), (2, 4)]
    """
    return [(radius, 2 * radius) for radius in range((size - 1) // 2 + 1)]


def count(source: Representation, target: Representation, size: int) -> int:
    r"""How many kernels `sampled` gives, from characters: the trace of (2) is
    :math:`\frac{1}{|G|} \sum_g \chi_{out}(g) \chi_{in}(g) \chi_m(g)`.

    >>> from isoloss.algorithms.geometry.point_groups import PointGroup, regular
    >>> c4 = regular(PointGroup(4))
    >>> count(c4, c4, 6), sampled(c4, c4, 6).shape
    (60, (60, 4, 4, 6, 6))
    """
    pair = np.einsum("gaa,gbb->g", target.matrices, source.matrices)
    found = 0.0
    for _, highest in rings(size):
        for frequency in range(highest + 1):
            waves = np.einsum("gaa->g", harmonic(source.group, frequency).matrices)
            found += (pair * waves).mean()
    return round(found)


def angular(frequency: int, angle: Array) -> Array:
    """:math:`Y_m` at each `angle`: 1, or cosine and sine, stacked in front."""
    if frequency == 0:
        return np.ones((1, *np.shape(angle)))
    return np.stack([np.cos(frequency * angle), np.sin(frequency * angle)])


def kernels_at(source: Representation, target: Representation, size: int, x: Array, y: Array) -> Array:
    """The kernels of a `size` x `size` window at the points `x`, `y`: ``(count, d_out, d_in, *points)``.

    Horizontal and upward, in pixels from the centre. Each kernel has a mean square of 1 an output channel, summed over
    its window's pixels and input channels. Raises `ValueError` where the groups of the two fields differ.
    """
    if source.group != target.group:
        raise ValueError(f"fields of {source.group.name} and {target.group.name}: restrict one")
    offset = _offsets(size)
    found = []
    for radius, highest in rings(size):
        for frequency in range(highest + 1):
            tensors = fixed_tensors(source, target, frequency)
            on_grid = _profile(radius, frequency, *np.meshgrid(offset, offset))
            scale = np.sqrt(target.size / np.einsum("noia,ahw->n", tensors**2, on_grid**2, optimize=True))
            values = np.tensordot(tensors, _profile(radius, frequency, x, y), 1)
            found.append(values * scale.reshape(-1, *[1] * (values.ndim - 1)))
    return np.concatenate(found)


def sampled(source: Representation, target: Representation, size: int) -> Array:
    """`kernels_at` every pixel of the window, ``(count, d_out, d_in, size, size)``: rows go down, columns right."""
    offset = _offsets(size)
    right, up = np.meshgrid(offset, -offset)
    return kernels_at(source, target, size, right, up)


def _offsets(size: int) -> Array:
    return np.arange(size, dtype=np.float64) - (size - 1) / 2


def _profile(radius: int, frequency: int, x: Array, y: Array) -> Array:
    """Ring times harmonic; a harmonic above 0 has no value at the origin and is 0 there."""
    distance = np.hypot(x, y)
    ring = np.exp(-((distance - radius) ** 2) / (2 * SIGMA**2))
    if frequency > 0:
        ring = np.where(distance > 0, ring, 0.0)
    return ring * angular(frequency, np.arctan2(y, x) + np.zeros_like(distance))

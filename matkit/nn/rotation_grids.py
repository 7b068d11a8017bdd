"""Finite sets of rotations over which averages are taken."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from matkit.errors import ConfigError

# Rotation groups of the tetrahedron, the octahedron and the icosahedron, by their size.
GROUPS = {12: "T", 24: "O", 60: "I"}
# Degrees of products of Euler angles, by their size.
PRODUCTS = {(degree + 1) ** 3 // 2: degree for degree in (7, 9, 11, 15)}


def rotation_grid(
    size: int, reflections: bool
) -> tuple[Float[Tensor, "K 3 3"], Float[Tensor, " K"]]:
    """Return matrices of rotations [K, 3, 3] and their weights [K], which add up to one.

    The average over them removes all that depends on the orientation up to some degree of spherical
    harmonics: 2, 3 and 5 for 12, 24 and 60 rotations (finite groups: a function that was averaged
    over one has its symmetry exactly), 7, 9, 11, 15 for 256, 500, 864, 2048 (Gauss-Legendre in the
    polar angle, equal steps in the others). Reflections remove all odd degrees besides.

    Args:
        size: Number of matrices; twice as many as there are rotations with reflections.
        reflections: Whether each rotation comes with an inversion, too.

    Raises:
        ConfigError: there is no set of this size.
    """
    count, odd = divmod(size, 2) if reflections else (size, 0)
    if odd or count not in {*GROUPS, *PRODUCTS}:
        sizes = ", ".join(str((1 + reflections) * n) for n in (*GROUPS, *PRODUCTS))
        what = "rotations and reflections" if reflections else "rotations"
        raise ConfigError(f"There is no grid of {size} {what}; the sizes are {sizes}.")
    if count in GROUPS:
        turns = Rotation.create_group(GROUPS[count])
        weights = np.full(count, 1 / count)
    else:
        turns, weights = _product(PRODUCTS[count])
    matrices = torch.from_numpy(turns.as_matrix())
    weight = torch.from_numpy(weights)
    if reflections:
        matrices, weight = torch.cat([matrices, -matrices]), torch.cat([weight, weight]) / 2
    return matrices, weight


def _product(degree: int) -> tuple[Rotation, np.ndarray]:
    """Return rotations by Euler angles about z, y and z, and their weights."""
    turns = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    cosines, shares = np.polynomial.legendre.leggauss((degree + 1) // 2)
    angles = np.meshgrid(turns, np.arccos(cosines), turns, indexing="ij")
    weights = np.broadcast_to(shares[None, :, None], angles[0].shape)
    found = Rotation.from_euler("ZYZ", np.stack([a.ravel() for a in angles], axis=1))
    return found, weights.ravel() / weights.sum()

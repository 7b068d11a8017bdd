"""Features 0e+1e+2e and the 3x3 matrices that they make up."""

from __future__ import annotations

from functools import cache
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.nn.equivariant import Features
from matkit.nn.irreps import Irrep, Irreps, wigner_3j

# A general 3x3 matrix, and a symmetric one.
GENERAL: Irreps = (Irrep(1, 0, 1), Irrep(1, 1, 1), Irrep(1, 2, 1))
SYMMETRIC: Irreps = (Irrep(1, 0, 1), Irrep(1, 2, 1))


def to_matrices(x: Features) -> Float[Tensor, "M 3 3 C"]:
    """Return the matrices [M, 3, 3, C] that features of even parity [M, 2l + 1, C] make up.

    An isometry: the square of a matrix's norm is the sum of the squares of the features.

    Args:
        x: Features of different degrees out of 0, 1 and 2.
    """
    basis = torch.cat([_basis(f.shape[1]) for f in x], dim=1).to(x[0])
    return (basis @ torch.cat(x, dim=1)).unflatten(1, (3, 3))


def from_matrices(matrices: Float[Tensor, "M 3 3 C"]) -> Features:
    """Return the features of degrees 0, 1 and 2 [M, 2l + 1, C] that make up the matrices."""
    basis = torch.cat([_basis(components) for components in (1, 3, 5)], dim=1).to(matrices)
    return (basis.T @ matrices.flatten(1, 2)).split([1, 3, 5], dim=1)


@cache
def _basis(components: int) -> Tensor:
    """Return orthonormal matrices [9, 2l + 1] that turn like the irrep of degree l."""
    return (wigner_3j(1, 1, components // 2) * sqrt(components)).flatten(0, 1)

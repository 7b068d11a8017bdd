"""Lattices as six numbers free of orientation: the logarithm of the symmetric part.

Jiao et al., ICLR 2024 (DiffCSP++): ``cell = S R`` with S symmetric (polar decomposition), and
``log S = sum_i k_i B_i`` over a basis of the symmetric matrices. Each crystal system leaves some of
the k free and fixes the others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# The basis B of Luo et al. (CrystalFlow), not normalised: k = (xy, xz, yz, ...) and, last, the
# mean logarithm of the lengths in Å.
BASIS = torch.tensor(
    [
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
        [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, -2]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    ],
    dtype=torch.float64,
)


def product(a: Float[Tensor, "B 3 3"], b: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """Return the matrix products, never in reduced precision as `torch.autocast` has them."""
    return (a.unsqueeze(3) * b.unsqueeze(1)).sum(dim=2)


def to_logarithm(cell: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 6"]:
    """Return k [B, 6] of cells in Å with lattice vectors as rows, of any orientation."""
    values, vectors = torch.linalg.eigh(cell @ cell.mT)  # of S squared
    logarithm = (vectors * (0.5 * torch.log(values)).unsqueeze(1)) @ vectors.mT
    basis = BASIS.to(cell)
    return torch.einsum("bij,kij->bk", logarithm, basis) / basis.square().sum(dim=(1, 2))


def from_logarithm(k: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 3"]:
    """Return symmetric cells [B, 3, 3] in Å."""
    return torch.linalg.matrix_exp(torch.einsum("bk,kij->bij", k, BASIS.to(k)))

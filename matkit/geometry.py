"""Cells: completing missing lattice vectors, heights, strain and stress notation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def complete_cell(cell: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """Replace zero lattice vectors by unit vectors normal to the others.

    Args:
        cell: Lattice vectors as rows [B, 3, 3], Å; a missing vector is a row of zeros.

    Returns:
        Cells of full rank [B, 3, 3]; the given vectors are unchanged.
    """
    missing = (cell == 0).all(dim=-1)
    if not bool(missing.any()):
        return cell
    # Rows of V beyond the rank span the orthogonal complement of the given vectors.
    basis = torch.linalg.svd(cell).Vh
    rank = 3 - missing.sum(dim=1, keepdim=True)
    spare = rank + torch.cumsum(missing.to(torch.long), dim=1) - 1
    fill = torch.gather(basis, 1, spare.clamp(max=2).unsqueeze(-1).expand(-1, -1, 3))
    return torch.where(missing.unsqueeze(-1), fill, cell)


def heights(cell: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3"]:
    """Return the distances between opposite faces of each cell [B, 3] in Å."""
    return torch.linalg.inv(cell).norm(dim=1).reciprocal()


def to_voigt(tensor: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 6"]:
    """Return a symmetric matrix in ASE's order xx, yy, zz, yz, xz, xy [..., 6]."""
    rows, columns = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
    return tensor[..., rows, columns]

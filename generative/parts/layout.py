"""Dense batches of crystals: [B, n, ...] with n atoms in the largest one, and a mask."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.structures import Structures


def atom_mask(n_atoms: Int[Tensor, " B"]) -> Bool[Tensor, "B n"]:
    """Return which places hold an atom [B, n]."""
    return torch.arange(int(n_atoms.max()), device=n_atoms.device) < n_atoms.unsqueeze(1)


def pad(values: Tensor, mask: Bool[Tensor, "B n"]) -> Tensor:
    """Return [B, n, ...] from one row per atom [N, ...], with zeros where there is no atom."""
    dense = values.new_zeros(*mask.shape, *values.shape[1:])
    dense[mask] = values
    return dense


def fractional_coordinates(structures: Structures) -> Float[Tensor, "N 3"]:
    """Return coordinates in units of the lattice vectors [N, 3], from 0 to 1."""
    inverse = torch.linalg.inv(structures.cell)[structures.batch]
    fractional = torch.einsum("ni,nij->nj", structures.positions, inverse)
    return fractional - fractional.floor()


def crystals(
    fractional: Float[Tensor, "B n 3"],
    cell: Float[Tensor, "B 3 3"],
    species: Int[Tensor, "B n"],
    mask: Bool[Tensor, "B n"],
) -> Structures:
    """Return structures with cells in the standard orientation, right-handed.

    Args:
        fractional: Fractional coordinates [B, n, 3].
        cell: Lattice vectors as rows [B, 3, 3], Å, in any orientation and of either hand.
        species: Atomic numbers [B, n].
        mask: Which places hold an atom [B, n].
    """
    cell = standard_orientation(cell.double())
    wrapped = fractional.double() - fractional.double().floor()
    return Structures(
        positions=(wrapped @ cell)[mask],
        species=species[mask],
        cell=cell,
        pbc=torch.ones(len(cell), 3, dtype=torch.bool, device=cell.device),
        n_atoms=mask.sum(dim=1),
    )


def standard_orientation(cell: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """Turn cells, or mirror them, so that a is along x, b in the xy plane and c towards +z.

    Lengths and angles stay. What works on singular cells too is the QR decomposition of the
    columns: ``cell^T = Q R`` gives ``cell = R^T Q^T``.
    """
    lower = torch.linalg.qr(cell.mT).R.mT
    sign = torch.where(lower.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0).to(cell)
    return lower * sign.unsqueeze(1)

"""Forces and stress of many structures made to obey the operations of their space groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from ase.constraints import FixSymmetry
from torch import Tensor

from matkit.scopes import ranges
from matkit.structures import Structures


class BatchedOperations(NamedTuple):
    """BatchedOperations of the space groups of a batch, one row an operation.

    Attributes:
        rotations: Rotations in fractional coordinates [O, 3, 3]; ``x' = R x``.
        images: Where each operation brings each atom of its structure [I], operation by operation,
            counted within the structure.
        owner: Structure of each operation [O].
        counts: BatchedOperations of each structure [B].
    """

    rotations: Tensor
    images: Tensor
    owner: Tensor
    counts: Tensor


def operations(
    constraints: Sequence[FixSymmetry | None], structures: Structures
) -> BatchedOperations:
    """Return the operations of a batch; a structure without symmetry to keep has the identity."""
    device, dtype = structures.device, structures.positions.dtype
    rotations, images, counts = [], [], []
    for constraint, n_atoms in zip(constraints, structures.n_atoms.tolist(), strict=True):
        if constraint is None:
            rotations.append(torch.eye(3, dtype=dtype).unsqueeze(0))
            images.append(torch.arange(n_atoms))
            counts.append(1)
        else:
            rotations.append(torch.as_tensor(constraint.rotations, dtype=dtype))
            images.append(torch.as_tensor(constraint.symm_map).flatten())
            counts.append(len(constraint.rotations))
    number = torch.tensor(counts, device=device)
    owner = torch.arange(len(counts), device=device).repeat_interleave(number)
    return BatchedOperations(
        torch.cat(rotations).to(device), torch.cat(images).to(device), owner, number
    )


def symmetric_forces(forces: Tensor, structures: Structures, group: BatchedOperations) -> Tensor:
    """Return the mean of the forces [N, 3] over all operations."""
    atoms = structures.n_atoms[group.owner]
    first = structures.offsets[:-1][group.owner]
    source = ranges(first, atoms)
    operation = torch.arange(len(group.owner), device=forces.device).repeat_interleave(atoms)
    fractional = torch.linalg.solve(
        structures.cell.mT[structures.batch], forces.unsqueeze(2)
    ).squeeze(2)
    turned = torch.einsum("iab,ib->ia", group.rotations[operation], fractional[source])
    target = group.images + first.repeat_interleave(atoms)
    total = torch.zeros_like(forces).index_add(0, target, turned)
    mean = total / group.counts[structures.batch].unsqueeze(1)
    return torch.einsum("na,nax->nx", mean, structures.cell[structures.batch])


def symmetric_stress(stress: Tensor, structures: Structures, group: BatchedOperations) -> Tensor:
    """Return the mean of the stress [B, 3, 3] over all operations."""
    cell = structures.cell
    scaled = (cell @ stress @ cell.mT)[group.owner]
    turned = group.rotations.mT @ scaled @ group.rotations
    mean = torch.zeros_like(stress).index_add(0, group.owner, turned)
    inverse = torch.linalg.inv(cell)
    return inverse @ (mean / group.counts[:, None, None]) @ inverse.mT

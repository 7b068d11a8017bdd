"""Padded arrays: a row of three numbers for every lattice vector and every atom.

The three rows of the cell come first, then those of the atoms, then zeros up to the number of slots
of the batch. Optimisers work on these arrays ``[B, S, 3]`` and know nothing of structures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from matkit.structures import Structures

CELL = 3  # slots of the cell


def slots(structures: Structures) -> int:
    """Return the number of slots S that every structure of a batch has."""
    return CELL + int(structures.n_atoms.max())


def padded(by_cell: Tensor, by_atom: Tensor, structures: Structures) -> Tensor:
    """Put vectors of the cell [B, 3, 3] and of the atoms [N, 3] into slots [B, S, 3]."""
    array = by_atom.new_zeros(len(structures), slots(structures), 3)
    array[:, :CELL] = by_cell
    array[structures.batch, _places(structures)] = by_atom
    return array


def unpadded(array: Tensor, structures: Structures) -> tuple[Tensor, Tensor]:
    """Return the vectors of the cell [B, 3, 3] and of the atoms [N, 3]."""
    return array[:, :CELL], array[structures.batch, _places(structures)]


def _places(structures: Structures) -> Tensor:
    first = structures.offsets[:-1][structures.batch]
    return torch.arange(len(structures.species), device=structures.device) - first + CELL

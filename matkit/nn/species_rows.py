"""Atoms sorted by species, for what has numbers of its own for every species."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from matkit.errors import StructureError

# Atoms in a row at most: their features in a block of channels should stay in the second cache.
ATOMS = 64


class SpeciesRows(NamedTuple):
    """Atoms sorted by species, in chunks of one species each.

    Attributes:
        species: Index of every species that occurs, sorted.
        slot: Place of each atom's species among those [N].
        order: Atoms by species [N].
        place: Where each atom is among those [N].
        start: Pointers of the chunks into the order [chunks + 1].
        chunk_slot: Place of each chunk's species [chunks].
        chunk_species: Index of each chunk's species [chunks].
        whole: Pointers of the species into the order [species + 1].
    """

    species: Tensor
    slot: Tensor
    order: Tensor
    place: Tensor
    start: Tensor
    chunk_slot: Tensor
    chunk_species: Tensor
    whole: Tensor


def species_rows(index: Tensor, n_species: int) -> SpeciesRows:
    """Sort atoms by the index of their species [N]; the last few answers are remembered.

    Raises:
        StructureError: an index is not one of 0 to n_species - 1.
    """
    rows = _species_rows(index.long().numpy().tobytes())
    species = rows.species.tolist()
    if species and not 0 <= species[0] <= species[-1] < n_species:
        raise StructureError(
            f"Expected indices of species from 0 to {n_species - 1}, got {species}."
        )
    return rows


@lru_cache(maxsize=16)
def _species_rows(index: bytes) -> SpeciesRows:
    species, slot, counts = np.unique(
        np.frombuffer(index, dtype=np.int64), return_inverse=True, return_counts=True
    )
    whole = [0, *counts.cumsum().tolist()]
    start = [first for begin, end in pairwise(whole) for first in range(begin, end, ATOMS)]
    chunk_slot = np.searchsorted(whole, start, side="right") - 1
    arrays = (
        species,
        slot,
        order := np.argsort(slot, kind="stable"),
        np.argsort(order),
        [*start, len(slot)],
        chunk_slot,
        species[chunk_slot],
        whole,
    )
    return SpeciesRows(*(torch.as_tensor(array, dtype=torch.int64) for array in arrays))


def species_product(x: Tensor, matrices: Tensor, index: Tensor) -> Tensor:
    """Multiply the features of every atom with the matrix of its species [N, components, out].

    Atoms of one species are multiplied together: a copy of the matrix for every atom would take
    longer to make than the product.

    Args:
        x: Features [N, components, in].
        matrices: One per species [species, in, out].
        index: Index of each atom's species [N].

    Raises:
        StructureError: an index is not that of a species.
    """
    # Elsewhere numbers cannot be looked at without a wait, or not at all.
    if index.is_cuda or torch._C._are_functorch_transforms_active():
        return x @ matrices[index]
    rows = species_rows(index, len(matrices))
    species = rows.species.tolist()
    if len(species) == 1:
        return x @ matrices[species[0]]
    counts = rows.whole.diff().tolist()
    parts = x[rows.order].split(counts)
    sorted_products = [part @ matrices[i] for part, i in zip(parts, species, strict=True)]
    return torch.cat([*sorted_products, x.new_empty(0, x.shape[1], matrices.shape[2])])[rows.place]

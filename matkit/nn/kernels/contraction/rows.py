"""What kernels of the contraction read besides features: atoms by species, and coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from matkit.errors import StructureError
from matkit.nn.kernels.contraction.layout import ContractionLayout
from matkit.nn.kernels.contraction.nesting import nests

# Atoms in a row at most: their features in a block of channels should stay in the second cache.
ATOMS = 64


class SpeciesRows(NamedTuple):
    """Atoms sorted by species, in chunks of one species each.

    Attributes:
        species: Index of every species that occurs, sorted.
        slot: Place of each atom's species among those [N].
        order: Atoms by species [N].
        start: Pointers of the chunks into the order [chunks + 1].
        chunk_slot: Place of each chunk's species [chunks].
        chunk_species: Index of each chunk's species [chunks].
        whole: Pointers of the species into the order [species + 1].
    """

    species: Tensor
    slot: Tensor
    order: Tensor
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
        np.argsort(slot, kind="stable"),
        [*start, len(slot)],
        chunk_slot,
        species[chunk_slot],
        whole,
    )
    return SpeciesRows(*(torch.as_tensor(array, dtype=torch.int64) for array in arrays))


def coefficients(layout: ContractionLayout, weights: Sequence[Tensor], lanes: int) -> Tensor:
    """Return the coefficients of all species [species, blocks, coefficients, lanes].

    Args:
        layout: Irreps and order.
        weights: Of all paths to every output irrep [species, paths, channels].
        lanes: Channels of a block; the last block is filled up with zeros.
    """
    padding = -layout.channels % lanes
    parts = []
    for matrix, weight in zip(_matrices(layout, weights[0].dtype), weights, strict=True):
        padded = torch.nn.functional.pad(weight, (0, padding)) if padding else weight
        parts.append(matrix @ padded.unflatten(2, (-1, lanes)).transpose(1, 2))
    return torch.cat(parts, dim=2)


@lru_cache(maxsize=64)
def _matrices(layout: ContractionLayout, dtype: torch.dtype) -> list[Tensor]:
    return [nest.matrix.to(dtype) for nest in nests(layout)]

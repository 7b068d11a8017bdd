"""Labelled structures with their Hessians, read from disk as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from matkit.data.dataset import Dataset, read_dataset
from matkit.errors import DataError
from matkit.label.matrices import (
    StoredMatrix,
    label_files,
    locate_matrices,
    misfit,
    stored_matrices,
)
from matkit.structures import Structures


@dataclass(frozen=True)
class HessianSet:
    """Structures and Hessians.

    Attributes:
        dataset: Structures with energies and forces.
        stored: Where the Hessian of each is.
    """

    dataset: Dataset
    stored: tuple[StoredMatrix, ...]

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.stored)

    def hessian(self, which: int) -> Float[Tensor, "M M"]:
        """Return the Hessian [3N, 3N] in eV/Å² of one structure, float64; stored as float32."""
        return self.stored[which].read().double()

    def blocks(self, which: int) -> Float[Tensor, "N N 3 3"]:
        """Return the same as blocks [N, N, 3, 3] of pairs of atoms."""
        n_atoms = self.stored[which].width // 3
        return self.hessian(which).reshape(n_atoms, 3, n_atoms, 3).transpose(1, 2)

    def batch(self, which: Sequence[int]) -> tuple[Structures, list[Tensor]]:
        """Return structures as one batch, and the Hessian [3N, 3N] in eV/Å² of each."""
        return self.dataset.structures.index(which), [self.hessian(i) for i in which]


def read_hessians(folder: str | Path) -> HessianSet:
    """Return what ``matkit label --hessian`` wrote to a folder, all shards together.

    Structures are read into memory; Hessians stay on the disk until they are asked for.

    Raises:
        DataError: there are no Hessians, or files do not fit together.
    """
    located = locate_matrices(folder, "hessian")
    if not located:
        raise DataError(
            f"Expected Hessians in {folder}, found none. Make them: matkit label STRUCTURES "
            f"{folder} --hessian finite-difference"
        )
    dataset = read_dataset(label_files(folder))
    stored = stored_matrices(dataset, located, (3 * dataset.structures.n_atoms).tolist())
    found = tuple(item for item in stored if item is not None)
    if len(found) < max(len(located), len(stored)):
        raise misfit(folder)
    return HessianSet(dataset, found)

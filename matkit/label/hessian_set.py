"""Labelled structures with their Hessians, read from disk as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from matkit.campaign.files import HESSIAN_TYPE, Files, read_rows
from matkit.campaign.items import parse_shard
from matkit.data.dataset import Dataset, read_dataset
from matkit.errors import DataError
from matkit.label.run import STEM
from matkit.structures import Structures


@dataclass(frozen=True)
class HessianSet:
    """Structures and Hessians.

    Attributes:
        dataset: Structures with energies and forces.
        sources: File of Hessians, place of the first number in it, and number of atoms, of each.
    """

    dataset: Dataset
    sources: tuple[tuple[NDArray[Any], int, int], ...]

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.sources)

    def hessian(self, which: int) -> Float[Tensor, "M M"]:
        """Return the Hessian [3N, 3N] in eV/Å² of one structure, float64."""
        numbers, begin, n_atoms = self.sources[which]
        flat = np.array(numbers[begin : begin + 9 * n_atoms**2], dtype=np.float64)
        return torch.from_numpy(flat.reshape(3 * n_atoms, 3 * n_atoms))

    def blocks(self, which: int) -> Float[Tensor, "N N 3 3"]:
        """Return the same as blocks [N, N, 3, 3] of pairs of atoms."""
        n_atoms = self.sources[which][2]
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
    parts = [_files(path) for path in sorted(Path(folder).glob(f"{STEM}*.jsonl"))]
    found = [source for files in parts for source in _sources(files)]
    if not found:
        raise DataError(
            f"Expected Hessians in {folder}, found none. Make them: matkit label STRUCTURES "
            f"{folder} --hessian finite-difference"
        )
    paths = [files.frames for files in parts if files.frames.stat().st_size]
    dataset = read_dataset(paths)
    counts = dataset.structures.n_atoms.tolist()
    if counts != [n_atoms for _, _, n_atoms in found]:
        raise DataError(
            f"The structures in {folder} are not those of its Hessians. Do not edit the files; "
            "label again."
        )
    return HessianSet(dataset, tuple(found))


def _files(ledger: Path) -> Files:
    """Return the files of the part that a ledger belongs to."""
    words = ledger.stem.removeprefix(STEM).split("-")  # "", "2", "of", "4"
    if len(words) == 1:
        return Files(ledger.parent, STEM)
    return Files(ledger.parent, STEM, parse_shard(f"{words[1]}/{words[-1]}"))


def _sources(files: Files) -> list[tuple[NDArray[Any], int, int]]:
    rows = [row for row in read_rows(files) if row["frames"]]
    if not rows or any(row["hessian"] is None for row in rows):
        return []
    numbers = np.memmap(files.hessians, dtype=HESSIAN_TYPE, mode="r")
    return [
        (numbers, row["hessian"][0] // HESSIAN_TYPE.itemsize, row["hessian"][1]) for row in rows
    ]

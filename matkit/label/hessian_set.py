"""Labelled structures with their Hessians, read from disk as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from matkit.data.dataset import Dataset, read_dataset
from matkit.errors import DataError
from matkit.label.run import STEM
from matkit.runs.items import parse_shard
from matkit.runs.ledger_files import HESSIAN_TYPE, Files, read_rows
from matkit.structures import Structures


class Stored(NamedTuple):
    """A Hessian in a file.

    Attributes:
        numbers: All numbers of the file, mapped.
        begin: Place of its first one.
        n_atoms: Number of atoms.
    """

    numbers: NDArray[Any]
    begin: int
    n_atoms: int

    def read(self) -> Float[Tensor, "M M"]:
        """Return the Hessian [3N, 3N] in eV/Å², float32 as it is stored."""
        width = 3 * self.n_atoms
        flat = np.array(self.numbers[self.begin : self.begin + width**2], dtype=np.float32)
        return torch.from_numpy(flat.reshape(width, width))


@dataclass(frozen=True)
class HessianSet:
    """Structures and Hessians.

    Attributes:
        dataset: Structures with energies and forces.
        stored: Where the Hessian of each is.
    """

    dataset: Dataset
    stored: tuple[Stored, ...]

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.stored)

    def hessian(self, which: int) -> Float[Tensor, "M M"]:
        """Return the Hessian [3N, 3N] in eV/Å² of one structure, float64."""
        return self.stored[which].read().double()

    def blocks(self, which: int) -> Float[Tensor, "N N 3 3"]:
        """Return the same as blocks [N, N, 3, 3] of pairs of atoms."""
        n_atoms = self.stored[which].n_atoms
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
    located = locate_hessians(folder)
    if not located:
        raise DataError(
            f"Expected Hessians in {folder}, found none. Make them: matkit label STRUCTURES "
            f"{folder} --hessian finite-difference"
        )
    dataset = read_dataset(label_files(folder))
    stored = stored_hessians(dataset, located)
    found = tuple(item for item in stored if item is not None)
    if len(found) < max(len(located), len(stored)):
        raise _misfit(folder)
    return HessianSet(dataset, found)


def label_files(folder: str | Path) -> list[Path]:
    """Return the files of structures that ``matkit label`` wrote to a folder; none elsewhere."""
    frames = (files.frames for files in _parts(folder))
    return [path for path in frames if path.exists() and path.stat().st_size]


def locate_hessians(folder: str | Path) -> dict[str, Stored]:
    """Return where the Hessians of a folder are, by the source of the structure."""
    return {
        f"{files.frames}[{i}]": stored
        for files in _parts(folder)
        for i, stored in enumerate(_stored(files))
    }


def stored_hessians(dataset: Dataset, located: Mapping[str, Stored]) -> list[Stored | None]:
    """Return where the Hessian of every structure is, None if it has none.

    Raises:
        DataError: a Hessian is that of another number of atoms.
    """
    stored = [located.get(source) for source in dataset.sources]
    counts = dataset.structures.n_atoms.tolist()
    for item, count, source in zip(stored, counts, dataset.sources, strict=True):
        if item is not None and item.n_atoms != count:
            raise _misfit(Path(source).parent)
    return stored


def _misfit(folder: str | Path) -> DataError:
    return DataError(
        f"The structures in {folder} are not those of its Hessians. If they are being labelled, "
        "wait for the end; if files were edited, label again."
    )


def _parts(folder: str | Path) -> list[Files]:
    return [_files(path) for path in sorted(Path(folder).glob(f"{STEM}*.jsonl"))]


def _files(ledger: Path) -> Files:
    """Return the files of the part that a ledger belongs to."""
    words = ledger.stem.removeprefix(STEM).split("-")  # "", "2", "of", "4"
    if len(words) == 1:
        return Files(ledger.parent, STEM)
    return Files(ledger.parent, STEM, parse_shard(f"{words[1]}/{words[-1]}"))


def _stored(files: Files) -> list[Stored]:
    rows = [row for row in read_rows(files) if row["frames"]]
    if not rows or any(row["hessian"] is None for row in rows):
        return []
    numbers = np.memmap(files.hessians, dtype=HESSIAN_TYPE, mode="r")
    places = (row["hessian"] for row in rows)
    return [Stored(numbers, begin // HESSIAN_TYPE.itemsize, count) for begin, count in places]

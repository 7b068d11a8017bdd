"""Matrices that belong to labelled structures, read from disk as they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from matkit.data.dataset import Dataset
from matkit.errors import DataError
from matkit.label.run import STEM
from matkit.runs.items import parse_shard
from matkit.runs.ledger_files import Files, read_rows

# The option of `matkit label` that asks for them.
Kind = Literal["hessian", "hamiltonian"]


class StoredMatrix(NamedTuple):
    """A square matrix in a file.

    Attributes:
        numbers: All numbers of the file, mapped.
        begin: Place of its first one.
        width: Number of rows.
    """

    numbers: NDArray[Any]
    begin: int
    width: int

    def read(self) -> Float[Tensor, "M M"]:
        """Return the matrix in the type it is stored in."""
        flat = np.array(self.numbers[self.begin : self.begin + self.width**2])
        return torch.from_numpy(flat.reshape(self.width, self.width))


def label_files(folder: str | Path) -> list[Path]:
    """Return the files of structures that ``matkit label`` wrote to a folder; none elsewhere."""
    frames = (files.frames for files in _parts(folder))
    return [path for path in frames if path.exists() and path.stat().st_size]


def locate_matrices(folder: str | Path, kind: Kind) -> dict[str, StoredMatrix]:
    """Return where the matrices of a folder are, by the source of the structure; none elsewhere."""
    return {
        f"{files.frames}[{i}]": stored
        for files in _parts(folder)
        for i, stored in enumerate(_stored(files, kind))
    }


def stored_matrices(
    dataset: Dataset, located: Mapping[str, StoredMatrix], widths: Sequence[int]
) -> list[StoredMatrix | None]:
    """Return where the matrix of every structure is, None if it has none.

    Args:
        dataset: The structures.
        located: From `locate_matrices`.
        widths: How many rows each should have.

    Raises:
        DataError: a matrix has another number of rows.
    """
    stored = [located.get(source) for source in dataset.sources]
    for item, width, source in zip(stored, widths, dataset.sources, strict=True):
        if item is not None and item.width != width:
            raise misfit(Path(source).parent)
    return stored


def misfit(folder: str | Path) -> DataError:
    """Return what is to be said where structures and matrices are not the same."""
    return DataError(
        f"The structures in {folder} are not those of its matrices. If they are being labelled, "
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


def _stored(files: Files, kind: Kind) -> list[StoredMatrix]:
    rows = [row for row in read_rows(files) if row["frames"]]
    if not rows or any(row["matrix"] is None for row in rows) or not _asked_for(files, kind):
        return []
    dtype = np.dtype(rows[0]["matrix"][2])
    numbers = np.memmap(files.matrices, dtype=dtype, mode="r")
    places = (row["matrix"] for row in rows)
    return [StoredMatrix(numbers, begin // dtype.itemsize, width) for begin, width, _ in places]


def _asked_for(files: Files, kind: Kind) -> bool:
    settings = json.loads(files.settings.read_text(encoding="utf-8"))["settings"]
    return settings.get(kind) is not None

"""Files that are not read, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

PICKLE = (
    "it holds pickled Python objects, which can run any code when they are read. Write the "
    "structures as extended XYZ, or the arrays as numbers, where the file was made"
)


def read(path: Path) -> Iterator[Atoms]:
    """Refuse a file of Python objects, or an array without names.

    Raises:
        DataError: always.
    """
    if path.suffix.lower() == ".npy" and not _has_objects(path):
        raise DataError(
            "an .npy file is one array without elements. Name the folder of DeePMD-kit that has "
            "type.raw, or convert it to extended XYZ."
        )
    raise DataError(f"{PICKLE}.")
    yield  # a generator, as all readers


def _has_objects(path: Path) -> bool:
    import numpy as np

    try:
        np.load(path, allow_pickle=False, mmap_mode="r")
    except ValueError:
        return True
    return False

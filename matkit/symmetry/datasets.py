"""What spglib finds out about a crystal, in one way whatever its options say."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import spglib
from jaxtyping import Float

# Its C code tells the terminal of tolerances that it has to tighten, line after line.
os.environ.setdefault("SPGLIB_WARNING", "OFF")


def symmetry_dataset(crystal: Any, symprec: float, angle: float = -1.0, hall: int = 0) -> Any:
    """Return spglib's data set of a crystal, or None where it finds no symmetry.

    Other packages may have asked spglib for errors in the place of None.

    Args:
        crystal: Lattice vectors as rows, fractional coordinates and numbers of the kinds of atoms.
        symprec: Tolerance of distances, Å.
        angle: Tolerance of angles in degrees; spglib's own choice if negative.
        hall: Setting, by its number in Hall's list; spglib's own choice if 0.
    """
    try:
        return spglib.get_symmetry_dataset(crystal, symprec, angle, hall)
    except spglib.SpglibError:
        return None


def niggli_cell(cell: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"] | None:
    """Return the Niggli-reduced lattice vectors [3, 3], or None of a cell that is extremely flat.

    Args:
        cell: Lattice vectors as rows [3, 3].
    """
    try:
        return spglib.niggli_reduce(cell)
    except spglib.SpglibError:
        return None

"""Strained crystals."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from jaxtyping import Float


def strain_matrix(component: int, amount: float) -> Float[np.ndarray, "3 3"]:
    """Return the strain with one component in Voigt order: xx, yy, zz, yz, xz, xy.

    Those of shear are engineering strains, twice the off-diagonal element.
    """
    i, j = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[component]
    strain = np.zeros((3, 3))
    strain[i, j] += amount / 2
    strain[j, i] += amount / 2
    return strain


def strained(atoms: Atoms, component: int, amount: float) -> Atoms:
    """Return a copy whose cell and positions are strained."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain_matrix(component, amount)), True)
    return copy

"""Density matrices to start a self-consistent calculation of PySCF from."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.hamiltonians.calculator import HamiltonianCalculator


def guess(atoms: Atoms, calculator: HamiltonianCalculator) -> Float[np.ndarray, "M M"]:
    """Return the density matrix of the predicted Kohn-Sham matrix, in PySCF's order.

    ``mean_field.kernel(dm0=guess(atoms, calculator))`` starts from it; basis and order of the atoms
    must be the same.

    Args:
        atoms: Molecule.
        calculator: Of a network that was trained on such matrices.
    """
    return calculator.states(atoms).density

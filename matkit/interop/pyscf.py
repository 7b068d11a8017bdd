"""Density matrices to start a self-consistent calculation of PySCF from."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.errors import ConfigError
from matkit.hamiltonians.calculator import HamiltonianCalculator


def guess(atoms: Atoms, calculator: HamiltonianCalculator) -> Float[np.ndarray, "M M"]:
    """Return the density matrix of the predicted Kohn-Sham matrix, in PySCF's order.

    ``mean_field.kernel(dm0=guess(atoms, calculator))`` starts from it; basis and order of the atoms
    must be the same.

    Args:
        atoms: Molecule.
        calculator: Of a network that was trained on such matrices.

    Raises:
        ConfigError: it was trained on those of GFN2-xTB, which have another basis.
    """
    if not calculator.basis:
        raise ConfigError(
            f"Expected a network of a density functional's matrices, got one of "
            f"{calculator.method}, whose orbitals PySCF does not know. Train one on labels such as "
            "pbe/def2-svp."
        )
    return calculator.states(atoms).density

"""What depends on the method of matrices: functional/basis such as pbe/def2-svp, or `gfn2`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from jaxtyping import Float

from matkit.hamiltonians.pyscf import molecule_of, shells_of
from matkit.hamiltonians.xtb import GFN2, gfn2, gfn2_shells
from matkit.orbitals import Shells


def shells_at(method: str, species: Iterable[int]) -> Shells:
    """Return the degrees of the shells of elements.

    Raises:
        MissingExtraError: PySCF or tblite is not installed.
        ConfigError: PySCF has no such basis, or not for an element.
        SimulationError: tblite has no parameters of an element.
    """
    if method == GFN2:
        return gfn2_shells(species)
    return shells_of(species, method.partition("/")[2])


def overlap_at(method: str, atoms: Atoms) -> tuple[Float[np.ndarray, "M M"], int]:
    """Return the overlap of a molecule's orbitals, in PySCF's order, and how many electrons it has.

    Raises:
        MissingExtraError: PySCF or tblite is not installed.
        StructureError, SimulationError: see `matkit.hamiltonians.molecules`.
    """
    if method == GFN2:
        states = gfn2(atoms).states  # milliseconds, of which integrals alone cannot be had
        return states.overlap, states.electrons
    mol = molecule_of(atoms, method.partition("/")[2])
    return np.asarray(mol.intor("int1e_ovlp")), int(mol.nelectron)

"""Kohn-Sham calculations by PySCF: matrices to learn, and what a predicted matrix is good for.

PySCF has the licence Apache-2.0 and is the extra `dft`. Energies are in eV here and everywhere
else in matkit; PySCF's own are in hartree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from jaxtyping import Float

from matkit.errors import MissingExtraError, SimulationError


@dataclass(frozen=True, eq=False)
class KohnSham:
    """What a self-consistent calculation found, over orbitals in PySCF's order.

    Attributes:
        hamiltonian: Kohn-Sham matrix F [M, M], eV.
        overlap: Overlap of the orbitals S [M, M].
        energy: Total energy, eV.
        cycles: How many cycles it took.
    """

    hamiltonian: Float[np.ndarray, "M M"]
    overlap: Float[np.ndarray, "M M"]
    energy: float
    cycles: int


def kohn_sham(
    atoms: Atoms,
    functional: str = "pbe",
    basis: str = "def2-svp",
    tolerance: float = 1e-10,
    guess: Float[np.ndarray, "M M"] | None = None,
) -> KohnSham:
    """Compute a neutral molecule with closed shells, with exact integrals.

    Args:
        atoms: Molecule.
        functional: Name that PySCF knows.
        basis: Name that PySCF knows.
        tolerance: Change of the energy at which it is converged, hartree.
        guess: Density matrix to start from; that of the atoms in a minimal basis if not given.

    Raises:
        MissingExtraError: PySCF is not installed.
        SimulationError: it does not converge.
    """
    solver = solver_of(atoms, functional, basis)
    solver.conv_tol = tolerance
    energy = solver.kernel(dm0=guess)
    if not solver.converged:
        raise SimulationError(
            f"{atoms.get_chemical_formula()}: {functional}/{basis} did not converge in "
            f"{solver.max_cycle} cycles. Look at the geometry, or take another functional."
        )
    return KohnSham(
        hamiltonian=Hartree * np.asarray(solver.get_fock()),
        overlap=np.asarray(solver.get_ovlp()),
        energy=float(energy) * Hartree,
        cycles=int(solver.cycles),
    )


def shells_of(atoms: Atoms, basis: str) -> dict[int, tuple[int, ...]]:
    """Return the degrees of the shells of every element of a molecule."""
    mol = molecule_of(atoms, basis)
    found: dict[int, tuple[int, ...]] = {}
    for index, number in enumerate(atoms.numbers.tolist()):
        own = [shell for shell in range(mol.nbas) if mol.bas_atom(shell) == index]
        found[number] = tuple(mol.bas_angular(s) for s in own for _ in range(mol.bas_nctr(s)))
    return dict(sorted(found.items()))


def solver_of(atoms: Atoms, functional: str, basis: str) -> Any:
    """Return PySCF's solver, before it has run."""
    from pyscf import dft

    solver = dft.RKS(molecule_of(atoms, basis))
    solver.xc, solver.verbose = functional, 0
    return solver


def molecule_of(atoms: Atoms, basis: str) -> Any:
    """Return PySCF's molecule."""
    try:
        from pyscf import gto
    except ImportError as error:
        raise MissingExtraError(
            'Kohn-Sham calculations need PySCF: pip install "matkit[dft]"'
        ) from error
    geometry = list(zip(atoms.numbers.tolist(), (atoms.positions / Bohr).tolist(), strict=True))
    return gto.M(atom=geometry, basis=basis, unit="Bohr", verbose=0)

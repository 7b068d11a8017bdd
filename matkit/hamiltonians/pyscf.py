"""Kohn-Sham calculations by PySCF: matrices to learn, and what a predicted matrix is good for.

PySCF has the licence Apache-2.0 and is the extra `dft`. Energies are in eV here and everywhere
else in matkit; PySCF's own are in hartree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from jaxtyping import Float

from matkit.elements import SYMBOLS
from matkit.errors import ConfigError, MissingExtraError, SimulationError
from matkit.hamiltonians.molecules import check_closed_shells


@dataclass(frozen=True, eq=False)
class KohnSham:
    """What a self-consistent calculation found, over orbitals in PySCF's order.

    Attributes:
        hamiltonian: Kohn-Sham matrix F [M, M], eV.
        overlap: Overlap of the orbitals S [M, M].
        levels: Energies of the orbitals [M], eV.
        occupied: How many of them are.
        energy: Total energy, eV.
        forces: Forces [N, 3], eV/Å; None if they were not asked for.
        cycles: How many cycles it took.
    """

    hamiltonian: Float[np.ndarray, "M M"]
    overlap: Float[np.ndarray, "M M"]
    levels: Float[np.ndarray, " M"]
    occupied: int
    energy: float
    forces: Float[np.ndarray, "N 3"] | None
    cycles: int

    @property
    def gap(self) -> float:
        """From the highest occupied orbital to the next, eV; infinite if all are occupied."""
        levels = np.append(self.levels, np.inf)
        return float(levels[self.occupied] - levels[self.occupied - 1])


def kohn_sham(
    atoms: Atoms,
    functional: str = "pbe",
    basis: str = "def2-svp",
    tolerance: float = 1e-10,
    guess: Float[np.ndarray, "M M"] | None = None,
    with_forces: bool = False,
) -> KohnSham:
    """Compute a neutral molecule with closed shells, with exact integrals.

    Args:
        atoms: Molecule.
        functional: Name that PySCF knows.
        basis: Name that PySCF knows.
        tolerance: Change of the energy at which it is converged, hartree.
        guess: Density matrix to start from; that of the atoms in a minimal basis if not given.
        with_forces: Whether forces are computed too.

    Raises:
        MissingExtraError: PySCF is not installed.
        SimulationError: it has an odd number of electrons, or does not converge.
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
        levels=Hartree * np.asarray(solver.mo_energy),
        occupied=int(np.count_nonzero(solver.mo_occ)),
        energy=float(energy) * Hartree,
        forces=_forces(solver) if with_forces else None,
        cycles=int(solver.cycles),
    )


def _forces(solver: Any) -> Float[np.ndarray, "N 3"]:
    gradient = solver.nuc_grad_method()
    gradient.verbose = 0
    return -np.asarray(gradient.kernel()) * (Hartree / Bohr)


def shells_of(species: Iterable[int], basis: str) -> dict[int, tuple[int, ...]]:
    """Return the degrees of the shells of elements in a basis, lowest first.

    Raises:
        MissingExtraError: PySCF is not installed.
        ConfigError: it has no such basis, or not for an element.
    """
    load = _pyscf("gto").basis.load
    found = {}
    for number in sorted(set(map(int, species))):
        try:
            shells = load(basis, SYMBOLS[number])
        except Exception as error:  # of several classes, some of them RuntimeError alone
            raise ConfigError(
                f"PySCF has no basis {basis!r} for {SYMBOLS[number]}: {error}"
            ) from error
        # A shell is its degree and rows of an exponent with a coefficient for each contraction.
        degrees = [s[0] for s in shells for _ in range(len(s[-1]) - 1)]
        found[number] = tuple(sorted(degrees))
    return found


def solver_of(atoms: Atoms, functional: str, basis: str) -> Any:
    """Return PySCF's solver, before it has run."""
    solver = _pyscf("dft").RKS(molecule_of(atoms, basis))
    solver.xc, solver.verbose = functional, 0
    return solver


def check_functional(name: str) -> None:
    """Raise if a calculation would fail for every molecule.

    Raises:
        MissingExtraError: PySCF is not installed.
        ConfigError: it has no such functional.
    """
    try:
        _pyscf("dft").libxc.parse_xc(name)
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"PySCF has no functional {name!r}: {error}. Take one such as pbe or b3lyp."
        ) from error


def molecule_of(atoms: Atoms, basis: str) -> Any:
    """Return PySCF's molecule.

    Raises:
        MissingExtraError: PySCF is not installed.
        StructureError: it is charged, has another multiplicity than 1, or is periodic.
        SimulationError: it has an odd number of electrons.
    """
    check_closed_shells(atoms)
    geometry = list(zip(atoms.numbers.tolist(), (atoms.positions / Bohr).tolist(), strict=True))
    return _pyscf("gto").M(atom=geometry, basis=basis, unit="Bohr", verbose=0)


def _pyscf(module: str) -> Any:
    try:
        return import_module(f"pyscf.{module}")
    except ImportError as error:
        raise MissingExtraError(
            'Kohn-Sham calculations need PySCF: pip install "matkit[dft]"'
        ) from error

"""Labels from Kohn-Sham calculations by PySCF, with their matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.data.ase import check_atoms
from matkit.errors import ConfigError
from matkit.hamiltonians.orders import from_pyscf
from matkit.hamiltonians.pyscf import check_functional, kohn_sham, shells_of
from matkit.label.labels import Array, Engine, Labels
from matkit.runs.versions import package_version


class KohnShamEngine(Engine):
    """Energies, forces and Kohn-Sham matrices of neutral molecules with closed shells.

    Args:
        method: Functional and basis, such as ``pbe/def2-svp``.

    Raises:
        MissingExtraError: PySCF is not installed.
        ConfigError: it is not written like this, or PySCF has no such functional.
    """

    batched, exact = False, False

    def __init__(self, method: str) -> None:
        self.functional, _, self.basis = method.partition("/")
        if not (self.functional and self.basis):
            raise ConfigError(f"Expected functional/basis such as pbe/def2-svp, got {method!r}.")
        check_functional(self.functional)
        version = package_version("pyscf")
        self.info = {"calculator": "PySCF", "level": method, "pyscf": version}

    def labels(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        """Return the labels of each structure, or why it has none."""
        return [self._labels(atoms) for atoms in structures]

    def _labels(self, atoms: Atoms) -> Labels | str:
        try:
            check_atoms(atoms, "")
            found = kohn_sham(atoms, self.functional, self.basis, with_forces=True)
            shells = shells_of(atoms.numbers.tolist(), self.basis)
            matrix = from_pyscf(found.hamiltonian, atoms.numbers, shells)
            assert found.forces is not None
            return Labels(found.energy, found.forces, None, found.gap, matrix)
        except Exception as error:  # PySCF raises anything
            return f"{type(error).__name__}: {error}"

    def calculator(self, atoms: Atoms) -> BaseCalculator:
        """Say that there is none.

        Raises:
            ConfigError: always.
        """
        self._refuse()

    def displaced_forces(self, atoms: Atoms, positions: Array) -> Array:
        """Return the forces [K, N, 3] at K sets of positions [K, N, 3] of one structure."""
        forces = np.empty_like(positions)
        for k, places in enumerate(positions):
            moved = Atoms(atoms.numbers, places)
            result = kohn_sham(moved, self.functional, self.basis, with_forces=True)
            assert result.forces is not None
            forces[k] = result.forces
        return forces

    def exact_hessian(self, atoms: Atoms) -> Array:
        """Say that there is none.

        Raises:
            ConfigError: always.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigError("Kohn-Sham labels have energies, forces and matrices alone.")

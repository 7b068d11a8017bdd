"""Labels with Kohn-Sham matrices, by PySCF or from GFN2-xTB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.data.ase import check_atoms
from matkit.errors import ConfigError
from matkit.hamiltonians.orders import from_pyscf
from matkit.hamiltonians.pyscf import check_functional, kohn_sham, shells_of
from matkit.hamiltonians.xtb import GFN2, gfn2, gfn2_shells
from matkit.label.labels import Array, Engine, Labels
from matkit.runs.versions import package_version


def kohn_sham_engine(method: str, forces: bool = True) -> KohnShamEngine:
    """Return the engine of a method.

    Args:
        method: Functional and basis, such as ``pbe/def2-svp``, or ``gfn2``.
        forces: Whether a functional gives forces too.

    Raises:
        MissingExtraError: PySCF or tblite is not installed.
        ConfigError: it is not written like this, or PySCF has no such functional.
    """
    if method == GFN2:
        gfn2_shells([1])  # says at once if tblite is missing
        version = package_version("tblite")
        info = {"calculator": "tblite", "level": "GFN2-xTB", "tblite": version}
        return KohnShamEngine(info, _gfn2_labels)
    functional, _, basis = method.partition("/")
    if not (functional and basis):
        raise ConfigError(
            f"Expected functional/basis such as pbe/def2-svp, or {GFN2}, got {method!r}."
        )
    check_functional(functional)
    info = {"calculator": "PySCF", "level": method, "pyscf": package_version("pyscf")}
    return KohnShamEngine(info, partial(_kohn_sham_labels, functional, basis, forces))


def _kohn_sham_labels(functional: str, basis: str, forces: bool, atoms: Atoms) -> Labels:
    found = kohn_sham(atoms, functional, basis, with_forces=forces)
    shells = shells_of(atoms.numbers.tolist(), basis)
    matrix = from_pyscf(found.hamiltonian, atoms.numbers, shells)
    return Labels(found.energy, found.forces, None, found.gap, matrix)


def _gfn2_labels(atoms: Atoms) -> Labels:
    found = gfn2(atoms)
    shells = gfn2_shells(atoms.numbers.tolist())
    matrix = from_pyscf(found.states.hamiltonian, atoms.numbers, shells)
    return Labels(found.energy, found.forces, None, found.states.gap, matrix)


class KohnShamEngine(Engine):
    """Energies, forces and Kohn-Sham matrices of neutral molecules with closed shells.

    Args:
        info: What computes them.
        compute: Returns the labels of a molecule.
    """

    batched, exact = False, False

    def __init__(self, info: dict[str, Any], compute: Callable[[Atoms], Labels]) -> None:
        self.info, self.compute = info, compute

    def labels(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        """Return the labels of each structure, or why it has none."""
        return [self._labels(atoms) for atoms in structures]

    def _labels(self, atoms: Atoms) -> Labels | str:
        try:
            check_atoms(atoms, "")
            return self.compute(atoms)
        except Exception as error:  # both raise anything
            return f"{type(error).__name__}: {error}"

    def calculator(self, atoms: Atoms) -> BaseCalculator:
        """Say that there is none.

        Raises:
            ConfigError: always.
        """
        self._refuse()

    def displaced_forces(self, atoms: Atoms, positions: Array) -> Array:
        """Return the forces [K, N, 3] at K sets of positions [K, N, 3] of one structure."""
        moved = (Atoms(atoms.numbers, places) for places in positions)
        return np.stack([np.asarray(self.compute(one).forces) for one in moved])

    def exact_hessian(self, atoms: Atoms) -> Array:
        """Say that there is none.

        Raises:
            ConfigError: always.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigError("Kohn-Sham labels have energies, forces and matrices alone.")

"""Labels of one structure, and what gives them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from matkit.hessians.differences import central_differences

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Labels of one structure.

    Attributes:
        energy: Total energy, eV; the one that the forces are derivatives of.
        forces: Forces [N, 3], eV/Å; None where they were not asked for.
        stress: Stress [3, 3], eV/Å³, positive in tension; None where there is none.
        hamiltonian: Kohn-Sham matrix [M, M], eV, where the engine gives one; orbitals as in
            `matkit.hamiltonians.orders`.
        gap: From the highest occupied orbital to the next, eV; None where it is unknown.
        dipole: Dipole moment [3] of a molecule, e Å, where the engine gives one.
        charges: Atomic charges [N], e, where the engine gives them.
        ignored: Charge and multiplicity that were left out of account; empty if none were.
    """

    energy: float
    forces: Array | None
    stress: Array | None
    gap: float | None = None
    hamiltonian: Array | None = None
    dipole: Array | None = None
    charges: Array | None = None
    ignored: str = ""

    @property
    def max_force(self) -> float | None:
        """Largest force on an atom, eV/Å; None without forces."""
        return None if self.forces is None else float(np.linalg.norm(self.forces, axis=1).max())

    def fault(self) -> str:
        """Return what is wrong with the numbers, or nothing."""
        values: dict[str, float | Array | None] = {
            "energy": self.energy,
            "forces": self.forces,
            "stress": self.stress,
            "hamiltonian": self.hamiltonian,
            "dipole": self.dipole,
            "charges": self.charges,
        }
        wrong = [k for k, v in values.items() if v is not None and not np.isfinite(v).all()]
        return f"{' and '.join(wrong)} not finite" if wrong else ""


class Engine(ABC):
    """Computes labels.

    Attributes:
        info: What it is, for the record.
        batched: Whether many structures at once are faster than one by one.
        exact: Whether it has second derivatives.
    """

    info: dict[str, Any]
    batched: ClassVar[bool]
    exact: ClassVar[bool]

    @abstractmethod
    def labels(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        """Return the labels of each structure, or why it has none."""

    @abstractmethod
    def calculator(self, atoms: Atoms) -> BaseCalculator:
        """Return an ASE calculator of a structure."""

    def difference_hessian(self, atoms: Atoms, step: float) -> Array:
        """Return the Hessian [3N, 3N] in eV/Å² by central differences, not symmetrised.

        Args:
            atoms: Structure.
            step: Displacement, Å.
        """
        return central_differences(partial(self.displaced_forces, atoms), atoms.positions, step)

    @abstractmethod
    def displaced_forces(self, atoms: Atoms, positions: Array) -> Array:
        """Return the forces [K, N, 3] at K sets of positions [K, N, 3] of one structure."""

    @abstractmethod
    def exact_hessian(self, atoms: Atoms) -> Array:
        """Return the Hessian [3N, 3N] in eV/Å² without finite differences, where `exact`."""


def bare(atoms: Atoms) -> Atoms:
    """Return a copy without calculator, constraints and labels that are there already."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info = dict(atoms.info)
    return copy

"""Predicted Kohn-Sham matrices, and what follows from them, beside those of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.units import Debye, Hartree
from jaxtyping import Float
from torch import Tensor

from matkit.data.ase import to_ase
from matkit.evaluate.errors import Errors, summary
from matkit.hamiltonians.calculator import HamiltonianCalculator
from matkit.hamiltonians.orders import to_pyscf
from matkit.hamiltonians.pyscf import kohn_sham, solver_of
from matkit.hamiltonians.states import ElectronicStates, states_of
from matkit.label.hamiltonian_set import HamiltonianSet
from matkit.orbitals import orbital_count
from matkit.structures import Structures

Array = np.ndarray
# By quantity: what it is, the unit of tables, and its factor from eV, Å and e.
QUANTITIES: dict[str, tuple[str, str, float]] = {
    "hamiltonian": ("matrix, all entries", "µEh", 1e6 / Hartree),
    "diagonal": ("blocks of an atom with itself", "µEh", 1e6 / Hartree),
    "off_diagonal": ("blocks of two atoms", "µEh", 1e6 / Hartree),
    "occupied": ("energies of occupied orbitals", "µEh", 1e6 / Hartree),
    "gap": ("gap", "meV", 1000.0),
    "dipole": ("dipole, by component", "mD", 1000.0 / Debye),
    "energy": ("energy at the predicted density", "meV", 1000.0),
    "forces": ("forces at the predicted density", "meV/Å", 1000.0),
}


@dataclass(frozen=True)
class Cycles:
    """Mean number of cycles until a self-consistent calculation has converged.

    Attributes:
        molecules: How many were computed.
        minao: From the densities of atoms, PySCF's own start.
        guess: From the predicted density.
    """

    molecules: int
    minao: float
    guess: float

    @property
    def ratio(self) -> float:
        """Cycles from the predicted density as a part of the others."""
        return self.guess / self.minao


@dataclass(frozen=True)
class HamiltonianEvaluation:
    """Errors of a network of Kohn-Sham matrices.

    Attributes:
        molecules: How many were compared.
        errors: By name of `QUANTITIES`, in eV, Å and e; energies, forces of a part alone.
        similarity: Mean of the absolute cosines between predicted and true coefficients of
            occupied orbitals.
        cycles: Of the same part; None if it is empty.
    """

    molecules: int
    errors: Mapping[str, Errors]
    similarity: float
    cycles: Cycles | None


def compare_hamiltonians(
    calculator: HamiltonianCalculator,
    labelled: HamiltonianSet,
    computed: Sequence[int],
    on_molecule: Callable[[int, int], None] = lambda done, total: None,
) -> HamiltonianEvaluation:
    """Predict labelled molecules and compare.

    Args:
        calculator: Of the network.
        labelled: Molecules and matrices of the network's method.
        computed: Numbers of those of which PySCF computes energy, forces and cycles.
        on_molecule: Called with the number of molecules done and in all.

    Raises:
        UnknownElementError: the network does not know an element.
        DataError: a matrix is missing or has another size.
        SimulationError: a calculation does not converge.
    """
    found, chosen = list[_Molecule](), set(computed)
    structures, n_molecules = labelled.dataset.structures, len(labelled.dataset)
    calculator.network.check_species(structures)
    matrices = labelled.matrices(calculator.network.shells)
    for i, matrix in enumerate(matrices):
        part = structures.index([i])
        found.append(_compared(part, matrix, calculator, i in chosen))
        on_molecule(i + 1, n_molecules)
    cycles = [one.cycles for one in found if one.cycles is not None]
    return HamiltonianEvaluation(
        molecules=n_molecules,
        errors=_errors([one.differences for one in found]),
        similarity=float(np.concatenate([one.cosines for one in found]).mean()),
        cycles=Cycles(len(cycles), *np.mean(cycles, axis=0).tolist()) if cycles else None,
    )


@dataclass(frozen=True, eq=False)
class _Molecule:
    """Prediction minus label by name of `QUANTITIES`, cosines, and cycles if they were counted."""

    differences: Mapping[str, Array]
    cosines: Array
    cycles: tuple[int, int] | None


def _compared(
    part: Structures, matrix: Tensor, calculator: HamiltonianCalculator, with_cycles: bool
) -> _Molecule:
    """Compare one molecule; `with_cycles` with energy and forces too."""
    (atoms,) = to_ase(part.replace(atom={}, system={}))
    label = to_pyscf(matrix.numpy(), atoms.numbers, calculator.network.shells)
    states = calculator.states(atoms)
    truth = states_of(label, states.overlap, states.electrons)
    differences = _differences(atoms, states, truth, calculator)
    cosines, cycles = similarities(states, truth), None
    if with_cycles:
        calculator.calculate(atoms, ["energy", "forces"])
        results = calculator.results
        differences["energy"] = results["energy"] - part.system["energy"].numpy()
        differences["forces"] = results["forces"] - part.atom["forces"].numpy()
        cycles = _cycles(atoms, states.density, calculator)
    return _Molecule(differences, cosines, cycles)


def _errors(differences: Sequence[Mapping[str, Array]]) -> dict[str, Errors]:
    joined = {
        name: np.concatenate([np.ravel(one[name]) for one in differences if name in one])
        for name in QUANTITIES
        if any(name in one for one in differences)
    }
    found = {name: summary(torch.from_numpy(values)) for name, values in joined.items()}
    return {name: errors for name, errors in found.items() if errors is not None}


def _differences(
    atoms: Atoms,
    states: ElectronicStates,
    truth: ElectronicStates,
    calculator: HamiltonianCalculator,
) -> dict[str, Array]:
    """Return prediction minus label of what needs no further calculation."""
    wrong = states.hamiltonian - truth.hamiltonian
    widths = [orbital_count(calculator.network.shells[z]) for z in atoms.numbers.tolist()]
    atom = np.repeat(np.arange(len(atoms)), widths)
    own = atom[:, None] == atom
    occupied = slice(states.electrons // 2)
    found = {
        "hamiltonian": wrong,
        "diagonal": wrong[own],
        "off_diagonal": wrong[~own],
        "occupied": states.levels[occupied] - truth.levels[occupied],
        "gap": np.subtract(*(np.nan_to_num(s.gap, posinf=np.nan) for s in (states, truth))),
    }
    if calculator.basis:  # of a density functional
        solver = solver_of(atoms, calculator.functional, calculator.basis)
        dipoles = [solver.dip_moment(dm=s.density, verbose=0) * Debye for s in (states, truth)]
        found["dipole"] = np.subtract(*dipoles)
    return found


def similarities(
    states: ElectronicStates, truth: ElectronicStates
) -> Float[np.ndarray, " n_occupied"]:
    """Return the absolute cosines between the coefficients of occupied orbitals.

    Of coefficients as they are, without the overlap, as it is published for such networks; of
    orbitals of the same energy, which any mixture of them is, they say nothing.
    """
    a, b = (s.coefficients[:, : s.electrons // 2] for s in (states, truth))
    return np.abs((a * b).sum(0)) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)


def _cycles(
    atoms: Atoms, density: Float[np.ndarray, "M M"], calculator: HamiltonianCalculator
) -> tuple[int, int]:
    """Return the number of cycles from the densities of atoms and from a density."""
    method = calculator.functional, calculator.basis
    return kohn_sham(atoms, *method).cycles, kohn_sham(atoms, *method, guess=density).cycles

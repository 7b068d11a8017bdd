"""GFN2-xTB's matrix over its minimal basis of valence orbitals, by tblite: labels in milliseconds.

tblite gives the matrix of the beginning only; that of the end is ``F = S C ε Cᵀ S``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree
from jaxtyping import Float
from numpy.typing import NDArray

from matkit.errors import MissingExtraError, SimulationError
from matkit.hamiltonians.molecules import check_closed_shells
from matkit.hamiltonians.states import ElectronicStates
from matkit.orbitals import orbital_count

# How it is named among methods of matrices.
GFN2 = "gfn2"
# tblite's default is 1, whose noise networks would learn.
ACCURACY = 0.01


@dataclass(frozen=True, eq=False)
class XtbResult:
    """What tblite found.

    Attributes:
        states: Matrix, overlap and orbitals, in PySCF's order.
        energy: Total energy, eV.
        forces: Forces [N, 3], eV/Å.
    """

    states: ElectronicStates
    energy: float
    forces: Float[np.ndarray, "N 3"]


def gfn2(atoms: Atoms) -> XtbResult:
    """Compute a neutral molecule with closed shells.

    Raises:
        MissingExtraError: tblite is not installed.
        StructureError: it is charged, has another multiplicity than 1, or is periodic.
        SimulationError: it has an odd number of electrons, or does not converge.
    """
    check_closed_shells(atoms)
    solver = _solver(atoms.numbers.tolist(), atoms.positions / Bohr)
    for name, value in (("verbosity", 0), ("accuracy", ACCURACY), ("save-integrals", 1)):
        solver.set(name, value)
    try:
        found = solver.singlepoint()
    except RuntimeError as error:
        raise _problem(atoms.numbers.tolist(), error) from error
    shells = gfn2_shells(atoms.numbers.tolist())
    order = _order(solver, [orbital_count(shells[z]) for z in atoms.numbers.tolist()])
    levels = Hartree * found.get("orbital-energies")
    overlap = found.get("overlap-matrix")[np.ix_(order, order)]
    coefficients = found.get("orbital-coefficients")[order]
    weighted = overlap @ coefficients
    electrons = round(float(found.get("orbital-occupations").sum()))
    matrix = (weighted * levels) @ weighted.T
    return XtbResult(
        ElectronicStates(matrix, overlap, levels, coefficients, electrons),
        energy=float(found.get("energy")) * Hartree,
        forces=-found.get("gradient") * (Hartree / Bohr),
    )


def gfn2_shells(species: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Return the degrees of the shells of elements, lowest first.

    Raises:
        MissingExtraError: tblite is not installed.
        SimulationError: it has no parameters of an element.
    """
    return {z: tuple(sorted(_degrees(_solver([z], np.zeros((1, 3)))))) for z in set(species)}


def _order(solver: Any, widths: Sequence[int]) -> NDArray[np.int64]:
    """Return where the orbitals are in tblite's order that come one after another in PySCF's.

    tblite has shells of metals as d, s, p, and orbitals by m from -l to l, p too.
    """
    degrees = _degrees(solver)
    begins = np.cumsum([0, *(2 * degree + 1 for degree in degrees)])
    atom = np.searchsorted(np.cumsum(widths), begins[:-1], side="right")
    places = list[NDArray[np.int64]]()
    for shell in sorted(range(len(degrees)), key=lambda i: (atom[i], degrees[i])):
        within = np.arange(begins[shell], begins[shell + 1])
        places.append(within[[2, 0, 1]] if degrees[shell] == 1 else within)
    return np.concatenate(places)


def _degrees(solver: Any) -> list[int]:
    return [int(degree) for degree in solver.get("angular-momenta")]


def _solver(numbers: Sequence[int], positions: NDArray[np.float64]) -> Any:
    """Return tblite's calculator; positions are in bohr."""
    try:
        from tblite.interface import Calculator
    except ImportError as error:
        raise MissingExtraError('GFN2-xTB needs tblite: pip install "matkit[xtb]"') from error
    try:
        return Calculator("GFN2-xTB", np.array(numbers), positions)
    except RuntimeError as error:
        raise _problem(numbers, error) from error


def _problem(numbers: Sequence[int], error: RuntimeError) -> SimulationError:
    return SimulationError(f"tblite cannot compute atoms of numbers {list(numbers)}: {error}")
